//! Bases beside each other. Values under their operation ids, and for each actor how far it is known: that is a set from which is known
//! what was removed, and two of them have one least that contains both.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Base,
    base::{CoveredActor, Live, Trace},
};
use crate::facts::ChangeHash;

impl Base {
    /// What both bases cover, in one: a value counts that counts in one of them and that the other does not know, or lets count, too.
    /// In which order bases are joined makes no difference, and one that another contains adds nothing.
    pub(crate) fn join(self, other: &Self) -> Self {
        let lives = |here: &Self, there: &Self| {
            let lasting: BTreeSet<(u64, Option<&[u8]>)> = there.live.iter().map(|live| there.id_of(live)).collect();
            let lives = here.live.iter().filter_map(|live| {
                let (counter, actor) = here.id_of(live);
                let known = there.actor(actor?).is_some_and(|known| counter <= known.highest);
                let counts = !known || lasting.contains(&(counter, actor));
                counts.then(|| ((counter, actor.unwrap_or_default().to_vec()), live.clone()))
            });
            lives.collect::<BTreeMap<_, _>>()
        };
        let mut live = lives(&self, other);
        live.extend(lives(other, &self));
        let is_new = |head: &ChangeHash| self.highest_of(head).is_none();
        let new_heads = other.heads.iter().copied().filter(is_new);
        let old_heads = self.heads.iter().copied();
        let old_heads = old_heads.filter(|head| other.heads.contains(head) || other.highest_of(head).is_none());
        let heads: BTreeSet<ChangeHash> = new_heads.chain(old_heads).collect();
        let mut actors: BTreeMap<Vec<u8>, CoveredActor> = BTreeMap::new();
        for actor in self.actors.iter().chain(&other.actors) {
            let known = actors.entry(actor.actor.clone()).or_insert_with(|| actor.clone());
            known.turns = known.turns.max(actor.turns);
            known.highest = known.highest.max(actor.highest);
            known.author = known.author.min(actor.author);
        }
        let places: BTreeMap<&Vec<u8>, u32> = actors.keys().zip(0..).collect();
        let live = live.into_iter().map(|((_, actor), live)| Live {
            actor: places.get(&actor).copied().unwrap_or(u32::MAX),
            ..live
        });
        let live = live.collect();
        let traces: BTreeSet<Trace> = self.traces.iter().chain(&other.traces).copied().collect();
        Self {
            document: self.document,
            kind: self.kind,
            heads: heads.into_iter().collect(),
            actors: actors.into_values().collect(),
            live,
            traces: traces.into_iter().collect(),
        }
    }
}
