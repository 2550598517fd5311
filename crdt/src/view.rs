//! A view: one document as automerge sees it, built from the set of its changes.

pub(crate) mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use automerge::{ActorId, AutoCommit, Change};
use keys::{ContentId, DataKey, DataKeyId, NodeId};

use crate::{
    envelope::Envelope,
    facts::{ACTOR_AUTHOR_BYTES, ChangeHash, Effect, Facts},
    ingress::Rejection,
    rebase::{Base, names::Names},
    records::RecordKind,
};

/// A materialised document.
pub(crate) struct View {
    /// The main view; forks are built when somebody asks for one.
    pub(crate) document: AutoCommit,
    pub(crate) facts: Facts,
    /// How signed changes are called in the document, which differs for one on a base.
    pub(crate) names: Names,
    /// Sealed texts by their hash; `None` where one was erased.
    pub(crate) payloads: BTreeMap<ContentId, Option<Vec<u8>>>,
    /// The data key that sealed the document's first state.
    pub(crate) sealed_by: Option<DataKeyId>,
    /// For the cache: when it was last used.
    pub(crate) used: u64,
    /// Changes that no snapshot holds.
    pub(crate) unsaved: usize,
    /// Bytes of all changes and payloads, as a measure of what the view costs.
    pub(crate) bytes: usize,
}

impl View {
    pub(crate) fn empty(kind: RecordKind, owner: Option<ContentId>) -> Self {
        Self {
            document: AutoCommit::new(),
            facts: Facts::new(kind, owner),
            names: Names::default(),
            payloads: BTreeMap::new(),
            sealed_by: None,
            used: 0,
            unsaved: 0,
            bytes: 0,
        }
    }

    /// The view of a document of which there is nothing but what it stands on. `None` when that cannot be shown, or is nothing.
    pub(crate) fn on(bases: &[Base], owner: Option<ContentId>) -> Option<Self> {
        let base = bases.iter().cloned().reduce(|joined, base| joined.join(&base))?;
        let mut view = Self::empty(base.kind(), owner);
        let built = catch_unwind(AssertUnwindSafe(|| {
            let changes = base.changes();
            view.names = Names::of(&changes);
            view.document.apply_changes(changes)
        }));
        built.ok()?.ok()?;
        view.bytes = base.to_bytes().len();
        view.facts = Facts::on(base, bases.iter().map(Base::id).collect(), owner);
        Some(view)
    }

    /// Builds the view of a document from the bases it stands on, if any, and all its envelopes, in any order.
    pub(crate) fn build(kind: RecordKind, owner: Option<ContentId>, bases: &[Base], envelopes: &[Envelope]) -> Self {
        let mut view = Self::on(bases, owner).unwrap_or_else(|| Self::empty(kind, owner));
        let start = view.document.clone();
        if let Err(main) = view.extend(envelopes) {
            view.document = one_by_one(start, main);
        }
        view
    }

    /// Adds envelopes that were judged when they came in, and builds the main view again where it must be. On a failure of automerge
    /// the view must be thrown away; the changes that were to be shown are returned.
    pub(crate) fn extend(&mut self, envelopes: &[Envelope]) -> Result<(), Vec<Change>> {
        let mut changes: BTreeMap<ChangeHash, Change> = BTreeMap::new();
        let mut must_rebuild = false;
        for envelope in envelopes {
            // What no longer decodes is left out of the view, not of the journal.
            let Some(change) = stored_change(envelope) else {
                continue;
            };
            self.count(envelope);
            let hash = change.hash().0;
            if self.facts.is_covered(&hash) {
                continue;
            }
            if self.facts.changes.contains_key(&hash) {
                self.facts.add_twin(&hash, envelope.id);
                continue;
            }
            must_rebuild |= self.facts.insert(envelope, &change);
            changes.insert(hash, change);
        }
        self.facts.settle();
        if must_rebuild && self.facts.base.is_none() {
            // What was in the main view may have lost its turn: take every change again.
            let before = self.document.get_changes(&[]);
            changes.extend(before.into_iter().map(|change| (change.hash().0, change)));
            self.document = AutoCommit::new();
        }
        // What somebody depends on has lower operations: in this order each dependency is named before it is used.
        let mut main: Vec<Change> = changes
            .into_values()
            .filter(|change| !self.facts.is_beside(&change.hash().0))
            .collect();
        main.sort_by_key(|change| (change.start_op(), change.hash()));
        let main: Vec<Change> = main.into_iter().map(|change| self.shown(change)).collect();
        if must_rebuild && self.facts.base.is_some() && main.len() < self.facts.shown_changes() {
            // What was in the main view before is not at hand under the names that it was signed with.
            return Err(main);
        }
        match catch_unwind(AssertUnwindSafe(|| self.document.apply_changes(main.clone()))) {
            Ok(Ok(())) => Ok(()),
            _ => Err(main),
        }
    }

    /// A signed change as it stands in the document.
    fn shown(&mut self, change: Change) -> Change {
        match &self.facts.base {
            Some(base) => self.names.show(base, &change),
            None => change,
        }
    }

    /// Whether the document's base covers an envelope that stays all the same.
    pub(crate) fn keeps(&self, envelope: &Envelope) -> bool {
        self.facts.base.as_ref().is_some_and(|base| base.keeps(envelope))
    }

    /// Under which hash a signed change stands in the document.
    pub(crate) fn shown_hash(&self, hash: &ChangeHash) -> ChangeHash {
        match &self.facts.base {
            Some(base) => self.names.shown(base, hash),
            None => *hash,
        }
    }

    /// The change that was just committed, as it is to be signed.
    pub(crate) fn written(&mut self) -> Option<Change> {
        let change = self.document.get_last_local_change()?;
        Some(match &self.facts.base {
            Some(base) => self.names.sign(base, &change, self.facts.heads()),
            None => change,
        })
    }

    /// Counts what an envelope adds to the view's cost and remembers its payloads.
    pub(crate) fn count(&mut self, envelope: &Envelope) {
        self.unsaved += 1;
        self.bytes += envelope.change.len();
        if envelope.is_genesis {
            let mut sealed = envelope.payloads.iter().filter_map(|(_, payload)| payload.as_deref());
            self.sealed_by = sealed.find_map(DataKey::id_of);
        }
        for (hash, payload) in &envelope.payloads {
            self.bytes += payload.as_ref().map_or(0, Vec::len);
            let known = self.payloads.entry(*hash).or_default();
            if known.is_none() {
                known.clone_from(payload);
            }
        }
    }

    /// The sealed text whose hash begins so; the whole hash stands in the signed envelope. An author who goes to the length of finding
    /// two that begin alike only confuses its own text.
    pub(crate) fn payload(&self, reference: &[u8; 8]) -> Option<&Option<Vec<u8>>> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(reference);
        let (hash, payload) = self.payloads.range(ContentId(first)..).next()?;
        hash.0.starts_with(reference).then_some(payload)
    }

    /// Takes in a change that ingress accepted. `Effect::Displaces` asks the caller to build the view anew from the whole set.
    /// After an error the view must be thrown away.
    pub(crate) fn apply(&mut self, envelope: &Envelope, change: Change) -> Result<Effect, Rejection> {
        let effect = self.facts.add(envelope, &change);
        self.count(envelope);
        if effect != Effect::Extends {
            return Ok(effect);
        }
        let change = self.shown(change);
        match catch_unwind(AssertUnwindSafe(|| self.document.apply_changes([change]))) {
            Ok(Ok(())) => Ok(effect),
            _ => Err(Rejection::Poison),
        }
    }

    /// The view of these heads and what they depend on, whatever else there is.
    pub(crate) fn below(&self, heads: &[ChangeHash], bases: &[Base], envelopes: &[Envelope]) -> Self {
        let wanted = self.facts.with_ancestors(heads.iter().copied().collect());
        let is_below = |envelope: &&Envelope| {
            let change = stored_change(envelope);
            change.is_some_and(|change| wanted.contains(&change.hash().0))
        };
        let envelopes: Vec<Envelope> = envelopes.iter().filter(is_below).cloned().collect();
        Self::build(self.facts.kind, self.facts.owner, bases, &envelopes)
    }

    /// One fork as a document of its own: the change that lost its turn, what it depends on and what depends on it.
    pub(crate) fn fork(&self, loser: ChangeHash, envelopes: &[Envelope]) -> AutoCommit {
        let descendants = self.facts.with_descendants(BTreeSet::from([loser]));
        let wanted = self.facts.with_ancestors(descendants);
        let changes = envelopes.iter().filter_map(stored_change);
        let mut changes: Vec<Change> = changes.filter(|change| wanted.contains(&change.hash().0)).collect();
        let rival = changes.iter().find(|change| change.hash().0 == loser);
        let based = self.facts.base.as_ref().map(|base| match rival {
            Some(rival) => base.before(rival),
            None => base.clone(),
        });
        let based = based.and_then(|base| Self::on(&[base], self.facts.owner));
        let Some(mut based) = based else {
            return one_by_one(AutoCommit::new(), changes);
        };
        changes.sort_by_key(|change| (change.start_op(), change.hash()));
        let changes = changes.into_iter().map(|change| based.shown(change)).collect();
        one_by_one(based.document, changes)
    }
}

/// The change of an envelope that was judged when it came in. automerge can panic on bytes that an older build let in.
pub(crate) fn stored_change(envelope: &Envelope) -> Option<Change> {
    let decoded = catch_unwind(AssertUnwindSafe(|| Change::try_from(envelope.change.as_slice())));
    decoded.ok()?.ok()
}

/// After a panic or an error: what a document begins with, and the changes that can be applied to it, in causal order.
fn one_by_one(start: AutoCommit, changes: Vec<Change>) -> AutoCommit {
    let mut document = start;
    let mut waiting = changes;
    let begun = document.get_changes(&[]).into_iter();
    let mut applied: BTreeSet<ChangeHash> = begun.map(|change| change.hash().0).collect();
    // Each pass applies at least one change or ends.
    loop {
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|change| {
            let mut dependencies = change.deps().iter();
            dependencies.all(|dependency| applied.contains(&dependency.0))
        });
        let count = applied.len();
        for change in ready {
            let hash = change.hash().0;
            let before = document.clone();
            match catch_unwind(AssertUnwindSafe(|| document.apply_changes([change]))) {
                Ok(Ok(())) => {
                    applied.insert(hash);
                }
                _ => {
                    tracing::warn!("a stored change cannot be shown");
                    document = before;
                }
            }
        }
        if applied.len() == count {
            return document;
        }
        waiting = rest;
    }
}

/// The actor under which this process writes into a document: the first bytes of the node's id, then bytes that are fresh per
/// process start and document. A node restored from a backup must never write a second change under an old (actor, sequence
/// number), and nobody can write under the actor of another node.
pub(crate) fn actor(node: &NodeId, boot: &[u8; 16], purpose: &[u8]) -> ActorId {
    let mut hasher = blake3::Hasher::new_derive_key("starling automerge actor 2");
    hasher.update(&node.0).update(boot).update(purpose);
    let mut actor = node.0[..ACTOR_AUTHOR_BYTES].to_vec();
    actor.extend_from_slice(&hasher.finalize().as_bytes()[..8]);
    ActorId::from(actor)
}
