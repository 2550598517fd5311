//! Putting documents on bases, see [`crate::rebase`]: stating it, making the base that another node stated or taking it from a peer,
//! and letting the covered envelopes go.

use std::collections::{BTreeMap, BTreeSet};

use keys::{ContentId, NodeId, Timestamp};

use super::{Forget, Kept, Received, Replica, Shelf};
use crate::{
    StoreError,
    envelope::Envelope,
    erasure::{Statement, StatementContent},
    facts::ChangeHash,
    group::Group,
    ingress::Rejection,
    limits::REBASE_CHANGES_MIN,
    rebase::{Base, Rebase, RebaseRefusal, is_rebased},
    records::RecordKind,
    set::Entry,
    view::View,
};

/// What is stated about bases, and what has to be seen to.
#[derive(Default)]
pub(crate) struct Rebases {
    stated: BTreeMap<ContentId, Vec<(NodeId, Rebase)>>,
    /// Documents of which something has come that may make a stated base possible.
    due: BTreeSet<ContentId>,
    /// Documents of which covered envelopes may still lie here.
    to_sweep: BTreeSet<ContentId>,
    /// Bases that are not what the changes here amount to.
    refuted: BTreeSet<ContentId>,
}

impl Rebases {
    /// Everything has to be looked at once: the node may have stopped before it was done.
    pub(super) fn of(statements: &[Statement]) -> Self {
        let mut rebases = Self::default();
        for statement in statements {
            rebases.insert(statement);
        }
        rebases.to_sweep = rebases.stated.keys().copied().collect();
        rebases
    }

    pub(super) fn insert(&mut self, statement: &Statement) {
        if let StatementContent::Rebase(rebase) = &statement.content {
            let stated = self.stated.entry(rebase.document).or_default();
            stated.push((statement.author, rebase.clone()));
            self.due.insert(rebase.document);
        }
    }

    /// Something of a document has come.
    pub(super) fn look_at(&mut self, document: ContentId) {
        if self.stated.contains_key(&document) {
            self.due.insert(document);
        }
    }
}

impl<S: Shelf> Replica<S> {
    /// States that a document stands on a base from now on; carried out here with the next commit. Returns the base's id.
    ///
    /// # Errors
    /// When there is no such document, or it is not to be rebased.
    pub fn rebase(&mut self, document: ContentId) -> Result<ContentId, StoreError> {
        let (base, _) = self.base_now(document)?;
        self.state(&base)
    }

    /// Puts every document that this node began and that was overwritten far more than it holds on a base; how many there were.
    pub fn rebase_long(&mut self) -> usize {
        let kinds = RecordKind::ALL.into_iter().filter(|kind| is_rebased(*kind));
        let documents: Vec<ContentId> = kinds.flat_map(|kind| self.documents_of(kind)).collect();
        let mut rebased = 0;
        for document in documents {
            let is_long = self.envelopes_of(&document).len() >= REBASE_CHANGES_MIN;
            if !is_long || self.beginner(&document) != Some(self.node()) {
                continue;
            }
            // What is refused now may be possible later.
            let worth_it = self
                .base_now(document)
                .ok()
                .filter(|(base, older)| base.is_worth_it(*older));
            let stated = worth_it.and_then(|(base, _)| self.state(&base).ok());
            rebased += usize::from(stated.is_some());
        }
        rebased
    }

    /// The base of a document as it is, and how many changes its base covers so far.
    fn base_now(&mut self, document: ContentId) -> Result<(Base, usize), StoreError> {
        let mut view = self.take_view(document).ok_or(StoreError::NotFound)?;
        let base = self.base_of(document, &mut view);
        let older = view.facts.base.as_ref().map_or(0, Base::covered_changes);
        self.cache(document, view);
        Ok((base?, older))
    }

    fn base_of(&mut self, document: ContentId, view: &mut View) -> Result<Base, RebaseRefusal> {
        if self.beginner(&document) != Some(self.node()) {
            return Err(RebaseRefusal::NotTheBeginner);
        }
        if view.facts.changes.values().any(|change| change.beside) {
            return Err(RebaseRefusal::Forked);
        }
        let heads = view.facts.heads();
        Base::of(document, view, &heads)
    }

    fn state(&mut self, base: &Base) -> Result<ContentId, StoreError> {
        let rebase = Rebase {
            document: base.document(),
            heads: base.heads().iter().map(|head| ContentId(*head)).collect(),
            base: base.id(),
        };
        let statement = Statement::sign(&self.settings.key, StatementContent::Rebase(rebase));
        let statement = statement.map_err(|_| RebaseRefusal::TooLarge)?;
        self.keep_statement(&statement, true);
        Ok(base.id())
    }

    /// The base on which a document stands here (or several, see [`crate::rebase`]), and how many changes it covers.
    pub fn stands_on(&mut self, document: ContentId) -> Option<(BTreeSet<ContentId>, usize)> {
        let view = self.take_view(document)?;
        let covered = view.facts.base.as_ref().map(Base::covered_changes);
        let bases = view.facts.bases.clone();
        self.cache(document, view);
        covered.map(|covered| (bases, covered))
    }

    /// The node that began a document, which the document's id certifies.
    fn beginner(&mut self, document: &ContentId) -> Option<NodeId> {
        let entry = Entry {
            group: Group::of(document),
            id: *document,
        };
        // What is not here must not be looked for: a shelf takes that for damage.
        let lane = self.lane_of(document);
        let is_here = self.sets.of(lane).contains(&entry);
        let bytes = is_here.then(|| self.read_entry(lane, &entry))??;
        Some(Envelope::open_own(&bytes).ok()?.author)
    }

    /// What the node that began a document has stated about it.
    fn stated_by_beginner(&mut self, document: &ContentId) -> Vec<Rebase> {
        if !self.rebases.stated.contains_key(document) {
            return Vec::new();
        }
        let beginner = self.beginner(document);
        let stated = self.rebases.stated.get(document).into_iter().flatten();
        let by_beginner = stated.filter(|(author, _)| Some(*author) == beginner);
        by_beginner.map(|(_, rebase)| rebase.clone()).collect()
    }

    /// Takes a base from a peer: one that the node which began the document has stated, and that is not refuted by what is here.
    pub(super) fn receive_base(&mut self, bytes: &[u8], now: Timestamp) -> Received {
        let id = ContentId::of(bytes);
        let mut named = self.rebases.stated.values().flatten();
        // Before it is read: nobody else's is looked at.
        if !named.any(|(_, rebase)| rebase.base == id) {
            return Received::Ignored;
        }
        let Ok(base) = Base::open(bytes) else {
            return Received::Rejected(Rejection::Malformed);
        };
        let document = base.document();
        let kept = Kept::base(&base, bytes.to_vec());
        let Some((kind, owner)) = self.begun(&document) else {
            return Received::Ignored;
        };
        let erased = self.settings.recoveries.tombstones && self.erasures.covers(&document, owner.as_ref());
        if erased || kind != base.kind() || self.sets.of(kept.lane).contains(&kept.entry) {
            return Received::Ignored;
        }
        let stated = self.stated_by_beginner(&document);
        let is_stated = stated.iter().any(|rebase| {
            let heads = rebase.heads.iter().map(|head| head.0);
            rebase.base == kept.entry.id && heads.eq(base.heads().iter().copied())
        });
        if !is_stated || self.is_refuted_or_old(&document, &base) || !base.can_be_shown() {
            return Received::Ignored;
        }
        self.put_on(kept);
        self.release(&document, now);
        Received::New
    }

    /// Whether this node can tell that a base is wrong, or has one that contains it.
    fn is_refuted_or_old(&mut self, document: &ContentId, base: &Base) -> bool {
        let Some(mut view) = self.take_view(*document) else {
            return true;
        };
        let made = Base::of(*document, &mut view, base.heads());
        let is_old = view.facts.base.as_ref().is_some_and(|own| own.contains(base));
        self.cache(*document, view);
        is_old || made.is_ok_and(|made| made != *base) || self.rebases.refuted.contains(&base.id())
    }

    fn put_on(&mut self, base: Kept) {
        let document = base.document;
        self.sets.of(base.lane).insert(base.entry);
        if base.lane.is_sharded() {
            self.placed.inserted(base.entry, document, base.bytes.len(), false);
        }
        self.pending.push(base);
        // The next use builds it on the base.
        self.views.remove(&document);
        self.rebases.to_sweep.insert(document);
    }

    /// Makes the bases that were stated, as far as what they cover is here, and lets the covered envelopes go once the bases are
    /// durable. What fails (a full disk) is tried again with the next commit.
    pub(super) fn carry_out_rebases(&mut self) -> Result<(), std::sync::Arc<crate::journal::JournalError>> {
        for document in std::mem::take(&mut self.rebases.due) {
            let stated = self.stated_by_beginner(&document);
            if stated.is_empty() || self.begun(&document).is_none() {
                continue;
            }
            for rebase in stated {
                if !self.rebases.refuted.contains(&rebase.base) {
                    self.make(&rebase);
                }
            }
        }
        self.keep_pending()?;
        // What was kept just now are the bases themselves.
        self.rebases.due.clear();
        self.sweep();
        Ok(())
    }

    fn make(&mut self, rebase: &Rebase) {
        let Some(mut view) = self.take_view(rebase.document) else {
            return;
        };
        let heads: Vec<ChangeHash> = rebase.heads.iter().map(|head| head.0).collect();
        let mut made = Base::of(rebase.document, &mut view, &heads);
        if made == Err(RebaseRefusal::Forked) {
            // Of two rivals the other one may be in the view here. What is below the heads is asked for, and that alone.
            let ids = self.envelopes_of(&rebase.document);
            let (bases, envelopes) = self.open_document(&rebase.document, &ids);
            let mut below = view.below(&heads, &bases, &envelopes);
            made = Base::of(rebase.document, &mut below, &heads);
        }
        self.cache(rebase.document, view);
        match made {
            Ok(base) if base.id() == rebase.base => self.put_on(Kept::base(&base, base.to_bytes())),
            // A change is missing, or the base is an older one: nothing to do, or not yet.
            Err(RebaseRefusal::Incomplete | RebaseRefusal::NothingNew) => {}
            Ok(_) | Err(_) => {
                tracing::warn!(document = %rebase.document, "a stated base is not what its changes amount to: refused");
                self.rebases.refuted.insert(rebase.base);
            }
        }
    }

    /// Lets go what the bases cover.
    fn sweep(&mut self) {
        let mut forget = Forget::default();
        let documents = std::mem::take(&mut self.rebases.to_sweep);
        for document in &documents {
            let group = Group::of(document);
            let lane = self.lane_of(document);
            let ids = self.envelopes_of(document);
            let (bases, envelopes) = self.open_document(document, &ids);
            let Some(base) = bases.iter().cloned().reduce(|joined, base| joined.join(&base)) else {
                continue;
            };
            let before = forget.drop.len();
            let dropped = envelopes.iter().filter(|envelope| base.drops(envelope));
            let dropped = dropped.map(|envelope| envelope.id);
            let is_contained = |base: &&Base| bases.iter().any(|other| other != *base && other.contains(base));
            let contained = bases.iter().filter(is_contained).map(Base::id);
            forget
                .drop
                .extend(dropped.chain(contained).map(|id| (lane, Entry { group, id })));
            if forget.drop.len() > before {
                forget.snapshots.push(*document);
                self.views.remove(document);
            }
        }
        if forget.is_empty() {
            return;
        }
        if let Err(error) = self.shelf.forget(&forget) {
            tracing::error!(%error, "what a base covers could not be let go; it is tried again");
            self.rebases.to_sweep = documents;
            return;
        }
        for (lane, entry) in &forget.drop {
            self.sets.of(*lane).remove(entry);
            self.placed.removed(entry);
        }
    }
}
