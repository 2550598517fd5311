//! Filling an index that is being made anew, in large sorted parts: each page of the database is written a few times and not once for
//! each record in it (measured for a million envelopes: in half of the time and half of the room).

use std::collections::BTreeMap;

use keys::ContentId;

use super::{
    Index, IndexChange, IndexError, IndexOver, decode,
    layout::{self, Document},
    store::{IndexStore, IndexStoreError, Operation, Pair},
    store_error,
};
use crate::{
    journal::Position,
    limits::{INDEX_COMPACT_BATCH, INDEX_LOAD_BATCH},
};

/// Takes what stands in the journal into an index, many records at a time.
pub(crate) struct Feeder<'a> {
    index: &'a mut Index,
    changes: Vec<IndexChange>,
    failure: Option<IndexError>,
}

impl<'a> Feeder<'a> {
    pub(crate) const fn new(index: &'a mut Index) -> Self {
        Self {
            index,
            changes: Vec::new(),
            failure: None,
        }
    }

    /// Takes in what the index must know of the record at `position`.
    pub(crate) fn feed(&mut self, position: Position, changes: impl Iterator<Item = IndexChange>) {
        self.changes.extend(changes);
        if self.changes.len() >= INDEX_LOAD_BATCH {
            self.flush(position);
        }
    }

    /// Writes what was collected. The checkpoint stands at the last record fed: taking that one in twice does no harm.
    fn flush(&mut self, checkpoint: Position) {
        // Few are written all or none, so that a crash in an ordinary start costs nothing.
        let written = match self.changes.len() {
            ..=INDEX_COMPACT_BATCH => self.index.apply(&self.changes, checkpoint),
            _ => self.index.load(&self.changes, checkpoint),
        };
        self.failure = written.err().or(self.failure.take());
        self.changes.clear();
    }

    /// The journal has been read up to `end`.
    pub(crate) fn finish(mut self, end: Position) -> Result<(), IndexError> {
        self.flush(end);
        self.failure.map_or(Ok(()), Err)
    }
}

impl<S: IndexStore> IndexOver<S> {
    /// Takes in records and documents, in the order of their keys. A crash on the way leaves an index that does not match its
    /// checksum and is begun anew, as does an error.
    ///
    /// # Errors
    /// When the database refuses: the index is condemned.
    pub(crate) fn load(&mut self, changes: &[IndexChange], checkpoint: Position) -> Result<(), IndexError> {
        let loaded = self.try_load(changes, checkpoint);
        loaded.map_err(|error| {
            self.doubt(&error);
            store_error(&self.path, error)
        })
    }

    fn try_load(&mut self, changes: &[IndexChange], checkpoint: Position) -> Result<(), IndexStoreError> {
        let takes_away =
            |change: &IndexChange| matches!(change, IndexChange::Remove { .. } | IndexChange::ForgetDocument { .. });
        if changes.iter().any(takes_away) {
            // No journal says so; it is done one by one.
            return self.try_apply(changes, checkpoint);
        }
        let mut summary = self.summary.clone();
        summary.checkpoint = Some(checkpoint);
        let store = self.store.as_mut();
        let store = store.ok_or_else(|| IndexStoreError::Failed("it could not be opened again".into()))?;
        let mut replaced = Vec::new();
        for table in TABLES {
            let mut pairs = Pairs::new();
            for (key, value) in changes.iter().filter_map(table) {
                // Of what comes twice the last counts.
                if let Some(before) = pairs.insert(key.clone(), value) {
                    replaced.push((key, before));
                }
            }
            pairs.iter().for_each(|(key, value)| summary.add(key, value));
            store.load(pairs, &mut |key, before| {
                summary.subtract(key, before);
                replaced.push((key.to_vec(), before.to_vec()));
            })?;
        }
        let mut operations = Vec::new();
        for (key, value) in stale(store, &replaced)? {
            summary.subtract(&key, &value);
            operations.push(Operation::Remove(key));
        }
        operations.push(Operation::Put(layout::SUMMARY.to_vec(), summary.to_bytes()));
        store.write(operations)?;
        self.summary = summary;
        Ok(())
    }
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The tables in the order of their first bytes: what a change puts into each.
const TABLES: [fn(&IndexChange) -> Option<Pair>; 4] = [
    |change| match change {
        IndexChange::Put {
            lane,
            group,
            id,
            position,
        } => Some((layout::entry(*lane, *group, id), layout::encode(position))),
        _ => None,
    },
    |change| match change {
        IndexChange::Document { document, kind, .. } => Some((layout::kind(*kind, document), Vec::new())),
        _ => None,
    },
    |change| match change {
        IndexChange::Document { document, owner, .. } => Some((layout::owned(&(*owner)?, document), Vec::new())),
        _ => None,
    },
    |change| match change {
        IndexChange::Document { document, kind, owner } => {
            Some((layout::document(document), layout::encode(&(*kind, *owner))))
        }
        _ => None,
    },
];

/// Pairs that say of a document what it is no longer. Its id is the hash of what says its kind and owner, so there are none, unless
/// something is very wrong.
fn stale<S: IndexStore>(store: &S, replaced: &[Pair]) -> Result<Pairs, IndexStoreError> {
    let keys = |document: &ContentId, (kind, owner): Document| {
        let owned = owner.map(|owner| layout::owned(&owner, document));
        [Some(layout::kind(kind, document)), owned].into_iter().flatten()
    };
    let mut stale = Pairs::new();
    for (key, before) in replaced {
        let Some(document) = layout::parse_document(key) else {
            continue;
        };
        let now = store.get(key)?.unwrap_or_default();
        if now == *before {
            continue;
        }
        let still: Vec<Vec<u8>> = keys(&document, decode(&now)?).collect();
        for key in keys(&document, decode(before)?).filter(|key| !still.contains(key)) {
            if let Some(value) = store.get(&key)? {
                stale.insert(key, value);
            }
        }
    }
    Ok(stale)
}
