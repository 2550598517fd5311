//! What lies below a replica: where envelopes and statements are kept, and the data keys. Both exist in memory, too, for the
//! simulator and for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use keys::{ContentId, DataKey, DataKeyId};

use crate::{
    envelope::Envelope,
    erasure::Statement,
    group::{Group, Lane},
    journal::JournalError,
    keyring::{KeyAnswer, KeyFrame, Keyring, KeyringError},
    rebase::Base,
    records::RecordKind,
    set::{Entry, ShardSet},
};

/// Something to be kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Erasures and receipts, or envelopes.
    pub lane: Lane,
    /// Where it lies in the set.
    pub entry: Entry,
    /// The document it belongs to.
    pub document: ContentId,
    /// What the document is; `None` for statements.
    pub kind: Option<RecordKind>,
    /// Of an envelope that begins a document: what it is and whose.
    pub begins: Option<(RecordKind, Option<ContentId>)>,
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Whether this node made it, so that it must be published.
    pub ours: bool,
}

impl Kept {
    /// Something that was kept before, from its exact bytes. Only for bytes that a store has just proven to be unchanged: signatures
    /// were verified when they came in.
    #[must_use]
    pub fn from_stored(bytes: Vec<u8>) -> Option<Self> {
        if Statement::is_one(&bytes) {
            let statement = Statement::open(&bytes).ok()?;
            let entry = Entry {
                group: statement.group(),
                id: statement.id,
            };
            return Some(Self {
                lane: Lane::Statements,
                entry,
                document: statement.id,
                kind: None,
                begins: None,
                bytes,
                ours: false,
            });
        }
        if Base::is_one(&bytes) {
            return Some(Self::base(&Base::open(&bytes).ok()?, bytes));
        }
        let envelope = Envelope::open_own(&bytes).ok()?;
        Some(Self {
            lane: Lane::of(envelope.kind),
            entry: Entry {
                group: Group::of(&envelope.document),
                id: envelope.id,
            },
            document: envelope.document,
            kind: Some(envelope.kind),
            begins: envelope.is_genesis.then_some((envelope.kind, envelope.owner)),
            bytes,
            ours: false,
        })
    }
}

impl Kept {
    /// The base of a document, which lies among its envelopes.
    pub(crate) fn base(base: &Base, bytes: Vec<u8>) -> Self {
        Self {
            lane: Lane::of(base.kind()),
            entry: Entry {
                group: Group::of(&base.document()),
                id: ContentId::of(&bytes),
            },
            document: base.document(),
            kind: Some(base.kind()),
            begins: None,
            bytes,
            ours: false,
        }
    }
}

/// What must leave the shelf so that nothing of it is left.
#[derive(Debug, Default)]
pub struct Forget {
    /// Envelopes that go.
    pub drop: Vec<(Lane, Entry)>,
    /// Envelopes that lose their texts, with their new bytes.
    pub replace: Vec<(Lane, Entry, Vec<u8>)>,
    /// Documents that are gone with their envelopes.
    pub documents: Vec<ContentId>,
    /// Documents whose snapshots go.
    pub snapshots: Vec<ContentId>,
}

impl Forget {
    /// How many envelopes go or lose their texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drop.len() + self.replace.len()
    }

    /// Whether no envelope is touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a replica keeps what it holds. Everything it is given is durable when it returns.
pub trait Shelf {
    /// Visits everything held in a lane.
    fn entries(&mut self, lane: Lane, visit: &mut dyn FnMut(Entry));
    /// The exact bytes of an entry; `None` when they cannot be read any more.
    fn read(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>>;
    /// The envelopes whose documents' ids begin so: almost always one document's.
    fn envelopes_of(&self, lane: Lane, group: Group) -> Vec<ContentId>;
    /// What a document is and whose.
    fn document(&self, document: &ContentId) -> Option<(RecordKind, Option<ContentId>)>;
    /// Every document of a kind.
    fn documents_of(&self, kind: RecordKind) -> Vec<ContentId>;
    /// Every document that is a person's data.
    fn documents_owned_by(&self, account: &ContentId) -> Vec<ContentId>;
    /// Keeps all of it, or nothing.
    ///
    /// # Errors
    /// When the disk refuses.
    fn keep(&mut self, kept: &[Kept]) -> Result<(), Arc<JournalError>>;
    /// Forgets for good.
    ///
    /// # Errors
    /// When the disk refuses; what was to go may be gone in part, and is asked for again.
    fn forget(&mut self, forget: &Forget) -> Result<(), Arc<JournalError>>;
    /// The snapshot of a document's view, if there is a whole one.
    fn snapshot(&self, document: &ContentId) -> Option<Vec<u8>>;
    /// The shards that were held as a whole when the node stopped; `None` where that is not known.
    fn held(&self) -> Option<ShardSet>;
    /// Remembers which shards are held as a whole. Where that fails, the next start takes everything for held, and asks for more
    /// than it must.
    fn keep_held(&mut self, shards: &ShardSet);
    /// Keeps a snapshot; a failure only costs time later.
    fn keep_snapshot(&mut self, document: &ContentId, bytes: &[u8]);
    /// Whether the shelf has looked anew at what it holds since this was asked last: it may hold less than it did.
    fn was_recounted(&mut self) -> bool {
        false
    }
}

/// The data keys of accounts. A key that cannot be read is as good as none: that is logged, and the account's texts stay locked.
pub trait Keys: Send {
    /// A fresh key, on no disk yet.
    fn generate(&self) -> DataKey;
    /// Every key of an account, oldest first.
    fn all(&self, account: &ContentId) -> Vec<DataKey>;
    /// The key that sealed a text.
    fn get(&self, account: &ContentId, key: DataKeyId) -> Option<DataKey>;
    /// Takes a key in; durable when it returns.
    ///
    /// # Errors
    /// When the disk refuses or the key file is damaged.
    fn insert(&self, account: ContentId, key: DataKey) -> Result<bool, KeyringError>;
    /// Destroys an account's keys; how many there were.
    ///
    /// # Errors
    /// When the disk refuses.
    fn destroy(&self, account: &ContentId) -> Result<usize, KeyringError>;
    /// Answers a frame from another member; see [`Keyring::answer`].
    fn answer(&self, frame: KeyFrame, allowed: &dyn Fn(&ContentId) -> bool) -> KeyAnswer;
}

impl Keys for Keyring {
    fn generate(&self) -> DataKey {
        DataKey::generate()
    }

    fn all(&self, account: &ContentId) -> Vec<DataKey> {
        Self::all(self, account).unwrap_or_else(|error| {
            tracing::error!(%error, "data keys cannot be read");
            Vec::new()
        })
    }

    fn get(&self, account: &ContentId, key: DataKeyId) -> Option<DataKey> {
        Self::get(self, account, key).unwrap_or_else(|error| {
            tracing::error!(%error, "a data key cannot be read");
            None
        })
    }

    fn insert(&self, account: ContentId, key: DataKey) -> Result<bool, KeyringError> {
        Self::insert(self, account, key)
    }

    fn destroy(&self, account: &ContentId) -> Result<usize, KeyringError> {
        Self::destroy(self, account)
    }

    fn answer(&self, frame: KeyFrame, allowed: &dyn Fn(&ContentId) -> bool) -> KeyAnswer {
        Self::answer(self, frame, allowed)
    }
}

/// A shelf in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryShelf {
    entries: BTreeMap<(Lane, Entry), Vec<u8>>,
    documents: BTreeMap<ContentId, (RecordKind, Option<ContentId>)>,
    owned: BTreeMap<ContentId, BTreeSet<ContentId>>,
    snapshots: BTreeMap<ContentId, Vec<u8>>,
    held: Option<ShardSet>,
}

impl MemoryShelf {
    /// Everything on the shelf, as it would lie in a journal.
    pub fn records(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.entries.values()
    }

    /// A shelf with what lay in a journal.
    ///
    /// # Errors
    /// Never: memory refuses nothing; the error is that of [`Shelf::keep`].
    pub fn from_records(records: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, Arc<JournalError>> {
        let mut shelf = Self::default();
        let kept: Vec<Kept> = records.into_iter().filter_map(Kept::from_stored).collect();
        shelf.keep(&kept)?;
        Ok(shelf)
    }

    /// Whether some bytes stand anywhere on the shelf.
    #[must_use]
    pub fn holds_bytes(&self, wanted: &[u8]) -> bool {
        let values = self.entries.values().chain(self.snapshots.values());
        values
            .into_iter()
            .any(|value| value.windows(wanted.len()).any(|window| window == wanted))
    }
}

impl Shelf for MemoryShelf {
    fn entries(&mut self, lane: Lane, visit: &mut dyn FnMut(Entry)) {
        let entries = self.entries.keys().filter(|(of, _)| *of == lane);
        entries.for_each(|(_, entry)| visit(*entry));
    }

    fn read(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>> {
        self.entries.get(&(lane, *entry)).cloned()
    }

    fn envelopes_of(&self, lane: Lane, group: Group) -> Vec<ContentId> {
        let first = Entry {
            group,
            id: ContentId([0; 32]),
        };
        let last = Entry {
            group,
            id: ContentId([255; 32]),
        };
        let range = self.entries.range((lane, first)..=(lane, last));
        range.map(|((_, entry), _)| entry.id).collect()
    }

    fn document(&self, document: &ContentId) -> Option<(RecordKind, Option<ContentId>)> {
        self.documents.get(document).copied()
    }

    fn documents_of(&self, kind: RecordKind) -> Vec<ContentId> {
        let documents = self.documents.iter().filter(|(_, (of, _))| *of == kind);
        documents.map(|(document, _)| *document).collect()
    }

    fn documents_owned_by(&self, account: &ContentId) -> Vec<ContentId> {
        self.owned.get(account).into_iter().flatten().copied().collect()
    }

    fn keep(&mut self, kept: &[Kept]) -> Result<(), Arc<JournalError>> {
        for kept in kept {
            self.entries.insert((kept.lane, kept.entry), kept.bytes.clone());
            if let Some((kind, owner)) = kept.begins {
                self.documents.insert(kept.document, (kind, owner));
                if let Some(owner) = owner {
                    self.owned.entry(owner).or_default().insert(kept.document);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, forget: &Forget) -> Result<(), Arc<JournalError>> {
        for of in &forget.drop {
            self.entries.remove(of);
        }
        for (lane, entry, bytes) in &forget.replace {
            self.entries.insert((*lane, *entry), bytes.clone());
        }
        for document in forget.documents.iter().chain(&forget.snapshots) {
            self.snapshots.remove(document);
        }
        for document in &forget.documents {
            self.documents.remove(document);
            self.owned.values_mut().for_each(|owned| {
                owned.remove(document);
            });
        }
        Ok(())
    }

    fn snapshot(&self, document: &ContentId) -> Option<Vec<u8>> {
        self.snapshots.get(document).cloned()
    }

    fn held(&self) -> Option<ShardSet> {
        self.held
    }

    fn keep_held(&mut self, shards: &ShardSet) {
        self.held = Some(*shards);
    }

    fn keep_snapshot(&mut self, document: &ContentId, bytes: &[u8]) {
        self.snapshots.insert(*document, bytes.to_vec());
    }
}

/// Data keys in memory, which several replicas of a simulation may share.
#[derive(Clone, Default)]
pub struct MemoryKeys(Arc<Mutex<HeldKeys>>);

#[derive(Default)]
struct HeldKeys {
    keys: BTreeMap<ContentId, Vec<DataKey>>,
    /// Counts those that were made: a destroyed one must not be made again.
    made: u64,
}

impl MemoryKeys {
    fn lock(&self) -> MutexGuard<'_, HeldKeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys for MemoryKeys {
    /// Not random: a simulation must give the same bytes for the same seed.
    fn generate(&self) -> DataKey {
        let mut held = self.lock();
        held.made += 1;
        DataKey::from_bytes(blake3::hash(&held.made.to_le_bytes()).as_bytes())
    }

    fn all(&self, account: &ContentId) -> Vec<DataKey> {
        self.lock().keys.get(account).cloned().unwrap_or_default()
    }

    fn get(&self, account: &ContentId, key: DataKeyId) -> Option<DataKey> {
        self.all(account).into_iter().find(|known| known.id() == key)
    }

    fn insert(&self, account: ContentId, key: DataKey) -> Result<bool, KeyringError> {
        let mut held = self.lock();
        let keys = held.keys.entry(account).or_default();
        let new = keys.iter().all(|known| known.id() != key.id());
        if new {
            keys.push(key);
        }
        Ok(new)
    }

    fn destroy(&self, account: &ContentId) -> Result<usize, KeyringError> {
        Ok(self.lock().keys.remove(account).map_or(0, |keys| keys.len()))
    }

    fn answer(&self, frame: KeyFrame, allowed: &dyn Fn(&ContentId) -> bool) -> KeyAnswer {
        let reply = match frame {
            KeyFrame::Ask(accounts) => {
                let accounts = accounts.into_iter().filter(|account| allowed(account));
                KeyFrame::Give(accounts.map(|account| (account, self.all(&account))).collect())
            }
            KeyFrame::Give(given) => {
                let mut kept = Vec::new();
                for (account, keys) in given.into_iter().filter(|(account, _)| allowed(account)) {
                    for key in keys {
                        kept.push((account, key.id()));
                        // Memory does not refuse.
                        let _ = self.insert(account, key);
                    }
                }
                KeyFrame::Kept(kept)
            }
            KeyFrame::Kept(_) | KeyFrame::Refused => return KeyAnswer::default(),
        };
        KeyAnswer {
            reply: Some(reply),
            failed: Vec::new(),
        }
    }
}
