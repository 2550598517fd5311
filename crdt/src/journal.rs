//! The journal: append-only segments, the truth of a node.
//!
//! A segment is `journal/NNNNNNNN.log`: the bytes `STARJNL1`, then records of `length (u32 LE) | blake3(body) | body`. A tail that
//! a crash cut short is removed at start; a record whose hash does not match is reported, never returned, and costs nothing but
//! itself ([`walk`]). Records leave the journal only by [`Journal::rewrite`]; a scrub ([`Journal::scrub_step`]) finds what rotted
//! since it was written, and [`Journal::read_up_to`] reads beside the writer.

mod mark;
mod open;
mod read;
mod rewrite;
mod scrub;
mod segment;
mod walk;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod rewrite_tests;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use self::{
    mark::Mark,
    read::Readers,
    segment::{
        FIRST_RECORD, RECORD_HEADER, before_change, files, io_error, segment_path, segments, sync_directory, wipe,
    },
};
pub use self::{
    rewrite::{Rewrite, Rewritten},
    scrub::{ScrubCursor, ScrubStep},
};
use crate::limits::RECORD_BYTES_MAX;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Byte offset of the record's header.
    pub offset: u64,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused (disk full, no rights, a broken disk).
    #[error("the journal {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a segment, or of another version.
    #[error("{0} is not a journal segment of this version; it was left untouched")]
    NotASegment(PathBuf),
    /// A record whose content does not match its hash.
    #[error("a record of the journal is damaged at {0:?}")]
    Rotten(Position),
    /// A record longer than any this program writes.
    #[error("a record of {0} bytes is over the limit of {RECORD_BYTES_MAX}")]
    TooLarge(usize),
    /// A record of no bytes: behind a damaged region it could not be told from zeros.
    #[error("an empty record")]
    Empty,
    /// Segments were replaced while, or since, they were to be read: take a new end and begin again.
    #[error("the journal was rewritten meanwhile")]
    Rewritten,
    /// A rewrite failed halfway, with some segments replaced: nothing more is written until the journal is opened again.
    #[error("the journal could not be rewritten to the end; it must be opened again")]
    Halted,
    /// There is no higher segment number.
    #[error("the numbers of segments are used up")]
    SegmentsUsedUp,
}

/// What a scan found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Whole records.
    pub records: u64,
    /// Bytes of a torn tail that were removed.
    pub torn_bytes: u64,
    /// Where damage begins. It may be several records, up to the next whole one; they are skipped and must come again from other
    /// nodes. Offset 0: the first bytes of the segment.
    pub rotten: Vec<Position>,
}

/// An open journal.
pub struct Journal {
    directory: PathBuf,
    file: File,
    segment: u32,
    /// Bytes that are written and synced; a failed append goes back to here.
    length: u64,
    /// Bytes of a segment from which on a new one is begun; [`crate::limits::SEGMENT_BYTES_MAX`] but in tests.
    segment_bytes: u64,
    mark: Mark,
    readers: Readers,
    /// A rewrite failed halfway.
    halted: bool,
}

impl Journal {
    /// Opens or creates the journal in `directory` and hands every whole record from `from` on to `visit`; all of them when the
    /// journal does not reach `from` ([`Journal::reaches`]).
    ///
    /// # Errors
    /// When a file cannot be read or is not a segment. Torn tails and rotten records are not errors; they are in the report.
    pub fn open(
        directory: &Path,
        from: Option<Position>,
        mut visit: impl FnMut(Position, &[u8]),
    ) -> Result<(Self, ScanReport), JournalError> {
        open::open(directory, from, &mut visit)
    }

    /// Whether an index that has taken in everything up to `position` knows where the records stand: the journal still reaches
    /// that far, and no rewrite has moved anything since. If not, the index must be built anew.
    #[must_use]
    pub fn reaches(directory: &Path, position: Position) -> bool {
        let Ok(Some(mark)) = Mark::read(directory) else {
            return false;
        };
        position >= mark.boundary
            && fs::metadata(segment_path(directory, position.segment)).is_ok_and(|file| file.len() >= position.offset)
    }

    /// Appends records and makes them durable with one sync (one more for each segment that is begun). On an error nothing of them
    /// remains.
    ///
    /// # Errors
    /// When a record is empty or too large, or the disk refuses; the journal stays usable, but for [`JournalError::Halted`].
    pub fn append(&mut self, bodies: &[&[u8]]) -> Result<Vec<Position>, JournalError> {
        self.check_usable()?;
        let mut positions = Vec::with_capacity(bodies.len());
        let mut runs = Vec::new();
        let mut run = Run {
            segment: self.segment,
            offset: self.length,
            bytes: Vec::new(),
        };
        for body in bodies {
            let end = run.end() + RECORD_HEADER + body.len() as u64;
            if end > self.segment_bytes && run.end() > FIRST_RECORD {
                let next = Run {
                    segment: next_segment(run.segment)?,
                    offset: FIRST_RECORD,
                    bytes: Vec::new(),
                };
                runs.push(std::mem::replace(&mut run, next));
            }
            positions.push(Position {
                segment: run.segment,
                offset: run.end(),
            });
            segment::encode(body, &mut run.bytes)?;
        }
        runs.push(run);
        // The active segment may have had no room for the first record.
        runs.retain(|run| !run.bytes.is_empty());
        self.write(&runs)?;
        Ok(positions)
    }

    /// Writes runs of records, each into its segment: all or, as far as the disk allows, none.
    fn write(&mut self, runs: &[Run]) -> Result<(), JournalError> {
        let before = self.end();
        let mut first_file = None;
        let written = runs.iter().try_for_each(|run| self.write_run(run, &mut first_file));
        if written.is_err() {
            for begun in before.segment + 1..=self.segment {
                let _ = fs::remove_file(segment_path(&self.directory, begun));
            }
            if let Some(file) = first_file {
                self.file = file;
            }
            (self.segment, self.length) = (before.segment, before.offset);
            // What was half written must not look like a record; if even that fails, the torn tail is cut at the next start.
            let _ = self.file.set_len(self.length);
        }
        written
    }

    fn write_run(&mut self, run: &Run, first_file: &mut Option<File>) -> Result<(), JournalError> {
        if run.segment != self.segment {
            let before = self.begin_segment(run.segment)?;
            first_file.get_or_insert(before);
        }
        self.file
            .write_all_at(&run.bytes, run.offset)
            .and_then(|()| before_change())
            .and_then(|()| self.file.sync_data())
            .map_err(|source| io_error(&segment_path(&self.directory, run.segment), source))?;
        self.length = run.end();
        Ok(())
    }

    /// Goes on in a new segment; returns the file of the one before.
    fn begin_segment(&mut self, segment: u32) -> Result<File, JournalError> {
        let file = segment::create(&self.directory, segment)?;
        (self.segment, self.length) = (segment, FIRST_RECORD);
        Ok(std::mem::replace(&mut self.file, file))
    }

    /// The position after the last durable record.
    #[must_use]
    pub fn end(&self) -> Position {
        Position {
            segment: self.segment,
            offset: self.length,
        }
    }

    /// The segments with their bytes, ascending; the last one is written to. A compaction chooses by it.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn segments(&self) -> Result<Vec<(u32, u64)>, JournalError> {
        let bytes = |segment| fs::metadata(segment_path(&self.directory, segment)).map_or(0, |file| file.len());
        let segments = segments(&self.directory)?.into_iter();
        Ok(segments.map(|segment| (segment, bytes(segment))).collect())
    }

    /// Bytes of everything in the journal's directory.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, JournalError> {
        // A file that vanishes in between takes no space.
        let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        Ok(files(&self.directory)?.into_iter().map(bytes).sum())
    }

    /// Overwrites and removes the copies that were kept of torn tails: an erasure must leave nothing in them. Returns how many.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_torn_copies(&self) -> Result<usize, JournalError> {
        let mut removed = 0;
        for path in files(&self.directory)? {
            let extension = path.extension().and_then(|extension| extension.to_str());
            if !extension.is_some_and(|extension| extension.starts_with("torn-")) {
                continue;
            }
            let error = |source| io_error(&path, source);
            let file = fs::OpenOptions::new().write(true).open(&path).map_err(error)?;
            fs::remove_file(&path).map_err(error)?;
            if let Err(error) = wipe(&file) {
                tracing::warn!(%error, path = %path.display(), "a removed copy could not be overwritten");
            }
            removed += 1;
        }
        if removed > 0 {
            sync_directory(&self.directory)?;
        }
        Ok(removed)
    }

    fn check_usable(&self) -> Result<(), JournalError> {
        if self.halted { Err(JournalError::Halted) } else { Ok(()) }
    }
}

fn next_segment(segment: u32) -> Result<u32, JournalError> {
    segment.checked_add(1).ok_or(JournalError::SegmentsUsedUp)
}

/// Records that go into one segment with one write.
struct Run {
    segment: u32,
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}
