//! The members a node knows, merged by a pure function.

use std::collections::BTreeMap;

use super::{Admission, Certificate, Member, MembershipError, Proof, Redemption, TicketGrant};
use crate::{ContentId, NodeId, NodeKey, Signed, Timestamp, limits::MEMBERS_MAX};

/// The members a node knows. A pure value: the same set of certificates gives the same roster everywhere.
#[derive(Clone, Debug)]
pub struct Roster {
    mesh: ContentId,
    members: BTreeMap<NodeId, (Member, Certificate)>,
}

impl Roster {
    /// A roster that trusts `certificate`'s mesh and holds it as its first member (the local node's own).
    ///
    /// # Errors
    /// When the certificate does not verify.
    pub fn new(certificate: Certificate) -> Result<Self, MembershipError> {
        let (mesh, member) = certificate.verify()?;
        Ok(Self {
            mesh,
            members: BTreeMap::from([(member.node, (member, certificate))]),
        })
    }

    /// The mesh.
    #[must_use]
    pub const fn mesh(&self) -> ContentId {
        self.mesh
    }

    /// The member with this id.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node).map(|(member, _)| member)
    }

    /// The certificate of the member with this id.
    #[must_use]
    pub fn certificate(&self, node: &NodeId) -> Option<&Certificate> {
        self.members.get(node).map(|(_, certificate)| certificate)
    }

    /// Every member in order of id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|(member, _)| member)
    }

    /// Every certificate in order of id.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.members.values().map(|(_, certificate)| certificate)
    }

    /// Takes in a certificate that another node sent. Returns whether the roster changed.
    ///
    /// # Errors
    /// Why it is refused; [`MembershipError::UnknownAdmitter`] may succeed later, when the admitting member is known.
    pub fn insert(&mut self, certificate: Certificate) -> Result<bool, MembershipError> {
        let (mesh, member) = certificate.verify()?;
        if mesh != self.mesh {
            return Err(MembershipError::OtherMesh);
        }
        if self.members.contains_key(&member.node) {
            return Ok(false);
        }
        if member
            .admitted_by
            .is_some_and(|admitter| !self.members.contains_key(&admitter))
        {
            return Err(MembershipError::UnknownAdmitter);
        }
        if self.members.len() >= MEMBERS_MAX {
            return Err(MembershipError::Full);
        }
        let (node, ticket) = (member.node, member.ticket);
        self.members.insert(node, (member, certificate));
        if let Some((ticket, uses_max)) = ticket {
            self.keep_winners(ticket, uses_max);
        }
        Ok(self.members.contains_key(&node))
    }

    /// Takes in certificates in any order; those that cannot be placed are left out and returned.
    pub fn insert_all(&mut self, certificates: Vec<Certificate>) -> Vec<(Certificate, MembershipError)> {
        let mut waiting = certificates;
        loop {
            let before = waiting.len();
            let mut refused = Vec::new();
            for certificate in waiting {
                if let Err(error) = self.insert(certificate.clone()) {
                    refused.push((certificate, error));
                }
            }
            // Each round admits at least one admitter or ends, so the loop is bounded by the number of certificates.
            if refused.len() == before || refused.is_empty() {
                return refused;
            }
            waiting = refused.into_iter().map(|(certificate, _)| certificate).collect();
        }
    }

    /// A ticket redeemed too often (on both sides of a split) keeps the redemptions with the lowest hash: clock-free, the same
    /// on every node.
    fn keep_winners(&mut self, ticket: NodeId, uses_max: u32) {
        let mut users: Vec<(ContentId, NodeId)> = self
            .members
            .values()
            .filter(|(member, _)| member.ticket.is_some_and(|(used, _)| used == ticket))
            .map(|(member, _)| (ContentId::of(&[member.node.0, ticket.0].concat()), member.node))
            .collect();
        users.sort_unstable();
        for (_, loser) in users.into_iter().skip(uses_max as usize) {
            self.members.remove(&loser);
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
        let genesis = self
            .certificates()
            .next()
            .map(|certificate| certificate.genesis.clone())
            .ok_or(MembershipError::OtherMesh)?;
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
        if let Some(known) = self.certificate(&connected) {
            return Ok(known.clone());
        }
        let uses = self
            .members()
            .filter(|member| member.ticket.is_some_and(|(used, _)| used == granted.ticket))
            .count();
        if uses >= granted.uses_max as usize {
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
            genesis,
            proof: Proof::Ticket {
                grant,
                redemption,
                admission,
            },
        };
        self.insert(certificate.clone())?;
        Ok(certificate)
    }
}
