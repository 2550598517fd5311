//! Opening a journal: what a crash left behind is tidied up, and every record is visited.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom},
    path::Path,
};

use super::{
    Journal, JournalError, Position, ScanReport,
    mark::Mark,
    read::Readers,
    segment::{self, FIRST_RECORD, files, io_error, segment_path, segments},
    walk::{Beginning, Step, Walk, beginning},
};
use crate::limits::SEGMENT_BYTES_MAX;

pub(super) fn open(
    directory: &Path,
    from: Option<Position>,
    visit: &mut impl FnMut(Position, &[u8]),
) -> Result<(Journal, ScanReport), JournalError> {
    fs::create_dir_all(directory).map_err(|source| io_error(directory, source))?;
    remove_leftovers(directory)?;
    let from = from.filter(|from| Journal::reaches(directory, *from));
    let mut report = ScanReport::default();
    let mut end = Position { segment: 1, offset: 0 };
    let segments = segments(directory)?;
    for segment in &segments {
        let start = match from {
            Some(from) if *segment < from.segment => continue,
            Some(from) if *segment == from.segment => from.offset,
            _ => FIRST_RECORD,
        };
        let is_last = segments.last() == Some(segment);
        end = Position {
            segment: *segment,
            offset: scan(directory, *segment, start, is_last, &mut report, visit)?,
        };
    }
    let mark = settle_mark(directory, end)?;
    // The boundary of a rewrite never lies behind the end, even if the segment begun there was lost: no number is used twice.
    let begun = if mark.boundary.segment > end.segment {
        Some(mark.boundary.segment)
    } else if end.offset < FIRST_RECORD {
        Some(end.segment)
    } else {
        None
    };
    let (file, end) = match begun {
        Some(segment) => {
            let offset = FIRST_RECORD;
            (segment::create(directory, segment)?, Position { segment, offset })
        }
        None => {
            let path = segment_path(directory, end.segment);
            let file = OpenOptions::new().read(true).write(true).open(&path);
            (file.map_err(|source| io_error(&path, source))?, end)
        }
    };
    let journal = Journal {
        directory: directory.to_owned(),
        file,
        segment: end.segment,
        length: end.offset,
        segment_bytes: SEGMENT_BYTES_MAX,
        mark,
        readers: Readers::default(),
        halted: false,
    };
    Ok((journal, report))
}

/// Removes what a rewrite had written beside the segments when it was interrupted.
fn remove_leftovers(directory: &Path) -> Result<(), JournalError> {
    for path in files(directory)? {
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
        }
    }
    Ok(())
}

/// Reads the mark, ends a rewrite that was interrupted, and begins a damaged one again. Whoever asked [`Journal::reaches`] was told
/// that a damaged mark reaches nothing; from now on an index reaches only if it has seen the end as it is.
fn settle_mark(directory: &Path, end: Position) -> Result<Mark, JournalError> {
    let settled = match Mark::read(directory)? {
        Some(mark) if !mark.is_rewriting() => return Ok(mark),
        Some(mark) => Mark {
            counter: mark.counter.wrapping_add(1),
            ..mark
        },
        None => {
            tracing::error!("the journal's mark is damaged: the index must be built anew");
            Mark {
                boundary: end,
                ..Mark::NONE
            }
        }
    };
    settled.write(directory)?;
    Ok(settled)
}

/// Visits the records of one segment from `start` on and returns where they end. Only the last segment can have a torn tail.
fn scan(
    directory: &Path,
    segment: u32,
    start: u64,
    is_last: bool,
    report: &mut ScanReport,
    visit: &mut impl FnMut(Position, &[u8]),
) -> Result<u64, JournalError> {
    let path = segment_path(directory, segment);
    let error = |source| io_error(&path, source);
    let file = OpenOptions::new()
        .read(true)
        .write(is_last)
        .open(&path)
        .map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    if length < FIRST_RECORD && is_last {
        // Created but not yet written when the machine stopped.
        return Ok(0);
    }
    match beginning(&file, length).map_err(error)? {
        Beginning::Whole => {}
        Beginning::Damaged => report.rotten.push(Position { segment, offset: 0 }),
        Beginning::Foreign => return Err(JournalError::NotASegment(path)),
    }
    let mut walk = Walk::begin(&file, start, length);
    let damaged = visit_records(&mut walk, segment, report, visit).map_err(error)?;
    if let Some(damaged) = damaged.filter(|_| is_last && !walk.damage_fits()) {
        // The end of a record is missing, and none follows: that is how a crash ends a journal.
        match cut_tail(&file, &path, damaged) {
            Ok(()) => {
                report.rotten.pop();
                report.torn_bytes += length - damaged;
                return Ok(damaged);
            }
            // A full disk must not cost what may be more than a torn tail: it stays, and the journal goes on behind it.
            Err(error) => tracing::warn!(%error, "a torn tail stays where it is"),
        }
    }
    Ok(length)
}

/// Visits every record of a walk; returns where the damage begins that reaches to its end.
pub(super) fn visit_records(
    walk: &mut Walk<'_, File>,
    segment: u32,
    report: &mut ScanReport,
    visit: &mut impl FnMut(Position, &[u8]),
) -> io::Result<Option<u64>> {
    let mut damaged = None;
    loop {
        match walk.step()? {
            Step::Record(offset) => {
                damaged = None;
                report.records += 1;
                visit(Position { segment, offset }, walk.body());
            }
            Step::Damage(offset) => {
                damaged = Some(offset);
                report.rotten.push(Position { segment, offset });
            }
            Step::Searching => {}
            Step::End => return Ok(damaged),
        }
    }
}

/// Cuts a torn tail, keeping a copy beside the segment: if it was more than a crash, a person can still look at it.
fn cut_tail(mut file: &File, path: &Path, offset: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    let copy_path = path.with_extension(format!("torn-{offset}"));
    let mut copy = File::create(&copy_path)?;
    if let Err(error) = io::copy(&mut file, &mut copy) {
        let _ = fs::remove_file(&copy_path);
        return Err(error);
    }
    file.set_len(offset)?;
    file.sync_all()
}
