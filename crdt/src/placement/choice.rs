//! Which members of a shard's order hold it, when some of them have fallen silent.
//!
//! How long a silent one is waited for depends on what waiting costs. One of five is no danger, and it is mostly a restart: a minute.
//! Two of the same five leave three, and the next one that dies counts: seconds. When more than a quarter of all members is silent,
//! it is not they who died: the mesh is split or a site is off, each side holds most of what there is, and to copy it all would
//! cost more than it helps: a quarter of an hour.

use std::time::Duration;

use keys::NodeId;

use crate::limits::{PLACEMENT_PATIENCE, PLACEMENT_PATIENCE_SPLIT, PLACEMENT_PATIENCE_URGENT, PLACEMENT_SPLIT_PERCENT};

/// How the mesh as a whole looks from one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nearly everybody is heard.
    Calm,
    /// So many have fallen silent that it must be a split.
    Split,
}

impl Weather {
    /// Judges by how long each member has been silent. Those that have been for longer than any split is waited out do not count.
    #[must_use]
    pub fn of(silences: impl IntoIterator<Item = Duration>) -> Self {
        let (mut counted, mut silent) = (0, 0);
        for silence in silences
            .into_iter()
            .filter(|silence| *silence < PLACEMENT_PATIENCE_SPLIT)
        {
            counted += 1;
            silent += usize::from(silence >= PLACEMENT_PATIENCE_URGENT);
        }
        if silent * 100 > counted * PLACEMENT_SPLIT_PERCENT {
            Self::Split
        } else {
            Self::Calm
        }
    }

    const fn patience(self) -> Duration {
        match self {
            Self::Calm => PLACEMENT_PATIENCE,
            Self::Split => PLACEMENT_PATIENCE_SPLIT,
        }
    }
}

/// The holders of a shard, from the members that may be one, in the shard's order, each with how long it has been silent. Takes
/// no more of them than are needed.
#[must_use]
pub fn choose(order: impl IntoIterator<Item = (NodeId, Duration)>, copies: usize, weather: Weather) -> Vec<NodeId> {
    let patience = weather.patience();
    let mut waited_for = order.into_iter().filter(|(_, silence)| *silence < patience);
    let chosen: Vec<_> = waited_for.by_ref().take(copies).collect();
    let is_heard = |(_, silence): &(NodeId, Duration)| *silence < PLACEMENT_PATIENCE_URGENT;
    let heard = chosen.iter().filter(|seat| is_heard(seat)).count();
    let nodes = |seats: Vec<(NodeId, Duration)>| seats.into_iter().map(|(node, _)| node).collect();
    if weather == Weather::Split || heard + 1 >= chosen.len() {
        return nodes(chosen);
    }
    let heard_seats = chosen.iter().copied().chain(waited_for).filter(is_heard);
    let heard: Vec<_> = heard_seats.take(copies).collect();
    // Where there is nobody to take their places, those who are waited for keep them.
    if heard.len() < copies {
        nodes(chosen)
    } else {
        nodes(heard)
    }
}
