//! The members a node knows: a set of evidence, and who is a member by it.

mod because;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Admission, Certificate, Decree, Evidence, Former, Genesis, Member, MembershipError, Out, Powers, Proof, Redemption,
    Revocation, Roles, Target, TicketGrant,
    decree::Opened,
    judgement::{Case, Judgement, named_operators},
    succession::{self, Identities, Succession},
};
use crate::{
    ContentId, NodeId, NodeKey, Signed, Timestamp,
    limits::{CERTIFICATES_PER_NODE_MAX, DECREES_MAX, MEMBERS_MAX},
};

/// The members a node knows. A pure value: the same evidence and time give the same roster everywhere. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Roster {
    mesh: ContentId,
    /// The genesis names it; [`Roster::root`] is the one that counts now.
    first_root: NodeId,
    genesis: Signed<Genesis>,
    anchor: NodeId,
    certificates: BTreeMap<NodeId, Vec<Arc<HeldCertificate>>>,
    decrees: BTreeMap<Slot, Arc<HeldDecree>>,
    /// By the first key of each; the one that counts is the first.
    successions: BTreeMap<NodeId, succession::Held<ContentId>>,
    /// Every key that any of them brought into the place of another.
    heirs: BTreeSet<NodeId>,
    /// Who was ever named an operator.
    named: BTreeMap<NodeId, Powers>,
    at: Timestamp,
    judged: Arc<Judgement>,
    digest: ContentId,
}

/// A certificate whose chain was verified.
#[derive(Debug)]
pub(super) struct HeldCertificate {
    pub(super) id: ContentId,
    pub(super) certificate: Certificate,
    pub(super) member: Member,
}

/// A decree whose signature was verified.
#[derive(Debug)]
pub(super) struct HeldDecree {
    pub(super) id: ContentId,
    pub(super) decree: Decree,
    pub(super) author: NodeId,
    pub(super) opened: Opened,
}

/// What a decree is about: of several in one slot one is kept, so that nobody can make the set grow for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Revocation(Target, NodeId),
    Operator(NodeId, u8),
    Renewal(NodeId, NodeId),
}

/// What became of evidence that another node sent.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// What was news, to be passed on.
    pub news: Vec<Evidence>,
    /// What was refused, with the reason. [`MembershipError::UnknownAdmitter`] and [`MembershipError::UnknownOperator`] may succeed
    /// later, when more is known.
    pub refused: Vec<(Evidence, MembershipError)>,
}

impl Roster {
    /// A roster that trusts `certificate`'s mesh and holds it as its first member (the local node's own).
    ///
    /// # Errors
    /// When the certificate does not verify.
    pub fn new(certificate: Certificate) -> Result<Self, MembershipError> {
        let (mesh, member) = certificate.verify()?;
        let genesis = certificate.genesis.clone();
        let mut roster = Self {
            mesh,
            first_root: genesis.author(),
            genesis,
            anchor: member.node,
            certificates: BTreeMap::new(),
            decrees: BTreeMap::new(),
            successions: BTreeMap::new(),
            heirs: BTreeSet::new(),
            named: BTreeMap::new(),
            at: Timestamp(0),
            judged: Arc::default(),
            digest: ContentId([0; 32]),
        };
        roster.hold_certificate(certificate, member);
        roster.judge();
        Ok(roster)
    }

    /// The mesh.
    #[must_use]
    pub const fn mesh(&self) -> ContentId {
        self.mesh
    }

    /// The mesh's root key that counts now.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.judged.identities.current(&self.first_root)
    }

    /// The member with this id.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.judged.members.get(node)
    }

    /// A node that was a member, and why it is one no longer.
    #[must_use]
    pub fn former(&self, node: &NodeId) -> Option<&Former> {
        self.judged.former.get(node)
    }

    /// A certificate of the node with this id, member or not.
    #[must_use]
    pub fn certificate(&self, node: &NodeId) -> Option<&Certificate> {
        let held = self.certificates.get(&self.judged.identities.origin(node))?.first()?;
        Some(&held.certificate)
    }

    /// Every member in order of id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.judged.members.values()
    }

    /// Every node that was a member, in order of id.
    pub fn formers(&self) -> impl Iterator<Item = &Former> {
        self.judged.former.values()
    }

    /// Every certificate in order of node, also of nodes that are members no longer: others came in by them.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.values().flatten().map(|held| &held.certificate)
    }

    /// The revocations that count, with whoever signed them.
    pub fn revocations(&self) -> impl Iterator<Item = (NodeId, &Revocation)> {
        self.judged
            .revocations
            .values()
            .map(|(author, revocation)| (*author, revocation))
    }

    /// Whether anything was decided since the mesh was made, besides admissions.
    #[must_use]
    pub fn has_decrees(&self) -> bool {
        !self.decrees.is_empty() || !self.successions.is_empty()
    }

    /// What the key with this id may do.
    #[must_use]
    pub fn powers(&self, key: &NodeId) -> Powers {
        if *key == self.root() {
            return Powers::ALL;
        }
        if self.judged.identities.current(key) != *key {
            return Powers::NONE;
        }
        self.judged.operators.get(key).copied().unwrap_or(Powers::NONE)
    }

    /// Hash over everything this roster is computed from: equal digests mean equal evidence.
    #[must_use]
    pub const fn digest(&self) -> ContentId {
        self.digest
    }

    /// The id of every piece of evidence, in order.
    #[must_use]
    pub fn evidence_ids(&self) -> BTreeSet<ContentId> {
        let certificates = self.certificates.values().flatten().map(|held| held.id);
        let successions = self.successions.values().flatten().map(|(_, id)| *id);
        let decrees = self.decrees.values().map(|held| held.id);
        certificates.chain(decrees).chain(successions).collect()
    }

    /// Every piece of evidence with its id, decrees first: who is out matters more than who is in.
    pub fn evidence(&self) -> impl Iterator<Item = (ContentId, Evidence)> {
        let decrees = self.decrees.values();
        let decrees = decrees.map(|held| (held.id, Evidence::Decree(held.decree.clone())));
        let successions = self.successions.values().flatten();
        let decrees = decrees
            .chain(successions.map(|(succession, id)| (*id, Evidence::Decree(Decree::Succession(succession.clone())))));
        let certificates = self.certificates.values().flatten();
        decrees.chain(certificates.map(|held| (held.id, Evidence::Certificate(held.certificate.clone()))))
    }

    /// Takes in a certificate that another node sent. Returns whether the roster changed.
    ///
    /// # Errors
    /// Why it is refused; [`MembershipError::UnknownAdmitter`] and [`MembershipError::UnknownOperator`] may succeed later.
    pub fn insert(&mut self, certificate: Certificate) -> Result<bool, MembershipError> {
        let changed = self.hold(&Evidence::Certificate(certificate))?;
        if changed {
            self.judge();
        }
        Ok(changed)
    }

    /// Takes in certificates in any order; those that cannot be placed are left out and returned.
    pub fn insert_all(&mut self, certificates: Vec<Certificate>) -> Vec<(Certificate, MembershipError)> {
        let evidence = certificates.into_iter().map(Evidence::Certificate).collect();
        let refused = self.take(evidence).refused.into_iter();
        refused
            .filter_map(|(evidence, error)| match evidence {
                Evidence::Certificate(certificate) => Some((certificate, error)),
                Evidence::Decree(_) => None,
            })
            .collect()
    }

    /// Takes in evidence in any order.
    pub fn take(&mut self, evidence: Vec<Evidence>) -> Taken {
        let mut taken = Taken::default();
        let mut waiting = evidence;
        loop {
            let before = waiting.len();
            taken.refused.clear();
            for evidence in waiting {
                match self.hold(&evidence) {
                    Ok(true) => taken.news.push(evidence),
                    Ok(false) => {}
                    Err(error) => taken.refused.push((evidence, error)),
                }
            }
            // Each round takes in at least one piece that others wait for, or is the last.
            if taken.refused.len() == before || taken.refused.is_empty() {
                break;
            }
            waiting = taken.refused.iter().map(|(evidence, _)| evidence.clone()).collect();
        }
        if !taken.news.is_empty() {
            self.judge();
        }
        taken
    }

    /// Judges anew at a later time: certificates end. Returns whether anything changed. Time never runs backwards here.
    pub fn advance(&mut self, now: Timestamp) -> bool {
        if now <= self.at {
            return false;
        }
        self.at = now;
        let before = Arc::clone(&self.judged);
        self.judge();
        before != self.judged
    }

    fn judge(&mut self) {
        let successions = self.successions.values().flatten().map(|(succession, _)| succession);
        let identities = Identities::new(successions, |key| self.certificates.contains_key(key));
        let case = Case {
            root: identities.current(&self.first_root),
            roots: self.roots().collect(),
            anchor: self.anchor,
            certificates: self.certificates.values().flatten().map(Arc::as_ref).collect(),
            decrees: self.decrees.values().map(Arc::as_ref).collect(),
            identities,
            issuers: self.named.keys().copied().chain(self.roots()).collect(),
            heirs: &self.heirs,
            at: self.at,
        };
        self.judged = Arc::new(case.judge());
        let mut hasher = blake3::Hasher::new_derive_key("starling evidence 1");
        for id in self.evidence_ids() {
            hasher.update(&id.0);
        }
        self.digest = ContentId(*hasher.finalize().as_bytes());
    }

    /// Verifies a piece of evidence and keeps it; whether it was news.
    fn hold(&mut self, evidence: &Evidence) -> Result<bool, MembershipError> {
        match evidence {
            Evidence::Certificate(certificate) => {
                let (mesh, member) = certificate.verify()?;
                if mesh != self.mesh {
                    return Err(MembershipError::OtherMesh);
                }
                self.check_certificate(&member)?;
                Ok(self.hold_certificate(certificate.clone(), member))
            }
            Evidence::Decree(decree) => self.hold_decree(decree),
        }
    }

    /// Only what can never become untrue is asked here; what may (a revocation) is judged, so that the order does not matter.
    fn check_certificate(&self, member: &Member) -> Result<(), MembershipError> {
        if !self.was_root(&member.issuer) && !self.named.contains_key(&member.issuer) {
            return Err(MembershipError::UnknownOperator);
        }
        let known = |node: &NodeId| self.certificates.contains_key(node);
        if member.admitted_by.is_some_and(|admitter| !self.was_somebody(&admitter)) {
            return Err(MembershipError::UnknownAdmitter);
        }
        if !known(&member.node) && self.certificates.len() >= MEMBERS_MAX {
            return Err(MembershipError::Full);
        }
        Ok(())
    }

    fn hold_certificate(&mut self, certificate: Certificate, member: Member) -> bool {
        let id = Evidence::Certificate(certificate.clone()).id();
        let is_operator = member.roles.contains(Roles::OPERATOR);
        let of_node = self.certificates.entry(member.node).or_default();
        let Err(place) = of_node.binary_search_by_key(&id, |held| held.id) else {
            return false;
        };
        if place >= CERTIFICATES_PER_NODE_MAX {
            return false;
        }
        let held = HeldCertificate {
            id,
            certificate,
            member,
        };
        of_node.insert(place, Arc::new(held));
        of_node.truncate(CERTIFICATES_PER_NODE_MAX);
        if is_operator {
            self.name_operators();
        }
        true
    }

    fn hold_decree(&mut self, decree: &Decree) -> Result<bool, MembershipError> {
        let (mesh, opened) = decree.open()?;
        let author = decree.author();
        if mesh != self.mesh {
            return Err(MembershipError::OtherMesh);
        }
        if let Opened::Succession(succession) = opened {
            return self.hold_succession(succession, Evidence::Decree(decree.clone()).id());
        }
        let held = HeldDecree {
            id: Evidence::Decree(decree.clone()).id(),
            decree: decree.clone(),
            author,
            opened,
        };
        self.check_decree(&held)?;
        let slot = held.slot();
        match self.decrees.get(&slot) {
            Some(known) if !held.replaces(known) => return Ok(false),
            None if self.decrees.len() >= DECREES_MAX => return Err(MembershipError::TooManyDecrees),
            _ => {}
        }
        self.decrees.insert(slot, Arc::new(held));
        if let Slot::Operator(..) = slot {
            self.name_operators();
        }
        Ok(true)
    }

    fn hold_succession(&mut self, succession: Succession, id: ContentId) -> Result<bool, MembershipError> {
        let origin = succession.origin();
        if !self.certificates.contains_key(&origin) && origin != self.first_root {
            return Err(MembershipError::UnknownAdmitter);
        }
        let held = self.successions.entry(origin).or_default();
        let is_news = succession::insert(held, succession, id);
        if is_news {
            let all = self.successions.values().flatten();
            self.heirs = all.flat_map(|(succession, _)| succession.keys().skip(1)).collect();
            self.name_operators();
        }
        Ok(is_news)
    }

    /// Whether a key was ever a member's, so that it may have admitted others.
    fn was_somebody(&self, key: &NodeId) -> bool {
        self.certificates.contains_key(key) || self.heirs.contains(key)
    }

    /// Every key that is the root's, or was, or would be if another succession counted.
    fn roots(&self) -> impl Iterator<Item = NodeId> + '_ {
        let successions = self.successions.get(&self.first_root).into_iter().flatten();
        let heirs = successions.flat_map(|(succession, _)| succession.keys());
        std::iter::once(self.first_root).chain(heirs)
    }

    fn was_root(&self, key: &NodeId) -> bool {
        self.roots().any(|root| root == *key)
    }

    /// As [`Self::check_certificate`]: whether its author could ever decide such a thing.
    fn check_decree(&self, held: &HeldDecree) -> Result<(), MembershipError> {
        let author = &held.author;
        let leaves =
            matches!(&held.opened, Opened::Revocation(revocation) if revocation.target == Target::Node(*author));
        if self.was_root(author) {
            return Ok(());
        }
        match &held.opened {
            Opened::OperatorGrant(_) => Err(MembershipError::NotAllowed),
            _ if leaves && self.was_somebody(author) => Ok(()),
            _ if self.named.contains_key(author) => Ok(()),
            _ => Err(MembershipError::UnknownOperator),
        }
    }

    fn name_operators(&mut self) {
        let certificates: Vec<&HeldCertificate> = self.certificates.values().flatten().map(Arc::as_ref).collect();
        let decrees: Vec<&HeldDecree> = self.decrees.values().map(Arc::as_ref).collect();
        let mut named = named_operators(|key| self.was_root(key), &certificates, &decrees);
        for (succession, _) in self.successions.values().flatten() {
            let powers = succession
                .keys()
                .filter_map(|key| named.get(&key).copied())
                .reduce(Powers::with);
            if let Some(powers) = powers {
                named.extend(succession.keys().map(|key| (key, powers)));
            }
        }
        self.named = named;
    }

    /// Why a node is not a member, as an error for whoever asks to be one.
    #[must_use]
    pub fn why_not(&self, node: &NodeId) -> MembershipError {
        match self.former(node).map(|former| &former.why) {
            Some(Out::Revoked { .. }) => MembershipError::Revoked,
            Some(Out::Left { .. }) => MembershipError::Left,
            Some(Out::TicketSpent { .. }) => MembershipError::UsedUp,
            Some(Out::NotVouched { .. }) => MembershipError::NotVouched,
            Some(Out::Ended { .. }) => MembershipError::Ended,
            Some(Out::Rotated { .. }) => MembershipError::Rotated,
            None => MembershipError::BrokenChain,
        }
    }

    /// A member's decision about a node that shows a grant and a redemption: the certificate to hand out.
    ///
    /// # Errors
    /// Why the node is not admitted.
    pub fn admit(
        &mut self,
        admitter: &NodeKey,
        connected: NodeId,
        grant: Signed<TicketGrant>,
        redemption: Signed<Redemption>,
        now: Timestamp,
    ) -> Result<Certificate, MembershipError> {
        let granted = grant.open()?;
        if granted.mesh != self.mesh {
            return Err(MembershipError::OtherMesh);
        }
        if now > granted.expires {
            return Err(MembershipError::Expired);
        }
        // A redemption is for the key that the transport proved, so that a copied one is worthless.
        if redemption.open()?.node != connected {
            return Err(MembershipError::BrokenChain);
        }
        if !self.powers(&grant.author()).contains(Powers::INVITE) {
            return Err(MembershipError::UnknownOperator);
        }
        let revoked = |target| self.judged.revocations.contains_key(&target);
        if revoked(Target::Node(connected)) || revoked(Target::Ticket(granted.ticket)) {
            return Err(MembershipError::Revoked);
        }
        if let (Some(_), Some(known)) = (self.get(&connected), self.certificate(&connected)) {
            return Ok(known.clone());
        }
        let users = self.judged.redeemed.get(&granted.ticket);
        if users.map_or(0, Vec::len) >= granted.uses_max as usize {
            return Err(MembershipError::UsedUp);
        }
        let admission = Signed::sign(
            admitter,
            &Admission {
                mesh: self.mesh,
                node: connected,
                at: now,
            },
        )?;
        let certificate = Certificate {
            genesis: self.genesis.clone(),
            proof: Proof::Ticket {
                grant,
                redemption,
                admission,
            },
        };
        self.insert(certificate.clone())?;
        if self.get(&connected).is_none() {
            return Err(self.why_not(&connected));
        }
        Ok(certificate)
    }

    /// The succession that brought a key into its place, if one did.
    pub(super) fn succession_of(&self, key: &NodeId) -> Option<&Succession> {
        let held = self.successions.get(&self.judged.identities.origin(key))?;
        held.first()
            .map(|(succession, _)| succession)
            .filter(|succession| succession.heir() == *key)
    }

    /// Whether a key is, or ever was, anybody's here.
    pub(super) fn is_taken(&self, key: &NodeId) -> bool {
        self.was_somebody(key) || self.was_root(key)
    }

    pub(super) fn judged(&self) -> &Judgement {
        &self.judged
    }

    /// How many revocations the key has signed, as far as this node knows.
    pub(super) fn revocations_by(&self, author: &NodeId) -> u64 {
        let sequences = self.decrees.values().filter_map(|held| match &held.opened {
            Opened::Revocation(revocation) if held.author == *author => Some(revocation.sequence),
            _ => None,
        });
        sequences.max().unwrap_or(0)
    }
}

impl HeldDecree {
    fn slot(&self) -> Slot {
        match &self.opened {
            Opened::Revocation(revocation) => Slot::Revocation(revocation.target, self.author),
            Opened::OperatorGrant(grant) => Slot::Operator(grant.operator, grant.may.bits()),
            Opened::Renewal(renewal) => Slot::Renewal(renewal.node, self.author),
            // Held apart from the decrees.
            Opened::Succession(succession) => Slot::Renewal(succession.heir(), self.author),
        }
    }

    /// Whether this one is kept instead of another of its slot; the same choice in whichever order they come.
    fn replaces(&self, known: &Self) -> bool {
        match (&self.opened, &known.opened) {
            (Opened::Renewal(new), Opened::Renewal(old)) => (new.at, self.id) > (old.at, known.id),
            _ => self.id < known.id,
        }
    }
}
