//! Membership: who belongs to a mesh, proven by signatures alone and merged by a pure function.
//!
//! A [`Certificate`] carries its whole chain (genesis, grant, redemption, admission), so any node verifies it without asking
//! anyone. A [`Roster`] is the set of certificates a node knows; its content depends on that set only, never on the order in
//! which certificates arrived.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ContentId, NodeId, NodeKey, Payload, Signed, SignedError, Timestamp,
    limits::{CLOCK_SKEW_MILLISECONDS, MEMBERS_MAX, NODE_NAME_BYTES_MAX},
};

/// What a node may do in the mesh, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Roles(u8);

impl Roles {
    /// Serves people.
    pub const GATEWAY: Self = Self(1);
    /// Generates answers.
    pub const WORKER: Self = Self(2);
    /// Carries connections of members that cannot reach each other.
    pub const RELAY: Self = Self(4);
    /// Keeps documents.
    pub const STORAGE: Self = Self(8);
    /// Invites and revokes.
    pub const OPERATOR: Self = Self(16);
    /// What a usual node does: everything but being an operator.
    pub const NODE: Self = Self(15);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every role of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The birth of a mesh; its hash is the mesh's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The root key, from which every right comes.
    pub root: NodeId,
    /// Makes two meshes of one root different.
    pub nonce: [u8; 16],
    /// When it was made.
    pub created: Timestamp,
}

impl Payload for Genesis {
    const DOMAIN: &'static str = "starling/genesis/1";
}

impl Genesis {
    /// The id of the mesh that this genesis begins.
    #[must_use]
    pub fn mesh_id(&self) -> ContentId {
        let mut hasher = blake3::Hasher::new_derive_key("starling mesh id 1");
        hasher
            .update(&self.root.0)
            .update(&self.nonce)
            .update(&self.created.0.to_le_bytes());
        ContentId(*hasher.finalize().as_bytes())
    }
}

/// The root's permission to bring in new nodes with one ticket key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketGrant {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The public half of the ticket key.
    pub ticket: NodeId,
    /// What nodes that join with it may do.
    pub roles: Roles,
    /// How many nodes may join with it.
    pub uses_max: u32,
    /// After this no member admits anyone with it.
    pub expires: Timestamp,
}

impl Payload for TicketGrant {
    const DOMAIN: &'static str = "starling/ticket-grant/1";
}

/// A node's use of a ticket, signed with the ticket key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The node that joins; the transport proves that it holds this key.
    pub node: NodeId,
    /// What the operator calls it.
    pub name: String,
}

impl Payload for Redemption {
    const DOMAIN: &'static str = "starling/redemption/1";
}

/// A member's word that it saw a redemption at a time, so that an expired ticket cannot be redeemed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The node admitted.
    pub node: NodeId,
    /// When the member admitted it, by the member's clock.
    pub at: Timestamp,
}

impl Payload for Admission {
    const DOMAIN: &'static str = "starling/admission/1";
}

/// The first node's right, signed with the root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The first node.
    pub node: NodeId,
    /// What the operator calls it.
    pub name: String,
}

impl Payload for Founding {
    const DOMAIN: &'static str = "starling/founding/1";
}

/// How a node came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Proof {
    /// It is the first node.
    Founding(Signed<Founding>),
    /// It redeemed a ticket before a member.
    Ticket {
        /// Signed by the root.
        grant: Signed<TicketGrant>,
        /// Signed by the ticket key.
        redemption: Signed<Redemption>,
        /// Signed by the admitting member.
        admission: Signed<Admission>,
    },
}

/// Everything another node needs to accept a node as a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The mesh's birth, signed by its root.
    pub genesis: Signed<Genesis>,
    /// How the node came in.
    pub proof: Proof,
}

/// What a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// What people call it; not unique.
    pub name: String,
    /// What it may do.
    pub roles: Roles,
    /// Who admitted it; `None` for the first node.
    pub admitted_by: Option<NodeId>,
    /// The ticket it used with the number of uses it allows; `None` for the first node.
    ticket: Option<(NodeId, u32)>,
}

/// Why a node is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// A signature in the chain is bad.
    #[error("a signature in the certificate is bad: {0}")]
    Signature(#[from] SignedError),
    /// It is of another mesh.
    #[error("the certificate or invite belongs to another mesh")]
    OtherMesh,
    /// The parts of the chain do not belong together.
    #[error("the parts of the certificate do not belong together")]
    BrokenChain,
    /// The ticket's time is over.
    #[error("the invite has expired")]
    Expired,
    /// The ticket has been used as often as it may.
    #[error("the invite has been used as often as it may")]
    UsedUp,
    /// The admitting node is not a member this node knows (yet).
    #[error("the certificate was issued by a node that is not a known member")]
    UnknownAdmitter,
    /// The name is empty, too long or holds control characters.
    #[error("a node's name must be 1 to {NODE_NAME_BYTES_MAX} bytes without control characters")]
    BadName,
    /// The roster is full.
    #[error("the mesh has reached {MEMBERS_MAX} members")]
    Full,
}

impl Certificate {
    /// Makes a mesh: its genesis and the certificate of its first node.
    ///
    /// # Errors
    /// When the name is not acceptable.
    pub fn found(
        root: &NodeKey,
        node: NodeId,
        name: &str,
        nonce: [u8; 16],
        now: Timestamp,
    ) -> Result<Self, MembershipError> {
        check_name(name)?;
        let genesis = Genesis {
            root: root.id(),
            nonce,
            created: now,
        };
        let founding = Founding {
            mesh: genesis.mesh_id(),
            node,
            name: name.to_owned(),
        };
        Ok(Self {
            genesis: Signed::sign(root, &genesis)?,
            proof: Proof::Founding(Signed::sign(root, &founding)?),
        })
    }

    /// Checks the whole chain except whether the admitting node is itself a member, which only a [`Roster`] knows.
    ///
    /// # Errors
    /// What is wrong with the chain.
    pub fn verify(&self) -> Result<(ContentId, Member), MembershipError> {
        let genesis = self.genesis.open()?;
        if self.genesis.author() != genesis.root {
            return Err(MembershipError::BrokenChain);
        }
        let mesh = genesis.mesh_id();
        let member = match &self.proof {
            Proof::Founding(founding) => verify_founding(founding, &genesis, mesh)?,
            Proof::Ticket {
                grant,
                redemption,
                admission,
            } => verify_ticket(grant, redemption, admission, &genesis, mesh)?,
        };
        check_name(&member.name)?;
        Ok((mesh, member))
    }
}

fn verify_founding(founding: &Signed<Founding>, genesis: &Genesis, mesh: ContentId) -> Result<Member, MembershipError> {
    let founded = founding.open()?;
    if founding.author() != genesis.root || founded.mesh != mesh {
        return Err(MembershipError::BrokenChain);
    }
    let roles = Roles::NODE.with(Roles::OPERATOR);
    Ok(Member {
        node: founded.node,
        name: founded.name,
        roles,
        admitted_by: None,
        ticket: None,
    })
}

fn verify_ticket(
    grant: &Signed<TicketGrant>,
    redemption: &Signed<Redemption>,
    admission: &Signed<Admission>,
    genesis: &Genesis,
    mesh: ContentId,
) -> Result<Member, MembershipError> {
    let granted = grant.open()?;
    let redeemed = redemption.open()?;
    let admitted = admission.open()?;
    let one_mesh = granted.mesh == mesh && redeemed.mesh == mesh && admitted.mesh == mesh;
    let chained = grant.author() == genesis.root
        && redemption.author() == granted.ticket
        && admitted.node == redeemed.node
        && admission.author() != redeemed.node;
    if !(one_mesh && chained) {
        return Err(MembershipError::BrokenChain);
    }
    if admitted.at > granted.expires.plus(CLOCK_SKEW_MILLISECONDS) {
        return Err(MembershipError::Expired);
    }
    Ok(Member {
        node: redeemed.node,
        name: redeemed.name,
        roles: granted.roles,
        admitted_by: Some(admission.author()),
        ticket: Some((granted.ticket, granted.uses_max)),
    })
}

fn check_name(name: &str) -> Result<(), MembershipError> {
    let acceptable =
        !name.trim().is_empty() && name.len() <= NODE_NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if acceptable {
        Ok(())
    } else {
        Err(MembershipError::BadName)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    struct World {
        root: NodeKey,
        first: NodeKey,
        roster: Roster,
    }

    fn world() -> World {
        let root = NodeKey::from_seed(&[1; 32]);
        let first = NodeKey::from_seed(&[2; 32]);
        let certificate = Certificate::found(&root, first.id(), "first", [0; 16], NOW).unwrap();
        World {
            root,
            first,
            roster: Roster::new(certificate).unwrap(),
        }
    }

    fn grant(world: &World, ticket: &NodeKey, uses_max: u32, expires: Timestamp) -> Signed<TicketGrant> {
        let mesh = world.roster.mesh();
        Signed::sign(
            &world.root,
            &TicketGrant {
                mesh,
                ticket: ticket.id(),
                roles: Roles::NODE,
                uses_max,
                expires,
            },
        )
        .unwrap()
    }

    fn redemption(world: &World, ticket: &NodeKey, node: NodeId) -> Signed<Redemption> {
        Signed::sign(
            ticket,
            &Redemption {
                mesh: world.roster.mesh(),
                node,
                name: "new".into(),
            },
        )
        .unwrap()
    }

    #[test]
    fn a_ticket_admits_once_and_every_other_node_agrees() {
        let mut world = world();
        let ticket = NodeKey::from_seed(&[9; 32]);
        let (second, third) = (NodeKey::from_seed(&[3; 32]), NodeKey::from_seed(&[4; 32]));
        let grant = grant(&world, &ticket, 1, NOW.plus(1000));
        let redeemed = redemption(&world, &ticket, second.id());
        let mut other = world.roster.clone();
        let certificate = world
            .roster
            .admit(&world.first, second.id(), grant.clone(), redeemed.clone(), NOW)
            .unwrap();
        assert_eq!(other.insert(certificate.clone()), Ok(true));
        assert_eq!(other.insert(certificate.clone()), Ok(false));
        assert_eq!(other.get(&second.id()).unwrap().name, "new");
        // The same node asking again gets the same certificate; another node does not get in.
        assert_eq!(
            world
                .roster
                .admit(&world.first, second.id(), grant.clone(), redeemed, NOW),
            Ok(certificate)
        );
        let redeemed = redemption(&world, &ticket, third.id());
        assert_eq!(
            world.roster.admit(&world.first, third.id(), grant, redeemed, NOW),
            Err(MembershipError::UsedUp)
        );
    }

    #[test]
    fn expired_foreign_stolen_and_self_made_tickets_are_refused() {
        let mut world = world();
        let ticket = NodeKey::from_seed(&[9; 32]);
        let node = NodeKey::from_seed(&[3; 32]).id();
        let thief = NodeKey::from_seed(&[5; 32]).id();
        let redeemed = redemption(&world, &ticket, node);
        let expired = grant(&world, &ticket, 1, NOW);
        let late = NOW.plus(1);
        let first = world.first.clone();
        let mut admit = |connected, grant, redemption: &Signed<Redemption>, now| {
            world
                .roster
                .admit(&first, connected, grant, redemption.clone(), now)
                .unwrap_err()
        };
        assert_eq!(admit(node, expired, &redeemed, late), MembershipError::Expired);
        let mesh = world.roster.mesh();
        let usual = TicketGrant {
            mesh,
            ticket: ticket.id(),
            roles: Roles::NODE,
            uses_max: 1,
            expires: NOW.plus(1),
        };
        let good = Signed::sign(&world.root, &usual).unwrap();
        let first = world.first.clone();
        let mut admit = |connected, grant, redemption: &Signed<Redemption>, now| {
            world
                .roster
                .admit(&first, connected, grant, redemption.clone(), now)
                .unwrap_err()
        };
        assert_eq!(admit(thief, good, &redeemed, NOW), MembershipError::BrokenChain);
        let self_made = Signed::sign(&ticket, &usual).unwrap();
        assert_eq!(admit(node, self_made, &redeemed, NOW), MembershipError::BrokenChain);
        let foreign = Signed::sign(
            &world.root,
            &TicketGrant {
                mesh: ContentId([7; 32]),
                ..usual
            },
        )
        .unwrap();
        assert_eq!(admit(node, foreign, &redeemed, NOW), MembershipError::OtherMesh);
    }

    #[test]
    fn rosters_merge_to_the_same_members_in_any_order() {
        let world = world();
        let ticket = NodeKey::from_seed(&[9; 32]);
        let grant = grant(&world, &ticket, 2, NOW.plus(1000));
        // Both halves of a split admit two nodes each with a ticket for two.
        let mut certificates = Vec::new();
        let mut halves = [world.roster.clone(), world.roster.clone()];
        for (index, seed) in [11u8, 12, 13, 14].into_iter().enumerate() {
            let node = NodeKey::from_seed(&[seed; 32]).id();
            let redeemed = redemption(&world, &ticket, node);
            certificates.push(
                halves[index / 2]
                    .admit(&world.first, node, grant.clone(), redeemed, NOW)
                    .unwrap(),
            );
        }
        let merged = |order: &[usize]| {
            let mut roster = world.roster.clone();
            for &index in order {
                let _ = roster.insert(certificates[index].clone());
            }
            roster.members().map(|member| member.node).collect::<Vec<_>>()
        };
        let reference = merged(&[0, 1, 2, 3]);
        assert_eq!(reference.len(), 3, "the first node and two winners");
        for order in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            assert_eq!(merged(&order), reference);
        }
    }

    #[test]
    fn an_unknown_admitter_waits_until_it_is_known() {
        let mut world = world();
        let ticket = NodeKey::from_seed(&[9; 32]);
        let grant = grant(&world, &ticket, 2, NOW.plus(1000));
        let (second, third) = (NodeKey::from_seed(&[3; 32]), NodeKey::from_seed(&[4; 32]));
        let mut elsewhere = world.roster.clone();
        let redeemed = redemption(&world, &ticket, second.id());
        let of_second = world
            .roster
            .admit(&world.first, second.id(), grant.clone(), redeemed, NOW)
            .unwrap();
        let redeemed = redemption(&world, &ticket, third.id());
        let of_third = world.roster.admit(&second, third.id(), grant, redeemed, NOW).unwrap();
        assert_eq!(
            elsewhere.insert(of_third.clone()),
            Err(MembershipError::UnknownAdmitter)
        );
        assert!(elsewhere.insert_all(vec![of_third, of_second]).is_empty());
        assert_eq!(elsewhere.members().count(), 3);
    }
}
