//! Set reconciliation, sans-IO: two nodes find out what the other is missing and exchange it.
//!
//! ## How two nodes talk
//! Each node holds three sets of entries ([`EntrySet`], by [`Lane`]): statements (signed erasures and receipts), the changes that
//! every member holds, and those that are placed by shards. A talk compares them in this order, and the next one only when both
//! sides agree on the one before, or neither takes any more of the other's: otherwise what one side knows to be erased would come
//! back through the other.
//!
//! 1. *Hello*: fingerprints of both roots over the shards that the sender wants to hold, and what it knows that the other missed
//!    (`Dirty`). Equal roots are answered with *Same* and the talk is over after two frames of 31 bytes together (63 where the
//!    scope is not everything).
//! 2. *Step*, to and fro. A node of the tree says what its sender holds in a region: few entries as a list of fingerprints, many
//!    as fingerprints of the region's parts. The receiver answers parts that differ with its own node for each, one level deeper,
//!    sends whole what the sender lacks, and asks for listed entries that it does not know.
//! 3. A Step to which there is nothing to answer ends the round. If anything was taken in, a new Hello follows; if not, the talk is
//!    over, although the sets may differ: two nodes that refuse each other's changes must not talk for ever.
//!
//! Frames hold all that is needed to answer them, so a node keeps nothing between them. What does not fit a frame is left for the
//! next round, which is compared no broader than pays off. Each round begins elsewhere in the set, so that what one side refuses
//! does not block the rest. A document of which much differs is listed at once, so that all that is missing of it is known in one
//! frame and [`Replica::arrange`] can put it into an order in which it can be taken in.
//!
//! Of the placed changes only those shards are compared that both sides want ([`Replica::scope`]). A node that knows what its peer
//! holds narrows its scope to that: two different scopes cost one more frame in each talk.
//!
//! [`Dirty`] remembers what a peer missed while it could not be reached, [`Pace`] says when to talk with whom.

mod dirty;
mod entries;
mod frame;
mod pace;
mod prefix;
mod round;
mod talk;
#[cfg(test)]
mod tests;

use crate::group::Lane;

pub use dirty::Dirty;
pub use entries::{Entry, EntrySet};
pub(crate) use frame::{Blob, Bounded};
pub use pace::{Ended, Pace};
pub use prefix::{Prefix, ShardSet};
pub use talk::{says_moved, says_same, scope_of_hello, start, step};

/// What a node must be able to do for a talk with one peer.
pub trait Replica {
    /// What it holds.
    fn entries(&mut self, lane: Lane) -> &mut EntrySet;

    /// The exact bytes of what it holds. Where they cannot be read any more, the entry is to be taken out of the set.
    fn bytes(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>>;

    /// Judges bytes from the peer; whether they were taken in, so that the set has grown. Parked or refused is not taken in. The
    /// bytes can be anything, of any shard.
    fn take(&mut self, lane: Lane, bytes: Vec<u8>) -> bool;

    /// The shards that this node wants to hold, or still offers, and may show to the peer; best without those that the peer does not
    /// want.
    fn scope(&self) -> ShardSet;

    /// What the peer is known to have missed, in the order in which it can be taken in; may be called more than once
    /// in a talk, and only as much of it is sent as fits a frame. What it returned need not be returned again: the comparison
    /// finds what got lost.
    fn handoff(&mut self) -> Vec<Entry>;

    /// Brings entries of one group, which are about to be sent, into an order in which they can be taken in: what others depend
    /// on first, for example the order in which this node took them in. They come in order of their ids, which is none.
    fn arrange(&mut self, _lane: Lane, _entries: &mut Vec<Entry>) {}
}

/// A frame that is not one. The talk is over; nothing of the frame was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// Larger than any frame.
    #[error("a reconciliation frame that is too large")]
    TooLarge,
    /// Empty, or of a version that this node does not speak.
    #[error("a reconciliation frame of another version")]
    Version,
    /// Not what a frame of this version looks like.
    #[error("a malformed reconciliation frame")]
    Malformed,
}
