//! What the status says of memberships: how long a certificate lasts, and why a node is out, in words.

use gateway::ServesNobody;
use keys::{
    NodeId, Timestamp,
    membership::{Certificate, Former, Member, Out, Proof, Roles, Roster, Target},
};

use crate::control::{FormerStatus, ReachStatus};

const DAY: u64 = 24 * 3600 * 1000;

/// Days until the certificate ends, negative afterwards; `None` for an operator, whose membership does not end.
pub(crate) fn days_left(member: &Member, now: Timestamp) -> Option<i64> {
    if member.roles.contains(Roles::OPERATOR) {
        return None;
    }
    let days = |milliseconds: u64| i64::try_from(milliseconds / DAY).unwrap_or(i64::MAX);
    Some(if member.until >= now {
        days(member.until.since(now))
    } else {
        -1 - days(now.since(member.until))
    })
}

/// Whether a node is the first one of its mesh, and still a member.
pub(crate) fn is_founder(roster: &Roster, node: &NodeId) -> bool {
    let founding = |certificate: &&Certificate| matches!(certificate.proof, Proof::Founding(_));
    let founders = roster.certificates().filter(founding);
    let mut founders = founders.filter_map(|certificate| certificate.verify().ok());
    roster.get(node).is_some() && founders.any(|(_, member)| member.node == *node)
}

/// Whether a node that is out can only come back as another one. One whose certificate has ended, or for whom nobody vouches, may
/// still be taken back by an operator.
pub(crate) fn is_final(former: &Former) -> bool {
    match former.why {
        Out::Revoked { .. } | Out::Left { .. } | Out::TicketSpent { .. } | Out::Rotated { .. } => true,
        Out::Ended { .. } | Out::NotVouched { .. } => false,
    }
}

/// Why a node of these roles serves no people; of none when it is a member no longer.
pub(crate) fn serves_nobody(roles: Option<Roles>) -> Option<ServesNobody> {
    match roles {
        None => Some(ServesNobody::NoMember),
        Some(roles) if roles.contains(Roles::GATEWAY) => None,
        Some(roles) if roles.contains(Roles::STORAGE) => Some(ServesNobody::Storage),
        Some(roles) if roles.contains(Roles::WORKER) => Some(ServesNobody::Worker),
        Some(_) => Some(ServesNobody::Other),
    }
}

/// What a person does about it.
pub(crate) fn remedy(is_final: bool) -> &'static str {
    if is_final {
        "With a new invite this machine can join again, into another data directory"
    } else {
        "An operator can take it back"
    }
}

/// Every node that was a member.
pub(crate) fn formers(roster: &Roster, now: Timestamp) -> Vec<FormerStatus> {
    let status = |former: &Former| FormerStatus {
        node_id: former.member.node.to_string(),
        name: former.member.name.clone(),
        why: why(roster, former, now),
    };
    roster.formers().map(status).collect()
}

/// Why a node is out.
pub(crate) fn why(roster: &Roster, former: &Former, now: Timestamp) -> String {
    match &former.why {
        Out::Revoked { by, reason, at } => {
            format!("revoked by {} {}{}", name(roster, by), ago(*at, now), because(reason))
        }
        Out::Left { reason, at } => format!("left {}{}", ago(*at, now), because(reason)),
        Out::TicketSpent { winner } => format!(
            "its invite was used on both sides of a split, and {} keeps it; invite it anew",
            name(roster, winner)
        ),
        Out::NotVouched { because } => {
            let what = match because {
                Target::Node(node) => format!("{}, which admitted it,", name(roster, node)),
                Target::Ticket(_) => "the invite with which it came in".to_owned(),
                Target::Operator(operator) => format!("the operator {}, who invited it,", name(roster, operator)),
            };
            format!("{what} was revoked, and no operator has vouched for it; see: starling renew")
        }
        Out::Rotated { to, at } => format!("its key was replaced by {} {}", to.short(), ago(*at, now)),
        Out::Ended { at } => format!("its certificate ended {}; see: starling renew", ago(*at, now)),
    }
}

fn name(roster: &Roster, node: &NodeId) -> String {
    if *node == roster.root() {
        return "the root".to_owned();
    }
    let member = roster
        .get(node)
        .or_else(|| roster.former(node).map(|former| &former.member));
    member.map_or_else(|| node.short(), |member| member.name.clone())
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.since(at) / DAY {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days ago"),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

/// Whether others can reach this node.
pub(crate) fn reach(view: &mesh::ReachView, name: impl Fn(&NodeId) -> String) -> ReachStatus {
    ReachStatus {
        reachability: view.reachability.word().to_owned(),
        seen_at: view.seen_at.clone(),
        relays: view.relays.iter().map(name).collect(),
        carries: view.carries,
        relaying: view.relaying,
    }
}

#[cfg(test)]
mod tests {
    use keys::{
        NodeKey,
        membership::{Certificate, Evidence},
    };

    use super::*;

    #[test]
    fn a_certificate_is_counted_in_days_and_an_operators_does_not_end() {
        let key = NodeKey::from_seed(&[1; 32]);
        let start = Timestamp(1_700_000_000_000);
        let certificate = Certificate::found(&key, key.id(), "first", [0; 16], start).unwrap();
        let (_, mut member) = certificate.verify().unwrap();
        assert_eq!(days_left(&member, start), None);
        member.roles = Roles::NODE;
        for (after, days) in [(0, 30), (1, 29), (30 * DAY, 0), (30 * DAY + 1, -1), (31 * DAY + 1, -2)] {
            assert_eq!(days_left(&member, start.plus(after)), Some(days), "{after}");
        }
    }

    #[test]
    fn a_node_says_what_it_does_instead_of_serving_people() {
        let words = |text: &str| serves_nobody(Some(text.parse().unwrap()));
        assert_eq!(words("gateway,worker"), None);
        assert_eq!(words("storage,worker"), Some(ServesNobody::Storage));
        assert_eq!(words("worker,relay"), Some(ServesNobody::Worker));
        assert_eq!(words("relay"), Some(ServesNobody::Other));
        assert_eq!(serves_nobody(None), Some(ServesNobody::NoMember));
    }

    #[test]
    fn why_a_node_is_out_is_said_with_names_and_what_to_do() {
        let (root, first) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
        let now = Timestamp(1_700_000_000_000);
        let certificate = Certificate::found(&root, first.id(), "first", [0; 16], now).unwrap();
        let mut roster = Roster::new(certificate).unwrap();
        let decrees = roster.revoke(&root, Target::Node(first.id()), "sold", now).unwrap();
        roster.take(decrees.into_iter().map(Evidence::Decree).collect());
        let former = roster.former(&first.id()).unwrap();
        assert!(is_final(former));
        assert_eq!(
            why(&roster, former, now.plus(DAY)),
            "revoked by the root yesterday: sold"
        );
        let with = |why| Former {
            member: former.member.clone(),
            why,
        };
        let stranger = NodeId([7; 32]);
        let fell = with(Out::NotVouched {
            because: Target::Node(stranger),
        });
        assert!(!is_final(&fell) && why(&roster, &fell, now).contains("starling renew"));
        let spent = with(Out::TicketSpent { winner: first.id() });
        assert!(why(&roster, &spent, now).contains("and first keeps it"));
        let ended = with(Out::Ended { at: now });
        assert!(why(&roster, &ended, now.plus(9 * DAY)).contains("ended 9 days ago"));
        assert_eq!(formers(&roster, now).len(), 1);
    }
}
