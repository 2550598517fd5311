//! The index: where each record stands in the journal, which records a document has, and which documents there are of a kind or an
//! account. It can be built anew from the journal at any time, and holds neither plaintext nor keys.
//!
//! No embedded database notices all rot (measured: of 120 damaged copies, sled lost keys silently in 34, redb answered wrongly in
//! 41), so this one is never believed: a checksum over every key and value is kept up with each change and compared when it is
//! opened. Whatever was lost, changed or invented, an error, a panic or a process that died of it: the directory is set aside as
//! `index.damaged`, and the index begins anew. What rots while it is open is found where it is used, by whoever reads the journal
//! through it and gets another record than the one asked for; the next open looks for the rest.
//!
//! [`IndexStore`] is all that is asked of a database.

mod checksum;
mod directory;
mod layout;
mod load;
mod packed;
mod sled;
mod store;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod redb;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use keys::ContentId;

pub(crate) use self::load::Feeder;
use self::{
    directory::{Marker, set_aside},
    layout::{Document, Summary},
    packed::Packed,
    sled::SledStore,
    store::{IndexStore, IndexStoreError, Operation},
};
use crate::{
    group::{Group, Lane},
    journal::Position,
    limits::{INDEX_COMPACT_BATCH, INDEX_COMPACT_BYTES_MIN, INDEX_COMPACT_FACTOR},
    records::RecordKind,
};

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The operating system refused.
    #[error("the index {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open; it was left alone.
    #[error("the index {0} is open in another process")]
    Busy(PathBuf),
    /// The database refused or panicked.
    #[error("the index {path}: {reason}")]
    Store {
        /// Its directory.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// It does not hold what was written into it.
    #[error("the index {path} is damaged: {reason}")]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A change of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexChange {
    /// A record stands here (now).
    Put {
        lane: Lane,
        group: Group,
        id: ContentId,
        position: Position,
    },
    /// A record is gone.
    Remove { lane: Lane, group: Group, id: ContentId },
    /// There is such a document. A second one with the same id takes the place of the first.
    Document {
        document: ContentId,
        kind: RecordKind,
        owner: Option<ContentId>,
    },
    /// There is no such document any more.
    ForgetDocument { document: ContentId },
}

/// What an apply changes: the value of each key afterwards.
type Changed = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The index of this program.
pub(crate) type Index = IndexOver<Packed<SledStore>>;

/// An open index over some database. One thread owns it.
pub(crate) struct IndexOver<S> {
    path: PathBuf,
    /// `None` only after it could not be opened again.
    store: Option<S>,
    summary: Summary,
    /// Bytes on disk after the last compaction: where that is as small as it gets, another one would not help.
    compacted_bytes: u64,
    /// Whether it must be built anew.
    is_condemned: AtomicBool,
}

impl<S: IndexStore> IndexOver<S> {
    /// Opens the index in the directory `path` and verifies all of it (about a second for a million entries). One that is damaged
    /// is set aside and begun anew; returns whether that happened.
    ///
    /// # Errors
    /// When another process has it open, or not even an empty one can be opened.
    pub(crate) fn open(path: &Path) -> Result<(Self, bool), IndexError> {
        directory::tidy(path)?;
        match Self::try_open(path) {
            Ok(index) => Ok((index, false)),
            Err(error @ IndexError::Busy(_)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the index is set aside and built anew from the journal");
                set_aside(path)?;
                Ok((Self::try_open(path)?, true))
            }
        }
    }

    fn try_open(path: &Path) -> Result<Self, IndexError> {
        let damaged = |reason| IndexError::Damaged {
            path: path.to_owned(),
            reason,
        };
        if Marker::Condemned.is_set(path) {
            return Err(damaged("it was given up"));
        }
        if Marker::Opening.is_set(path) {
            return Err(damaged("a process ended while it opened it"));
        }
        Marker::Opening.set(path)?;
        let opened = S::open(path)
            .map_err(|error| store_error(path, error))
            .and_then(|store| {
                let summary = recount(&store)
                    .map_err(|error| store_error(path, error))?
                    .map_err(damaged)?;
                Ok((store, summary))
            });
        // A damaged one is set aside with its marker; one that is open elsewhere must keep none.
        if matches!(opened, Ok(_) | Err(IndexError::Busy(_))) {
            Marker::Opening.clear(path)?;
        }
        let (store, summary) = opened?;
        Ok(Self {
            path: path.to_owned(),
            store: Some(store),
            summary,
            compacted_bytes: 0,
            is_condemned: AtomicBool::new(false),
        })
    }

    fn store(&self) -> Result<&S, IndexStoreError> {
        let store = self.store.as_ref();
        store.ok_or_else(|| IndexStoreError::Failed("it could not be opened again".into()))
    }

    /// Up to where the journal has been taken in. `None` when nothing has been, or when the index must be built anew.
    pub(crate) fn checkpoint(&self) -> Option<Position> {
        self.summary.checkpoint.filter(|_| !self.rebuild_needed())
    }

    /// Makes changes, all or none, and remembers that the journal has been taken in up to `checkpoint`: what a crash takes away of
    /// the changes it takes away of the checkpoint, too. Costs a read per change.
    ///
    /// # Errors
    /// When the database refuses: then the index is condemned, because what of it was kept is unknown.
    pub(crate) fn apply(&mut self, changes: &[IndexChange], checkpoint: Position) -> Result<(), IndexError> {
        let applied = self.try_apply(changes, checkpoint);
        applied.map_err(|error| {
            self.doubt(&error);
            store_error(&self.path, error)
        })
    }

    fn try_apply(&mut self, changes: &[IndexChange], checkpoint: Position) -> Result<(), IndexStoreError> {
        let mut changed = Changed::new();
        for change in changes {
            self.collect(change, &mut changed)?;
        }
        let mut summary = self.summary.clone();
        summary.checkpoint = Some(checkpoint);
        let mut operations = Vec::with_capacity(changed.len() + 1);
        for (key, value) in changed {
            let before = self.store()?.get(&key)?;
            if before == value {
                continue;
            }
            if let Some(before) = before {
                summary.subtract(&key, &before);
            }
            operations.push(match value {
                Some(value) => {
                    summary.add(&key, &value);
                    Operation::Put(key, value)
                }
                None => Operation::Remove(key),
            });
        }
        operations.push(Operation::Put(layout::SUMMARY.to_vec(), summary.to_bytes()));
        match &mut self.store {
            Some(store) => store.write(operations)?,
            None => self.store().map(|_| ())?,
        }
        self.summary = summary;
        Ok(())
    }

    fn collect(&self, change: &IndexChange, changed: &mut Changed) -> Result<(), IndexStoreError> {
        match change {
            IndexChange::Put {
                lane,
                group,
                id,
                position,
            } => {
                changed.insert(layout::entry(*lane, *group, id), Some(layout::encode(position)));
            }
            IndexChange::Remove { lane, group, id } => {
                changed.insert(layout::entry(*lane, *group, id), None);
            }
            IndexChange::Document { document, kind, owner } => {
                self.forget(document, changed)?;
                let value: Document = (*kind, *owner);
                changed.insert(layout::document(document), Some(layout::encode(&value)));
                changed.insert(layout::kind(*kind, document), Some(Vec::new()));
                if let Some(owner) = owner {
                    changed.insert(layout::owned(owner, document), Some(Vec::new()));
                }
            }
            IndexChange::ForgetDocument { document } => self.forget(document, changed)?,
        }
        Ok(())
    }

    /// Takes a document out of every table it is in.
    fn forget(&self, document: &ContentId, changed: &mut Changed) -> Result<(), IndexStoreError> {
        let key = layout::document(document);
        let known = match changed.get(&key) {
            Some(value) => value.clone(),
            None => self.store()?.get(&key)?,
        };
        let Some(known) = known else { return Ok(()) };
        let (kind, owner): Document = decode(&known)?;
        changed.insert(key, None);
        changed.insert(layout::kind(kind, document), None);
        if let Some(owner) = owner {
            changed.insert(layout::owned(&owner, document), None);
        }
        Ok(())
    }

    /// Where a record stands.
    pub(crate) fn position(&self, lane: Lane, group: Group, id: &ContentId) -> Option<Position> {
        self.value(&layout::entry(lane, group, id))
    }

    /// What a document is, and whose.
    pub(crate) fn document(&self, document: &ContentId) -> Option<(RecordKind, Option<ContentId>)> {
        self.value(&layout::document(document))
    }

    fn value<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        let value = self.store().and_then(|store| store.get(key));
        let value = value.and_then(|value| value.map(|value| decode(&value)).transpose());
        value.unwrap_or_else(|error| {
            self.doubt(&error);
            None
        })
    }

    /// The records of a group in a lane, by id. Two documents may share a group.
    pub(crate) fn ids_of(&self, lane: Lane, group: Group) -> Vec<(ContentId, Position)> {
        let mut found = Vec::new();
        let prefix = layout::group_prefix(lane, group);
        let scanned = self.scan_entries(&prefix, &mut |_, id, position| found.push((id, position)));
        scanned.unwrap_or_else(|error| self.doubt(&error));
        found
    }

    /// Visits every record of a lane, by group and id.
    ///
    /// # Errors
    /// When the database fails; what was visited is incomplete then.
    pub(crate) fn for_each(
        &self,
        lane: Lane,
        visit: &mut dyn FnMut(Group, ContentId, Position),
    ) -> Result<(), IndexError> {
        let scanned = self.scan_entries(&[layout::entries(lane)], visit);
        scanned.map_err(|error| {
            self.doubt(&error);
            store_error(&self.path, error)
        })
    }

    fn scan_entries(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(Group, ContentId, Position),
    ) -> Result<(), IndexStoreError> {
        let mut wrong = Ok(());
        self.store()?.scan(
            prefix,
            &mut |key, value| match (layout::parse_entry(key), layout::decode(value)) {
                (Some((group, id)), Some(position)) => visit(group, id, position),
                _ => wrong = Err(unreadable()),
            },
        )?;
        wrong
    }

    /// Every document of a kind, by id.
    pub(crate) fn documents_of(&self, kind: RecordKind) -> Vec<ContentId> {
        self.documents_under(&layout::kind_prefix(kind))
    }

    /// Every document of an account, by id.
    pub(crate) fn documents_owned_by(&self, account: &ContentId) -> Vec<ContentId> {
        self.documents_under(&layout::owner_prefix(account))
    }

    fn documents_under(&self, prefix: &[u8]) -> Vec<ContentId> {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| found.extend(layout::last_document(key));
        let scanned = self.store().and_then(|store| store.scan(prefix, &mut visit));
        scanned.unwrap_or_else(|error| self.doubt(&error));
        found
    }

    /// How many records a lane has.
    #[cfg(test)]
    pub(crate) fn len(&self, lane: Lane) -> u64 {
        self.summary.entries[lane as usize]
    }

    /// Whether the index was condemned, by [`IndexOver::condemn`] or because the database failed: an answer given since may be
    /// incomplete. The next [`IndexOver::open`] begins anew, and so does [`IndexOver::clear`].
    pub(crate) fn rebuild_needed(&self) -> bool {
        self.is_condemned.load(Ordering::Relaxed)
    }

    /// Gives the index up, durably: it has no checkpoint any more, and the next open begins it anew.
    pub(crate) fn condemn(&mut self) -> Result<(), IndexError> {
        self.is_condemned.store(true, Ordering::Relaxed);
        Marker::Condemned.set(&self.path)
    }

    /// Condemns the index where the database failed in a read.
    fn doubt(&self, error: &IndexStoreError) {
        tracing::error!(%error, path = %self.path.display(), "the index failed: it must be built anew");
        self.is_condemned.store(true, Ordering::Relaxed);
        if let Err(error) = Marker::Condemned.set(&self.path) {
            tracing::error!(%error, "and this could not be written down");
        }
    }

    /// Sets the index aside and begins an empty one.
    ///
    /// # Errors
    /// When no empty one can be opened.
    pub(crate) fn clear(&mut self) -> Result<(), IndexError> {
        self.store = None;
        set_aside(&self.path)?;
        *self = Self::try_open(&self.path)?;
        Ok(())
    }

    /// Reads everything again (about a second for a million entries) and condemns the index if it is not what was written.
    ///
    /// # Errors
    /// What is wrong; the index is condemned then.
    #[cfg(test)]
    pub(crate) fn verify(&mut self) -> Result<(), IndexError> {
        let counted = self.store().and_then(recount);
        let reason = match counted {
            Ok(Ok(counted)) if counted == self.summary => return Ok(()),
            Ok(Ok(_)) => "it does not hold what was written last",
            Ok(Err(reason)) => reason,
            Err(error) => {
                self.doubt(&error);
                return Err(store_error(&self.path, error));
            }
        };
        self.condemn()?;
        Err(self.damaged(reason))
    }

    fn damaged(&self, reason: &'static str) -> IndexError {
        IndexError::Damaged {
            path: self.path.clone(),
            reason,
        }
    }

    /// Bytes that the index takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        directory::bytes(&self.path)
    }

    /// Writes the index anew where it takes more than [`INDEX_COMPACT_FACTOR`] times its content: sled does not shrink when keys
    /// are deleted. Returns whether it did. Takes some seconds for a million entries.
    ///
    /// # Errors
    /// When reading, writing or replacing fails; [`IndexOver::rebuild_needed`] says whether the index is still good.
    pub(crate) fn compact(&mut self) -> Result<bool, IndexError> {
        let bytes = self.disk_bytes();
        let is_large = bytes > INDEX_COMPACT_BYTES_MIN
            && bytes > INDEX_COMPACT_FACTOR * self.summary.bytes
            && bytes / 2 > self.compacted_bytes;
        if !is_large || self.rebuild_needed() {
            return Ok(false);
        }
        self.compact_now()?;
        Ok(true)
    }

    fn compact_now(&mut self) -> Result<(), IndexError> {
        let fresh_path = directory::compacting(&self.path);
        directory::remove(&fresh_path)?;
        let copied = self.copy_to(&fresh_path);
        match copied {
            Ok(checked) if checked => {}
            Ok(_) => {
                self.condemn()?;
                return Err(self.damaged("it does not hold what was written last"));
            }
            Err(error) => return Err(store_error(&self.path, error)),
        }
        self.store = None;
        let replaced = directory::replace(&self.path, &fresh_path);
        // Whichever of the two stands there now holds everything.
        match S::open(&self.path) {
            Ok(store) => self.store = Some(store),
            Err(error) => {
                self.doubt(&error);
                return Err(store_error(&self.path, error));
            }
        }
        replaced?;
        self.compacted_bytes = self.disk_bytes();
        Ok(())
    }

    /// Writes everything into a new database; returns whether it was what had been written.
    fn copy_to(&self, fresh_path: &Path) -> Result<bool, IndexStoreError> {
        let mut fresh = S::open(fresh_path)?;
        let mut copied = Summary {
            checkpoint: self.summary.checkpoint,
            ..Summary::default()
        };
        let mut batch = BTreeMap::new();
        let mut written = Ok(());
        self.store()?.scan(&[], &mut |key, value| {
            if key != layout::SUMMARY {
                copied.add(key, value);
            }
            batch.insert(key.to_vec(), value.to_vec());
            if batch.len() == INDEX_COMPACT_BATCH && written.is_ok() {
                written = fresh.load(std::mem::take(&mut batch), &mut |_, _| {});
            }
        })?;
        written?;
        fresh.load(batch, &mut |_, _| {})?;
        Ok(copied == self.summary)
    }
}

/// Reads all of a database; the inner error says what is wrong with it.
fn recount<S: IndexStore>(store: &S) -> Result<Result<Summary, &'static str>, IndexStoreError> {
    let mut counted = Summary::default();
    let mut summary = None;
    let mut is_known = true;
    store.scan(&[], &mut |key, value| {
        if key == layout::SUMMARY {
            summary = Some(value.to_vec());
        } else {
            is_known &= layout::is_key(key);
            counted.add(key, value);
        }
    })?;
    let claimed = summary.as_deref().map(Summary::from_bytes);
    #[cfg(test)]
    if crate::journal::tests::is_trusting() {
        counted.checkpoint = claimed.flatten().and_then(|claimed| claimed.checkpoint);
        return Ok(Ok(counted));
    }
    Ok(match claimed {
        None if counted == Summary::default() => Ok(counted),
        None => Err("it has no checksum"),
        Some(None) => Err("its checksum is damaged or of another version"),
        Some(Some(claimed)) => {
            counted.checkpoint = claimed.checkpoint;
            if is_known && counted == claimed {
                Ok(counted)
            } else {
                Err("it does not hold what was written")
            }
        }
    })
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, IndexStoreError> {
    layout::decode(value).ok_or_else(unreadable)
}

fn unreadable() -> IndexStoreError {
    IndexStoreError::Failed("it holds a value that cannot be read".into())
}

fn store_error(path: &Path, error: IndexStoreError) -> IndexError {
    match error {
        IndexStoreError::Busy => IndexError::Busy(path.to_owned()),
        IndexStoreError::Failed(reason) => IndexError::Store {
            path: path.to_owned(),
            reason,
        },
    }
}
