//! What the root and the operators decide after a mesh was made: who operates it, who stays longer, and who is out.
//!
//! Decrees only ever add up: none takes another back, so nodes that have seen the same ones agree without asking each other and
//! without comparing clocks. What they amount to is computed in [`super::judgement`].
//!
//! ## Who may decide what
//! The *root* may do everything. An *operator* is a key that the root has named: the first node, a node that came in with an
//! operator's invite of the root, or whoever an [`OperatorGrant`] names. Operators invite, renew and revoke nodes and tickets
//! according to their [`Powers`]. **Only the root makes and unmakes operators**: so two operators cannot throw each other out, in
//! whichever order their words arrive, and a stolen operator key cannot take the mesh over. Every node may revoke itself: it leaves.
//! Every key may hand over to another one ([`Succession`]).

use serde::{Deserialize, Serialize};

use super::{MembershipError, Residency, Roles, check_name, succession::Succession};
use crate::{ContentId, NodeId, Payload, Signed, Timestamp, limits::REASON_BYTES_MAX};

/// What an operator may do, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Powers(u8);

impl Powers {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Bring nodes in, and renew their certificates.
    pub const INVITE: Self = Self(1);
    /// Put nodes and tickets out.
    pub const REVOKE: Self = Self(2);
    /// Change what the whole mesh is set to.
    pub const CONFIGURE: Self = Self(4);
    /// All of it.
    pub const ALL: Self = Self(7);

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every power of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a revocation is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A node: it is a member no longer, and neither is whom it admitted, unless an operator vouches for them.
    Node(NodeId),
    /// A ticket: nobody is admitted with it, and whoever was is a member no longer, unless an operator vouches for them.
    Ticket(NodeId),
    /// An operator's key: whatever it has signed counts no longer.
    Operator(NodeId),
}

/// Puts someone or something out, for ever: a node that shall come back comes back with a new key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// What it is aimed at.
    pub target: Target,
    /// Why, for people.
    pub reason: String,
    /// When, by the clock of whoever signed it; for people, never used to decide anything.
    pub at: Timestamp,
    /// The how-manieth revocation of its author this is, so that a person sees when one is missing.
    pub sequence: u64,
}

impl Payload for Revocation {
    const DOMAIN: &'static str = "starling/revocation/1";
}

/// The root makes a key an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorGrant {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The operator: the key of a node, whose owner then decides on that node.
    pub operator: NodeId,
    /// What it may do.
    pub may: Powers,
    /// When, for people.
    pub at: Timestamp,
}

impl Payload for OperatorGrant {
    const DOMAIN: &'static str = "starling/operator-grant/1";
}

/// An operator's word that a node is a member and stays one for a while: it renews a certificate, and it replaces the part of a
/// certificate's chain that a revocation has broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// What it may do. Being an operator cannot be given here.
    pub roles: Roles,
    /// Where it stands, if an operator says so.
    pub residency: Option<Residency>,
    /// From when the certificate's life is counted.
    pub at: Timestamp,
}

impl Payload for Renewal {
    const DOMAIN: &'static str = "starling/renewal/1";
}

/// A decision, signed by whoever made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Decree {
    /// Someone is out.
    Revocation(Signed<Revocation>),
    /// Someone is an operator.
    OperatorGrant(Signed<OperatorGrant>),
    /// Someone stays.
    Renewal(Signed<Renewal>),
    /// A key takes the place of another.
    Succession(Succession),
}

/// A decree whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Revocation(Revocation),
    OperatorGrant(OperatorGrant),
    Renewal(Renewal),
    Succession(Succession),
}

impl Decree {
    /// Who claims to have signed it.
    #[must_use]
    pub fn author(&self) -> NodeId {
        match self {
            Self::Revocation(signed) => signed.author(),
            Self::OperatorGrant(signed) => signed.author(),
            Self::Renewal(signed) => signed.author(),
            Self::Succession(succession) => succession.author(),
        }
    }

    /// Verifies the signature and what it signs, but not whether its author may decide that, which only a roster knows.
    pub(super) fn open(&self) -> Result<(ContentId, Opened), MembershipError> {
        match self {
            Self::Revocation(signed) => {
                let revocation = signed.open()?;
                check_reason(&revocation.reason)?;
                Ok((revocation.mesh, Opened::Revocation(revocation)))
            }
            Self::OperatorGrant(signed) => {
                let grant = signed.open()?;
                Ok((grant.mesh, Opened::OperatorGrant(grant)))
            }
            Self::Renewal(signed) => {
                let renewal = signed.open()?;
                check_name(&renewal.name)?;
                Ok((renewal.mesh, Opened::Renewal(renewal)))
            }
            Self::Succession(succession) => {
                succession.verify()?;
                Ok((succession.mesh(), Opened::Succession(succession.clone())))
            }
        }
    }
}

/// A reason is shown in one line of a terminal and on a page.
pub(super) fn check_reason(reason: &str) -> Result<(), MembershipError> {
    if reason.len() <= REASON_BYTES_MAX && !reason.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(MembershipError::BadReason)
    }
}
