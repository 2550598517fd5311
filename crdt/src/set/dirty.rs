//! What was accepted while a peer could not be reached: handed to it first when it is back, so that most splits heal in one round
//! trip. Only a hint, bounded and never on disk: comparing the sets finds whatever is not in it.

use std::collections::{BTreeMap, VecDeque};

use keys::NodeId;

use super::Entry;
use crate::limits::{DIRTY_ENTRIES_MAX, DIRTY_PEERS_MAX};

/// What each unreachable peer has missed.
#[derive(Debug, Default)]
pub struct Dirty {
    /// In the order of acceptance, which is one in which they can be taken in; `None` where there were too many.
    peers: BTreeMap<NodeId, Option<VecDeque<Entry>>>,
}

impl Dirty {
    /// Notes an entry for peers that cannot be reached now. Peers beyond [`DIRTY_PEERS_MAX`] are left to the comparison, and so
    /// is everything for a peer that has missed more than [`DIRTY_ENTRIES_MAX`].
    pub fn note(&mut self, entry: Entry, unreachable: impl IntoIterator<Item = NodeId>) {
        for peer in unreachable {
            let full = self.peers.len() >= DIRTY_PEERS_MAX;
            let list = match self.peers.entry(peer) {
                std::collections::btree_map::Entry::Vacant(_) if full => continue,
                place => place.or_insert_with(|| Some(VecDeque::new())),
            };
            if let Some(entries) = list {
                entries.push_back(entry);
            }
            // A list with gaps is worth little, so it goes as a whole.
            list.take_if(|entries| entries.len() > DIRTY_ENTRIES_MAX);
        }
    }

    /// Takes out what a peer has missed, at most `max` entries, the earliest first; for
    /// [`Replica::handoff`](super::Replica::handoff) with [`DIRTY_HAND_OVER_MAX`](crate::limits::DIRTY_HAND_OVER_MAX), as what does
    /// not fit the frame is not kept.
    pub fn hand_over(&mut self, peer: &NodeId, max: usize) -> Vec<Entry> {
        let Some(Some(entries)) = self.peers.get_mut(peer) else {
            return Vec::new();
        };
        let handed = entries.drain(..max.min(entries.len())).collect();
        if entries.is_empty() {
            self.peers.remove(peer);
        }
        handed
    }

    /// The peer holds what this node holds, or is no longer a member: nothing needs to be kept for it.
    pub fn agreed(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// How many entries are kept, for all peers together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.values().flatten().map(VecDeque::len).sum()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use keys::ContentId;

    use super::*;
    use crate::group::Group;

    fn entry(number: usize) -> Entry {
        Entry {
            group: Group([0; 8]),
            id: ContentId::of(&number.to_le_bytes()),
        }
    }

    fn peer(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn what_a_peer_missed_is_handed_over_once_and_in_order() {
        let mut dirty = Dirty::default();
        for number in 0..5 {
            dirty.note(entry(number), [peer(1), peer(2)]);
        }
        assert_eq!(dirty.hand_over(&peer(1), 2), [entry(0), entry(1)]);
        assert_eq!(dirty.hand_over(&peer(1), 9), [entry(2), entry(3), entry(4)]);
        assert_eq!(dirty.hand_over(&peer(1), 9), []);
        assert_eq!(dirty.len(), 5, "the other peer's list is its own");
        dirty.agreed(&peer(2));
        assert!(dirty.is_empty());
        assert_eq!(dirty.hand_over(&peer(3), 9), []);
    }

    #[test]
    fn a_list_that_grows_too_long_is_dropped_until_the_peer_agrees() {
        let mut dirty = Dirty::default();
        (0..DIRTY_ENTRIES_MAX).for_each(|number| dirty.note(entry(number), [peer(1)]));
        assert_eq!(dirty.len(), DIRTY_ENTRIES_MAX, "as many as there may be are kept");
        dirty.note(entry(DIRTY_ENTRIES_MAX), [peer(1), peer(2)]);
        assert_eq!(dirty.hand_over(&peer(1), 9), []);
        assert_eq!(dirty.hand_over(&peer(2), 9).len(), 1, "other peers keep theirs");
        dirty.note(entry(0), [peer(1)]);
        assert!(dirty.is_empty(), "no list with gaps begins");
        dirty.agreed(&peer(1));
        dirty.note(entry(0), [peer(1)]);
        assert_eq!(dirty.hand_over(&peer(1), 9), [entry(0)]);
    }

    #[test]
    fn peers_beyond_the_bound_are_left_to_the_comparison() {
        let mut dirty = Dirty::default();
        (0..=u8::MAX).for_each(|number| dirty.note(entry(1), [peer(number)]));
        dirty.note(entry(2), [peer(0)]);
        assert_eq!(dirty.len(), DIRTY_PEERS_MAX + 1, "those that have a place go on");
        assert_eq!(dirty.hand_over(&peer(255), 9), []);
        dirty.agreed(&peer(0));
        dirty.note(entry(3), [peer(255)]);
        assert_eq!(dirty.hand_over(&peer(255), 9), [entry(3)]);
    }
}
