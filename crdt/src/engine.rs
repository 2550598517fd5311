//! The store's one thread: journal, index, views and parked changes have a single owner here.
//!
//! Jobs run one after the other; what they write is collected and made durable together (group commit), and only then is
//! anyone answered, notified or sent anything. If the disk refuses, the views are thrown away, so that memory never shows what
//! the journal does not hold.

mod parked;

use std::{collections::HashMap, sync::Arc, time::Instant};

use automerge::{Change as AutomergeChange, transaction::CommitOptions};
use keys::{ContentId, Timestamp};
use tokio::sync::{broadcast, mpsc};

use self::parked::Parked;
use crate::{
    Change, OpenReport, Received, StoreError, StoreSettings,
    envelope::Envelope,
    index::{Entry, Index},
    ingress::{self, Judgement, Rejection},
    journal::{Journal, JournalError},
    limits::{GROUP_COMMIT_MAX, GROUP_COMMIT_WINDOW, VIEWS_MAX},
    reconcile::{IdSet, Replica},
    records::{self, Edit, Record, RecordKind, session},
    view::{self, View},
};

/// What runs on the store's thread; it returns how to answer once everything is on disk (or not).
pub(crate) type Job = Box<dyn FnOnce(&mut Engine) -> Answer + Send>;
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Arc<JournalError>>) + Send>;

pub(crate) struct Engine {
    settings: StoreSettings,
    /// Makes this process's automerge actors fresh.
    boot: [u8; 16],
    journal: Journal,
    index: Index,
    ids: IdSet,
    views: HashMap<ContentId, View>,
    clock: u64,
    /// Accepted in this round and not yet on disk, with whether this node made it.
    pending: Vec<(Envelope, bool)>,
    parked: Parked,
    changes: broadcast::Sender<Change>,
    outgoing: mpsc::Sender<Vec<u8>>,
}

/// Runs jobs until every handle is gone.
pub(crate) fn run(mut engine: Engine, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        let began = Instant::now();
        let mut answers = vec![job(&mut engine)];
        while answers.len() < GROUP_COMMIT_MAX && began.elapsed() < GROUP_COMMIT_WINDOW {
            let Ok(job) = queue.try_recv() else { break };
            answers.push(job(&mut engine));
        }
        let committed = engine.commit();
        engine.trim_views();
        for answer in answers {
            answer(committed.clone());
        }
    }
}

impl Engine {
    pub(crate) fn open(
        settings: StoreSettings,
        changes: broadcast::Sender<Change>,
        outgoing: mpsc::Sender<Vec<u8>>,
    ) -> Result<(Self, OpenReport), StoreError> {
        let directory = settings.directory.join("journal");
        let index_directory = settings.directory.join("index");
        let (mut index, mut set_aside) = Index::open(&index_directory)?;
        let journal_error = |error| StoreError::Journal(Arc::new(error));
        let mut checkpoint = index.checkpoint();
        // A journal that ends before what the index has seen was damaged: the index would promise what is not there.
        if checkpoint.is_some_and(|seen| !Journal::reaches(&directory, seen)) {
            tracing::error!("the journal is shorter than it was; what is missing is asked of other nodes");
            index = index.begin_anew()?;
            set_aside = true;
            checkpoint = None;
        }
        let mut failure = None;
        let mut take = |position, body: &[u8]| {
            // Everything in the journal was verified when it came in, and its blake3 was just checked: the content id is enough.
            if let Ok(envelope) = Envelope::open(body.to_vec()) {
                let entry = Entry {
                    position,
                    document: envelope.document,
                    kind: envelope.kind,
                };
                failure = index.insert(&envelope.id, &entry).err().or(failure.take());
            }
        };
        let (journal, scan) = Journal::open(&directory, checkpoint, &mut take).map_err(journal_error)?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        let mut ids = IdSet::default();
        index.ids().for_each(|id| {
            ids.insert(id);
        });
        index.set_checkpoint(journal.end(), ids.len())?;
        let report = OpenReport {
            envelopes: ids.len(),
            index_rebuilt: set_aside || (scan.records > 0 && checkpoint.is_none()),
            torn_bytes: scan.torn_bytes,
            rotten_records: scan.rotten.len(),
        };
        let engine = Self {
            settings,
            boot: keys::identity::random_bytes(),
            journal,
            index,
            ids,
            views: HashMap::new(),
            clock: 0,
            pending: Vec::new(),
            parked: Parked::default(),
            changes,
            outgoing,
        };
        Ok((engine, report))
    }

    /// Makes everything accepted in this round durable, then tells whoever must know.
    fn commit(&mut self) -> Result<(), Arc<JournalError>> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let bodies: Vec<&[u8]> = pending.iter().map(|(envelope, _)| envelope.bytes.as_slice()).collect();
        let positions = match self.journal.append(&bodies) {
            Ok(positions) => positions,
            Err(error) => {
                tracing::error!(%error, "the journal refused a write; nothing of it was kept");
                // What memory shows must be what the journal holds.
                self.views.clear();
                self.ids = IdSet::default();
                for id in self.index.ids() {
                    self.ids.insert(id);
                }
                return Err(Arc::new(error));
            }
        };
        for ((envelope, ours), position) in pending.iter().zip(positions) {
            let entry = Entry {
                position,
                document: envelope.document,
                kind: envelope.kind,
            };
            if let Err(error) = self.index.insert(&envelope.id, &entry) {
                // The journal is the truth: the index is rebuilt at the next start.
                tracing::error!(%error, "the index refused a write");
            }
            let _ = self.changes.send(Change {
                document: envelope.document,
                kind: envelope.kind,
            });
            if *ours && self.outgoing.try_send(envelope.bytes.clone()).is_err() {
                tracing::debug!("a change is not gossiped; reconciliation brings it to the others");
            }
        }
        if let Err(error) = self.index.set_checkpoint(self.journal.end(), self.ids.len()) {
            tracing::error!(%error, "the index refused its checkpoint");
        }
        Ok(())
    }

    pub(crate) fn create<R: Record>(&mut self, record: &R) -> Result<ContentId, StoreError> {
        let mut view = View::empty(R::KIND);
        view.document
            .set_actor(view::actor(&self.settings.key.id(), None, &self.boot));
        record.write(&mut view.document)?;
        let envelope = self.seal(&mut view, R::KIND, None)?.ok_or(StoreError::NotFound)?;
        let document = envelope.document;
        self.keep(envelope, true);
        // The next write of this process goes on under the document's own actor.
        view.document
            .set_actor(view::actor(&self.settings.key.id(), Some(&document), &self.boot));
        self.cache(document, view);
        Ok(document)
    }

    pub(crate) fn edit(&mut self, document: ContentId, edit: &Edit) -> Result<(), StoreError> {
        let kind = match edit {
            Edit::PutMessage(_) => RecordKind::Session,
        };
        let mut view = self
            .take_view(document)
            .filter(|view| view.facts.kind == kind)
            .ok_or(StoreError::NotFound)?;
        let written = match edit {
            Edit::PutMessage(message) => session::put_message(&mut view.document, message),
        };
        if let Err(error) = written {
            view.document.rollback();
            self.cache(document, view);
            return Err(error.into());
        }
        // On an error the half-written view is dropped, and the next use builds it again.
        let envelope = self.seal(&mut view, kind, Some(document))?;
        self.cache(document, view);
        if let Some(envelope) = envelope {
            self.keep(envelope, true);
        }
        Ok(())
    }

    /// Commits what was written into a view and signs it; `None` when nothing changed.
    fn seal(
        &self,
        view: &mut View,
        kind: RecordKind,
        document: Option<ContentId>,
    ) -> Result<Option<Envelope>, StoreError> {
        let seconds = i64::try_from(Timestamp::now().0 / 1000).unwrap_or(i64::MAX);
        if view
            .document
            .commit_with(CommitOptions::default().with_time(seconds))
            .is_none()
        {
            return Ok(None);
        }
        let Some(change) = view.document.get_last_local_change() else {
            return Ok(None);
        };
        view.facts.add(&change);
        let bytes = change.raw_bytes().to_vec();
        if bytes.len() > crate::limits::CHANGE_BYTES_MAX {
            return Err(Rejection::TooLarge.into());
        }
        let envelope = Envelope::seal(&self.settings.key, kind, document, bytes).map_err(|_| Rejection::TooLarge)?;
        Ok(Some(envelope))
    }

    fn keep(&mut self, envelope: Envelope, ours: bool) {
        self.ids.insert(envelope.id);
        self.pending.push((envelope, ours));
    }

    pub(crate) fn read<R: Record>(&mut self, document: ContentId) -> Result<R, StoreError> {
        let view = self
            .take_view(document)
            .filter(|view| view.facts.kind == R::KIND)
            .ok_or(StoreError::NotFound)?;
        let record = R::read(&view.document);
        self.cache(document, view);
        Ok(record?)
    }

    pub(crate) fn list<R: Record>(&mut self) -> Vec<(ContentId, R)> {
        let mut documents = self.index.documents_of(R::KIND);
        documents.extend(
            self.pending
                .iter()
                .filter(|(new, _)| new.is_genesis && new.kind == R::KIND)
                .map(|(new, _)| new.document),
        );
        documents
            .into_iter()
            .filter_map(|document| Some((document, self.read(document).ok()?)))
            .collect()
    }

    pub(crate) fn summary(&mut self) -> (usize, ContentId) {
        (self.ids.len(), self.ids.root())
    }

    pub(crate) fn receive(&mut self, bytes: Vec<u8>) -> Result<Received, StoreError> {
        if self.ids.contains(&ContentId::of(&bytes)) {
            return Ok(Received::Ignored);
        }
        let Ok(envelope) = Envelope::open(bytes) else {
            return Ok(Received::Rejected(Rejection::Malformed));
        };
        let document = envelope.document;
        let received = self.take_in(envelope);
        if received == Received::New {
            // What waited for this one may go in now, and then what waited for that. Each round takes in at least one or is the last.
            loop {
                let waiting = self.parked.of(&document);
                let taken = waiting.into_iter().map(|waiting| self.take_in(waiting));
                if taken.filter(|received| *received == Received::New).count() == 0 {
                    break;
                }
            }
        }
        Ok(received)
    }

    fn take_in(&mut self, envelope: Envelope) -> Received {
        let document = envelope.document;
        let mut view = self.take_view(document);
        let is_member = self.settings.is_member.clone();
        let judgement = ingress::judge(&envelope, view.as_ref().map(|view| &view.facts), |author| {
            is_member(author)
        });
        let received = match judgement {
            Judgement::Accept(change) => {
                let fresh = view.take().unwrap_or_else(|| View::empty(envelope.kind));
                return self.apply(envelope, fresh, *change);
            }
            Judgement::Park => {
                self.parked.keep(envelope, Instant::now());
                Received::Ignored
            }
            Judgement::Known | Judgement::UnknownAuthor => Received::Ignored,
            Judgement::Reject(rejection) => {
                tracing::warn!(author = %envelope.author.short(), %rejection, "refused a change");
                Received::Rejected(rejection)
            }
        };
        if let Some(view) = view {
            self.cache(document, view);
        }
        received
    }

    /// Applies an accepted change; a view that fails or breaks its record's rules is dropped with the change.
    fn apply(&mut self, envelope: Envelope, mut view: View, change: AutomergeChange) -> Received {
        let document = envelope.document;
        if let Err(rejection) = view.apply(change) {
            return Received::Rejected(rejection);
        }
        if !records::is_valid(envelope.kind, &view.document) {
            return Received::Rejected(Rejection::InvalidRecord);
        }
        self.cache(document, view);
        self.keep(envelope, false);
        Received::New
    }

    /// Takes a document's view out of the cache or builds it. `None` when this node holds nothing of it.
    fn take_view(&mut self, document: ContentId) -> Option<View> {
        if let Some(view) = self.views.remove(&document) {
            return Some(view);
        }
        let ids = self.index.envelopes_of(&document);
        let kind = self.index.get(ids.first()?)?.kind;
        let envelopes = ids
            .iter()
            .filter_map(|id| Envelope::open(self.envelope(id)?).ok())
            .collect();
        let mut view = View::build(kind, envelopes);
        view.document
            .set_actor(view::actor(&self.settings.key.id(), Some(&document), &self.boot));
        Some(view)
    }

    fn cache(&mut self, document: ContentId, mut view: View) {
        self.clock += 1;
        view.used = self.clock;
        self.views.insert(document, view);
    }

    /// Forgets the views longest unused, once what they hold is on disk.
    fn trim_views(&mut self) {
        if self.views.len() <= VIEWS_MAX {
            return;
        }
        let mut used: Vec<(u64, ContentId)> = self
            .views
            .iter()
            .map(|(document, view)| (view.used, *document))
            .collect();
        used.sort_unstable();
        for (_, document) in used.iter().take(self.views.len() - VIEWS_MAX) {
            self.views.remove(document);
        }
    }
}

impl Replica for Engine {
    fn ids(&mut self) -> &mut IdSet {
        &mut self.ids
    }

    fn envelope(&mut self, id: &ContentId) -> Option<Vec<u8>> {
        if let Some((pending, _)) = self.pending.iter().find(|(pending, _)| pending.id == *id) {
            return Some(pending.bytes.clone());
        }
        let entry = self.index.get(id)?;
        match self.journal.read(entry.position) {
            // The index may point to the wrong place after damage: what is read must be what was asked for.
            Ok(bytes) if ContentId::of(&bytes) == *id => Some(bytes),
            // What cannot be read is no longer held: the next reconciliation brings it back from another node.
            Ok(_) => {
                tracing::error!(%id, "the index points to another record; it is asked of other nodes");
                self.ids.remove(id);
                None
            }
            Err(error) => {
                tracing::error!(%error, "a record cannot be read; it is asked of other nodes");
                self.ids.remove(id);
                None
            }
        }
    }

    fn take(&mut self, envelope: Vec<u8>) -> bool {
        // Refusals are logged where they are judged; the talk goes on with the rest.
        matches!(self.receive(envelope), Ok(Received::New))
    }
}
