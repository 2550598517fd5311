//! The replica: everything a node does with the set of changes, without disk, network, clock or randomness of its own.
//!
//! It owns the two sets (erasures before changes), the views, what is parked, the quotas, the dirty lists and the erasures, and
//! drives a [`Shelf`] (journal and index, or memory) and [`Keys`] (the key files, or memory). The store's thread runs it on real
//! disks; the simulator runs thousands of the very same replicas in virtual time.
//!
//! Nothing counts before [`Replica::commit`]: what was accepted since the last one is made durable together, then erasures are
//! carried out, and only then may anyone be answered, notified or sent anything ([`Replica::take_events`]).

mod erasing;
mod fetching;
mod intake;
mod parked;
mod placed;
pub mod quota;
mod reading;
mod rebasing;
mod sets;
pub mod shelf;
mod talking;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use automerge::{ActorId, transaction::CommitOptions};
use keys::{ContentId, DataKey, NodeId, NodeKey, Timestamp};

pub use self::{
    fetching::{Batch, Cursor},
    intake::{Received, Source},
    placed::Held,
    reading::Fork,
    shelf::{Forget, Kept, Keys, MemoryKeys, MemoryShelf, Shelf},
    talking::Talker,
};
use self::{parked::Parked, placed::Placed, quota::Quotas, rebasing::Rebases, sets::Sets};
use crate::{
    StoreError,
    envelope::Envelope,
    erasure::{Erasures, Statement},
    group::{Group, Lane},
    ingress::{Rejection, Right},
    journal::JournalError,
    limits::{SNAPSHOT_CHANGES_MIN, SNAPSHOT_EVERY, VIEW_BYTES_MAX, VIEWS_MAX},
    rebase::Base,
    records::{Edit, Record, RecordError, RecordKind, Seal, Writer},
    set::{Dirty, Entry},
    view::{self, View},
};

/// As whom a replica works, and by which rules.
#[derive(Clone)]
pub struct ReplicaSettings {
    /// Signs this node's changes.
    pub key: NodeKey,
    /// Whether a node may write: the current roster.
    pub right: Arc<dyn Fn(&NodeId) -> Right + Send + Sync>,
    /// Random bytes of this process start: automerge actors are made from them, so that no two starts write under one.
    pub boot: [u8; 16],
    /// What protects the replica; everything is on but in the simulator's control runs.
    pub recoveries: Recoveries,
}

/// What protects a replica from faults and hostile nodes. A simulation in which one is off must fail, or it tests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recoveries {
    /// Signatures are verified.
    pub signatures: bool,
    /// A change's first operation must follow its dependencies.
    pub start_rule: bool,
    /// A change's actor belongs to its author.
    pub actors: bool,
    /// A change's time is one that a clock can show.
    pub times: bool,
    /// Changes wait for what they depend on.
    pub parking: bool,
    /// What waits is bounded and expires.
    pub parking_bounds: bool,
    /// Two changes with one turn make a fork; off: the second is refused.
    pub forks: bool,
    /// Erasures keep what they cover from coming back.
    pub tombstones: bool,
    /// Authors are held to their quotas.
    pub quotas: bool,
    /// Changes for a peer that is away are handed over when it returns.
    pub handoff: bool,
    /// A shard is dropped only after enough holders have confirmed it.
    pub confirmed_drops: bool,
}

impl Default for Recoveries {
    fn default() -> Self {
        Self {
            signatures: true,
            start_rule: true,
            actors: true,
            times: true,
            parking: true,
            parking_bounds: true,
            forks: true,
            tombstones: true,
            quotas: true,
            handoff: true,
            confirmed_drops: true,
        }
    }
}

/// What the world outside must be told after a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A document changed, here or elsewhere.
    Changed {
        /// Which.
        document: ContentId,
        /// What it is.
        kind: RecordKind,
    },
    /// Bytes of this node for everyone: an envelope or a statement.
    Publish(Vec<u8>),
    /// A change that was parked is in now.
    Released(ContentId),
    /// Something was erased here; whatever was derived from it must go, too.
    Erased(crate::erasure::EraseTarget),
    /// A new data key that other nodes must get.
    KeyMade(ContentId),
    /// Texts of this account cannot be read here: its key must be asked of others.
    KeyWanted(ContentId),
}

/// See the module.
pub struct Replica<S> {
    settings: ReplicaSettings,
    shelf: S,
    keys: Box<dyn Keys>,
    /// What this node holds.
    sets: Sets,
    /// What it holds of the placed documents.
    placed: Placed,
    erasures: Erasures,
    /// Erasures to be carried out at the next commit.
    to_erase: BTreeSet<ContentId>,
    rebases: Rebases,
    views: HashMap<ContentId, View>,
    /// Counts uses of views, and everything else that must be different each time.
    counter: u64,
    /// Accepted since the last commit.
    pending: Vec<Kept>,
    parked: Parked,
    quotas: Quotas,
    dirty: Dirty,
    away: BTreeSet<NodeId>,
    /// Changes that made a view fail: never taken in or forwarded again by this process.
    quarantined: BTreeSet<ContentId>,
    wanted_keys: BTreeSet<ContentId>,
    events: Vec<Event>,
}

impl<S: Shelf> Replica<S> {
    /// Takes up what the shelf holds. Erasures that this node has not confirmed are carried out with the next commit.
    pub fn new(settings: ReplicaSettings, shelf: S, keys: Box<dyn Keys>) -> Self {
        let mut replica = Self {
            settings,
            shelf,
            keys,
            sets: Sets::default(),
            placed: Placed::default(),
            erasures: Erasures::default(),
            to_erase: BTreeSet::new(),
            rebases: Rebases::default(),
            views: HashMap::new(),
            counter: 0,
            pending: Vec::new(),
            parked: Parked::default(),
            quotas: Quotas::default(),
            dirty: Dirty::default(),
            away: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            wanted_keys: BTreeSet::new(),
            events: Vec::new(),
        };
        replica.load_sets();
        // Where it is not known, every shard of which there is anything.
        let known = replica.shelf.held();
        let entries = replica.sets.of(Lane::Envelopes).iter();
        replica.placed = Placed::of(known.unwrap_or_else(|| entries.map(Entry::shard).collect()));
        replica
    }

    fn load_sets(&mut self) {
        self.sets = Sets::default();
        for lane in Lane::ALL {
            // Collected first: a set that is made of sorted entries takes half the memory of one that grows by them.
            let mut entries = Vec::new();
            self.shelf.entries(lane, &mut |entry| entries.push(entry));
            *self.sets.of(lane) = entries.into_iter().collect();
        }
        self.erasures = Erasures::default();
        let mut opened: Vec<Statement> = Vec::new();
        for entry in self.sets.of(Lane::Statements).iter() {
            let bytes = self.shelf.read(Lane::Statements, entry);
            opened.extend(bytes.and_then(|bytes| Statement::open(&bytes).ok()));
        }
        // Twice: a receipt counts only after its erasure.
        for statement in opened.iter().chain(&opened) {
            self.erasures.insert(statement);
        }
        self.rebases = Rebases::of(&opened);
        let node = self.settings.key.id();
        self.to_erase = self.erasures.unconfirmed_by(&node).map(|erasure| erasure.id).collect();
    }

    /// The node whose changes this replica signs.
    pub fn node(&self) -> NodeId {
        self.settings.key.id()
    }

    /// How many envelopes this node holds, and the root over them: equal roots mean equal sets.
    pub fn summary(&mut self) -> (usize, ContentId) {
        self.sets.summary()
    }

    /// The root over the erasures and receipts this node holds.
    pub fn statements_root(&mut self) -> ContentId {
        self.sets.of(Lane::Statements).root()
    }

    /// What lies below: for tests and for the scrub.
    pub fn shelf(&mut self) -> &mut S {
        &mut self.shelf
    }

    /// As [`Self::shelf`], to look only.
    pub const fn below(&self) -> &S {
        &self.shelf
    }

    /// Which other members cannot be reached: what they miss is remembered for them.
    pub fn set_away(&mut self, away: BTreeSet<NodeId>) {
        self.away = away;
    }

    /// A key for everyone who must have fresh bytes: never the same twice in a process.
    fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Begins a document.
    ///
    /// # Errors
    /// When the record breaks a limit, or its owner's key is not here.
    pub fn create<R: Record>(&mut self, record: &R, now: Timestamp) -> Result<ContentId, StoreError> {
        record.validate()?;
        let owner = record.owner();
        if owner.is_some_and(|owner| self.erasures.covers_account(&owner)) {
            return Err(StoreError::Erased);
        }
        let key = match owner {
            Some(owner) => Some(self.sealing_key(owner)?),
            None if R::KIND == RecordKind::Account => Some(self.keys.generate()),
            None => None,
        };
        let mut view = View::empty(R::KIND, owner);
        let purpose = self.fresh().to_le_bytes();
        view.document
            .set_actor(view::actor(&self.node(), &self.settings.boot, &purpose));
        let payloads = {
            let seal = |context: &[u8], text: &[u8]| key.as_ref().map_or_else(Vec::new, |key| key.seal(context, text));
            let seal: Option<Seal<'_>> = key.is_some().then_some(&seal);
            let mut writer = Writer::new(&mut view.document, seal);
            guarded(|| record.write(&mut writer))?;
            writer.payloads
        };
        let sealed = self.sign(&mut view, (R::KIND, None, owner), payloads, now)?;
        let envelope = sealed.ok_or(StoreError::NotFound)?;
        let document = envelope.document;
        if let Some(key) = key.filter(|_| owner.is_none()) {
            // Durable before the change that needs it.
            self.keys.insert(document, key)?;
            self.events.push(Event::KeyMade(document));
        }
        self.keep(envelope, true);
        // The next write of this process goes on under the document's own actor.
        self.cache(document, view);
        Ok(document)
    }

    /// Changes a document.
    ///
    /// # Errors
    /// When there is no such document, the record breaks a limit, or its owner's key is not here.
    pub fn edit<E: Edit>(&mut self, document: ContentId, edit: &E, now: Timestamp) -> Result<(), StoreError> {
        let mut view = self.view_of(document, E::KIND)?;
        match self.edit_view(document, &mut view, edit, now) {
            Ok(envelope) => {
                self.cache(document, view);
                if let Some(envelope) = envelope {
                    self.keep(envelope, true);
                }
                Ok(())
            }
            // The half-written view is dropped; the next use builds it again.
            Err(error) => Err(error),
        }
    }

    fn edit_view<E: Edit>(
        &mut self,
        document: ContentId,
        view: &mut View,
        edit: &E,
        now: Timestamp,
    ) -> Result<Option<Envelope>, StoreError> {
        let actor = self.actor(document, view);
        view.document.set_actor(actor);
        let key = match data_account(E::KIND, view.facts.owner, document) {
            Some(account) if account == document => Some(self.sealing_key_of(account, view)?),
            Some(account) => Some(self.sealing_key(account)?),
            None => None,
        };
        let payloads = {
            let seal = |context: &[u8], text: &[u8]| key.as_ref().map_or_else(Vec::new, |key| key.seal(context, text));
            let seal: Option<Seal<'_>> = key.is_some().then_some(&seal);
            let mut writer = Writer::new(&mut view.document, seal);
            guarded(|| edit.apply(&mut writer))?;
            writer.payloads
        };
        let envelope = self.sign(view, (E::KIND, Some(document), None), payloads, now)?;
        if envelope.as_ref().is_some_and(|envelope| self.writes_erased(envelope)) {
            return Err(StoreError::Erased);
        }
        Ok(envelope)
    }

    /// Under which actor this process writes into a document: another one after what it wrote was left beside the main view with a
    /// change of a member that took a turn twice. Otherwise this node would do the same.
    fn actor(&self, document: ContentId, view: &View) -> ActorId {
        let mut purpose = document.0.to_vec();
        loop {
            let actor = view::actor(&self.node(), &self.settings.boot, &purpose);
            if !view.facts.is_spent(actor.to_bytes()) {
                return actor;
            }
            // Ends: each round names another actor, and only finitely many are in use.
            purpose.push(0);
        }
    }

    /// The key under which new texts of an account are sealed: the one that sealed the first state of the account's own document,
    /// so that nobody can slip in another by giving it to this node.
    fn sealing_key(&mut self, account: ContentId) -> Result<DataKey, StoreError> {
        let view = self.view_of(account, RecordKind::Account)?;
        let key = self.sealing_key_of(account, &view);
        self.cache(account, view);
        key
    }

    fn sealing_key_of(&mut self, account: ContentId, view: &View) -> Result<DataKey, StoreError> {
        let key = match view.sealed_by {
            Some(key) => self.keys.get(&account, key),
            None => self.keys.all(&account).into_iter().next(),
        };
        key.ok_or_else(|| self.want_key(account))
    }

    fn want_key(&mut self, account: ContentId) -> StoreError {
        if self.wanted_keys.insert(account) {
            self.events.push(Event::KeyWanted(account));
        }
        StoreError::NoKey
    }

    /// Commits what was written into a view and signs it; `None` when nothing changed.
    fn sign(
        &self,
        view: &mut View,
        (kind, document, owner): (RecordKind, Option<ContentId>, Option<ContentId>),
        payloads: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Option<Envelope>, StoreError> {
        let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
        let committed = guarded(|| {
            let committed = view.document.commit_with(CommitOptions::default().with_time(seconds));
            Ok(committed.and_then(|_| view.written()))
        });
        let Some(change) = committed? else {
            return Ok(None);
        };
        let bytes = change.raw_bytes().to_vec();
        if bytes.len() > crate::limits::CHANGE_BYTES_MAX {
            return Err(Rejection::TooLarge.into());
        }
        let envelope = Envelope::seal(&self.settings.key, kind, document, owner, bytes, payloads)
            .map_err(|_| Rejection::TooLarge)?;
        view.facts.add(&envelope, &change);
        view.count(&envelope);
        Ok(Some(envelope))
    }

    fn keep(&mut self, envelope: Envelope, ours: bool) {
        let entry = Entry {
            group: Group::of(&envelope.document),
            id: envelope.id,
        };
        let lane = Lane::of(envelope.kind);
        self.sets.of(lane).insert(entry);
        let bytes = envelope.to_bytes();
        if lane.is_sharded() {
            self.placed.inserted(entry, envelope.document, bytes.len(), ours);
        }
        self.pending.push(Kept {
            lane,
            entry,
            document: envelope.document,
            kind: Some(envelope.kind),
            begins: envelope.is_genesis.then_some((envelope.kind, envelope.owner)),
            bytes,
            ours,
        });
    }

    /// Makes everything accepted since the last commit durable, carries out erasures, and says what the world must be told.
    ///
    /// # Errors
    /// When the disk refuses: nothing of it was kept, and memory is set back to what the shelf holds.
    pub fn commit(&mut self, now: Timestamp) -> Result<(), Arc<JournalError>> {
        self.keep_pending()?;
        if !self.to_erase.is_empty() {
            self.carry_out(now);
            self.keep_pending()?;
        }
        self.carry_out_rebases()?;
        self.let_go(now);
        self.trim_views();
        self.recount();
        Ok(())
    }

    /// A shelf that has looked anew at what it holds may have found less, because a record rotted: what is not there any more is not
    /// held, or this node would promise it to others and never ask for it.
    fn recount(&mut self) {
        if !self.shelf.was_recounted() {
            return;
        }
        let mut lost = 0;
        for lane in Lane::ALL {
            let mut there = BTreeSet::new();
            self.shelf.entries(lane, &mut |entry| {
                there.insert(entry);
            });
            let gone = self.sets.of(lane).iter().filter(|entry| !there.contains(entry));
            let gone: Vec<Entry> = gone.copied().collect();
            lost += gone.len();
            for entry in &gone {
                self.lose(lane, entry);
            }
        }
        if lost > 0 {
            tracing::error!(
                lost,
                "the journal holds less than was known; what is missing is asked of other nodes"
            );
        }
    }

    fn keep_pending(&mut self) -> Result<(), Arc<JournalError>> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        if let Err(error) = self.shelf.keep(&pending) {
            // What memory shows must be what the shelf holds.
            self.views.clear();
            self.load_sets();
            self.placed.forget_unkept(self.sets.of(Lane::Envelopes));
            self.events.clear();
            return Err(error);
        }
        for kept in pending {
            if self.settings.recoveries.handoff && kept.lane != Lane::Statements {
                let missed_by = self.missed_by(kept.lane, &kept.entry);
                self.dirty.note(kept.entry, missed_by);
            }
            if let Some(kind) = kept.kind {
                let document = kept.document;
                self.rebases.look_at(document);
                self.events.push(Event::Changed { document, kind });
            }
            if kept.ours {
                self.events.push(Event::Publish(kept.bytes));
            }
        }
        Ok(())
    }

    /// What happened up to the last commit, in order; each is told once.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The view of a document that must be of a kind.
    fn view_of(&mut self, document: ContentId, kind: RecordKind) -> Result<View, StoreError> {
        let now = self.placed.now;
        self.placed.followed.touch(&document, now);
        match self.take_view(document) {
            Some(view) if view.facts.kind == kind => Ok(view),
            Some(view) => {
                self.cache(document, view);
                Err(StoreError::NotFound)
            }
            None => Err(self.missing(document)),
        }
    }

    /// Takes a document's view out of the cache or builds it. `None` when this node holds nothing of it.
    fn take_view(&mut self, document: ContentId) -> Option<View> {
        if let Some(view) = self.views.remove(&document) {
            return Some(view);
        }
        let (kind, owner) = self.begun(&document)?;
        let ids = self.envelopes_of(&document);
        if let Some(mut view) = self
            .shelf
            .snapshot(&document)
            .and_then(|bytes| View::from_snapshot(&bytes))
        {
            let known: BTreeSet<ContentId> = view.facts.envelopes().copied().collect();
            let further: Vec<ContentId> = ids.iter().filter(|id| !known.contains(id)).copied().collect();
            let (other_bases, envelopes) = self.open_document(&document, &further);
            if other_bases.is_empty() && view.extend(&envelopes).is_ok() {
                return Some(view);
            }
        }
        let (bases, envelopes) = self.open_document(&document, &ids);
        Some(View::build(kind, owner, &bases, &envelopes))
    }

    /// What a document is and whose; from what is pending, too.
    fn begun(&self, document: &ContentId) -> Option<(RecordKind, Option<ContentId>)> {
        let mut pending = self.pending.iter().filter(|kept| kept.document == *document);
        pending
            .find_map(|kept| kept.begins)
            .or_else(|| self.shelf.document(document))
    }

    /// The lane of a document's changes. One whose beginning has been lost is mostly a chat.
    fn lane_of(&self, document: &ContentId) -> Lane {
        self.begun(document).map_or(Lane::Envelopes, |(kind, _)| Lane::of(kind))
    }

    fn envelopes_of(&self, document: &ContentId) -> Vec<ContentId> {
        let pending = self.pending.iter().filter(|kept| kept.document == *document);
        let mut ids: Vec<ContentId> = pending.map(|kept| kept.entry.id).collect();
        ids.extend(self.shelf.envelopes_of(self.lane_of(document), Group::of(document)));
        ids
    }

    fn open_all(&mut self, document: &ContentId, ids: &[ContentId]) -> Vec<Envelope> {
        self.open_document(document, ids).1
    }

    /// What the entries with these ids are of a document: bases and envelopes.
    fn open_document(&mut self, document: &ContentId, ids: &[ContentId]) -> (Vec<Base>, Vec<Envelope>) {
        let group = Group::of(document);
        let lane = self.lane_of(document);
        let mut envelopes = Vec::with_capacity(ids.len());
        let mut bases = Vec::new();
        for id in ids {
            let Some(bytes) = self.read_entry(lane, &Entry { group, id: *id }) else {
                continue;
            };
            // Another document may share the first bytes of the id.
            if Base::is_one(&bytes) {
                let opened = Base::open(&bytes).ok();
                bases.extend(opened.filter(|base| base.document() == *document));
            } else {
                let opened = Envelope::open_own(&bytes).ok();
                envelopes.extend(opened.filter(|envelope| envelope.document == *document));
            }
        }
        (bases, envelopes)
    }

    /// The bytes of an entry.
    fn read_entry(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>> {
        if let Some(kept) = self
            .pending
            .iter()
            .find(|kept| kept.entry == *entry && kept.lane == lane)
        {
            return Some(kept.bytes.clone());
        }
        let bytes = self.shelf.read(lane, entry);
        if bytes.is_none() {
            self.lose(lane, entry);
        }
        bytes
    }

    /// What cannot be read is no longer held: the next reconciliation brings it back. Whether it was held until now.
    pub(crate) fn lose(&mut self, lane: Lane, entry: &Entry) -> bool {
        self.sets.of(lane).remove(entry)
    }

    fn cache(&mut self, document: ContentId, mut view: View) {
        view.used = self.fresh();
        self.views.insert(document, view);
    }

    /// Keeps every long document that has changed as a snapshot: the node is about to stop.
    pub fn save_views(&mut self) {
        for (document, view) in &mut self.views {
            save(&mut self.shelf, document, view);
        }
    }

    /// Keeps long documents as snapshots and forgets the views longest unused, once what they hold is on the shelf.
    fn trim_views(&mut self) {
        for (document, view) in &mut self.views {
            if view.unsaved >= SNAPSHOT_EVERY {
                save(&mut self.shelf, document, view);
            }
        }
        let mut bytes: usize = self.views.values().map(|view| view.bytes).sum();
        if self.views.len() <= VIEWS_MAX && bytes <= VIEW_BYTES_MAX {
            return;
        }
        let used: BTreeMap<u64, ContentId> = self
            .views
            .iter()
            .map(|(document, view)| (view.used, *document))
            .collect();
        // A quarter goes at once, so that this does not happen at every commit.
        for document in used.into_values() {
            if self.views.len() <= VIEWS_MAX * 3 / 4 && bytes <= VIEW_BYTES_MAX / 4 * 3 {
                return;
            }
            if let Some(mut view) = self.views.remove(&document) {
                bytes -= view.bytes;
                save(&mut self.shelf, &document, &mut view);
            }
        }
    }
}

/// A panic of automerge in a local write costs that write, not the thread; the view it was written into is thrown away.
fn guarded<T>(write: impl FnOnce() -> Result<T, RecordError>) -> Result<T, StoreError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(write)) {
        Ok(written) => Ok(written?),
        Err(_) => Err(Rejection::Poison.into()),
    }
}

/// Under whose key a document's texts are sealed.
fn data_account(kind: RecordKind, owner: Option<ContentId>, document: ContentId) -> Option<ContentId> {
    owner.or_else(|| (kind == RecordKind::Account).then_some(document))
}

/// Keeps a long document as a snapshot when it has changed since the last one.
fn save<S: Shelf>(shelf: &mut S, document: &ContentId, view: &mut View) {
    if view.unsaved == 0 || view.facts.changes.len() < SNAPSHOT_CHANGES_MIN {
        return;
    }
    if let Some(bytes) = view.snapshot() {
        shelf.keep_snapshot(document, &bytes);
        view.unsaved = 0;
    }
}
