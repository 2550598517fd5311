//! Who is a member: a pure function of the evidence and of the time at which it is asked.
//!
//! ## The rules
//! 1. *Operators* are the keys that the root has named, less those it has revoked.
//! 2. A *revocation* counts when the root signed it, when the node itself signed it (it leaves), or when an operator signed it that
//!    may revoke, and it is aimed at a ticket or at a node that is no operator.
//! 3. A *certificate* stands when its ticket was issued by the root or an operator, the ticket is not revoked, and its node was
//!    admitted by a node that came in rightly and was not put out. It stands, too, when an operator vouches for its node with a
//!    renewal. Whoever is revoked therefore takes along whom it brought in: nobody could tell a late, back-dated admission from an
//!    early one. Whoever signs a revocation vouches for those who shall stay ([`super::Roster::revoke`]).
//! 4. A *ticket* serves as many nodes as it says. When it was redeemed more often (on both sides of a split), the nodes with the
//!    lowest hash of node and ticket keep it. Redemptions count even when their node was revoked later, so that nobody who was out
//!    comes in again.
//! 5. A node whose key was *rotated* ([`super::Succession`]) is the same member under its new key: with its roles and powers, with whom it
//!    admitted, and with what was decided about any of its keys. The old keys are members no longer; what they signed as an operator's
//!    goes on counting, because whoever shall count no longer is revoked, not rotated. Of the *root's* keys only the last one brings
//!    anybody in or makes operators, and says again what shall stand ([`super::Roster::hand_over_root`]); the revocations of all count:
//!    whoever is out stays out, also when the other half of a split had not heard of it when the root handed over, and also when the root
//!    handed over in both halves and the heir who put somebody out is not the one that counts. An heir can do no more by it than whoever
//!    had the key before it.
//! 6. A *membership* ends when its certificate was not renewed in time, except an operator's, who may renew others and so itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Member, Powers, Renewal, Revocation, Roles, Target,
    decree::Opened,
    roster::{HeldCertificate, HeldDecree},
    succession::Identities,
};
use crate::{
    ContentId, NodeId, Timestamp,
    limits::{CERTIFICATE_GRACE_MILLISECONDS, CERTIFICATE_MILLISECONDS, CLOCK_SKEW_MILLISECONDS},
};

/// Why a node is a member no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Someone put it out.
    Revoked {
        /// Who.
        by: NodeId,
        /// Why.
        reason: String,
        /// When, by the clock of whoever did it.
        at: Timestamp,
    },
    /// It has left.
    Left {
        /// Why.
        reason: String,
        /// When, by its own clock.
        at: Timestamp,
    },
    /// Its invite was redeemed by another node, too, and that one keeps it.
    TicketSpent {
        /// The node that keeps it.
        winner: NodeId,
    },
    /// What brought it in was revoked, and no operator vouches for it.
    NotVouched {
        /// What was revoked.
        because: Target,
    },
    /// Its certificate has ended.
    Ended {
        /// When.
        at: Timestamp,
    },
    /// The node goes on with another key.
    Rotated {
        /// The key that counts now.
        to: NodeId,
        /// When it took over, by its clock.
        at: Timestamp,
    },
}

/// A node that was a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// What it was.
    pub member: Member,
    /// Why it is out.
    pub why: Out,
}

/// What the evidence amounts to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judgement {
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) former: BTreeMap<NodeId, Former>,
    pub(super) operators: BTreeMap<NodeId, Powers>,
    /// The revocations that count, with whoever signed them.
    pub(super) revocations: BTreeMap<Target, (NodeId, Revocation)>,
    /// Who has redeemed each ticket, in the order in which they may keep it.
    pub(super) redeemed: BTreeMap<NodeId, Vec<NodeId>>,
    /// Whose key is whose.
    pub(super) identities: Identities,
}

/// What a roster judges.
pub(super) struct Case<'a> {
    pub(super) root: NodeId,
    /// Every key that is the root's, or was, or would be if another succession counted: whoever had one of them may have put others out.
    pub(super) roots: BTreeSet<NodeId>,
    /// The node whose roster this is.
    pub(super) anchor: NodeId,
    pub(super) certificates: Vec<&'a HeldCertificate>,
    pub(super) decrees: Vec<&'a HeldDecree>,
    pub(super) identities: Identities,
    /// Every key that ever was the root's or an operator's, also by a succession that does not count.
    pub(super) issuers: BTreeSet<NodeId>,
    /// Every key that took the place of another, also by such a succession.
    pub(super) heirs: &'a BTreeSet<NodeId>,
    pub(super) at: Timestamp,
}

/// The keys that the root has ever named operators, with what they may do.
pub(super) fn named_operators(
    is_root: impl Fn(&NodeId) -> bool,
    certificates: &[&HeldCertificate],
    decrees: &[&HeldDecree],
) -> BTreeMap<NodeId, Powers> {
    let mut named: BTreeMap<NodeId, Powers> = BTreeMap::new();
    let mut name = |node: NodeId, may: Powers| {
        let known = named.entry(node).or_insert(Powers::NONE);
        *known = known.with(may);
    };
    for held in certificates {
        if is_root(&held.member.issuer) && held.member.roles.contains(Roles::OPERATOR) {
            name(held.member.node, Powers::ALL);
        }
    }
    for held in decrees {
        if let (Opened::OperatorGrant(grant), true) = (&held.opened, is_root(&held.author)) {
            name(grant.operator, grant.may);
        }
    }
    named
}

impl Case<'_> {
    pub(super) fn judge(&self) -> Judgement {
        let operators = self.operators();
        let revocations = self.revocations(&operators);
        let renewals = self.renewals(&operators);
        let standing = self.standing(&operators, &revocations, &renewals);
        let redeemed = redeemed(&standing);
        let mut judgement = Judgement {
            operators,
            revocations,
            redeemed,
            ..Judgement::default()
        };
        let mut by_node: BTreeMap<NodeId, Vec<&HeldCertificate>> = BTreeMap::new();
        for held in &self.certificates {
            by_node.entry(held.member.node).or_default().push(held);
        }
        for (node, held) in by_node {
            let stands: Vec<&HeldCertificate> = held
                .iter()
                .copied()
                .filter(|held| standing.contains_key(&held.id))
                .collect();
            self.decide(&mut judgement, (node, &held), &stands, renewals.get(&node).copied());
        }
        rename(&mut judgement, &self.identities);
        judgement.identities = self.identities.clone();
        judgement
    }

    fn operators(&self) -> BTreeMap<NodeId, Powers> {
        let mut operators = named_operators(|key| *key == self.root, &self.certificates, &self.decrees);
        for (_, (keys, _)) in self.identities.chains() {
            let powers = keys.iter().filter_map(|key| operators.get(key).copied());
            if let Some(powers) = powers.reduce(Powers::with) {
                operators.extend(keys.iter().map(|key| (*key, powers)));
            }
        }
        for held in &self.decrees {
            if let (Opened::Revocation(revocation), true) = (&held.opened, self.roots.contains(&held.author))
                && let Target::Operator(key) | Target::Node(key) = revocation.target
            {
                for key in self.identities.keys(&key) {
                    operators.remove(&key);
                }
            }
        }
        operators
    }

    fn revocations(&self, operators: &BTreeMap<NodeId, Powers>) -> BTreeMap<Target, (NodeId, Revocation)> {
        let mut counting: BTreeMap<Target, (NodeId, Revocation)> = BTreeMap::new();
        for held in &self.decrees {
            let Opened::Revocation(revocation) = &held.opened else {
                continue;
            };
            let may_revoke = operators
                .get(&held.author)
                .is_some_and(|may| may.contains(Powers::REVOKE));
            let counts = self.roots.contains(&held.author)
                || revocation.target == Target::Node(held.author)
                || (may_revoke
                    && match revocation.target {
                        Target::Node(node) => !operators.contains_key(&node),
                        Target::Ticket(_) => true,
                        Target::Operator(_) => false,
                    });
            if !counts {
                continue;
            }
            // Several for one target are shown as one: being put out goes before leaving, then the earliest.
            let order = |author: NodeId, revocation: &Revocation| {
                let leaves = revocation.target == Target::Node(author);
                (leaves, revocation.at, author)
            };
            let shown = counting.get(&revocation.target);
            if shown.is_none_or(|(author, shown)| order(held.author, revocation) < order(*author, shown)) {
                counting.insert(revocation.target, (held.author, revocation.clone()));
            }
        }
        counting
    }

    /// The newest renewal of each node that counts.
    fn renewals(&self, operators: &BTreeMap<NodeId, Powers>) -> BTreeMap<NodeId, &Renewal> {
        let mut newest: BTreeMap<NodeId, (&Renewal, ContentId)> = BTreeMap::new();
        for held in &self.decrees {
            let Opened::Renewal(renewal) = &held.opened else {
                continue;
            };
            let may = operators
                .get(&held.author)
                .is_some_and(|may| may.contains(Powers::INVITE));
            let node = self.identities.origin(&renewal.node);
            let is_newer = newest
                .get(&node)
                .is_none_or(|(known, id)| (renewal.at, held.id) > (known.at, *id));
            if (may || held.author == self.root) && is_newer {
                newest.insert(node, (renewal, held.id));
            }
        }
        newest.into_iter().map(|(node, (renewal, _))| (node, renewal)).collect()
    }

    /// The certificates that stand, by rule 3.
    fn standing(
        &self,
        operators: &BTreeMap<NodeId, Powers>,
        revocations: &BTreeMap<Target, (NodeId, Revocation)>,
        renewals: &BTreeMap<NodeId, &Renewal>,
    ) -> BTreeMap<ContentId, &HeldCertificate> {
        let may_invite = |issuer: &NodeId| {
            *issuer == self.root || operators.get(issuer).is_some_and(|may| may.contains(Powers::INVITE))
        };
        let put_out = |node: &NodeId| {
            let keys = self.identities.keys(node);
            let by_another = |key: &NodeId| {
                let revocation = revocations.get(&Target::Node(*key));
                revocation.is_some_and(|(author, _)| !keys.contains(author))
            };
            keys.iter().any(by_another)
        };
        let mut standing = BTreeMap::new();
        let mut reached: BTreeSet<NodeId> = BTreeSet::new();
        let mut queue: VecDeque<NodeId> = VecDeque::new();
        let mut waiting: BTreeMap<NodeId, Vec<&HeldCertificate>> = BTreeMap::new();
        for held in &self.certificates {
            let node = held.member.node;
            match held.member.admitted_by {
                Some(admitter) if !renewals.contains_key(&node) && !self.is_own_and_incomplete(held, admitter) => {
                    waiting.entry(self.identities.origin(&admitter)).or_default().push(held);
                }
                _ => {
                    standing.insert(held.id, *held);
                    queue.push_back(node);
                }
            }
        }
        while let Some(node) = queue.pop_front() {
            if put_out(&node) || !reached.insert(node) {
                continue;
            }
            for held in waiting.remove(&node).unwrap_or_default() {
                let revoked_ticket = held
                    .member
                    .ticket
                    .is_some_and(|(ticket, _)| revocations.contains_key(&Target::Ticket(ticket)));
                if may_invite(&held.member.issuer) && !revoked_ticket {
                    standing.insert(held.id, held);
                    queue.push_back(held.member.node);
                }
            }
        }
        standing
    }

    /// Whether this is the node's own certificate and it has not heard yet of whoever admitted it or issued its ticket. The member
    /// that it joined with knew them.
    fn is_own_and_incomplete(&self, held: &HeldCertificate, admitter: NodeId) -> bool {
        let is_known = || self.certificates.iter().any(|other| other.member.node == admitter);
        held.member.node == self.anchor
            && (!(self.heirs.contains(&admitter) || is_known()) || !self.issuers.contains(&held.member.issuer))
    }

    fn decide(
        &self,
        judgement: &mut Judgement,
        (node, held): (NodeId, &[&HeldCertificate]),
        stands: &[&HeldCertificate],
        renewal: Option<&Renewal>,
    ) {
        let winner = |held: &&HeldCertificate| {
            let (ticket, uses_max) = held.member.ticket?;
            let users = judgement.redeemed.get(&ticket)?;
            let place = users.iter().position(|user| *user == node)?;
            (place >= uses_max as usize).then(|| users[0])
        };
        let keeps: Vec<&HeldCertificate> = stands.iter().copied().filter(|held| winner(held).is_none()).collect();
        let Some(first) = keeps.first().or(stands.first()).or(held.first()) else {
            return;
        };
        let since = keeps.iter().map(|held| held.member.since).max();
        let since = since
            .max(renewal.map(|renewal| renewal.at))
            .unwrap_or(first.member.since);
        let is_operator = judgement.operators.contains_key(&node);
        let mut member = Member {
            until: since.plus(CERTIFICATE_MILLISECONDS),
            ..first.member.clone()
        };
        if let Some(renewal) = renewal {
            (member.name, member.roles) = (renewal.name.clone(), renewal.roles);
            member.residency.clone_from(&renewal.residency);
        }
        member.roles = member.roles.without(Roles::OPERATOR);
        if is_operator {
            member.roles = member.roles.with(Roles::OPERATOR);
        }
        let ends = member
            .until
            .plus(CERTIFICATE_GRACE_MILLISECONDS)
            .plus(CLOCK_SKEW_MILLISECONDS);
        let keys = self.identities.keys(&node);
        let revoked = keys
            .iter()
            .filter_map(|key| judgement.revocations.get(&Target::Node(*key)));
        let why = match revoked.min_by_key(|(by, revocation)| (keys.contains(by), revocation.at, *by)) {
            Some((by, revocation)) if keys.contains(by) => Some(Out::Left {
                reason: revocation.reason.clone(),
                at: revocation.at,
            }),
            Some((by, revocation)) => Some(Out::Revoked {
                by: *by,
                reason: revocation.reason.clone(),
                at: revocation.at,
            }),
            None if stands.is_empty() => Some(Out::NotVouched {
                because: self.broken_by(judgement, first),
            }),
            None if keeps.is_empty() => stands
                .first()
                .and_then(winner)
                .map(|winner| Out::TicketSpent { winner }),
            None if self.at > ends && !is_operator => Some(Out::Ended { at: member.until }),
            None => None,
        };
        match why {
            Some(why) => drop(judgement.former.insert(node, Former { member, why })),
            None => drop(judgement.members.insert(node, member)),
        }
    }

    /// Which revocation a certificate fell with, for people; its admitter when that one fell with another.
    fn broken_by(&self, judgement: &Judgement, held: &HeldCertificate) -> Target {
        let member = &held.member;
        let admitter = member.admitted_by.unwrap_or(member.node);
        let ticket = member.ticket.map(|(ticket, _)| Target::Ticket(ticket));
        let lost = self.heirs.contains(&admitter) && self.identities.origin(&admitter) == admitter;
        match ticket {
            Some(ticket) if judgement.revocations.contains_key(&ticket) => ticket,
            // Its admitter was given another heir in the other half of a split.
            _ if lost => Target::Node(admitter),
            _ if judgement.revocations.contains_key(&Target::Node(admitter)) => Target::Node(admitter),
            _ if member.issuer != self.root && !judgement.operators.contains_key(&member.issuer) => {
                Target::Operator(member.issuer)
            }
            _ => Target::Node(admitter),
        }
    }
}

/// Members are known by the keys that count now, and their old keys are out.
fn rename(judgement: &mut Judgement, identities: &Identities) {
    for (origin, (keys, at)) in identities.chains() {
        let Some((current, old)) = keys.split_last() else {
            continue;
        };
        let known = |member: &Member, node: NodeId| Member { node, ..member.clone() };
        if let Some(member) = judgement.members.remove(origin) {
            for key in old {
                let why = Out::Rotated { to: *current, at: *at };
                let member = known(&member, *key);
                judgement.former.insert(*key, Former { member, why });
            }
            judgement.members.insert(*current, known(&member, *current));
        } else if let Some(Former { member, why }) = judgement.former.remove(origin) {
            for key in keys {
                let (member, why) = (known(&member, *key), why.clone());
                judgement.former.insert(*key, Former { member, why });
            }
        }
    }
}

/// Who has redeemed each ticket, the lowest hash first: clock-free, the same on every node.
fn redeemed(standing: &BTreeMap<ContentId, &HeldCertificate>) -> BTreeMap<NodeId, Vec<NodeId>> {
    let mut users: BTreeMap<NodeId, BTreeSet<(ContentId, NodeId)>> = BTreeMap::new();
    for held in standing.values() {
        if let Some((ticket, _)) = held.member.ticket {
            let node = held.member.node;
            let place = ContentId::of(&[node.0, ticket.0].concat());
            users.entry(ticket).or_default().insert((place, node));
        }
    }
    users
        .into_iter()
        .map(|(ticket, users)| (ticket, users.into_iter().map(|(_, node)| node).collect()))
        .collect()
}
