//! The invite: one line of text by which an operator adds a node.
//!
//! `starling1` followed by base32 of a compact structure. It leaves out what the reader can derive (the ticket's public key) or
//! will be told by any member (the genesis), so that it fits one QR code. An invite that says where the new node stands begins
//! with `starling2` and has that label at its end; any other is still written as the release before reads it. One that the member
//! it names has signed itself, as an operator, begins with `starling3`: the root key need not be at hand. One that names other members
//! besides, for when that one cannot be reached, begins with `starling4`. Of them it has addresses alone, for want of room: whoever
//! answers there is a member if the certificate that it gives holds.

use std::net::SocketAddr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{
    ContentId, NodeId, NodeKey, Signed, SignedError, Timestamp,
    limits::{INVITE_ADDRESSES_MAX, INVITE_CHARACTERS_MAX, INVITE_OTHERS_MAX},
    membership::{MembershipError, Redemption, Residency, Roles, TicketGrant, UnlabelledGrant},
};

const PREFIX: &str = "starling1";
const LABELLED_PREFIX: &str = "starling2";
const OPERATOR_PREFIX: &str = "starling3";
const OTHERS_PREFIX: &str = "starling4";

/// What an invite allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What nodes that join with it may do.
    pub roles: Roles,
    /// How many nodes may join with it.
    pub uses_max: u32,
    /// When members stop accepting it.
    pub expires: Timestamp,
    /// Where nodes that join with it stand, if the operator says so.
    pub residency: Option<Residency>,
}

impl Terms {
    /// Terms that say nothing about where nodes stand.
    #[must_use]
    pub const fn new(roles: Roles, uses_max: u32, expires: Timestamp) -> Self {
        Self {
            roles,
            uses_max,
            expires,
            residency: None,
        }
    }
}

/// What an invite holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    /// The mesh it leads into.
    pub mesh: ContentId,
    /// The member to ask first.
    pub member: NodeId,
    /// Where that member listens, UDP and TCP alike.
    pub addresses: Vec<SocketAddr>,
    ticket_seed: [u8; 32],
    roles: Roles,
    uses_max: u32,
    expires: Timestamp,
    signature: ([u8; 32], [u8; 32]),
    /// Written behind the rest, and only when there is one.
    #[serde(skip)]
    residency: Option<Residency>,
    /// Whether the member signed it as an operator; otherwise the root did.
    #[serde(skip)]
    by_operator: bool,
    /// Where other members listen, one address each.
    #[serde(skip)]
    others: Vec<SocketAddr>,
}

/// Why a text is not an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin as one or is longer than one can be.
    #[error(
        "this is not an invite: one is a single word of some 300 letters and digits (at most {INVITE_CHARACTERS_MAX}) that begins with \
         {PREFIX}, {LABELLED_PREFIX}, {OPERATOR_PREFIX} or {OTHERS_PREFIX}; an operator's node of the mesh prints one with: starling invite"
    )]
    NotAnInvite,
    /// Characters are missing, added or changed.
    #[error("the invite is damaged: copy it whole, without spaces or line breaks")]
    Damaged,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The seed admits nodes: it must not reach a log.
        write!(
            formatter,
            "Invite(mesh {:?}, member {:?}, expires {:?})",
            self.mesh, self.member, self.expires
        )
    }
}

impl Drop for Invite {
    fn drop(&mut self) {
        self.ticket_seed.zeroize();
    }
}

impl Invite {
    /// Issues an invite with the mesh's root key, or with the key of `member`, which must be an operator then.
    ///
    /// # Errors
    /// When signing fails.
    pub fn issue(
        issuer: &NodeKey,
        mesh: ContentId,
        member: NodeId,
        addresses: Vec<SocketAddr>,
        ticket_seed: [u8; 32],
        terms: Terms,
    ) -> Result<Self, SignedError> {
        let Terms {
            roles,
            uses_max,
            expires,
            residency,
        } = terms;
        let grant = TicketGrant {
            mesh,
            ticket: NodeKey::from_seed(&ticket_seed).id(),
            roles,
            uses_max,
            expires,
            residency,
        };
        let residency = grant.residency.clone();
        let grant = grant.sign(issuer)?;
        let bytes = grant.signature_bytes();
        let mut signature = ([0; 32], [0; 32]);
        signature.0.copy_from_slice(&bytes[..32]);
        signature.1.copy_from_slice(&bytes[32..]);
        let addresses = addresses.into_iter().take(INVITE_ADDRESSES_MAX).collect();
        let mut invite = Self {
            mesh,
            member,
            addresses,
            ticket_seed,
            roles,
            uses_max,
            expires,
            signature,
            residency,
            by_operator: issuer.id() == member,
            others: Vec::new(),
        };
        // The last address is the least useful one.
        while !invite.fits() && invite.addresses.pop().is_some() {}
        Ok(invite)
    }

    /// The same with addresses of other members, the best first: as many as there is room for. A first one is worth more than a third
    /// address of the named member.
    #[must_use]
    pub fn naming_others(mut self, others: impl IntoIterator<Item = SocketAddr>) -> Self {
        for other in others.into_iter().take(INVITE_OTHERS_MAX) {
            let kept = self.addresses.clone();
            self.others.push(other);
            while !self.fits() && self.others.len() == 1 && self.addresses.len() > 2 {
                self.addresses.pop();
            }
            if !self.fits() {
                self.addresses = kept;
                self.others.pop();
            }
        }
        self
    }

    fn fits(&self) -> bool {
        self.to_text().len() <= INVITE_CHARACTERS_MAX
    }

    /// The text to hand over.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Writing fixed-size fields and short lists into a growing vector cannot fail.
        let mut bytes = postcard::to_stdvec(self).unwrap_or_default();
        let mut prefix = PREFIX;
        if !self.others.is_empty() {
            let behind = (self.by_operator, &self.residency, &self.others);
            bytes = postcard::to_extend(&behind, bytes).unwrap_or_default();
            prefix = OTHERS_PREFIX;
        } else if self.by_operator {
            bytes = postcard::to_extend(&self.residency, bytes).unwrap_or_default();
            prefix = OPERATOR_PREFIX;
        } else if let Some(residency) = &self.residency {
            bytes = postcard::to_extend(residency, bytes).unwrap_or_default();
            prefix = LABELLED_PREFIX;
        }
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{prefix}{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// Reads an invite as a person pasted it: surrounding blanks and upper case do not matter.
    ///
    /// # Errors
    /// When the text is not an invite or is damaged.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let text = text.trim();
        if text.len() > INVITE_CHARACTERS_MAX || !text.is_ascii() {
            return Err(InviteError::NotAnInvite);
        }
        let lower = text.to_ascii_lowercase();
        let (prefix, body) = [PREFIX, LABELLED_PREFIX, OPERATOR_PREFIX, OTHERS_PREFIX]
            .into_iter()
            .find_map(|prefix| Some((prefix, lower.strip_prefix(prefix)?)))
            .ok_or(InviteError::NotAnInvite)?;
        let bytes = BASE32_NOPAD
            .decode(body.to_ascii_uppercase().as_bytes())
            .map_err(|_| InviteError::Damaged)?;
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(InviteError::Damaged)?;
        if checksum(content) != *sum {
            return Err(InviteError::Damaged);
        }
        let (mut invite, mut rest) = postcard::take_from_bytes::<Self>(content).map_err(|_| InviteError::Damaged)?;
        match prefix {
            LABELLED_PREFIX => {
                let (residency, behind) = postcard::take_from_bytes(rest).map_err(|_| InviteError::Damaged)?;
                (invite.residency, rest) = (Some(residency), behind);
            }
            OPERATOR_PREFIX => {
                (invite.residency, rest) = postcard::take_from_bytes(rest).map_err(|_| InviteError::Damaged)?;
                invite.by_operator = true;
            }
            OTHERS_PREFIX => {
                let (behind, none) = postcard::take_from_bytes(rest).map_err(|_| InviteError::Damaged)?;
                (invite.by_operator, invite.residency, invite.others) = behind;
                rest = none;
            }
            _ => {}
        }
        // One that names no others is written otherwise.
        let others = if prefix == OTHERS_PREFIX {
            1..=INVITE_OTHERS_MAX
        } else {
            0..=0
        };
        let bounded = invite.addresses.len() <= INVITE_ADDRESSES_MAX && others.contains(&invite.others.len());
        if rest.is_empty() && bounded {
            Ok(invite)
        } else {
            Err(InviteError::Damaged)
        }
    }

    /// Where other members listen, UDP and TCP alike; which ones, it does not say.
    #[must_use]
    pub fn others(&self) -> &[SocketAddr] {
        &self.others
    }

    /// Where a node that joins with it stands, if the operator said so.
    #[must_use]
    pub const fn residency(&self) -> Option<&Residency> {
        self.residency.as_ref()
    }

    /// What a node that joins with it may do.
    #[must_use]
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// The operator that signed it; `None` when the root did.
    #[must_use]
    pub fn operator(&self) -> Option<NodeId> {
        self.by_operator.then_some(self.member)
    }

    /// What names the ticket in it, to revoke it.
    #[must_use]
    pub fn ticket(&self) -> NodeId {
        NodeKey::from_seed(&self.ticket_seed).id()
    }

    /// When members stop accepting it.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// What the new node shows to a member: its redemption, and the parts of the grant.
    ///
    /// # Errors
    /// When signing fails.
    pub fn redeem(&self, node: NodeId, name: &str) -> Result<JoinRequest, SignedError> {
        let ticket = NodeKey::from_seed(&self.ticket_seed);
        let redemption = Signed::sign(
            &ticket,
            &Redemption {
                mesh: self.mesh,
                node,
                name: name.to_owned(),
            },
        )?;
        let grant = TicketGrant {
            mesh: self.mesh,
            ticket: ticket.id(),
            roles: self.roles,
            uses_max: self.uses_max,
            expires: self.expires,
            residency: None,
        };
        Ok(JoinRequest {
            grant: grant.unlabelled(),
            signature: self.signature,
            redemption,
        })
    }
}

fn checksum(content: &[u8]) -> [u8; 4] {
    let hash = blake3::hash(content);
    let mut sum = [0; 4];
    sum.copy_from_slice(&hash.as_bytes()[..4]);
    sum
}

/// What travels from the new node to the member it asks; the residency label, if there is one, travels beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    grant: UnlabelledGrant,
    signature: ([u8; 32], [u8; 32]),
    redemption: Signed<Redemption>,
}

impl JoinRequest {
    /// The signed grant, whose author the member knows: its mesh's root, or an operator.
    ///
    /// # Errors
    /// When the issuer did not sign this grant with this label.
    pub fn into_parts(
        self,
        issuer: NodeId,
        residency: Option<Residency>,
    ) -> Result<(Signed<TicketGrant>, Signed<Redemption>), MembershipError> {
        let signature = [self.signature.0, self.signature.1].concat();
        let signature: [u8; 64] = signature.try_into().map_err(|_| MembershipError::BrokenChain)?;
        Ok((self.grant.signed_by(issuer, residency, &signature)?, self.redemption))
    }
}

#[cfg(test)]
mod tests;
