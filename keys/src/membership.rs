//! Membership: who belongs to a mesh, proven by signatures alone and merged by a pure function.
//!
//! A [`Certificate`] carries its chain (genesis, grant, redemption, admission), so any node verifies it without asking anyone.
//! A [`Decree`] is what the root or an operator decided since: revocations, renewals, and who is an operator. Both are
//! [`Evidence`], and a [`Roster`] is the set of it that a node knows: who is a member depends on that set and on the time only,
//! never on the order in which evidence arrived. What a member may do ([`Roles`]) and where it stands ([`Residency`]) are signed
//! with the root's or an operator's key, so a node cannot give itself another role or another country.

mod chain;
mod deciding;
mod decree;
mod evidence;
mod judgement;
mod residency;
mod roles;
mod roster;
mod succession;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::chain::UnlabelledGrant;
pub use self::{
    chain::{Admission, Founding, Genesis, Redemption, TicketGrant},
    decree::{Decree, OperatorGrant, Powers, Renewal, Revocation, Target},
    evidence::{Evidence, EvidenceError},
    judgement::{Former, Out},
    residency::{Residency, ResidencyError},
    roles::{Roles, RolesError},
    roster::{Roster, Taken},
    succession::Succession,
};
use crate::{
    ContentId, NodeId, NodeKey, Signed, SignedError, Timestamp,
    limits::{
        CERTIFICATE_MILLISECONDS, CERTIFICATE_RENEWAL_MILLISECONDS, CLOCK_SKEW_MILLISECONDS, DECREES_MAX, MEMBERS_MAX,
        NODE_NAME_BYTES_MAX, REASON_BYTES_MAX,
    },
};

/// How a node came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Proof {
    /// It is the first node.
    Founding(Signed<Founding>),
    /// It redeemed a ticket before a member.
    Ticket {
        /// Signed by the root or an operator.
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
    /// Where it stands, if the operator said so.
    pub residency: Option<Residency>,
    /// Who admitted it; `None` for the first node.
    pub admitted_by: Option<NodeId>,
    /// Since when.
    pub since: Timestamp,
    /// When its certificate ends unless it is renewed.
    pub until: Timestamp,
    /// The key that let it in: the root's, or an operator's.
    issuer: NodeId,
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
    /// The key that issued the ticket or signed the decree is not one that this node knows as an operator's (yet).
    #[error("it was signed by a key that is not a known operator of this mesh")]
    UnknownOperator,
    /// The key may not decide that.
    #[error(
        "this key may not do that: only the root may make or unmake operators, and an operator needs the power for it"
    )]
    NotAllowed,
    /// The node, or the ticket, was revoked.
    #[error("it was revoked")]
    Revoked,
    /// The node itself has left.
    #[error("this node has left the mesh")]
    Left,
    /// What brought the node in was revoked.
    #[error("what brought this node in was revoked, and no operator has vouched for it; ask an operator")]
    NotVouched,
    /// The node's certificate has ended.
    #[error("this node's certificate has ended; ask an operator to renew it")]
    Ended,
    /// There is no such member, ticket or operator.
    #[error("there is no such member, ticket or operator")]
    NoSuchTarget,
    /// The reason is too long or holds control characters.
    #[error("a reason has at most {REASON_BYTES_MAX} bytes and no control characters")]
    BadReason,
    /// The name is empty, too long or holds control characters.
    #[error("a node's name must be 1 to {NODE_NAME_BYTES_MAX} bytes without control characters")]
    BadName,
    /// The roster is full.
    #[error("the mesh has reached {MEMBERS_MAX} members")]
    Full,
    /// The new key is somebody's already.
    #[error("that key belongs to a node of this mesh already")]
    KeyInUse,
    /// The node's key was replaced by another.
    #[error("this key was replaced by another one")]
    Rotated,
    /// There are too many decrees.
    #[error("the mesh has reached {DECREES_MAX} revocations and renewals")]
    TooManyDecrees,
}

impl Member {
    /// Whether its certificate should be renewed now.
    #[must_use]
    pub const fn is_due(&self, now: Timestamp) -> bool {
        self.until.since(now) <= CERTIFICATE_MILLISECONDS - CERTIFICATE_RENEWAL_MILLISECONDS
    }

    /// The ticket it came in with; `None` for the first node.
    #[must_use]
    pub fn ticket(&self) -> Option<NodeId> {
        self.ticket.map(|(ticket, _)| ticket)
    }
}

impl Certificate {
    /// Makes a mesh: its genesis and the certificate of its first node, which says nothing about where that stands.
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
        Self::found_in(None, root, node, name, nonce, now)
    }

    /// Makes a mesh whose first node stands in `residency`.
    ///
    /// # Errors
    /// When the name is not acceptable.
    pub fn found_in(
        residency: Option<Residency>,
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
            residency,
        };
        Ok(Self {
            genesis: Signed::sign(root, &genesis)?,
            proof: Proof::Founding(founding.sign(root)?),
        })
    }

    /// Checks the whole chain except whether the admitting node is itself a member and whether a ticket that the root did not sign
    /// was issued by an operator, which only a [`Roster`] knows.
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
        residency: founded.residency,
        admitted_by: None,
        since: genesis.created,
        until: genesis.created.plus(CERTIFICATE_MILLISECONDS),
        issuer: genesis.root,
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
    let chained =
        redemption.author() == granted.ticket && admitted.node == redeemed.node && admission.author() != redeemed.node;
    if !(one_mesh && chained) {
        return Err(MembershipError::BrokenChain);
    }
    if admitted.at > granted.expires.plus(CLOCK_SKEW_MILLISECONDS) {
        return Err(MembershipError::Expired);
    }
    if granted.roles.contains(Roles::OPERATOR) && grant.author() != genesis.root {
        return Err(MembershipError::NotAllowed);
    }
    Ok(Member {
        node: redeemed.node,
        name: redeemed.name,
        roles: granted.roles,
        residency: granted.residency,
        admitted_by: Some(admission.author()),
        since: admitted.at,
        until: admitted.at.plus(CERTIFICATE_MILLISECONDS),
        issuer: grant.author(),
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
