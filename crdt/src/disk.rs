//! The shelf on disk: the journal is the truth, the index says where things stand in it, snapshots make long documents open
//! quickly. Index and snapshots can be deleted at any time; they are made anew.

mod held;
mod snapshots;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use keys::ContentId;

use self::{held::HeldFile, snapshots::Snapshots};
use crate::{
    StoreError,
    group::{Group, Lane},
    index::{Feeder, Index, IndexChange},
    journal::{Journal, JournalError, Position, Rewrite, ScrubCursor},
    records::RecordKind,
    replica::{Forget, Kept, Shelf},
    set::{Entry, ShardSet},
};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskReport {
    /// Whether the index was missing or damaged and was made anew.
    pub index_rebuilt: bool,
    /// Bytes of a torn journal tail that were cut.
    pub torn_bytes: u64,
    /// Damaged journal records.
    pub rotten: usize,
}

/// What is damaged in a part of the journal, and whether everything has been read once.
pub type ScrubFindings = (Vec<(Lane, Entry)>, bool);

/// See the module.
pub struct DiskShelf {
    /// Where the journal's segments are.
    directory: PathBuf,
    journal: Journal,
    index: Index,
    snapshots: Snapshots,
    held: HeldFile,
    scrub: ScrubCursor,
    /// Records found damaged since the start.
    rotten: u64,
    /// Whether the index was made anew since somebody asked.
    recounted: bool,
}

impl DiskShelf {
    /// Opens journal and index and brings the index up to the journal's end.
    pub fn open(directory: &Path) -> Result<(Self, DiskReport), StoreError> {
        let journal_directory = directory.join("journal");
        let (mut index, set_aside) = Index::open(&directory.join("index"))?;
        let mut checkpoint = index.checkpoint();
        let mut rebuilt = set_aside;
        // A journal that ends before what the index has seen was damaged: the index would promise what is not there. One that was
        // rewritten when the index did not see it, because of a crash, has its records elsewhere.
        if checkpoint.is_some_and(|seen| !Journal::reaches(&journal_directory, seen)) {
            tracing::error!(
                "the journal is shorter than it was, or an erasure was cut short: the index is made anew, and what is missing is asked of \
                 other nodes"
            );
            index.clear()?;
            rebuilt = true;
            checkpoint = None;
        }
        let mut feeder = Feeder::new(&mut index);
        let opened = Journal::open(&journal_directory, checkpoint, |position, body| {
            feeder.feed(position, read_changes(position, body));
        });
        let (journal, scan) = opened.map_err(|error| StoreError::Journal(Arc::new(error)))?;
        feeder.finish(journal.end())?;
        let report = DiskReport {
            index_rebuilt: rebuilt || (scan.records > 0 && checkpoint.is_none()),
            torn_bytes: scan.torn_bytes,
            rotten: scan.rotten.len(),
        };
        let shelf = Self {
            directory: journal_directory,
            journal,
            index,
            snapshots: Snapshots::new(directory.join("snapshots")),
            held: HeldFile::new(directory.join("held")),
            scrub: ScrubCursor::default(),
            rotten: 0,
            recounted: false,
        };
        Ok((shelf, report))
    }

    /// Makes the index anew from the journal.
    fn reindex(&mut self) -> Result<(), StoreError> {
        tracing::warn!("the index is made anew from the journal");
        self.recounted = true;
        self.index.clear()?;
        let mut feeder = Feeder::new(&mut self.index);
        let end = self.journal.end();
        Journal::read_up_to(&self.directory, end, |position: Position, body: &[u8]| {
            feeder.feed(position, read_changes(position, body));
        })
        .map_err(|error| StoreError::Journal(Arc::new(error)))?;
        feeder.finish(end)?;
        Ok(())
    }

    /// An index that has shown a fault is made anew before it is asked again.
    fn mend(&mut self) {
        if self.index.rebuild_needed()
            && let Err(error) = self.reindex()
        {
            tracing::error!(%error, "the index cannot be made anew");
        }
    }

    fn read_at(&self, lane: Lane, entry: &Entry) -> Result<Vec<u8>, ReadFault> {
        let position = self.index.position(lane, entry.group, &entry.id);
        let bytes = self.journal.read(position.ok_or(ReadFault::Index)?);
        let bytes = bytes.map_err(|error| ReadFault::Journal(Arc::new(error)))?;
        match identify(&bytes) {
            Some((found_lane, found)) if found_lane == lane && found == *entry => Ok(bytes),
            // The record is whole but another one: the index points to the wrong place.
            _ => Err(ReadFault::Index),
        }
    }

    /// Reads and verifies a further part of the journal; returns what is damaged in it and whether everything was read once.
    pub fn scrub(&mut self, bytes_max: u64) -> Result<ScrubFindings, Arc<JournalError>> {
        let step = self.journal.scrub_step(&mut self.scrub, bytes_max).map_err(Arc::new)?;
        let damaged = if step.rotten.is_empty() {
            Vec::new()
        } else {
            self.damaged_from(&step.rotten)
        };
        self.rotten += damaged.len() as u64;
        Ok((damaged, step.finished))
    }

    /// What stands where damage begins, and from there on up to the next whole record: one bad page takes several.
    fn damaged_from(&self, begins: &[Position]) -> Vec<(Lane, Entry)> {
        let segments: BTreeSet<u32> = begins.iter().map(|begin| begin.segment).collect();
        let mut placed = BTreeMap::new();
        for lane in Lane::ALL {
            let found = self.index.for_each(lane, &mut |group, id, position| {
                if segments.contains(&position.segment) {
                    placed.insert(position, (lane, Entry { group, id }));
                }
            });
            if let Err(error) = found {
                tracing::error!(%error, "the index could not be asked what a damaged record was");
            }
        }
        let mut damaged = Vec::new();
        for begin in begins {
            let end = Position {
                segment: begin.segment,
                offset: u64::MAX,
            };
            let behind = placed.range(*begin..end);
            let unreadable = behind.take_while(|(position, _)| self.journal.read(**position).is_err());
            damaged.extend(unreadable.map(|(_, held)| *held));
        }
        damaged
    }

    /// Bytes of journal and index on disk.
    ///
    /// # Errors
    /// When the journal's files cannot be looked at.
    pub fn disk_bytes(&self) -> Result<(u64, u64), Arc<JournalError>> {
        Ok((self.journal.disk_bytes().map_err(Arc::new)?, self.index.disk_bytes()))
    }

    /// Writes the index anew where it takes much more room than it needs; returns whether it did.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn compact(&mut self) -> Result<bool, StoreError> {
        Ok(self.index.compact()?)
    }

    /// The position after the last durable record, for a backup.
    pub fn end(&self) -> Position {
        self.journal.end()
    }

    /// What happens to the records that must go or change, by where they stand.
    fn plan(&self, forget: &Forget) -> BTreeMap<Position, Option<Vec<u8>>> {
        let position = |lane: Lane, entry: &Entry| self.index.position(lane, entry.group, &entry.id);
        let drop = forget.drop.iter();
        let drop = drop.filter_map(|(lane, entry)| Some((position(*lane, entry)?, None)));
        let replace = forget
            .replace
            .iter()
            .filter_map(|(lane, entry, bytes)| Some((position(*lane, entry)?, Some(bytes.clone()))));
        drop.chain(replace).collect()
    }

    fn rewrite(&mut self, forget: &Forget) -> Result<(), StoreError> {
        let plan = self.plan(forget);
        let segments: BTreeSet<u32> = plan.keys().map(|position| position.segment).collect();
        let mut names = BTreeMap::new();
        let mut decide = |position: Position, body: &[u8]| {
            if let Some(name) = identify(body) {
                names.insert(position, name);
            }
            match plan.get(&position) {
                None => Rewrite::Keep,
                Some(None) => Rewrite::Drop,
                Some(Some(bytes)) => Rewrite::Replace(bytes.clone()),
            }
        };
        // A crash from here on leads to a rebuild: the journal's mark says that the index has missed a rewrite, until a checkpoint
        // behind that is on the disk.
        let rewritten = self.journal.rewrite(&segments, &mut decide);
        if matches!(rewritten, Err(JournalError::Halted)) {
            // Some segments are new, and the index does not know which.
            self.index.condemn()?;
        }
        let rewritten = rewritten.map_err(|error| StoreError::Journal(Arc::new(error)))?;
        let mut changes = Vec::new();
        for (old, new) in rewritten.moved {
            if let Some((lane, entry)) = names.get(&old) {
                changes.push(IndexChange::Put {
                    lane: *lane,
                    group: entry.group,
                    id: entry.id,
                    position: new,
                });
            }
        }
        changes.extend(forget.drop.iter().map(|(lane, entry)| IndexChange::Remove {
            lane: *lane,
            group: entry.group,
            id: entry.id,
        }));
        let documents = forget.documents.iter();
        changes.extend(documents.map(|document| IndexChange::ForgetDocument { document: *document }));
        // Before anything else may fail: the records stand elsewhere now.
        self.index.apply(&changes, self.journal.end())?;
        let removed = self.journal.remove_torn_copies();
        removed.map_err(|error| StoreError::Journal(Arc::new(error)))?;
        Ok(())
    }
}

/// Why something that is in the set cannot be read.
enum ReadFault {
    Index,
    Journal(Arc<JournalError>),
}

/// What a journal record is. Everything in the journal was verified when it came in, and its blake3 when it was read.
fn identify(body: &[u8]) -> Option<(Lane, Entry)> {
    let kept = Kept::from_stored(body.to_vec())?;
    Some((kept.lane, kept.entry))
}

/// What the index must know of a journal record.
fn read_changes(position: Position, body: &[u8]) -> impl Iterator<Item = IndexChange> + use<> {
    let kept = Kept::from_stored(body.to_vec());
    kept.into_iter().flat_map(move |kept| index_changes(&kept, position))
}

/// What the index must know of something that stands at `position`.
fn index_changes(kept: &Kept, position: Position) -> impl Iterator<Item = IndexChange> + use<> {
    let put = IndexChange::Put {
        lane: kept.lane,
        group: kept.entry.group,
        id: kept.entry.id,
        position,
    };
    let document = kept.document;
    let begun = kept
        .begins
        .map(|(kind, owner)| IndexChange::Document { document, kind, owner });
    std::iter::once(put).chain(begun)
}

impl Shelf for DiskShelf {
    fn entries(&mut self, lane: Lane, visit: &mut dyn FnMut(Entry)) {
        self.mend();
        // What was visited twice does no harm: it goes into a set.
        for _ in 0..2 {
            let visited = self
                .index
                .for_each(lane, &mut |group, id, _| visit(Entry { group, id }));
            let Err(error) = visited else { return };
            tracing::error!(%error, "the index cannot be read");
            self.mend();
        }
    }

    fn read(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>> {
        self.mend();
        let mut read = self.read_at(lane, entry);
        if matches!(read, Err(ReadFault::Index)) {
            match self.reindex() {
                Ok(()) => read = self.read_at(lane, entry),
                Err(error) => tracing::error!(%error, "the index cannot be made anew"),
            }
        }
        match read {
            Ok(bytes) => return Some(bytes),
            Err(ReadFault::Journal(error)) => {
                tracing::error!(%error, "a record cannot be read; it is asked of other nodes");
            }
            Err(ReadFault::Index) => tracing::error!("a record is not in the journal; it is asked of other nodes"),
        }
        self.rotten += 1;
        None
    }

    fn envelopes_of(&self, lane: Lane, group: Group) -> Vec<ContentId> {
        self.index.ids_of(lane, group).into_iter().map(|(id, _)| id).collect()
    }

    fn document(&self, document: &ContentId) -> Option<(RecordKind, Option<ContentId>)> {
        self.index.document(document)
    }

    fn documents_of(&self, kind: RecordKind) -> Vec<ContentId> {
        self.index.documents_of(kind)
    }

    fn documents_owned_by(&self, account: &ContentId) -> Vec<ContentId> {
        self.index.documents_owned_by(account)
    }

    fn keep(&mut self, kept: &[Kept]) -> Result<(), Arc<JournalError>> {
        let bodies: Vec<&[u8]> = kept.iter().map(|kept| kept.bytes.as_slice()).collect();
        let positions = self.journal.append(&bodies).map_err(Arc::new)?;
        let placed = kept.iter().zip(positions);
        let changes: Vec<IndexChange> = placed
            .flat_map(|(kept, position)| index_changes(kept, position))
            .collect();
        if let Err(error) = self.index.apply(&changes, self.journal.end()) {
            // The journal is the truth, and it holds them.
            tracing::error!(%error, "the index refused a write");
            if let Err(error) = self.reindex() {
                tracing::error!(%error, "the index cannot be made anew; it is tried again at the next start");
            }
        }
        Ok(())
    }

    fn forget(&mut self, forget: &Forget) -> Result<(), Arc<JournalError>> {
        for document in forget.documents.iter().chain(&forget.snapshots) {
            self.snapshots.remove(document).map_err(Arc::new)?;
        }
        if forget.is_empty() && forget.documents.is_empty() {
            return Ok(());
        }
        match self.rewrite(forget) {
            Ok(()) => Ok(()),
            Err(StoreError::Journal(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "the index refused an erasure");
                self.reindex().or(Ok(()))
            }
        }
    }

    fn snapshot(&self, document: &ContentId) -> Option<Vec<u8>> {
        self.snapshots.read(document)
    }

    fn held(&self) -> Option<ShardSet> {
        self.held.read()
    }

    fn keep_held(&mut self, shards: &ShardSet) {
        self.held.write(shards);
    }

    fn keep_snapshot(&mut self, document: &ContentId, bytes: &[u8]) {
        self.snapshots.write(document, bytes);
    }

    fn was_recounted(&mut self) -> bool {
        std::mem::take(&mut self.recounted)
    }
}
