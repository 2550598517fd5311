//! What a replica holds, by lane.

use keys::ContentId;

use crate::{group::Lane, set::EntrySet};

/// One set for each lane.
#[derive(Default)]
pub(super) struct Sets([EntrySet; Lane::ALL.len()]);

impl Sets {
    pub(super) fn of(&mut self, lane: Lane) -> &mut EntrySet {
        &mut self.0[lane as usize]
    }

    /// How many envelopes there are, and one root over them.
    pub(super) fn summary(&mut self) -> (usize, ContentId) {
        let lanes = [Lane::Common, Lane::Envelopes];
        let count = lanes.map(|lane| self.of(lane).len()).iter().sum();
        let roots = lanes.map(|lane| self.of(lane).root().0);
        (count, ContentId::of(&roots.concat()))
    }
}
