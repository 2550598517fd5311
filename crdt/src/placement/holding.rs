//! What one node holds: the shards that are its own, and those that were and must not be dropped yet.
//!
//! A shard that has left goes on being offered. It may be dropped when as many of its present holders as there must be have each
//! been seen to hold the same ([`Holding::agreed`]) since the last change that came here ([`Holding::inserted`]), and when some time
//! has passed: a holder that was replaced because of a restart comes back soon, and then nothing has to move a second time.

use std::collections::{BTreeMap, BTreeSet};

use keys::{NodeId, Timestamp};

use crate::{limits::PLACEMENT_LINGER, set::ShardSet};

/// A shard that this node need not hold any more.
#[derive(Clone, Debug, Default)]
struct Leaving {
    since: Timestamp,
}

/// Whether a shard may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// Enough others hold it.
    Now,
    /// So many of so many have confirmed that they hold it.
    Unconfirmed {
        /// Present holders that have.
        confirmed: usize,
        /// How many must.
        needed: usize,
    },
    /// Enough have, but it left only a moment ago.
    Lingers,
    /// It does not leave.
    Stays,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    scope: Scope,
    leaving: BTreeMap<u8, Leaving>,
    /// Who has been seen to hold the same of a shard since its last change here. Bounded by the shards and the members.
    confirmed: BTreeMap<u8, BTreeSet<NodeId>>,
}

#[derive(Clone, Copy, Debug)]
struct Scope(ShardSet);

impl Default for Scope {
    /// Until a node knows better it holds everything: nothing may be dropped because nobody has asked yet.
    fn default() -> Self {
        Self(ShardSet::all())
    }
}

impl Holding {
    /// A node that held these shards when it stopped.
    #[must_use]
    pub fn of(held: ShardSet) -> Self {
        Self {
            scope: Scope(held),
            ..Self::default()
        }
    }

    /// The shards that are this node's own from now on. Those that were begin to leave, those that are again leave no more.
    pub fn place(&mut self, scope: ShardSet, now: Timestamp) {
        for shard in self.scope.0.iter().filter(|shard| !scope.contains(*shard)) {
            self.leaving.entry(shard).or_insert(Leaving { since: now });
        }
        self.leaving.retain(|shard, _| !scope.contains(*shard));
        self.scope = Scope(scope);
    }

    /// The shards that are this node's own.
    #[must_use]
    pub const fn scope(&self) -> ShardSet {
        self.scope.0
    }

    /// Those that have left and are not dropped yet.
    #[must_use]
    pub fn leaving(&self) -> ShardSet {
        self.leaving.keys().copied().collect()
    }

    /// Everything that is held as a whole: its own and what is leaving.
    #[must_use]
    pub fn held(&self) -> ShardSet {
        self.scope.0.iter().chain(self.leaving.keys().copied()).collect()
    }

    /// Something new is in a shard: nobody has confirmed that yet.
    pub fn inserted(&mut self, shard: u8) {
        self.confirmed.remove(&shard);
    }

    /// A peer was seen to hold the same as this node in some shards.
    pub fn agreed(&mut self, peer: NodeId, shards: &ShardSet) {
        for shard in shards.iter() {
            self.confirmed.entry(shard).or_default().insert(peer);
        }
    }

    /// How many of a shard's present holders were seen to hold the same as this node.
    #[must_use]
    pub fn confirmations(&self, shard: u8, holders: &[NodeId]) -> usize {
        self.confirmed.get(&shard).map_or(0, |confirmed| {
            let present = holders.iter().filter(|holder| confirmed.contains(holder));
            present.count()
        })
    }

    /// Whether a shard may be dropped now: its present holders are these, and so many must have confirmed it.
    #[must_use]
    pub fn may_drop(&self, shard: u8, holders: &[NodeId], needed: usize, now: Timestamp) -> Drop {
        let Some(leaving) = self.leaving.get(&shard) else {
            return Drop::Stays;
        };
        let confirmed = self.confirmations(shard, holders);
        if confirmed < needed {
            return Drop::Unconfirmed { confirmed, needed };
        }
        let lingers = now.0.saturating_sub(leaving.since.0) < PLACEMENT_LINGER.as_millis() as u64;
        if lingers { Drop::Lingers } else { Drop::Now }
    }

    /// A shard was dropped.
    pub fn dropped(&mut self, shard: u8) {
        self.leaving.remove(&shard);
        self.confirmed.remove(&shard);
    }
}
