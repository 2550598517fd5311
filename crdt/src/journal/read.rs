//! Reading single records, and reading everything beside the writer.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Journal, JournalError, Position, ScanReport,
    mark::Mark,
    open::visit_records,
    segment::{FIRST_RECORD, Header, RECORD_HEADER, io_error, segment_path, segments},
    walk::{Beginning, Walk, beginning},
};
use crate::limits::{READ_AHEAD_BYTES, SEGMENT_READERS_MAX};

/// Open files of segments that are read from.
#[derive(Default)]
pub(super) struct Readers(Mutex<BTreeMap<u32, Arc<File>>>);

impl Readers {
    fn get(&self, directory: &Path, segment: u32) -> Result<Arc<File>, JournalError> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&segment) {
            return Ok(file.clone());
        }
        let path = segment_path(directory, segment);
        let file = Arc::new(File::open(&path).map_err(|source| io_error(&path, source))?);
        // The oldest segment goes: what is read is mostly new.
        if files.len() >= SEGMENT_READERS_MAX {
            files.pop_first();
        }
        files.insert(segment, file.clone());
        Ok(file)
    }

    /// Forgets every file: the segments were replaced.
    pub(super) fn clear(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Journal {
    /// Reads and verifies one record.
    ///
    /// # Errors
    /// [`JournalError::Rotten`] when the content does not match its hash, or no record can be there; [`JournalError::Io`] when its
    /// segment is gone or cannot be read.
    pub fn read(&self, position: Position) -> Result<Vec<u8>, JournalError> {
        let rotten = JournalError::Rotten(position);
        let other;
        let file = if position.segment == self.segment {
            &self.file
        } else {
            other = self.readers.get(&self.directory, position.segment)?;
            &*other
        };
        let error = |source| io_error(&segment_path(&self.directory, position.segment), source);
        let mut bytes = vec![0; READ_AHEAD_BYTES];
        let read = read_some(file, &mut bytes, position.offset).map_err(error)?;
        bytes.truncate(read);
        let Some(header) = Header::parse(&bytes).filter(Header::is_possible) else {
            return Err(rotten);
        };
        let whole = RECORD_HEADER as usize + header.size;
        bytes.resize(whole, 0);
        if whole > read {
            let rest = read_some(file, &mut bytes[read..], position.offset + read as u64).map_err(error)?;
            if read + rest < whole {
                return Err(rotten);
            }
        }
        bytes.drain(..RECORD_HEADER as usize);
        if header.matches(&bytes) { Ok(bytes) } else { Err(rotten) }
    }

    /// Hands every whole record before `end`, which came from [`Journal::end`], to `visit`: from any thread, with its own files,
    /// while the journal is written to. Nothing is changed.
    ///
    /// # Errors
    /// When a file cannot be read or is not a segment. [`JournalError::Rewritten`] when segments were replaced since `end` was
    /// asked for: what was visited may be incomplete, and whoever reads begins again with a new end.
    pub fn read_up_to(
        directory: &Path,
        end: Position,
        mut visit: impl FnMut(Position, &[u8]),
    ) -> Result<ScanReport, JournalError> {
        let mark = Mark::read(directory)?.filter(|mark| !mark.is_rewriting() && end >= mark.boundary);
        let mark = mark.ok_or(JournalError::Rewritten)?;
        let report = read_segments(directory, end, &mut visit);
        // An error may be a segment that was replaced under the reader: then that is what to tell.
        if Mark::read(directory)? == Some(mark) {
            report
        } else {
            Err(JournalError::Rewritten)
        }
    }
}

fn read_segments(
    directory: &Path,
    end: Position,
    visit: &mut impl FnMut(Position, &[u8]),
) -> Result<ScanReport, JournalError> {
    let mut report = ScanReport::default();
    let segments = segments(directory)?;
    for segment in segments.into_iter().filter(|segment| *segment <= end.segment) {
        let path = segment_path(directory, segment);
        let error = |source| io_error(&path, source);
        let file = File::open(&path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        let limit = if segment == end.segment {
            length.min(end.offset)
        } else {
            length
        };
        match beginning(&file, limit).map_err(error)? {
            Beginning::Whole => {}
            Beginning::Damaged => report.rotten.push(Position { segment, offset: 0 }),
            Beginning::Foreign => return Err(JournalError::NotASegment(path)),
        }
        let mut walk = Walk::begin(&file, FIRST_RECORD, limit);
        visit_records(&mut walk, segment, &mut report, visit).map_err(error)?;
        if segment == end.segment && length < end.offset {
            report.rotten.push(Position {
                segment,
                offset: length,
            });
        }
    }
    Ok(report)
}

/// Reads as many bytes as there are, up to the length of `bytes`.
fn read_some(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
