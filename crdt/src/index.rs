//! The index: sled, rebuildable from the journal. It says where each envelope stands and which belong to a document.
//!
//! sled 0.34.7 loses keys silently when a page rots (measured: 16 to 18 of 60 damaged copies) and its `flush` is no fsync on
//! Linux, so nothing here is ever the only copy: every envelope read through it is verified against its id, and a damaged or
//! missing index is set aside and rebuilt.

use std::path::{Path, PathBuf};

use keys::ContentId;
use serde::{Deserialize, Serialize};

use crate::{journal::Position, limits::INDEX_CACHE_BYTES, records::RecordKind};

/// Bumped when the layout changes; an index of another version is rebuilt.
const VERSION: u8 = 1;

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the index {path}: {reason}")]
pub struct IndexError {
    path: PathBuf,
    reason: String,
}

/// What the index knows of an envelope.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) document: ContentId,
    pub(crate) kind: RecordKind,
}

pub(crate) struct Index {
    path: PathBuf,
    database: sled::Db,
    envelopes: sled::Tree,
    documents: sled::Tree,
    kinds: sled::Tree,
}

impl Index {
    /// Opens the index; one that cannot be opened is moved aside and begun anew. Returns whether that happened.
    pub(crate) fn open(path: &Path) -> Result<(Self, bool), IndexError> {
        match Self::try_open(path) {
            Ok(index) => Ok((index, false)),
            Err(error) => {
                tracing::warn!(%error, "the index is damaged: it is set aside and rebuilt from the journal");
                set_aside(path)?;
                Ok((Self::try_open(path)?, true))
            }
        }
    }

    /// Sets this index aside and begins an empty one.
    pub(crate) fn begin_anew(self) -> Result<Self, IndexError> {
        let path = self.path.clone();
        // sled holds its lock until the last handle is gone.
        drop(self);
        set_aside(&path)?;
        Self::try_open(&path)
    }

    fn try_open(path: &Path) -> Result<Self, IndexError> {
        let failed = |reason: String| IndexError {
            path: path.to_owned(),
            reason,
        };
        // sled panics on some kinds of damage.
        let opened = std::panic::catch_unwind(|| {
            sled::Config::new()
                .path(path)
                .cache_capacity(INDEX_CACHE_BYTES)
                .flush_every_ms(Some(500))
                .open()
        });
        let database = opened
            .map_err(|_| failed("it cannot be read".into()))?
            .map_err(|error| failed(error.to_string()))?;
        let tree = |name: &str| database.open_tree(name).map_err(|error| failed(error.to_string()));
        let (envelopes, documents, kinds) = (tree("envelopes")?, tree("documents")?, tree("kinds")?);
        match database.get("version").map_err(|error| failed(error.to_string()))? {
            Some(version) if *version == [VERSION] => {}
            Some(_) => return Err(failed("it is of another version".into())),
            None => {
                database
                    .insert("version", &[VERSION])
                    .map_err(|error| failed(error.to_string()))?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            database,
            envelopes,
            documents,
            kinds,
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> IndexError {
        IndexError {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }

    /// Up to where the journal has been taken in. `None` when that is unknown or keys are missing (sled can lose some silently):
    /// then everything is taken in again.
    pub(crate) fn checkpoint(&self) -> Option<Position> {
        let bytes = self.database.get("checkpoint").ok()??;
        let (position, count): (Position, u64) = postcard::from_bytes(&bytes).ok()?;
        (self.ids().count() as u64 == count).then_some(position)
    }

    /// Remembers up to where the journal has been taken in, and how many envelopes that are.
    pub(crate) fn set_checkpoint(&self, position: Position, count: usize) -> Result<(), IndexError> {
        let bytes = postcard::to_stdvec(&(position, count as u64)).unwrap_or_default();
        self.database
            .insert("checkpoint", bytes)
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    pub(crate) fn insert(&self, id: &ContentId, entry: &Entry) -> Result<(), IndexError> {
        let bytes = postcard::to_stdvec(entry).unwrap_or_default();
        let member = [entry.document.0, id.0].concat();
        let kind = [&[entry.kind as u8][..], &entry.document.0].concat();
        self.envelopes
            .insert(id.0, bytes)
            .map_err(|error| self.failed(&error))?;
        self.documents
            .insert(member, &[])
            .map_err(|error| self.failed(&error))?;
        self.kinds.insert(kind, &[]).map_err(|error| self.failed(&error))?;
        Ok(())
    }

    pub(crate) fn get(&self, id: &ContentId) -> Option<Entry> {
        let bytes = self.envelopes.get(id.0).ok()??;
        postcard::from_bytes(&bytes).ok()
    }

    /// Every envelope id, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ContentId> {
        self.envelopes
            .iter()
            .keys()
            .filter_map(|key| Some(ContentId(key.ok()?.as_ref().try_into().ok()?)))
    }

    /// The envelopes of a document.
    pub(crate) fn envelopes_of(&self, document: &ContentId) -> Vec<ContentId> {
        let keys = self.documents.scan_prefix(document.0).keys();
        keys.filter_map(|key| Some(ContentId(key.ok()?.get(32..)?.try_into().ok()?)))
            .collect()
    }

    /// The documents of a kind.
    pub(crate) fn documents_of(&self, kind: RecordKind) -> Vec<ContentId> {
        let keys = self.kinds.scan_prefix([kind as u8]).keys();
        keys.filter_map(|key| Some(ContentId(key.ok()?.get(1..)?.try_into().ok()?)))
            .collect()
    }
}

/// Renames a damaged index, so that a person can still look at it; an older one set aside is replaced.
fn set_aside(path: &Path) -> Result<(), IndexError> {
    let failed = |error: std::io::Error| IndexError {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let aside = path.with_extension("damaged");
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(failed)?;
    }
    std::fs::rename(path, &aside).map_err(failed)
}
