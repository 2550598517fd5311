//! How much one author may write: token buckets for changes and for bytes, so that one node cannot fill the others' disks.
//!
//! Charged is what an author pushes, and, to a far larger bucket, what it hands over itself in a reconciliation: a node that joins
//! must be able to take years of a mesh's life from its only author. What others hand over of an author is not charged: it went
//! through their buckets before. Over the quota is no refusal: the change comes again with a later reconciliation.

use std::collections::BTreeMap;

use keys::{NodeId, Timestamp};

use crate::limits::{QUOTA_AUTHORS_MAX, QUOTA_PULL, QUOTA_PUSH};

/// The size of a bucket and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Changes at once.
    pub changes: f64,
    /// Changes per second for ever.
    pub changes_per_second: f64,
    /// Bytes at once.
    pub bytes: f64,
    /// Bytes per second for ever.
    pub bytes_per_second: f64,
}

/// How an author's change came from the author itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// By gossip.
    Push,
    /// In a reconciliation.
    Pull,
}

impl Way {
    const fn quota(self) -> Quota {
        match self {
            Self::Push => QUOTA_PUSH,
            Self::Pull => QUOTA_PULL,
        }
    }
}

/// What an author may still write now.
#[derive(Clone, Copy)]
struct Bucket {
    changes: f64,
    bytes: f64,
    filled: Timestamp,
}

#[derive(Default)]
pub(crate) struct Quotas {
    buckets: BTreeMap<(NodeId, Way), Bucket>,
}

impl Quotas {
    /// Charges a change of `bytes` to its author; whether there was room.
    pub(crate) fn charge(&mut self, author: NodeId, way: Way, bytes: usize, now: Timestamp) -> bool {
        if self.buckets.len() >= QUOTA_AUTHORS_MAX && !self.buckets.contains_key(&(author, way)) {
            self.buckets.retain(|(_, way), bucket| {
                let bucket = bucket.refilled(way.quota(), now);
                bucket.changes < way.quota().changes || bucket.bytes < way.quota().bytes
            });
        }
        let quota = way.quota();
        let full = Bucket {
            changes: quota.changes,
            bytes: quota.bytes,
            filled: now,
        };
        let bucket = self.buckets.entry((author, way)).or_insert(full);
        *bucket = bucket.refilled(quota, now);
        let bytes = bytes as f64;
        let has_room = bucket.changes >= 1.0 && bucket.bytes >= bytes;
        if has_room {
            bucket.changes -= 1.0;
            bucket.bytes -= bytes;
        }
        has_room
    }
}

impl Bucket {
    fn refilled(self, quota: Quota, now: Timestamp) -> Self {
        let seconds = now.0.saturating_sub(self.filled.0) as f64 / 1000.0;
        Self {
            changes: (self.changes + seconds * quota.changes_per_second).min(quota.changes),
            bytes: (self.bytes + seconds * quota.bytes_per_second).min(quota.bytes),
            filled: now.max(self.filled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_its_author_may_go_on_later_while_others_are_not_touched() {
        let (flooder, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut quotas = Quotas::default();
        let passed = (0..1_000_000)
            .filter(|_| quotas.charge(flooder, Way::Push, 100, Timestamp(0)))
            .count();
        assert!(passed > 0 && passed as f64 <= QUOTA_PUSH.changes);
        assert!(
            !quotas.charge(flooder, Way::Push, 100, Timestamp(0)) && quotas.charge(other, Way::Push, 100, Timestamp(0))
        );
        assert!(quotas.charge(flooder, Way::Push, 100, Timestamp(1000)));
        let large = (0..1_000_000)
            .filter(|_| quotas.charge(other, Way::Push, 60_000, Timestamp(0)))
            .count();
        assert!(large > 0 && large as f64 * 60_000.0 <= QUOTA_PUSH.bytes);
    }
}
