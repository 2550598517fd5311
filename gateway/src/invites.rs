//! Invites for machines: asked for on the page, signed by the node, which alone has a key for that.

use keys::{
    NodeId, Timestamp,
    membership::{Residency, Roles},
};

/// What an invite shall allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteWish {
    /// How many nodes may join with it.
    pub uses: u32,
    /// For how long.
    pub minutes: u64,
    /// What they may do; never that of an operator.
    pub roles: Roles,
    /// Where they stand.
    pub residency: Option<Residency>,
}

/// An invite that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeInvite {
    /// What is said on the new machine.
    pub text: String,
    /// What names it, to revoke it; whoever knows this cannot join with it.
    pub ticket: NodeId,
    /// When it ends.
    pub expires: Timestamp,
}

/// Which invite shall be out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteNamed {
    /// By its name.
    Ticket(NodeId),
    /// By all of it, as it was printed.
    Text(String),
}

/// Why a node makes no invite, or takes none back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteRefusal {
    /// It has neither the root key nor the right of an operator.
    #[error("this node is no operator")]
    NoRight,
    /// It is no invite, or one of another mesh.
    #[error("that is no invite of this mesh")]
    NoInvite,
    /// Its disk or its mesh failed.
    #[error("this node could not do it; its log says why")]
    Failed,
}
