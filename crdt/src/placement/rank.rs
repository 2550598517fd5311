//! The order of the members in each shard: rendezvous hashing. A member's score in a shard depends on nothing but the two, so the
//! others keep their places when one comes or goes.

use std::{collections::BTreeMap, sync::Arc};

use keys::NodeId;

/// A member's scores in all shards, from one blake3 stream: eight bytes for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scores(Arc<[u64]>);

impl Scores {
    /// The scores of a member.
    #[must_use]
    pub fn new(node: &NodeId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("starling placement of shards 1");
        hasher.update(&node.0);
        let mut bytes = [0; 256 * 8];
        hasher.finalize_xof().fill(&mut bytes);
        let (scores, _) = bytes.as_chunks::<8>();
        Self(scores.iter().map(|score| u64::from_le_bytes(*score)).collect())
    }

    /// The score in a shard; the highest comes first.
    #[must_use]
    pub fn of(&self, shard: u8) -> u64 {
        self.0[usize::from(shard)]
    }
}

/// Scores that were computed before: two kilobytes for each member.
#[derive(Clone, Debug, Default)]
pub struct Ranks(BTreeMap<NodeId, Scores>);

impl Ranks {
    /// A member's scores.
    pub fn of(&mut self, node: &NodeId) -> Scores {
        self.0.entry(*node).or_insert_with(|| Scores::new(node)).clone()
    }

    /// Forgets those who are no members any more.
    pub fn keep_only(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.0.retain(|node, _| keep(node));
    }
}
