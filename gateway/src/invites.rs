//! Invites for machines: asked for on the page, signed by the node, which alone has a key for that.

use keys::{
    NodeId, Timestamp,
    limits::REASON_BYTES_MAX,
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

/// What the mesh knows of an invite: of one that nobody has used and nobody took back it knows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteFate {
    /// What names it.
    pub ticket: NodeId,
    /// What it allows, as soon as somebody used it.
    pub grant: Option<InviteGrant>,
    /// Who came in by it, in order of time.
    pub used_by: Vec<InvitedNode>,
    /// When it was taken back.
    pub revoked: Option<Timestamp>,
}

/// What an invite allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteGrant {
    /// How many nodes may join with it.
    pub uses: u32,
    /// What they may do.
    pub roles: Roles,
    /// When it ends.
    pub expires: Timestamp,
}

/// A node that came in by an invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitedNode {
    /// The node.
    pub node: NodeId,
    /// What it was called then.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

impl InviteWish {
    /// How the audit log says what an invite allows.
    pub(crate) fn to_detail(&self) -> String {
        format!("{}, {} uses, {} minutes", self.roles, self.uses, self.minutes)
    }
}

/// What the audit log says of an invite that was made then.
pub(crate) fn granted(detail: &str, made: Timestamp) -> Option<InviteGrant> {
    let mut parts = detail.split(", ");
    let roles = parts.next()?.parse().ok()?;
    let uses = parts.next()?.strip_suffix(" uses")?.parse().ok()?;
    let minutes: u64 = parts.next()?.strip_suffix(" minutes")?.parse().ok()?;
    Some(InviteGrant {
        uses,
        roles,
        expires: made.plus(minutes.checked_mul(60_000)?),
    })
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
    /// Why it is taken back is no line that every node can show.
    #[error("a reason has at most {REASON_BYTES_MAX} bytes and no control characters")]
    BadReason,
    /// Its disk or its mesh failed.
    #[error("this node could not do it; its log says why")]
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_an_invite_allows() {
        let wish = InviteWish {
            uses: 3,
            minutes: 60,
            roles: Roles::NODE,
            residency: None,
        };
        let grant = InviteGrant {
            uses: 3,
            roles: Roles::NODE,
            expires: Timestamp(3_600_001),
        };
        assert_eq!(granted(&wish.to_detail(), Timestamp(1)), Some(grant));
        for other in [
            "",
            "worker",
            "worker, many uses, 5 minutes",
            "worker, 1 uses, 18446744073709551615 minutes",
        ] {
            assert_eq!(granted(other, Timestamp(1)), None, "{other}");
        }
    }
}
