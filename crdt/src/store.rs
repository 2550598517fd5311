//! The handle to the store: cheap to clone, async outside, one thread inside.

mod fetching;

use std::{path::PathBuf, sync::Arc};

use keys::{ContentId, NodeId, NodeKey, Timestamp};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use self::fetching::FetchRequest;
use crate::{
    disk::{DiskReport, DiskShelf},
    engine::{Ears, Engine, Job, run},
    erasure::{EraseTarget, Erasure},
    index::IndexError,
    ingress::{Rejection, Right},
    journal::{JournalError, Position},
    keyring::{KeyFrame, Keyring, KeyringError},
    limits::{CHANGE_QUEUE, COMMAND_QUEUE, FETCH_QUEUE, KEY_PATIENCE, KEY_QUEUE, OUTGOING_QUEUE},
    rebase::RebaseRefusal,
    records::{Edit, Record, RecordError, RecordKind},
    replica::{Fork, Received, Recoveries, Replica, ReplicaSettings, Source},
    set::ReconcileError,
};

/// Where and as whom the store works.
pub struct StoreSettings {
    /// Directory for `journal/`, `index/` and `snapshots/`.
    pub directory: PathBuf,
    /// Directory for the data keys, apart from everything that is backed up.
    pub keys: PathBuf,
    /// Signs this node's changes.
    pub key: NodeKey,
    /// Whether a node may write: the current roster.
    pub right: Arc<dyn Fn(&NodeId) -> Right + Send + Sync>,
}

/// A document changed, here or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub document: ContentId,
    /// What it is.
    pub kind: RecordKind,
}

/// Something about data keys that other nodes must be told or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyNotice {
    /// A new account has a key that others must get.
    Made(ContentId),
    /// An account's texts cannot be read here for want of its key.
    Wanted(ContentId),
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
    /// Envelopes and statements of this node to gossip, at most [`OUTGOING_QUEUE`] waiting; more are dropped, reconciliation repairs
    /// it.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    /// Envelopes that were parked when they were gossiped and are in now, at most [`OUTGOING_QUEUE`] waiting.
    pub released: mpsc::Receiver<ContentId>,
    /// Notices about data keys, at most [`KEY_QUEUE`] waiting.
    pub keys: mpsc::Receiver<KeyNotice>,
    /// Questions to the nodes that hold what this one does not, at most [`FETCH_QUEUE`] waiting; one more fails at once.
    pub fetches: mpsc::Receiver<FetchRequest>,
}

/// How much the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Envelopes this node holds.
    pub envelopes: usize,
    /// The root over them: equal roots mean equal sets.
    pub root: ContentId,
    /// The root over erasures and receipts.
    pub statements_root: ContentId,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Bytes of the index on disk.
    pub index_bytes: u64,
}

/// A part of the journal was read and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// Damaged records that were found; they are asked of other nodes.
    pub damaged: usize,
    /// Whether the whole journal has been read once since the last time this was true.
    pub finished: bool,
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
    /// A data key cannot be read or written.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// No such document on this node, or it is of another kind.
    #[error("there is no such document")]
    NotFound,
    /// Others hold this document, and none of them could be asked.
    #[error("none of the nodes that hold this document can be reached")]
    Elsewhere(ContentId),
    /// Documents of this kind lie with others, too, and not all of them could be asked.
    #[error("the nodes that hold {0} of 256 parts of this list cannot be reached")]
    Unanswered(usize),
    /// It was erased.
    #[error("it was erased")]
    Erased,
    /// The account's data key has not come to this node yet; it is being asked for.
    #[error("the key of this account is not on this node yet")]
    NoKey,
    /// The record breaks one of its limits.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The change cannot be accepted, not even here.
    #[error("the change is not acceptable: {0}")]
    Rejected(#[from] Rejection),
    /// The document is not rebased.
    #[error(transparent)]
    Rebase(#[from] RebaseRefusal),
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
    erased: broadcast::Sender<EraseTarget>,
    node: NodeId,
    fetches: mpsc::Sender<FetchRequest>,
    /// Whether others hold documents that this node does not.
    reads_through: Arc<watch::Sender<bool>>,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Store {
    /// Opens the store in its directory, rebuilding the index where needed, and starts its thread. Blocking: call it off the
    /// async threads or before they matter.
    ///
    /// # Errors
    /// When the disk cannot be used or holds something else.
    pub fn open(settings: StoreSettings) -> Result<(Self, Outputs, OpenReport), StoreError> {
        let (changes, _) = broadcast::channel(CHANGE_QUEUE);
        let (erased, _) = broadcast::channel(CHANGE_QUEUE);
        let (outgoing_sender, outgoing) = mpsc::channel(OUTGOING_QUEUE);
        let (released_sender, released) = mpsc::channel(OUTGOING_QUEUE);
        let (key_sender, keys) = mpsc::channel(KEY_QUEUE);
        let (fetch_sender, fetches) = mpsc::channel(FETCH_QUEUE);
        let (jobs, queue) = mpsc::channel(COMMAND_QUEUE);
        let node = settings.key.id();
        let (shelf, report) = DiskShelf::open(&settings.directory)?;
        let keyring = Keyring::open(&settings.keys)?;
        let replica_settings = ReplicaSettings {
            key: settings.key,
            right: settings.right,
            boot: keys::identity::random_bytes(),
            recoveries: Recoveries::default(),
        };
        let mut engine = Replica::new(replica_settings, shelf, Box::new(keyring));
        let DiskReport {
            index_rebuilt,
            torn_bytes,
            rotten,
        } = report;
        let report = OpenReport {
            envelopes: engine.summary().0,
            index_rebuilt,
            torn_bytes,
            rotten_records: rotten,
        };
        let ears = Ears {
            changes: changes.clone(),
            erased: erased.clone(),
            outgoing: outgoing_sender,
            released: released_sender,
            keys: key_sender,
        };
        let (ending, ended) = watch::channel(());
        std::thread::Builder::new()
            .name("starling-store".into())
            .spawn(move || {
                run(engine, queue, &ears);
                drop(ending);
            })
            .map_err(|source| {
                StoreError::Journal(Arc::new(JournalError::Io {
                    path: PathBuf::new(),
                    source,
                }))
            })?;
        let store = Self {
            jobs,
            changes,
            erased,
            node,
            fetches: fetch_sender,
            reads_through: Arc::new(watch::Sender::new(false)),
            ended,
        };
        let outputs = Outputs {
            outgoing,
            released,
            keys,
            fetches,
        };
        Ok((store, outputs, report))
    }

    /// Gives this handle back and waits until the last one is gone and the thread has let go of the files. Nothing is lost without it:
    /// what was acknowledged is on disk.
    pub async fn stop(self) {
        let mut ended = self.ended.clone();
        drop(self);
        // An error is what is waited for: the other end is gone.
        while ended.changed().await.is_ok() {}
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

    /// Notices of every erasure that was carried out here: whoever keeps something derived from it must forget it, too.
    #[must_use]
    pub fn erased(&self) -> broadcast::Receiver<EraseTarget> {
        self.erased.subscribe()
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
    pub async fn create<R: Record + Sync>(&self, record: R) -> Result<ContentId, StoreError> {
        let record = Arc::new(record);
        self.with_key(|| {
            self.through(|| {
                let record = Arc::clone(&record);
                self.call(move |engine| engine.create(&*record, Timestamp::now()))
            })
        })
        .await
    }

    /// Changes a document; answers when the change is on disk.
    ///
    /// # Errors
    /// When there is no such document, the record breaks a limit, or the disk refuses; nothing is stored then.
    pub async fn edit<E: Edit + Sync>(&self, document: ContentId, edit: E) -> Result<(), StoreError> {
        let edit = Arc::new(edit);
        self.with_key(|| {
            self.through(|| {
                let edit = Arc::clone(&edit);
                self.call(move |engine| engine.edit(document, &*edit, Timestamp::now()))
            })
        })
        .await
    }

    /// Tries again when the account's key has come: a chat may reach this node a moment before the key under which it is sealed.
    async fn with_key<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let deadline = tokio::time::Instant::now() + KEY_PATIENCE;
        let mut changes = self.changes();
        loop {
            match attempt().await {
                Err(StoreError::NoKey) => {}
                done => return done,
            }
            // A key that comes is told as a change of the documents it opens; having missed some is as good as one.
            if tokio::time::timeout_at(deadline, changes.recv()).await.is_err() {
                return Err(StoreError::NoKey);
            }
        }
    }

    /// The forks of a document: what one author wrote twice in one turn.
    ///
    /// # Errors
    /// When there is no such document.
    pub async fn forks(&self, document: ContentId) -> Result<Vec<Fork>, StoreError> {
        self.through(|| self.call(move |engine| engine.forks(document))).await
    }

    /// Reads one fork of a document.
    ///
    /// # Errors
    /// When there is no such document or fork.
    pub async fn read_fork<R: Record>(&self, document: ContentId, fork: ContentId) -> Result<R, StoreError> {
        self.through(|| self.call(move |engine| engine.read_fork(document, fork)))
            .await
    }

    /// Has something forgotten on every node; answers when that is done here, with the erasure's id.
    ///
    /// # Errors
    /// When there is nothing of the kind here, or the disk refuses.
    pub async fn erase(&self, target: EraseTarget) -> Result<ContentId, StoreError> {
        self.call(move |engine| engine.erase(target, Timestamp::now())).await
    }

    /// Puts every long document that this node began and that was overwritten far more than it holds on a base; how many there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn rebase_long(&self) -> Result<usize, StoreError> {
        self.call(|engine| Ok(engine.rebase_long())).await
    }

    /// Puts a document that this node began on a base, whatever its history.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn rebase(&self, document: ContentId) -> Result<ContentId, StoreError> {
        self.call(move |engine| engine.rebase(document)).await
    }

    /// Every erasure with the receipts of the nodes that have carried it out.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn erasures(&self) -> Result<Vec<Erasure>, StoreError> {
        self.call(|engine| Ok(engine.erasures())).await
    }

    /// Takes in what another node gossiped.
    ///
    /// # Errors
    /// When the disk refuses. A refused envelope is not an error but [`Received::Rejected`].
    pub async fn receive(&self, bytes: Vec<u8>) -> Result<Received, StoreError> {
        self.call(move |engine| Ok(engine.receive(&bytes, Source::Gossip, Timestamp::now())))
            .await
    }

    /// Opens a reconciliation with a node: the first frame for it.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn reconcile_start(&self, peer: NodeId) -> Result<Vec<u8>, StoreError> {
        self.call(move |engine| Ok(engine.talk_start(peer, Timestamp::now())))
            .await
    }

    /// Answers a frame of a reconciliation; `None` when the talk is over.
    ///
    /// # Errors
    /// When the frame is malformed or the disk refuses.
    pub async fn reconcile_step(&self, peer: NodeId, frame: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(move |engine| Ok(engine.talk_step(peer, &frame, Timestamp::now())?))
            .await
    }

    /// Which other members cannot be reached now: what they miss is remembered for them.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn set_away(&self, away: std::collections::BTreeSet<NodeId>) -> Result<(), StoreError> {
        self.call(move |engine| {
            engine.set_away(away);
            Ok(())
        })
        .await
    }

    /// Answers a frame about data keys from a member that may have them: gives what is asked for, takes what is given.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn answer_keys(&self, frame: KeyFrame) -> Result<Option<KeyFrame>, StoreError> {
        self.call(move |engine| Ok(engine.answer_keys(frame))).await
    }

    /// Accounts whose texts cannot be read here for want of their keys.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn wanted_keys(&self) -> Result<Vec<ContentId>, StoreError> {
        self.call(|engine| Ok(engine.wanted_keys())).await
    }

    /// Reads and verifies a further part of the journal.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn scrub(&self, bytes_max: u64) -> Result<Scrubbed, StoreError> {
        self.call(move |engine| engine.scrub(bytes_max)).await
    }

    /// Up to where the journal is durable: what a backup that begins now holds.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn journal_end(&self) -> Result<Position, StoreError> {
        self.call(|engine| Ok(engine.shelf().end())).await
    }

    /// How much this node holds.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn summary(&self) -> Result<Summary, StoreError> {
        self.call(|engine| {
            let (envelopes, root) = engine.summary();
            let statements_root = engine.statements_root();
            let (journal_bytes, index_bytes) = engine.shelf().disk_bytes().map_err(StoreError::Journal)?;
            Ok(Summary {
                envelopes,
                root,
                statements_root,
                journal_bytes,
                index_bytes,
            })
        })
        .await
    }
}

impl Engine {
    fn scrub(&mut self, bytes_max: u64) -> Result<Scrubbed, StoreError> {
        let scrubbed = self.shelf().scrub(bytes_max);
        let (damaged, finished) = scrubbed.map_err(StoreError::Journal)?;
        // Its place stays damaged until the segment is rewritten, but it is lost only once.
        let lost = damaged.iter().filter(|(lane, entry)| self.lose(*lane, entry)).count();
        if lost > 0 {
            tracing::error!(lost, "damaged records were found; they are asked of other nodes");
        }
        // Once a day at most, and only when much of it is no longer used.
        if finished && let Err(error) = self.shelf().compact() {
            tracing::error!(%error, "the index could not be compacted");
        }
        Ok(Scrubbed {
            damaged: lost,
            finished,
        })
    }
}
