//! Address hints: where a node can be found, said and signed by the node itself.
//!
//! Any member must be able to dial any other that it has never met, also one behind a home router that moves to another address or loses a
//! relay. So every node keeps one record of itself: its addresses, the relays that hold a reservation for it, and whether it carries
//! circuits for others. The record is numbered; the highest number counts and older ones are refused, so that nobody can send a
//! node's friends to where it was yesterday. It ends ten minutes after it was made and is made anew after five.
//!
//! A hint is a hint: a wrong one costs a dial, at which the other side cannot prove the member's key.
//!
//! *A journey*: something about a node changes -> [`HintBook`] of the node -> gossip to all, and the hints stream of each link (`stream`) ->
//! the other's book verifies it against the roster -> its dial plan. What gossip loses, the next comparison on a link brings.

pub(crate) mod stream;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use keys::{ContentId, NodeId, NodeKey, Payload, Signed, SignedError, Timestamp, membership::Roster};
use serde::{Deserialize, Serialize};

use crate::limits::{
    ADDRESSES_PER_NODE_MAX, HINT_BYTES_MAX, HINT_CLOCK_SKEW_MS, HINT_LIVES_MS, HINT_SOONEST_MS, RELAYS_HELD,
};

/// Where a node can be found, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressHint {
    /// The mesh for which it was said.
    pub mesh: ContentId,
    /// Addresses with UDP (QUIC) and TCP on the same port.
    pub addresses: Vec<SocketAddr>,
    /// Addresses at which a WebSocket over TLS is taken.
    pub websockets: Vec<SocketAddr>,
    /// Members that carry circuits to it.
    pub relays: Vec<NodeId>,
    /// Whether it carries circuits for others.
    pub carries: bool,
    /// Higher than that of every record before.
    pub number: u64,
    /// When it was made.
    pub made: Timestamp,
}

impl Payload for AddressHint {
    const DOMAIN: &'static str = "starling/hint/1";
}

impl AddressHint {
    /// The record as it travels: a version byte, the author, what it says, and the signature.
    ///
    /// # Errors
    /// When it is too large to be signed.
    pub fn sign(&self, key: &NodeKey) -> Result<Vec<u8>, SignedError> {
        Signed::sign(key, self).map(|signed| signed.to_bytes())
    }

    /// Verifies and reads a record: its author and what it says.
    ///
    /// # Errors
    /// When it is too large, malformed, or not signed by its author.
    pub fn open(bytes: &[u8]) -> Result<(NodeId, Self), SignedError> {
        let signed = Self::signed(bytes)?;
        Ok((signed.author(), signed.open()?))
    }

    /// A record, not verified yet.
    fn signed(bytes: &[u8]) -> Result<Signed<Self>, SignedError> {
        if bytes.len() > HINT_BYTES_MAX {
            return Err(SignedError::TooLarge(bytes.len()));
        }
        Signed::from_bytes(bytes)
    }

    fn is_bounded(&self) -> bool {
        self.addresses.len() <= ADDRESSES_PER_NODE_MAX
            && self.websockets.len() <= ADDRESSES_PER_NODE_MAX
            && self.relays.len() <= RELAYS_HELD
    }

    /// Whether it says the same of the node, whenever it was said.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        (&self.addresses, &self.websockets, &self.relays, self.carries)
            == (&other.addresses, &other.websockets, &other.relays, other.carries)
    }
}

/// Why a record was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HintRefused {
    #[error(transparent)]
    Signed(#[from] SignedError),
    #[error("it holds more than a record may")]
    Overfull,
    #[error("it was said for another mesh")]
    OtherMesh,
    #[error("its author is no member")]
    NoMember,
    #[error("one with this or a higher number is known")]
    Old,
    #[error("it follows on the one before too soon")]
    TooSoon,
    #[error("it has ended, or one of the two clocks is wrong")]
    Ended,
    #[error("it is this node's own, number {0}")]
    Own(u64),
}

impl HintRefused {
    /// Whether whoever passed it on should have known better.
    pub(crate) const fn is_misuse(self) -> bool {
        matches!(self, Self::Signed(_) | Self::Overfull | Self::OtherMesh)
    }
}

/// A record that counts now.
#[derive(Clone, Debug)]
struct Known {
    hint: AddressHint,
    bytes: Arc<[u8]>,
}

/// What the hints streams pass on: each node's number and record.
pub(crate) type Shared = BTreeMap<NodeId, (u64, Arc<[u8]>)>;

/// The newest record of each member. Bounded by the roster.
#[derive(Debug, Default)]
pub(crate) struct HintBook {
    known: BTreeMap<NodeId, Known>,
}

impl HintBook {
    /// Takes a record in, if it is news. Says whose it is.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        (own, roster): (NodeId, &Roster),
        now: Timestamp,
    ) -> Result<NodeId, HintRefused> {
        // Several neighbours tell the same. Whether the signature of what is not newer holds makes no difference.
        let signed = AddressHint::signed(bytes)?;
        let author = signed.author();
        let number = signed.unverified()?.number;
        let known = self.known.get(&author);
        if known.is_some_and(|known| number <= known.hint.number) {
            return Err(HintRefused::Old);
        }
        let hint = signed.open()?;
        if !hint.is_bounded() {
            return Err(HintRefused::Overfull);
        }
        if hint.mesh != roster.mesh() {
            return Err(HintRefused::OtherMesh);
        }
        if author == own {
            return Err(HintRefused::Own(hint.number));
        }
        if roster.get(&author).is_none() {
            return Err(HintRefused::NoMember);
        }
        if !counts(&hint, now) {
            return Err(HintRefused::Ended);
        }
        if let Some(before) = self.known.get(&author) {
            // Whoever says something new all the time would have every node verify and forward all the time.
            if hint.made.0 < before.hint.made.0.saturating_add(HINT_SOONEST_MS) {
                return Err(HintRefused::TooSoon);
            }
        }
        let bytes = bytes.into();
        self.known.insert(author, Known { hint, bytes });
        Ok(author)
    }

    /// Keeps this node's own record, to pass it on.
    pub(crate) fn keep_own(&mut self, own: NodeId, hint: AddressHint, bytes: Vec<u8>) {
        let bytes = bytes.into();
        self.known.insert(own, Known { hint, bytes });
    }

    /// What a node says of itself.
    pub(crate) fn get(&self, node: &NodeId) -> Option<&AddressHint> {
        self.known.get(node).map(|known| &known.hint)
    }

    /// Every record that counts.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&NodeId, &AddressHint)> {
        self.known.iter().map(|(node, known)| (node, &known.hint))
    }

    /// Forgets what has ended and whoever is a member no longer. Says whose records went.
    pub(crate) fn expire(&mut self, roster: &Roster, now: Timestamp) -> Vec<NodeId> {
        let gone = |node: &NodeId, known: &Known| roster.get(node).is_none() || !counts(&known.hint, now);
        let gone: Vec<NodeId> = self
            .known
            .iter()
            .filter(|(node, known)| gone(node, known))
            .map(|(node, _)| *node)
            .collect();
        gone.iter().for_each(|node| drop(self.known.remove(node)));
        gone
    }

    /// What the hints streams pass on of a node.
    pub(crate) fn record(&self, node: &NodeId) -> Option<(u64, Arc<[u8]>)> {
        let known = self.known.get(node)?;
        Some((known.hint.number, known.bytes.clone()))
    }
}

/// Whether a record counts at `now`; two honest clocks may differ a little.
fn counts(hint: &AddressHint, now: Timestamp) -> bool {
    let ends = hint.made.0.saturating_add(HINT_LIVES_MS + HINT_CLOCK_SKEW_MS);
    now.0 < ends && hint.made.0 <= now.0.saturating_add(HINT_CLOCK_SKEW_MS)
}

#[cfg(test)]
mod tests;
