//! A base as automerge sees it.

use std::collections::BTreeMap;

use automerge::{
    ActorId, Change, ExpandedChange, ScalarValue,
    legacy::{Key, ObjectId, Op, OpType, SortedVec},
};

use super::Base;
use crate::view::View;

/// The key under which a view on a base keeps operations that do nothing but have a number, and the actor of the base's own one. No
/// record has such a field, and what others write into it is not kept.
pub(super) const FILLER: &str = "rebase";

impl Base {
    /// The changes that write what counts, each value under its own operation id, one on top of the other. They are never signed,
    /// stored or sent; the last one is what everything later depends on.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let mut sequences: BTreeMap<u32, u64> = BTreeMap::new();
        let mut rest = self.live.as_slice();
        while let Some(first) = rest.first() {
            let length = rest
                .iter()
                .zip(first.counter..)
                .take_while(|(live, counter)| live.actor == first.actor && live.counter == *counter)
                .count();
            let (run, after) = rest.split_at(length.max(1));
            rest = after;
            let sequence = sequences.entry(first.actor).or_default();
            *sequence += 1;
            let actor = self.actors.get(first.actor as usize);
            let actor = actor.map_or_else(Vec::new, |actor| actor.actor.clone());
            let operations = run.iter().map(|live| put(&live.key, live.value.to_scalar())).collect();
            changes.push(build(actor, *sequence, first.counter, operations, changes.last()));
        }
        // Counters go on where the covered changes ended, also when their last operation counts no more.
        if self.live.last().is_none_or(|last| last.counter < self.highest()) {
            let filler = put(FILLER, ScalarValue::Null);
            changes.push(build(FILLER.into(), 1, self.highest(), vec![filler], changes.last()));
        }
        changes
    }

    /// Whether automerge can show it; one that does not come from honest changes need not be.
    #[must_use]
    pub fn can_be_shown(&self) -> bool {
        View::on(std::slice::from_ref(self), None).is_some()
    }
}

pub(super) fn put(key: &str, value: ScalarValue) -> Op {
    Op {
        action: OpType::Put(value),
        obj: ObjectId::Root,
        key: Key::Map(key.into()),
        pred: SortedVec::new(),
        insert: false,
    }
}

fn build(actor: Vec<u8>, seq: u64, start: u64, operations: Vec<Op>, before: Option<&Change>) -> Change {
    Change::from(ExpandedChange {
        operations,
        actor_id: ActorId::from(actor),
        hash: None,
        seq,
        start_op: std::num::NonZeroU64::new(start).unwrap_or(std::num::NonZeroU64::MIN),
        time: 0,
        message: None,
        deps: before.map(Change::hash).into_iter().collect(),
        extra_bytes: Vec::new(),
        author: None,
    })
}
