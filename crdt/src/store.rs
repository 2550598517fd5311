//! The handle to the store: cheap to clone, async outside, one thread inside.

use std::{path::PathBuf, sync::Arc};

use keys::{ContentId, NodeId, NodeKey};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    engine::{Engine, Job, run},
    index::IndexError,
    ingress::Rejection,
    journal::JournalError,
    limits::{CHANGE_QUEUE, COMMAND_QUEUE, OUTGOING_QUEUE},
    reconcile::ReconcileError,
    records::{Edit, Record, RecordError, RecordKind},
};

/// Where and as whom the store works.
pub struct StoreSettings {
    /// Directory for `journal/` and `index/`.
    pub directory: PathBuf,
    /// Signs this node's changes.
    pub key: NodeKey,
    /// Whether a node may write: the current roster.
    pub is_member: Arc<dyn Fn(&NodeId) -> bool + Send + Sync>,
}

/// A document changed, here or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub document: ContentId,
    /// What it is.
    pub kind: RecordKind,
}

/// What [`Store::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Envelopes the node holds.
    pub envelopes: usize,
    /// Whether the index was missing or damaged and was rebuilt.
    pub index_rebuilt: bool,
    /// Bytes of a torn journal tail that were cut.
    pub torn_bytes: u64,
    /// Damaged journal records; they come again from other nodes.
    pub rotten_records: usize,
}

/// What the store hands out; each has one owner.
#[derive(Debug)]
pub struct Outputs {
    /// Envelopes of this node to gossip, at most [`OUTGOING_QUEUE`] waiting; more are dropped, reconciliation repairs it.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
}

/// What became of an envelope from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Taken in: forward it.
    New,
    /// Known already, or parked, or by an author that is not known yet: do not forward, blame nobody.
    Ignored,
    /// Refused for good.
    Rejected(Rejection),
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused; nothing was stored.
    #[error("nothing was stored: {0}")]
    Journal(Arc<JournalError>),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// No such document on this node, or it is of another kind.
    #[error("there is no such document")]
    NotFound,
    /// The record breaks one of its limits.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The change cannot be accepted, not even here.
    #[error("the change is not acceptable: {0}")]
    Rejected(#[from] Rejection),
    /// The other side's frame is malformed.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// The store has stopped.
    #[error("the store has stopped")]
    Stopped,
}

/// Handle to the store.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    changes: broadcast::Sender<Change>,
    node: NodeId,
}

impl Store {
    /// Opens the store in its directory, rebuilding the index where needed, and starts its thread. Blocking: call it off the
    /// async threads or before they matter.
    ///
    /// # Errors
    /// When the disk cannot be used or holds something else.
    pub fn open(settings: StoreSettings) -> Result<(Self, Outputs, OpenReport), StoreError> {
        let (changes, _) = broadcast::channel(CHANGE_QUEUE);
        let (outgoing_sender, outgoing) = mpsc::channel(OUTGOING_QUEUE);
        let (jobs, queue) = mpsc::channel(COMMAND_QUEUE);
        let node = settings.key.id();
        let (engine, report) = Engine::open(settings, changes.clone(), outgoing_sender)?;
        std::thread::Builder::new()
            .name("starling-store".into())
            .spawn(move || run(engine, queue))
            .map_err(|source| {
                StoreError::Journal(Arc::new(JournalError::Io {
                    path: PathBuf::new(),
                    source,
                }))
            })?;
        Ok((Self { jobs, changes, node }, Outputs { outgoing }, report))
    }

    /// The node whose changes this store signs.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Notices of every change. Whoever falls behind by more than [`CHANGE_QUEUE`] must read again what it watches.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Runs `work` on the store's thread and answers when everything it wrote is on disk.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            let result = work(engine);
            Box::new(move |committed| {
                let result = match committed {
                    Ok(()) => result,
                    Err(error) => result.and(Err(StoreError::Journal(error))),
                };
                // A caller who gave up does not want the answer.
                let _ = reply.send(result);
            })
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Begins a document; answers with its id when it is on disk.
    ///
    /// # Errors
    /// When the record breaks a limit or the disk refuses; nothing is stored then.
    pub async fn create<R: Record>(&self, record: R) -> Result<ContentId, StoreError> {
        record.validate()?;
        self.call(move |engine| engine.create(&record)).await
    }

    /// Changes a document; answers when the change is on disk.
    ///
    /// # Errors
    /// When there is no such document, the record breaks a limit, or the disk refuses; nothing is stored then.
    pub async fn edit(&self, document: ContentId, edit: Edit) -> Result<(), StoreError> {
        self.call(move |engine| engine.edit(document, &edit)).await
    }

    /// Reads a document as this node knows it.
    ///
    /// # Errors
    /// When there is no such document of this kind.
    pub async fn read<R: Record>(&self, document: ContentId) -> Result<R, StoreError> {
        self.call(move |engine| engine.read(document)).await
    }

    /// Every document of a kind, with its content; documents that do not read as their record are left out.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn list<R: Record>(&self) -> Result<Vec<(ContentId, R)>, StoreError> {
        self.call(|engine| Ok(engine.list())).await
    }

    /// Takes in an envelope that another node sent.
    ///
    /// # Errors
    /// When the disk refuses. A refused envelope is not an error but [`Received::Rejected`].
    pub async fn receive(&self, envelope: Vec<u8>) -> Result<Received, StoreError> {
        self.call(move |engine| engine.receive(envelope)).await
    }

    /// Opens a reconciliation: the first frame for the other side.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn reconcile_start(&self) -> Result<Vec<u8>, StoreError> {
        self.call(|engine| Ok(crate::reconcile::start(engine))).await
    }

    /// Answers a frame of a reconciliation; `None` when the talk is over.
    ///
    /// # Errors
    /// When the frame is malformed or the disk refuses.
    pub async fn reconcile_step(&self, frame: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(move |engine| Ok(crate::reconcile::step(engine, &frame)?))
            .await
    }

    /// How many envelopes this node holds, and the root over them: equal roots mean equal sets.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn summary(&self) -> Result<(usize, ContentId), StoreError> {
        self.call(|engine| Ok(engine.summary())).await
    }
}
