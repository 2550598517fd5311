//! A directory of blobs, whole and partial, bounded in number and bytes.
//!
//! Three files each: `ID.data` (not for a file that lies elsewhere), `ID.tree` with the hashes, and `ID.head`, whose rename is what
//! makes a blob exist. What has no head is swept away at the start, so a crash at any point leaves either nothing or something usable.
//! Nothing on disk is trusted: whatever leaves the store is verified against the blob's name while it is read.

mod add;
mod head;
mod partial;
mod read;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use self::head::{Head, Kind, Reference};
pub(super) use self::partial::Partial;
use super::{BlobError, BlobId, groups::Groups, tree::GROUP_BYTES};
use crate::limits::{BLOB_BYTES_MAX, BLOB_STORE_BYTES, BLOBS_MAX};

/// How much a store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLimits {
    /// Blobs, whole and partial.
    pub blobs: usize,
    /// Bytes of all of them at their full size; files that lie elsewhere are not counted.
    pub bytes: u64,
}

impl Default for BlobLimits {
    fn default() -> Self {
        Self {
            blobs: BLOBS_MAX,
            bytes: BLOB_STORE_BYTES,
        }
    }
}

/// How much of a blob is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobStatus {
    /// All of it.
    Whole,
    /// All of it, in a file that belongs to somebody else.
    Reference,
    /// A part.
    Partial {
        /// Bytes that are here, in whole groups.
        bytes: u64,
    },
}

/// One line of [`BlobStore::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobSummary {
    /// The blob.
    pub blob: BlobId,
    /// Its bytes when it is whole.
    pub size: u64,
    /// How much of it is here.
    pub status: BlobStatus,
}

#[derive(Clone)]
enum State {
    Whole,
    Reference(Reference),
    /// Shared with the download that fills it.
    Partial(Arc<Mutex<Groups>>),
}

struct Entry {
    size: u64,
    state: State,
    /// A download writes into it.
    filling: bool,
}

impl Entry {
    /// Bytes that count against the limit.
    fn counted(&self) -> u64 {
        match self.state {
            State::Reference(_) => 0,
            State::Whole | State::Partial(_) => self.size,
        }
    }
}

/// What a store holds of one blob.
pub(super) struct Holding {
    pub(super) size: u64,
    /// `None`: all of it.
    pub(super) groups: Option<Groups>,
}

struct Inner {
    directory: PathBuf,
    limits: BlobLimits,
    // Plain locks: held for a few instructions or a rename, never across an await.
    entries: Mutex<BTreeMap<BlobId, Entry>>,
    next_temporary: AtomicU64,
}

/// A directory of blobs. Cheap to clone. Its calls read and write files: use `spawn_blocking` for those that hash.
#[derive(Clone)]
pub struct BlobStore(Arc<Inner>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> BlobError + '_ {
    |source| BlobError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The three files.
#[derive(Clone, Copy)]
enum Part {
    Data,
    Tree,
    Head,
}

impl BlobStore {
    /// Opens the store in `directory`, which is made when it is not there, and sweeps up what a crash left.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(directory: &Path, limits: BlobLimits) -> Result<Self, BlobError> {
        fs::create_dir_all(directory).map_err(io_error(directory))?;
        let store = Self(Arc::new(Inner {
            directory: directory.to_owned(),
            limits,
            entries: Mutex::new(BTreeMap::new()),
            next_temporary: AtomicU64::new(0),
        }));
        let (mut heads, mut others) = (BTreeSet::new(), Vec::new());
        for file in fs::read_dir(directory).map_err(io_error(directory))? {
            let path = file.map_err(io_error(directory))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let blob = path.file_stem().and_then(|stem| BlobId::parse(stem.to_str()?));
            match (extension, blob) {
                (Some("head"), Some(blob)) => {
                    heads.insert(blob);
                    store.load(blob, &path)?;
                }
                (Some("data" | "tree"), Some(blob)) => others.push((blob, path)),
                (Some("temporary"), _) => fs::remove_file(&path).map_err(io_error(&path))?,
                // Whatever else a person keeps there.
                _ => {}
            }
        }
        // A head that this version cannot read still owns its files.
        for (_, path) in others.iter().filter(|(blob, _)| !heads.contains(blob)) {
            fs::remove_file(path).map_err(io_error(path))?;
        }
        Ok(store)
    }

    fn load(&self, blob: BlobId, path: &Path) -> Result<(), BlobError> {
        let bytes = fs::read(path).map_err(io_error(path))?;
        let Some(head) = Head::decode(&bytes) else {
            tracing::warn!(path = %path.display(), "not a head of a blob; left out");
            return Ok(());
        };
        let state = match head.kind {
            Kind::Whole => State::Whole,
            Kind::Reference(reference) => State::Reference(reference),
            Kind::Partial(groups) => State::Partial(Arc::new(Mutex::new(groups))),
        };
        let entry = Entry {
            size: head.size,
            state,
            filling: false,
        };
        locked(&self.0.entries).insert(blob, entry);
        Ok(())
    }

    /// Every blob, by name.
    #[must_use]
    pub fn list(&self) -> Vec<BlobSummary> {
        let entries = locked(&self.0.entries);
        entries.iter().map(|(blob, entry)| summary(*blob, entry)).collect()
    }

    /// What is here of one blob.
    #[must_use]
    pub fn have(&self, blob: BlobId) -> Option<BlobSummary> {
        locked(&self.0.entries).get(&blob).map(|entry| summary(blob, entry))
    }

    /// Bytes that count against the limit.
    #[must_use]
    pub fn used(&self) -> u64 {
        locked(&self.0.entries).values().map(Entry::counted).sum()
    }

    /// The file of a whole blob, for those who read it themselves (a model is mapped into memory). It is not verified by this;
    /// [`Self::verify`] does that.
    ///
    /// # Errors
    /// When it is not here or not whole.
    pub fn path(&self, blob: BlobId) -> Result<PathBuf, BlobError> {
        match locked(&self.0.entries).get(&blob).map(|entry| &entry.state) {
            None => Err(BlobError::Unknown(blob)),
            Some(State::Partial(_)) => Err(BlobError::Incomplete(blob)),
            Some(State::Reference(reference)) => Ok(reference.path.clone()),
            Some(State::Whole) => Ok(self.file(blob, Part::Data)),
        }
    }

    /// Removes a blob; a file that lies elsewhere stays where it is. Uploads that run end by themselves.
    ///
    /// # Errors
    /// When it is not here, or is being fetched.
    pub fn remove(&self, blob: BlobId) -> Result<(), BlobError> {
        let mut entries = locked(&self.0.entries);
        match entries.get(&blob) {
            None => return Err(BlobError::Unknown(blob)),
            Some(entry) if entry.filling => return Err(BlobError::InUse(blob)),
            Some(_) => {}
        }
        self.forget(&mut entries, blob)
    }

    fn forget(&self, entries: &mut BTreeMap<BlobId, Entry>, blob: BlobId) -> Result<(), BlobError> {
        // The head first: without it the rest is swept up after a crash.
        for part in [Part::Head, Part::Data, Part::Tree] {
            let path = self.file(blob, part);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(&path)(error)),
            }
        }
        entries.remove(&blob);
        self.sync_directory()
    }

    pub(super) fn holding(&self, blob: BlobId) -> Option<Holding> {
        let entries = locked(&self.0.entries);
        let entry = entries.get(&blob)?;
        let groups = match &entry.state {
            State::Partial(groups) => Some(locked(groups).clone()),
            State::Whole | State::Reference(_) => None,
        };
        Some(Holding {
            size: entry.size,
            groups,
        })
    }

    /// How many groups from `first` on are here, `count` at most.
    pub(super) fn held_from(&self, blob: BlobId, first: u64, count: u64) -> u64 {
        match locked(&self.0.entries).get(&blob).map(|entry| &entry.state) {
            None => 0,
            Some(State::Whole | State::Reference(_)) => count,
            Some(State::Partial(groups)) => match locked(groups).next_run(first) {
                Some(run) if run.start == first => count.min(run.end - first),
                _ => 0,
            },
        }
    }

    /// Marks groups as missing, because the disk does not give what they are. A file of somebody else is never written to, so such a
    /// blob is forgotten whole.
    pub(super) fn damaged(&self, blob: BlobId, range: Range<u64>) -> Result<(), BlobError> {
        tracing::warn!(%blob, first = range.start, count = range.end - range.start, "a blob is damaged on disk");
        let mut entries = locked(&self.0.entries);
        let Some(entry) = entries.get_mut(&blob) else {
            return Ok(());
        };
        match &entry.state {
            State::Reference(_) => self.forget(&mut entries, blob),
            // The download that fills it goes on with what it knows; the head is its own.
            State::Partial(groups) => {
                locked(groups).remove(range);
                Ok(())
            }
            State::Whole => {
                let mut groups = Groups::all(super::tree::groups_of(entry.size));
                groups.remove(range);
                let head = Head {
                    size: entry.size,
                    kind: Kind::Partial(groups.clone()),
                };
                self.write_head(blob, &head)?;
                entry.state = State::Partial(Arc::new(Mutex::new(groups)));
                Ok(())
            }
        }
    }

    /// Whether a blob of `size` bytes may be taken in.
    fn room(&self, entries: &BTreeMap<BlobId, Entry>, size: u64) -> Result<(), BlobError> {
        let BlobLimits { blobs, bytes } = self.0.limits;
        if size > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge(size));
        }
        if entries.len() >= blobs {
            return Err(BlobError::TooMany { limit: blobs });
        }
        let used = entries.values().map(Entry::counted).sum::<u64>();
        if used.saturating_add(size) > bytes {
            return Err(BlobError::Full {
                needed: size,
                used,
                limit: bytes,
            });
        }
        Ok(())
    }

    fn file(&self, blob: BlobId, part: Part) -> PathBuf {
        let extension = match part {
            Part::Data => "data",
            Part::Tree => "tree",
            Part::Head => "head",
        };
        self.0.directory.join(format!("{blob}.{extension}"))
    }

    fn temporary(&self) -> PathBuf {
        let number = self.0.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.0.directory.join(format!("{number}.temporary"))
    }

    fn write_head(&self, blob: BlobId, head: &Head) -> Result<(), BlobError> {
        let (temporary, path) = (self.temporary(), self.file(blob, Part::Head));
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&head.encode())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(io_error(&path))?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<(), BlobError> {
        let directory = &self.0.directory;
        let sync = || File::open(directory)?.sync_all();
        sync().map_err(io_error(directory))
    }
}

fn summary(blob: BlobId, entry: &Entry) -> BlobSummary {
    let status = match &entry.state {
        State::Whole => BlobStatus::Whole,
        State::Reference(_) => BlobStatus::Reference,
        State::Partial(groups) => BlobStatus::Partial {
            bytes: held_bytes(&locked(groups), entry.size),
        },
    };
    BlobSummary {
        blob,
        size: entry.size,
        status,
    }
}

/// Bytes of the groups that are held; the last group may be shorter.
pub(super) fn held_bytes(groups: &Groups, size: u64) -> u64 {
    let short = groups.count() * GROUP_BYTES - size;
    let last = groups.contains(groups.count() - 1);
    groups.held() * GROUP_BYTES - if last { short } else { 0 }
}
