//! Who holds what: which members keep the sharded documents, decided by every node alone from what it knows of the others.
//!
//! A sharded document belongs to one of 256 shards, by its id. Up to [`PLACEMENT_EVERYWHERE_MAX`] storage members each of them
//! holds every shard; in a larger mesh each shard has [`PLACEMENT_COPIES`] holders, those that come first in the shard's own order
//! of members (`rank`): a member that comes or goes moves its own shards and no others.
//!
//! Nobody assigns anything. Two nodes that know the same say the same; two that do not (news travels) differ for a moment, which
//! costs a copy more and never one less, because of two rules:
//! - *Suspicion is not death* (`choice`): a holder that has fallen silent is replaced only after a while, sooner when a second one
//!   of the same shard is silent, later when a good part of the mesh is: that is a split, in which nothing needs to move.
//! - *Nothing is dropped on a belief* ([`Holding`]): a node that is no holder any more goes on offering a shard until as many
//!   holders as there must be have each shown that they hold exactly the same, since the last change that came here.
//!
//! A mesh may ask for a residency: then only members with that label hold sharded documents, which are those about persons. Where
//! there are too few of them this is said ([`Shortage`]) and nothing is dropped anywhere; it is never made up for by others.
//!
//! Pure: time is an argument, and there is no randomness.

mod choice;
mod holding;
mod rank;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use keys::NodeId;

pub use self::{
    choice::{Weather, choose},
    holding::{Drop, Holding},
    rank::{Ranks, Scores},
};
use crate::{
    limits::{PLACEMENT_COPIES, PLACEMENT_EVERYWHERE_MAX},
    set::ShardSet,
};

/// The setting that says which residency label a member must have to hold sharded documents.
pub const RESIDENCY_SETTING: &str = "placement.residency";

/// By what rules a mesh places its documents; the same on all its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many members hold a shard.
    pub copies: usize,
    /// Up to how many storage members each of them holds everything.
    pub everywhere_up_to: usize,
    /// The label that a holder must have.
    pub residency: Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            copies: PLACEMENT_COPIES,
            everywhere_up_to: PLACEMENT_EVERYWHERE_MAX,
            residency: None,
        }
    }
}

/// A storage member as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Who.
    pub node: NodeId,
    /// The label of where it stands.
    pub residency: Option<String>,
    /// For how long nothing has been heard of it; nothing for the node itself.
    pub silent_for: Duration,
}

/// There are fewer members with the residency label than there must be holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// How many holders a shard must have.
    pub wanted: usize,
    /// How many members may be one.
    pub found: usize,
}

/// Who holds what, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    holders: Holders,
    /// Every storage member, whatever its label, by id.
    storage: Vec<NodeId>,
    needed: usize,
    shortage: Option<Shortage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Holders {
    /// Each of these holds every shard.
    Everywhere(Vec<NodeId>),
    /// By shard, in the order of the shard; always 256.
    Sharded(Vec<Vec<NodeId>>),
}

impl Placement {
    /// Places every shard.
    #[must_use]
    pub fn of(rules: &Rules, seats: &[Seat], ranks: &mut Ranks) -> Self {
        let may_hold = |seat: &&Seat| rules.residency.is_none() || seat.residency == rules.residency;
        let mut holding: Vec<&Seat> = seats.iter().filter(may_hold).collect();
        holding.sort_unstable_by_key(|seat| seat.node);
        let found = holding.len();
        let lacks = found < rules.copies && found < seats.len();
        let shortage = lacks.then_some(Shortage {
            wanted: rules.copies,
            found,
        });
        let holders = if found <= rules.everywhere_up_to {
            Holders::Everywhere(holding.iter().map(|seat| seat.node).collect())
        } else {
            Holders::Sharded(shard_out(rules.copies, &holding, ranks))
        };
        let mut storage: Vec<NodeId> = seats.iter().map(|seat| seat.node).collect();
        storage.sort_unstable();
        Self {
            holders,
            storage,
            // Whatever label they have: where too few may hold, nobody drops.
            needed: rules.copies.min(seats.len()),
            shortage,
        }
    }

    /// The holders of a shard.
    #[must_use]
    pub fn holders(&self, shard: u8) -> &[NodeId] {
        match &self.holders {
            Holders::Everywhere(all) => all,
            Holders::Sharded(shards) => shards.get(usize::from(shard)).map_or(&[], Vec::as_slice),
        }
    }

    /// The shards that a member holds.
    #[must_use]
    pub fn scope_of(&self, node: &NodeId) -> ShardSet {
        match &self.holders {
            Holders::Everywhere(all) if all.contains(node) => ShardSet::all(),
            Holders::Everywhere(_) => ShardSet::none(),
            Holders::Sharded(_) => (0..=u8::MAX)
                .filter(|shard| self.holders(*shard).contains(node))
                .collect(),
        }
    }

    /// The fewest of some nodes, roughly, that together hold some shards, each with those it is to be asked for. What none of them holds
    /// is left out. Where several hold as much, the first of them is taken.
    #[must_use]
    pub fn cover(&self, shards: &ShardSet, nodes: &[NodeId]) -> Vec<(NodeId, ShardSet)> {
        let place = |node: &NodeId| nodes.iter().position(|known| known == node);
        let mut held: BTreeMap<usize, ShardSet> = BTreeMap::new();
        for shard in shards.iter() {
            for place in self.holders(shard).iter().filter_map(place) {
                held.entry(place).or_default().insert(shard);
            }
        }
        let mut cover = Vec::new();
        // Each round takes one node out.
        while let Some((place, most)) = held
            .iter()
            .max_by_key(|(place, shards)| (shards.len(), Reverse(**place)))
            .map(|(place, shards)| (*place, *shards))
        {
            cover.push((nodes[place], most));
            held.remove(&place);
            held.retain(|_, shards| {
                *shards = shards.iter().filter(|shard| !most.contains(*shard)).collect();
                !shards.is_empty()
            });
        }
        cover
    }

    /// Whether a member keeps documents at all.
    #[must_use]
    pub fn is_storage(&self, node: &NodeId) -> bool {
        self.storage.binary_search(node).is_ok()
    }

    /// Whether each holder holds every shard.
    #[must_use]
    pub const fn is_everywhere(&self) -> bool {
        matches!(self.holders, Holders::Everywhere(_))
    }

    /// How many holders must have confirmed a shard before anyone else drops it.
    #[must_use]
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// Whether there are too few members with the residency label.
    #[must_use]
    pub const fn shortage(&self) -> Option<Shortage> {
        self.shortage
    }
}

fn shard_out(copies: usize, seats: &[&Seat], ranks: &mut Ranks) -> Vec<Vec<NodeId>> {
    let weather = Weather::of(seats.iter().map(|seat| seat.silent_for));
    let scores: Vec<Scores> = seats.iter().map(|seat| ranks.of(&seat.node)).collect();
    ranks.keep_only(|node| seats.binary_search_by_key(node, |seat| seat.node).is_ok());
    let mut order: Vec<usize> = (0..seats.len()).collect();
    let place = |shard: u8| {
        order.sort_unstable_by_key(|at| Reverse((scores[*at].of(shard), seats[*at].node)));
        choose(
            order.iter().map(|at| (seats[*at].node, seats[*at].silent_for)),
            copies,
            weather,
        )
    };
    (0..=u8::MAX).map(place).collect()
}
