//! What convinces a node that it is a member no longer: the decision itself, with who was allowed to take it. Words alone would let
//! any liar switch a node off.

use super::{Roster, Slot};
use crate::{
    NodeId,
    membership::{Decree, Evidence, Out, Target, decree::Opened},
};

impl Roster {
    /// The evidence by which a node is out, for that node: what was decided, who named its author an operator, and nothing about
    /// others. Empty for a member, for a stranger, and where the node's own clock says it.
    #[must_use]
    pub fn because(&self, node: &NodeId) -> Vec<Evidence> {
        let target = match self.former(node).map(|former| &former.why) {
            Some(Out::Revoked { .. } | Out::Left { .. }) => Target::Node(*node),
            Some(Out::NotVouched { because }) => *because,
            Some(Out::TicketSpent { winner }) => return self.certificates_of(winner),
            Some(Out::Rotated { .. }) => return self.successions_of(&self.judged.identities.origin(node)),
            Some(Out::Ended { .. }) | None => return Vec::new(),
        };
        let Some((author, _)) = self.judged.revocations.get(&target) else {
            return Vec::new();
        };
        let mut evidence = Vec::new();
        if self.was_root(author) {
            evidence.extend(self.successions_of(&self.first_root));
        } else if author != node {
            evidence.extend(self.certificates_of(author));
            evidence.extend(self.successions_of(&self.judged.identities.origin(author)));
        }
        let concerns = |slot: &Slot, opened: &Opened| match opened {
            Opened::OperatorGrant(grant) => grant.operator == *author,
            _ => *slot == Slot::Revocation(target, *author),
        };
        let decrees = self.decrees.iter();
        let decrees = decrees.filter(|(slot, held)| concerns(slot, &held.opened));
        evidence.extend(decrees.map(|(_, held)| Evidence::Decree(held.decree.clone())));
        evidence
    }

    /// How the key that began an identity was followed by others.
    fn successions_of(&self, origin: &NodeId) -> Vec<Evidence> {
        let held = self.successions.get(origin).into_iter().flatten();
        held.map(|(succession, _)| Evidence::Decree(Decree::Succession(succession.clone())))
            .collect()
    }

    fn certificates_of(&self, node: &NodeId) -> Vec<Evidence> {
        let held = self.certificates.get(node).into_iter().flatten();
        held.map(|held| Evidence::Certificate(held.certificate.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        NodeKey, Timestamp,
        invite::{Invite, Terms},
        membership::{Certificate, Powers, Roles},
    };

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&[seed; 32])
    }

    /// The roster of the first node, which has admitted a second, an operator, and a third.
    fn three() -> Roster {
        let (root, first) = (key(1), key(2));
        let founded = Certificate::found(&root, first.id(), "first", [0; 16], NOW).unwrap();
        let mut roster = Roster::new(founded).unwrap();
        for seed in [3, 4] {
            let terms = Terms::new(Roles::NODE, 1, NOW.plus(1000));
            let invite = Invite::issue(&root, roster.mesh(), first.id(), vec![], [seed; 32], terms).unwrap();
            let request = invite.redeem(key(seed).id(), "node").unwrap();
            let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
            roster.admit(&first, key(seed).id(), grant, redemption, NOW).unwrap();
        }
        roster
    }

    fn take(roster: &mut Roster, decrees: Vec<crate::membership::Decree>) {
        let taken = roster.take(decrees.into_iter().map(Evidence::Decree).collect());
        assert!(taken.refused.is_empty(), "{:?}", taken.refused);
    }

    #[test]
    fn a_node_believes_that_it_is_out_when_an_operator_has_signed_that() {
        let mut roster = three();
        // What the third knows: nobody has told it of anything since it joined.
        let mut known = roster.clone();
        let (operator, third) = (key(3), key(4).id());
        let grant = roster.appoint(&key(1), operator.id(), Powers::ALL, NOW).unwrap();
        take(&mut roster, vec![grant]);
        assert_eq!(roster.because(&third), []);
        let decrees = roster.revoke(&operator, Target::Node(third), "stolen", NOW).unwrap();
        take(&mut roster, decrees);
        let told = roster.because(&third);
        assert!(known.take(told.clone()).refused.is_empty());
        let why = &known.former(&third).unwrap().why;
        assert!(
            matches!(why, Out::Revoked { by, .. } if *by == operator.id()),
            "{why:?}"
        );
        // The same decision without who allowed it, and one of somebody who may not decide: not believed.
        let mut unconvinced = three();
        let alone = told.into_iter().filter(|one| !is_grant(one)).collect();
        assert_eq!(unconvinced.take(alone).refused.len(), 1);
        assert!(unconvinced.get(&third).is_some());
    }

    fn is_grant(evidence: &Evidence) -> bool {
        match evidence {
            Evidence::Decree(decree) => matches!(decree.open().unwrap().1, Opened::OperatorGrant(_)),
            Evidence::Certificate(_) => false,
        }
    }
}
