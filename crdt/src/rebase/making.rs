//! How a base is made from the view of a document, with its whole history or on an older base.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{
    Change, ObjId, ROOT, ReadDoc, Value,
    legacy::{ObjectId, OpType},
};
use keys::ContentId;

use super::{
    Base, RebaseRefusal,
    base::{CoveredActor, Live, Plain, Trace, beginning},
    is_rebased,
    showing::FILLER,
};
use crate::{
    facts::{ChangeHash, Facts},
    limits::{BASE_BYTES_MAX, COVERED_CHANGES_MAX, REBASE_HEADS_MAX},
    view::View,
};

impl Base {
    /// What the changes below `heads` amount to, as far as `view` holds them.
    pub(crate) fn of(document: ContentId, view: &mut View, heads: &[ChangeHash]) -> Result<Self, RebaseRefusal> {
        let kind = view.facts.kind;
        if !is_rebased(kind) {
            return Err(RebaseRefusal::Kind);
        }
        let covered = covered(&view.facts, heads)?;
        let shown: BTreeSet<ChangeHash> = covered.iter().map(|hash| view.shown_hash(hash)).collect();
        let is_plain = |change: &Change| !shown.contains(&change.hash().0) || is_plain(change);
        if !view.document.get_changes(&[]).iter().all(is_plain) {
            return Err(RebaseRefusal::Shape);
        }
        let actors = actors(&view.facts, &covered);
        let live = live(view, &actors, heads)?;
        let older = view.facts.base.iter().flat_map(|base| base.traces.iter().copied());
        let newer = covered.iter().filter_map(|hash| {
            let highest = view.facts.changes.get(hash)?.highest_operation;
            Some((beginning(hash), highest))
        });
        let mut traces: Vec<Trace> = older.chain(newer).collect();
        traces.sort_unstable();
        let base = Self {
            document,
            kind,
            heads: heads.to_vec(),
            actors,
            live,
            traces,
        };
        let fits = base.traces.len() <= COVERED_CHANGES_MAX && base.to_bytes().len() <= BASE_BYTES_MAX;
        if fits { Ok(base) } else { Err(RebaseRefusal::TooLarge) }
    }
}

/// Everything below the heads that no base covers yet.
fn covered(facts: &Facts, heads: &[ChangeHash]) -> Result<BTreeSet<ChangeHash>, RebaseRefusal> {
    if heads.is_empty() || heads.len() > REBASE_HEADS_MAX || !heads.is_sorted_by(|left, right| left < right) {
        return Err(RebaseRefusal::TooLarge);
    }
    if heads.iter().all(|head| facts.is_covered(head)) {
        return Err(RebaseRefusal::NothingNew);
    }
    let is_head_of_base = |head| facts.base.as_ref().is_some_and(|base| base.heads.contains(head));
    if !heads
        .iter()
        .all(|head| facts.changes.contains_key(head) || is_head_of_base(head))
    {
        return Err(RebaseRefusal::Incomplete);
    }
    let below = facts.with_ancestors(heads.iter().copied().collect());
    let covered: BTreeSet<ChangeHash> = below
        .iter()
        .copied()
        .filter(|hash| facts.changes.contains_key(hash))
        .collect();
    if covered.iter().any(|hash| facts.is_beside(hash)) {
        return Err(RebaseRefusal::Forked);
    }
    // On top of the older base, not beside it.
    let on_top = facts
        .base
        .as_ref()
        .is_none_or(|base| base.heads.iter().all(|head| below.contains(head)));
    if on_top {
        Ok(covered)
    } else {
        Err(RebaseRefusal::Incomplete)
    }
}

/// Plain values in the flat map, and nothing else.
fn is_plain(change: &Change) -> bool {
    change.decode().operations.iter().all(|operation| {
        let is_plain = match &operation.action {
            OpType::Put(value) => Plain::of(value).is_some(),
            OpType::Delete => true,
            OpType::Make(_) | OpType::Increment(_) | OpType::MarkBegin(_) | OpType::MarkEnd(_) => false,
        };
        is_plain && operation.obj == ObjectId::Root && operation.key.is_map_key()
    })
}

fn actors(facts: &Facts, covered: &BTreeSet<ChangeHash>) -> Vec<CoveredActor> {
    let older = facts.base.iter().flat_map(|base| base.actors.iter().cloned());
    let mut actors: BTreeMap<Vec<u8>, CoveredActor> = older.map(|actor| (actor.actor.clone(), actor)).collect();
    for change in covered.iter().filter_map(|hash| facts.changes.get(hash)) {
        let (actor, sequence) = &change.turn;
        let known = actors.entry(actor.clone()).or_insert_with(|| CoveredActor {
            actor: actor.clone(),
            author: change.author,
            turns: 0,
            highest: 0,
        });
        known.turns = known.turns.max(*sequence);
        known.highest = known.highest.max(change.highest_operation);
    }
    actors.into_values().collect()
}

/// What counts at the heads, several values of one key included.
fn live(view: &View, actors: &[CoveredActor], heads: &[ChangeHash]) -> Result<Vec<Live>, RebaseRefusal> {
    let shown: Vec<_> = heads
        .iter()
        .map(|head| automerge::ChangeHash(view.shown_hash(head)))
        .collect();
    let mut live = Vec::new();
    for key in view.document.keys_at(ROOT, &shown).filter(|key| key != FILLER) {
        let values = view.document.get_all_at(ROOT, key.as_str(), &shown);
        for (value, id) in values.map_err(|_| RebaseRefusal::Shape)? {
            let (Value::Scalar(value), ObjId::Id(counter, actor, _)) = (value, id) else {
                return Err(RebaseRefusal::Shape);
            };
            let place = actors.binary_search_by(|known| known.actor.as_slice().cmp(actor.to_bytes()));
            let place = place.ok().and_then(|place| u32::try_from(place).ok());
            live.push(Live {
                counter,
                actor: place.ok_or(RebaseRefusal::Shape)?,
                key: key.clone(),
                value: Plain::of(&value).ok_or(RebaseRefusal::Shape)?,
            });
        }
    }
    live.sort_by_key(|live| (live.counter, live.actor));
    Ok(live)
}
