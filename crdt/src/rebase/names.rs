//! How changes of a document's whole history stand on its base, and back.
//!
//! What is signed names the hashes, turns and operations of the history. In the view of a document on a base, dependencies on covered
//! changes become one on the base, an actor's turns go on behind those that the base has, and what overwrote values that count no more
//! overwrites nothing: they are gone. Operation ids stay. A change that is written here goes the other way before it is signed.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{
    Change, ExpandedChange, ScalarValue,
    legacy::{Op, OpId, OpType},
};
use serde::{Deserialize, Serialize};

use super::{
    Base,
    showing::{FILLER, put},
};
use crate::facts::ChangeHash;

/// Which change of the view stands for which signed one. Empty for a document with its whole history: there they are the same.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    shown: BTreeMap<ChangeHash, ChangeHash>,
    /// What everything later depends on.
    tip: Option<ChangeHash>,
    /// How many changes the base has under an actor.
    turns: BTreeMap<Vec<u8>, u64>,
    /// Operations of the base: what counted when it was made.
    live: BTreeSet<(u64, Vec<u8>)>,
}

impl Names {
    /// For a document on a base of which these are the changes.
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut names = Self::default();
        for change in changes {
            let actor = change.actor_id().to_bytes().to_vec();
            *names.turns.entry(actor.clone()).or_default() += 1;
            let operations = change.start_op().get()..=change.max_op();
            names.live.extend(operations.map(|counter| (counter, actor.clone())));
        }
        names.tip = changes.last().map(|change| change.hash().0);
        names
    }

    /// Under which hash a signed change stands in the view: one that the base covers is somewhere below its end.
    pub(crate) fn shown(&self, base: &Base, hash: &ChangeHash) -> ChangeHash {
        let covered = base.highest_of(hash).and(self.tip);
        covered.or_else(|| self.shown.get(hash).copied()).unwrap_or(*hash)
    }

    fn note(&mut self, signed: &Change, shown: &Change) {
        self.shown.insert(signed.hash().0, shown.hash().0);
    }

    /// A signed change as it stands on the base.
    pub(crate) fn show(&mut self, base: &Base, signed: &Change) -> Change {
        let mut change = signed.decode();
        let dependencies = change.deps.iter().map(|dependency| self.shown(base, &dependency.0));
        change.deps = sorted(dependencies.collect());
        let actor = change.actor_id.to_bytes();
        if let Some(covered) = base.actor(actor) {
            let turns = self.turns.get(actor).copied().unwrap_or(0);
            change.seq = change.seq.saturating_sub(covered.turns).saturating_add(turns);
        }
        for operation in &mut change.operations {
            self.keep_what_counts(base, operation);
        }
        let shown = build(change);
        self.note(signed, &shown);
        shown
    }

    /// An operation that overwrote what counts no more overwrites nothing there.
    fn keep_what_counts(&self, base: &Base, operation: &mut Op) {
        let is_there = |OpId(counter, actor): &OpId| {
            let actor = actor.to_bytes();
            let is_covered = base.actor(actor).is_some_and(|covered| *counter <= covered.highest);
            !is_covered || self.live.contains(&(*counter, actor.to_vec()))
        };
        if !operation.pred.iter().all(is_there) {
            let kept: Vec<OpId> = operation.pred.iter().filter(|id| is_there(id)).cloned().collect();
            operation.pred = kept.into();
        }
        // automerge remembers a removal only at what it removes.
        if operation.action == OpType::Delete && operation.pred.is_empty() {
            *operation = put(FILLER, ScalarValue::Null);
        }
    }

    /// A change that was just written on the base as it is signed. It knew everything in the view, so it depends on its `heads`: what
    /// the view shows above the base need not be above it in the history.
    pub(crate) fn sign(&mut self, base: &Base, shown: &Change, heads: Vec<ChangeHash>) -> Change {
        let mut change = shown.decode();
        change.deps = sorted(heads.into_iter().collect());
        let actor = change.actor_id.to_bytes();
        if let Some(covered) = base.actor(actor) {
            let turns = self.turns.get(actor).copied().unwrap_or(0);
            change.seq = change.seq.saturating_sub(turns).saturating_add(covered.turns);
        }
        let signed = build(change);
        self.note(&signed, shown);
        signed
    }
}

fn sorted(hashes: BTreeSet<ChangeHash>) -> Vec<automerge::ChangeHash> {
    hashes.into_iter().map(automerge::ChangeHash).collect()
}

fn build(mut change: ExpandedChange) -> Change {
    change.hash = None;
    Change::from(change)
}
