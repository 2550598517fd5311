//! The signed statements of which a certificate is made.
//!
//! A grant and a founding are of version 2 since they can say where a node stands. What says nothing about it is still signed in
//! version 1, so that a mesh without labels is understood by nodes of the release before; version 1 is read as before.

use serde::{Deserialize, Serialize};

use super::{Residency, Roles};
use crate::{ContentId, NodeId, NodeKey, Payload, Signed, SignedError, Timestamp};

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
    /// Where nodes that join with it stand, if the operator says so.
    pub residency: Option<Residency>,
}

impl Payload for TicketGrant {
    const DOMAIN: &'static str = "starling/ticket-grant/2";

    fn open_older(signed: &Signed<Self>) -> Result<Self, SignedError> {
        Ok(signed.claimed_as::<UnlabelledGrant>().open()?.labelled(None))
    }
}

impl TicketGrant {
    /// Signs it in the oldest version that can say it.
    pub(crate) fn sign(&self, root: &NodeKey) -> Result<Signed<Self>, SignedError> {
        match self.residency {
            Some(_) => Signed::sign(root, self),
            None => Ok(Signed::sign(root, &self.unlabelled())?.claimed_as()),
        }
    }

    /// What it says besides the label.
    pub(crate) const fn unlabelled(&self) -> UnlabelledGrant {
        UnlabelledGrant {
            mesh: self.mesh,
            ticket: self.ticket,
            roles: self.roles,
            uses_max: self.uses_max,
            expires: self.expires,
        }
    }
}

/// A [`TicketGrant`] of version 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UnlabelledGrant {
    mesh: ContentId,
    ticket: NodeId,
    roles: Roles,
    uses_max: u32,
    expires: Timestamp,
}

impl Payload for UnlabelledGrant {
    const DOMAIN: &'static str = "starling/ticket-grant/1";
}

impl UnlabelledGrant {
    /// The same, with a label.
    pub(crate) const fn labelled(self, residency: Option<Residency>) -> TicketGrant {
        TicketGrant {
            mesh: self.mesh,
            ticket: self.ticket,
            roles: self.roles,
            uses_max: self.uses_max,
            expires: self.expires,
            residency,
        }
    }

    /// The signed grant, rebuilt from what travelled: `self`, the label beside it, and the root's signature.
    pub(crate) fn signed_by(
        self,
        root: NodeId,
        residency: Option<Residency>,
        signature: &[u8; 64],
    ) -> Result<Signed<TicketGrant>, SignedError> {
        match residency {
            Some(_) => Signed::from_parts(root, &self.labelled(residency), signature),
            None => Ok(Signed::from_parts(root, &self, signature)?.claimed_as()),
        }
    }
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
    /// Where it stands, if the operator says so.
    pub residency: Option<Residency>,
}

impl Payload for Founding {
    const DOMAIN: &'static str = "starling/founding/2";

    fn open_older(signed: &Signed<Self>) -> Result<Self, SignedError> {
        let UnlabelledFounding { mesh, node, name } = signed.claimed_as::<UnlabelledFounding>().open()?;
        Ok(Self {
            mesh,
            node,
            name,
            residency: None,
        })
    }
}

impl Founding {
    /// Signs it in the oldest version that can say it.
    pub(super) fn sign(&self, root: &NodeKey) -> Result<Signed<Self>, SignedError> {
        if self.residency.is_some() {
            return Signed::sign(root, self);
        }
        let unlabelled = UnlabelledFounding {
            mesh: self.mesh,
            node: self.node,
            name: self.name.clone(),
        };
        Ok(Signed::sign(root, &unlabelled)?.claimed_as())
    }
}

/// A [`Founding`] of version 1.
#[derive(Serialize, Deserialize)]
struct UnlabelledFounding {
    mesh: ContentId,
    node: NodeId,
    name: String,
}

impl Payload for UnlabelledFounding {
    const DOMAIN: &'static str = "starling/founding/1";
}
