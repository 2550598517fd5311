//! The invite: one line of text by which an operator adds a node.
//!
//! `starling1` followed by base32 of a compact structure. It leaves out what the reader can derive (the ticket's public key) or
//! will be told by any member (the genesis), so that it fits one QR code.

use std::net::SocketAddr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{
    ContentId, NodeId, NodeKey, Signed, SignedError, Timestamp,
    limits::{INVITE_ADDRESSES_MAX, INVITE_CHARACTERS_MAX},
    membership::{MembershipError, Redemption, Roles, TicketGrant},
};

const PREFIX: &str = "starling1";

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
}

/// Why a text is not an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin as one or is longer than one can be.
    #[error("this is not an invite: one begins with \"{PREFIX}\" and has at most {INVITE_CHARACTERS_MAX} characters")]
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
    /// Issues an invite with the mesh's root key.
    ///
    /// # Errors
    /// When signing fails.
    pub fn issue(
        root: &NodeKey,
        mesh: ContentId,
        member: NodeId,
        addresses: Vec<SocketAddr>,
        ticket_seed: [u8; 32],
        (roles, uses_max, expires): (Roles, u32, Timestamp),
    ) -> Result<Self, SignedError> {
        let ticket = NodeKey::from_seed(&ticket_seed).id();
        let grant = Signed::sign(
            root,
            &TicketGrant {
                mesh,
                ticket,
                roles,
                uses_max,
                expires,
            },
        )?;
        let bytes = grant.signature_bytes();
        let mut signature = ([0; 32], [0; 32]);
        signature.0.copy_from_slice(&bytes[..32]);
        signature.1.copy_from_slice(&bytes[32..]);
        let addresses = addresses.into_iter().take(INVITE_ADDRESSES_MAX).collect();
        Ok(Self {
            mesh,
            member,
            addresses,
            ticket_seed,
            roles,
            uses_max,
            expires,
            signature,
        })
    }

    /// The text to hand over.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = postcard::to_stdvec(self).unwrap_or_default();
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
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
        let body = lower.strip_prefix(PREFIX).ok_or(InviteError::NotAnInvite)?;
        let bytes = BASE32_NOPAD
            .decode(body.to_ascii_uppercase().as_bytes())
            .map_err(|_| InviteError::Damaged)?;
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(InviteError::Damaged)?;
        if checksum(content) != *sum {
            return Err(InviteError::Damaged);
        }
        match postcard::take_from_bytes::<Self>(content) {
            Ok((invite, [])) if invite.addresses.len() <= INVITE_ADDRESSES_MAX => Ok(invite),
            _ => Err(InviteError::Damaged),
        }
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
        };
        Ok(JoinRequest {
            grant,
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

/// What travels from the new node to the member it asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    grant: TicketGrant,
    signature: ([u8; 32], [u8; 32]),
    redemption: Signed<Redemption>,
}

impl JoinRequest {
    /// The signed grant, whose author the member knows: its mesh's root.
    ///
    /// # Errors
    /// When the root did not sign this grant.
    pub fn into_parts(self, root: NodeId) -> Result<(Signed<TicketGrant>, Signed<Redemption>), MembershipError> {
        let signature = [self.signature.0, self.signature.1].concat();
        let signature: [u8; 64] = signature.try_into().map_err(|_| MembershipError::BrokenChain)?;
        Ok((Signed::from_parts(root, &self.grant, &signature)?, self.redemption))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> (NodeKey, Invite) {
        let root = NodeKey::from_seed(&[1; 32]);
        let addresses = [
            "192.0.2.1:4001",
            "198.51.100.7:4001",
            "[2001:db8::1]:4001",
            "127.0.0.1:4001",
        ];
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let terms = (Roles::NODE, 1, Timestamp(1_800_000_000_000));
        let mesh = ContentId::of(b"mesh");
        let member = NodeKey::from_seed(&[2; 32]).id();
        let invite = Invite::issue(&root, mesh, member, addresses, [9; 32], terms).unwrap();
        (root, invite)
    }

    #[test]
    fn an_invite_survives_a_paste_and_fits_its_limit() {
        let (root, invite) = invite();
        let text = invite.to_text();
        assert!(text.len() <= INVITE_CHARACTERS_MAX, "{} characters", text.len());
        assert_eq!(Invite::parse(&format!("  {}\n", text.to_uppercase())).unwrap(), invite);
        let node = NodeKey::from_seed(&[3; 32]).id();
        let (grant, redemption) = invite.redeem(node, "second").unwrap().into_parts(root.id()).unwrap();
        assert_eq!(grant.open().unwrap().uses_max, 1);
        assert_eq!(redemption.open().unwrap().node, node);
        assert!(
            invite.redeem(node, "second").unwrap().into_parts(node).is_err(),
            "another root"
        );
    }

    #[test]
    fn a_damaged_text_is_said_to_be_damaged() {
        let (_, invite) = invite();
        let text = invite.to_text();
        assert_eq!(Invite::parse("hello"), Err(InviteError::NotAnInvite));
        assert_eq!(Invite::parse(&"a".repeat(1000)), Err(InviteError::NotAnInvite));
        assert_eq!(Invite::parse(&text[..text.len() - 3]), Err(InviteError::Damaged));
        for position in PREFIX.len()..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[position] = if damaged[position] == b'a' { b'b' } else { b'a' };
            assert_eq!(
                Invite::parse(&String::from_utf8(damaged).unwrap()),
                Err(InviteError::Damaged)
            );
        }
    }

    #[test]
    fn debug_text_does_not_hold_the_seed() {
        let (_, invite) = invite();
        assert!(!format!("{invite:?}").contains("9, 9, 9"));
    }
}
