//! What the mesh counted since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Live counters, shared by the parts of the mesh.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gossip_received: AtomicU64,
    pub(crate) gossip_dropped: AtomicU64,
    pub(crate) streams_opened: AtomicU64,
    pub(crate) streams_accepted: AtomicU64,
    pub(crate) streams_busy: AtomicU64,
    pub(crate) strangers_met: AtomicU64,
    pub(crate) strangers_refused: AtomicU64,
    pub(crate) refused_by_others: AtomicU64,
    pub(crate) members_dropped: AtomicU64,
    pub(crate) bulk_dialled: AtomicU64,
    pub(crate) bulk_closed: AtomicU64,
    pub(crate) panics_caught: AtomicU64,
    pub(crate) liveness_dropped: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CounterValues {
    /// Gossip messages received from members.
    pub gossip_received: u64,
    /// Of those, dropped because the node was too slow to take them (reconciliation repairs that).
    pub gossip_dropped: u64,
    /// Streams this node opened and the other side accepted.
    pub streams_opened: u64,
    /// Streams others opened to this node.
    pub streams_accepted: u64,
    /// Streams answered BUSY.
    pub streams_busy: u64,
    /// Connections with nodes that were not members when they connected, in either direction.
    pub strangers_met: u64,
    /// Join attempts that were refused here.
    pub strangers_refused: u64,
    /// Times another node told this one that it is not a member there.
    pub refused_by_others: u64,
    /// Links that were cut because their node is a member no longer.
    pub members_dropped: u64,
    /// Connections for blobs that this node dialled.
    pub bulk_dialled: u64,
    /// Of them, those that are closed again or could not be had.
    pub bulk_closed: u64,
    /// Panics in the mesh that were caught; each is a fault of this program.
    pub panics_caught: u64,
    /// Frames about who is there that were dropped because their neighbour was too slow to take them.
    pub liveness_dropped: u64,
}

impl Counters {
    pub(crate) fn increment(counter: &AtomicU64) {
        // Relaxed: each counter stands alone, no other memory depends on it.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn values(&self) -> CounterValues {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CounterValues {
            gossip_received: read(&self.gossip_received),
            gossip_dropped: read(&self.gossip_dropped),
            streams_opened: read(&self.streams_opened),
            streams_accepted: read(&self.streams_accepted),
            streams_busy: read(&self.streams_busy),
            strangers_met: read(&self.strangers_met),
            strangers_refused: read(&self.strangers_refused),
            refused_by_others: read(&self.refused_by_others),
            members_dropped: read(&self.members_dropped),
            bulk_dialled: read(&self.bulk_dialled),
            bulk_closed: read(&self.bulk_closed),
            panics_caught: read(&self.panics_caught),
            liveness_dropped: read(&self.liveness_dropped),
        }
    }
}
