//! Reading a blob: every group is verified against the blob's name on its way out.

use std::{
    fs::{self, File},
    ops::Range,
};

use super::{
    super::{
        BlobError, BlobId,
        groups::Groups,
        tree::{ReadError, Walk, groups_of},
    },
    BlobStore, Part, Reference, State, io_error, locked,
};
use crate::limits::BLOB_ASK_GROUPS_MAX;

/// The open files of a blob.
pub(in super::super) struct Reader {
    store: BlobStore,
    blob: BlobId,
    pub(in super::super) size: u64,
    data: File,
    tree: File,
}

impl BlobStore {
    /// Opens a blob for reading.
    pub(in super::super) fn reader(&self, blob: BlobId) -> Result<Reader, BlobError> {
        let (size, state) = {
            let entries = locked(&self.0.entries);
            let entry = entries.get(&blob).ok_or(BlobError::Unknown(blob))?;
            (entry.size, entry.state.clone())
        };
        let data_path = match &state {
            State::Reference(reference) => {
                self.unchanged(blob, size, reference)?;
                reference.path.clone()
            }
            State::Whole | State::Partial(_) => self.file(blob, Part::Data),
        };
        let tree_path = self.file(blob, Part::Tree);
        Ok(Reader {
            store: self.clone(),
            blob,
            size,
            data: File::open(&data_path).map_err(io_error(&data_path))?,
            tree: File::open(&tree_path).map_err(io_error(&tree_path))?,
        })
    }

    /// A file of somebody else that was changed or moved away is not the blob any more.
    fn unchanged(&self, blob: BlobId, size: u64, reference: &Reference) -> Result<(), BlobError> {
        let seen = fs::metadata(&reference.path).ok();
        let modified = seen.as_ref().and_then(|seen| seen.modified().ok());
        let moment = modified.map(Reference::moment);
        if seen.map(|seen| seen.len()) == Some(size) && moment == Some(reference.modified) {
            return Ok(());
        }
        self.damaged(blob, 0..groups_of(size))?;
        Err(BlobError::Changed(reference.path.clone()))
    }

    /// Reads a whole blob and verifies it; bad groups are marked missing, so that the next fetch brings them again.
    ///
    /// # Errors
    /// When it is not here, not whole, damaged, or the disk fails.
    pub fn verify(&self, blob: BlobId) -> Result<(), BlobError> {
        // Says whether it is whole.
        self.path(blob)?;
        let reader = self.reader(blob)?;
        let bad = reader.bad_groups(&Groups::all(groups_of(reader.size)))?;
        let Some(first) = bad.next_run(0) else { return Ok(()) };
        for run in bad.runs() {
            self.damaged(blob, run)?;
        }
        Err(BlobError::Damaged {
            blob,
            first: first.start,
            count: bad.held(),
        })
    }
}

impl Reader {
    /// Reads and verifies groups for the wire, and says what ended it early. What is not as it should be is marked missing
    /// ([`BlobError::Damaged`]).
    pub(in super::super) fn next(&self, walk: &mut Walk, groups: usize) -> (Vec<Vec<u8>>, Option<BlobError>) {
        let mut read = Vec::with_capacity(groups);
        while read.len() < groups && !walk.is_over() {
            let error = match walk.read(&self.data, &self.tree) {
                Ok((_, sent)) => {
                    read.push(sent);
                    continue;
                }
                Err(ReadError::Damaged(range)) => self.mark(range),
                Err(ReadError::Io(error)) => io_error(&self.store.file(self.blob, Part::Data))(error),
            };
            return (read, Some(error));
        }
        (read, None)
    }

    fn mark(&self, range: Range<u64>) -> BlobError {
        let (first, count) = (range.start, range.end - range.start);
        let blob = self.blob;
        let marked = self.store.damaged(blob, range);
        marked.err().unwrap_or(BlobError::Damaged { blob, first, count })
    }

    pub(in super::super) fn walk(&self, range: Range<u64>) -> Walk {
        Walk::new(self.blob, self.size, range)
    }

    /// Which of these groups are not what they should be.
    pub(super) fn bad_groups(&self, claimed: &Groups) -> Result<Groups, BlobError> {
        let mut bad = Groups::none(claimed.count());
        for run in claimed.runs() {
            let mut start = run.start;
            while start < run.end {
                let end = run.end.min(start + BLOB_ASK_GROUPS_MAX);
                let mut walk = self.walk(start..end);
                start = match self.first_bad(&mut walk)? {
                    // What the bad pair or group spoils beyond this stretch is found by the next one.
                    Some(range) => {
                        let spoilt = range.start.max(start)..range.end.min(end);
                        let next = spoilt.end;
                        bad.insert(spoilt);
                        next
                    }
                    None => end,
                };
            }
        }
        Ok(bad)
    }

    fn first_bad(&self, walk: &mut Walk) -> Result<Option<Range<u64>>, BlobError> {
        while !walk.is_over() {
            match walk.read(&self.data, &self.tree) {
                Ok(_) => {}
                Err(ReadError::Damaged(range)) => return Ok(Some(range)),
                Err(ReadError::Io(error)) => return Err(io_error(&self.store.file(self.blob, Part::Data))(error)),
            }
        }
        Ok(None)
    }
}
