//! Who may send a message, and when: pure functions of the record, the able nodes and the time.

use std::collections::BTreeSet;

use keys::{NodeId, Timestamp};

use super::{Lease, Outbox};

/// A lease ends after this; sending must take less.
pub const LEASE_MILLISECONDS: u64 = 60_000;
/// Whoever has taken a lease waits this long before it sends: what one node writes the others have within three seconds.
pub const SETTLE_MILLISECONDS: u64 = 3_000;
/// How much later each further node may take the lease; more than [`SETTLE_MILLISECONDS`] and what two clocks usually differ.
pub const STAGGER_MILLISECONDS: u64 = 10_000;
/// Pause after the first failed attempt; it doubles with each further one.
pub const BACKOFF_MILLISECONDS: u64 = 30_000;
/// Failed attempts, after which nobody tries again. The last pause is then a good four hours.
pub const ATTEMPTS_MAX: usize = 10;
/// Sending takes at most this; a lease that ends sooner is not enough to begin.
const SENDING_MILLISECONDS: u64 = 20_000;

/// What a node is to do with a message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Take the lease.
    Take,
    /// Send: the lease is this node's, and everyone knows.
    Send,
    /// Look again at this time.
    Wait(Timestamp),
    /// Nothing any more: sent, abandoned, expired or tried too often.
    Over,
}

impl Outbox {
    /// What `node` is to do now; `able` are the nodes that could send and are within reach, itself among them.
    #[must_use]
    pub fn turn(&self, node: &NodeId, able: &BTreeSet<NodeId>, now: Timestamp) -> Turn {
        if self.done.is_some() || self.abandoned || now > self.expires || self.attempts.len() >= ATTEMPTS_MAX {
            return Turn::Over;
        }
        let attempt = self.attempts.len() as u64;
        // A lease is spent with the attempt that it was taken for.
        if let Some(lease) = self.lease.filter(|lease| lease.attempt >= attempt)
            && let Some(turn) = under_lease(&lease, node, now)
        {
            return turn;
        }
        let from = self.free_from(attempt);
        let rank = self.rank(node, able, attempt);
        let own = from.plus(rank.saturating_mul(STAGGER_MILLISECONDS));
        if now >= own { Turn::Take } else { Turn::Wait(own) }
    }

    /// From when on an attempt may begin.
    fn free_from(&self, attempt: u64) -> Timestamp {
        let mut from = self.created.max(self.not_before);
        if let Some(last) = self.attempts.last() {
            let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
            let pause = BACKOFF_MILLISECONDS.saturating_mul(1u64.checked_shl(doublings).unwrap_or(u64::MAX));
            from = from.max(last.id.at().plus(pause));
        }
        // A lease that ended without a word: whoever held it may be gone.
        if let Some(lease) = self.lease.filter(|lease| lease.attempt >= attempt) {
            from = from.max(lease.until);
        }
        from
    }

    /// The place of a node among those that are able: by a hash with the message and the attempt, so that the work is shared.
    fn rank(&self, node: &NodeId, able: &BTreeSet<NodeId>, attempt: u64) -> u64 {
        let weight = |node: &NodeId| {
            let mut hasher = blake3::Hasher::new_derive_key("starling outbox order 1");
            hasher.update(&self.key).update(&attempt.to_le_bytes()).update(&node.0);
            (*hasher.finalize().as_bytes(), *node)
        };
        let own = weight(node);
        able.iter().filter(|other| weight(other) < own).count() as u64
    }
}

/// What a standing lease means for a node; nothing once it has ended.
fn under_lease(lease: &Lease, node: &NodeId, now: Timestamp) -> Option<Turn> {
    if now >= lease.until {
        return None;
    }
    if lease.holder != Some(*node) {
        return Some(Turn::Wait(lease.until));
    }
    let settled = lease.taken.plus(SETTLE_MILLISECONDS);
    if now < settled {
        Some(Turn::Wait(settled))
    } else if now.plus(SENDING_MILLISECONDS) <= lease.until {
        Some(Turn::Send)
    } else {
        // Too late to be finished before somebody else may begin.
        Some(Turn::Wait(lease.until))
    }
}
