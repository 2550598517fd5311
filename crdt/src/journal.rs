//! The journal: append-only segments, the truth of a node.
//!
//! A segment is `journal/NNNNNNNN.log`: the bytes `STARJNL1`, then records of `length (u32 LE) | blake3(body) | body`. A tail that
//! a crash cut short is removed at start; a record whose hash does not match is reported, never returned.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::limits::{RECORD_BYTES_MAX, SEGMENT_BYTES_MAX};

/// First bytes of a segment; the last one is the version.
const MAGIC: &[u8; 8] = b"STARJNL1";
const RECORD_HEADER: u64 = 4 + 32;

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
}

/// What a scan found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Whole records.
    pub records: u64,
    /// Bytes of a torn tail that were removed.
    pub torn_bytes: u64,
    /// Records whose hash does not match; they are skipped and must come again from other nodes.
    pub rotten: Vec<Position>,
}

/// An open journal.
pub struct Journal {
    directory: PathBuf,
    file: File,
    segment: u32,
    /// Bytes that are written and synced; a failed append goes back to here.
    length: u64,
}

impl Journal {
    /// Opens or creates the journal in `directory` and hands every whole record from `from` on to `visit`.
    ///
    /// # Errors
    /// When a file cannot be read or is not a segment. Torn tails and rotten records are not errors; they are in the report.
    pub fn open(
        directory: &Path,
        from: Option<Position>,
        mut visit: impl FnMut(Position, &[u8]),
    ) -> Result<(Self, ScanReport), JournalError> {
        fs::create_dir_all(directory).map_err(|source| io_error(directory, source))?;
        let segments = segments(directory)?;
        let last = segments.last().copied();
        let mut report = ScanReport::default();
        let mut end = 0;
        for segment in segments {
            let start = match from {
                Some(from) if segment < from.segment => continue,
                Some(from) if segment == from.segment => from.offset,
                _ => MAGIC.len() as u64,
            };
            end = scan(
                directory,
                segment,
                start,
                Some(segment) == last,
                &mut report,
                &mut visit,
            )?;
        }
        let journal = match last {
            Some(segment) if end >= MAGIC.len() as u64 => {
                let path = segment_path(directory, segment);
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .map_err(|source| io_error(&path, source))?;
                Self {
                    directory: directory.to_owned(),
                    file,
                    segment,
                    length: end,
                }
            }
            Some(segment) => Self::create(directory, segment)?,
            None => Self::create(directory, 1)?,
        };
        Ok((journal, report))
    }

    /// Whether the journal still reaches up to `position`.
    #[must_use]
    pub fn reaches(directory: &Path, position: Position) -> bool {
        fs::metadata(segment_path(directory, position.segment)).is_ok_and(|file| file.len() >= position.offset)
    }

    fn create(directory: &Path, segment: u32) -> Result<Self, JournalError> {
        let path = segment_path(directory, segment);
        let error = |source| io_error(&path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(error)?;
        file.write_all(MAGIC).and_then(|()| file.sync_all()).map_err(error)?;
        // The directory entry must be on disk too, or the whole segment could vanish with a power cut.
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(error)?;
        let length = MAGIC.len() as u64;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            segment,
            length,
        })
    }

    /// Appends records and makes them durable with one sync. On an error nothing of them remains.
    ///
    /// # Errors
    /// When the disk refuses; the journal stays usable.
    pub fn append(&mut self, bodies: &[&[u8]]) -> Result<Vec<Position>, JournalError> {
        if self.length >= SEGMENT_BYTES_MAX {
            let next = Self::create(&self.directory, self.segment + 1)?;
            *self = next;
        }
        let mut buffer = Vec::new();
        let mut positions = Vec::with_capacity(bodies.len());
        for body in bodies {
            let length = u32::try_from(body.len())
                .ok()
                .filter(|_| body.len() <= RECORD_BYTES_MAX);
            let length = length.ok_or(JournalError::TooLarge(body.len()))?;
            positions.push(Position {
                segment: self.segment,
                offset: self.length + buffer.len() as u64,
            });
            buffer.extend_from_slice(&length.to_le_bytes());
            buffer.extend_from_slice(blake3::hash(body).as_bytes());
            buffer.extend_from_slice(body);
        }
        let written = self
            .file
            .write_all_at(&buffer, self.length)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += buffer.len() as u64;
                Ok(positions)
            }
            Err(source) => {
                // What was half written must not look like a record; if even that fails, the torn tail is cut at the next start.
                let _ = self.file.set_len(self.length);
                Err(io_error(&segment_path(&self.directory, self.segment), source))
            }
        }
    }

    /// The position after the last durable record.
    #[must_use]
    pub fn end(&self) -> Position {
        Position {
            segment: self.segment,
            offset: self.length,
        }
    }

    /// Reads and verifies one record.
    ///
    /// # Errors
    /// [`JournalError::Rotten`] when the content does not match its hash.
    pub fn read(&self, position: Position) -> Result<Vec<u8>, JournalError> {
        let path = segment_path(&self.directory, position.segment);
        let other;
        let file = if position.segment == self.segment {
            &self.file
        } else {
            other = File::open(&path).map_err(|source| io_error(&path, source))?;
            &other
        };
        let mut header = [0; RECORD_HEADER as usize];
        file.read_exact_at(&mut header, position.offset)
            .map_err(|source| io_error(&path, source))?;
        let (length, hash) = parse_header(&header);
        if length > RECORD_BYTES_MAX {
            return Err(JournalError::Rotten(position));
        }
        let mut body = vec![0; length];
        file.read_exact_at(&mut body, position.offset + RECORD_HEADER)
            .map_err(|source| io_error(&path, source))?;
        if blake3::hash(&body).as_bytes() == &hash {
            Ok(body)
        } else {
            Err(JournalError::Rotten(position))
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        source,
    }
}

fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:08}.log"))
}

fn segments(directory: &Path) -> Result<Vec<u32>, JournalError> {
    let entries = fs::read_dir(directory).map_err(|source| io_error(directory, source))?;
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| io_error(directory, source))?;
        let name = entry.file_name();
        if let Some(number) = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|stem| stem.parse().ok())
        {
            segments.push(number);
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

fn parse_header(header: &[u8; RECORD_HEADER as usize]) -> (usize, [u8; 32]) {
    let mut length = [0; 4];
    let mut hash = [0; 32];
    length.copy_from_slice(&header[..4]);
    hash.copy_from_slice(&header[4..]);
    (u32::from_le_bytes(length) as usize, hash)
}

/// Opens a segment and checks its first bytes; `None` when it was created but not yet written when the machine stopped.
fn open_segment(path: &Path, is_last: bool) -> Result<Option<(File, u64)>, JournalError> {
    let error = |source| io_error(path, source);
    let file = OpenOptions::new().read(true).write(is_last).open(path).map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    if length < MAGIC.len() as u64 && is_last {
        return Ok(None);
    }
    let mut magic = [0; MAGIC.len()];
    file.read_exact_at(&mut magic, 0).map_err(error)?;
    if &magic == MAGIC {
        Ok(Some((file, length)))
    } else {
        Err(JournalError::NotASegment(path.to_owned()))
    }
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
    let Some((file, length)) = open_segment(&path, is_last)? else {
        return Ok(0);
    };
    let mut reader = io::BufReader::with_capacity(256 * 1024, &file);
    reader.seek(SeekFrom::Start(start)).map_err(error)?;
    let mut offset = start;
    let mut body = Vec::new();
    loop {
        let position = Position { segment, offset };
        let mut header = [0; RECORD_HEADER as usize];
        let whole_header = offset + RECORD_HEADER <= length;
        if whole_header {
            reader.read_exact(&mut header).map_err(error)?;
        }
        let (size, hash) = parse_header(&header);
        let end = offset + RECORD_HEADER + size as u64;
        let fits = whole_header && size <= RECORD_BYTES_MAX && end <= length;
        if fits {
            body.resize(size, 0);
            reader.read_exact(&mut body).map_err(error)?;
            if blake3::hash(&body).as_bytes() == &hash {
                report.records += 1;
                visit(position, &body);
                offset = end;
                continue;
            }
        }
        if offset == length {
            return Ok(offset);
        }
        // Length or body is damaged: the records behind it are still there.
        let mut rest = vec![0; usize::try_from(length - offset).unwrap_or(0)];
        file.read_exact_at(&mut rest, offset).map_err(error)?;
        match find_record(&rest) {
            Some(skipped) => {
                report.rotten.push(position);
                offset += skipped as u64;
            }
            // The last record is whole in length: damaged, not torn.
            None if fits || !is_last => {
                report.rotten.push(position);
                return Ok(length);
            }
            None => {
                report.torn_bytes += length - offset;
                cut_tail(&file, &path, offset, &rest).map_err(error)?;
                return Ok(offset);
            }
        }
        reader.seek(SeekFrom::Start(offset)).map_err(error)?;
    }
}

/// Where the next whole record begins in what follows a damaged one.
fn find_record(rest: &[u8]) -> Option<usize> {
    let header = RECORD_HEADER as usize;
    (1..rest.len().saturating_sub(header)).find(|start| {
        let record = &rest[*start..];
        let mut prefix = [0; RECORD_HEADER as usize];
        prefix.copy_from_slice(&record[..header]);
        let (size, hash) = parse_header(&prefix);
        // An empty record would be found in any run of zeros with a lucky hash; none is ever written.
        let fits = size > 0 && size <= RECORD_BYTES_MAX && header + size <= record.len();
        fits && blake3::hash(&record[header..header + size]).as_bytes() == &hash
    })
}

/// Cuts a torn tail, keeping a copy beside the segment: if it was more than a crash, a person can still look at it.
fn cut_tail(file: &File, path: &Path, offset: u64, rest: &[u8]) -> io::Result<()> {
    fs::write(path.with_extension(format!("torn-{offset}")), rest)?;
    file.set_len(offset)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(directory: &Path) -> (Vec<Vec<u8>>, ScanReport) {
        let mut bodies = Vec::new();
        let (_, report) = Journal::open(directory, None, |_, body| bodies.push(body.to_vec())).unwrap();
        (bodies, report)
    }

    fn written(directory: &Path) -> Vec<Position> {
        let (mut journal, _) = Journal::open(directory, None, |_, _| {}).unwrap();
        let positions = journal.append(&[b"one", b"two", b"three"]).unwrap();
        assert_eq!(journal.read(positions[1]).unwrap(), b"two");
        positions
    }

    #[test]
    fn records_survive_a_restart_and_a_scan_can_begin_in_the_middle() {
        let directory = tempfile::tempdir().unwrap();
        let positions = written(directory.path());
        assert_eq!(
            read_all(directory.path()).0,
            [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
        );
        let mut bodies = Vec::new();
        Journal::open(directory.path(), Some(positions[2]), |_, body| {
            bodies.push(body.to_vec())
        })
        .unwrap();
        assert_eq!(bodies, [b"three".to_vec()]);
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_and_the_rest_stays() {
        let whole = {
            let directory = tempfile::tempdir().unwrap();
            written(directory.path());
            fs::read(directory.path().join("00000001.log")).unwrap()
        };
        let second = MAGIC.len() + 2 * RECORD_HEADER as usize + 6;
        for length in second..whole.len() {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("00000001.log"), &whole[..length]).unwrap();
            let (bodies, report) = read_all(directory.path());
            assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()], "cut at {length}");
            assert_eq!(report.torn_bytes, (length - second) as u64);
            // The journal goes on after the cut.
            let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
            journal.append(&[b"four"]).unwrap();
            assert_eq!(read_all(directory.path()).0.len(), 3);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_body_is_found_and_never_returned() {
        let directory = tempfile::tempdir().unwrap();
        let positions = written(directory.path());
        let path = directory.path().join("00000001.log");
        let whole = fs::read(&path).unwrap();
        let body = usize::try_from(positions[1].offset + RECORD_HEADER).unwrap();
        for bit in 0..24 {
            let mut damaged = whole.clone();
            damaged[body + bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            let (bodies, report) = read_all(directory.path());
            assert_eq!(bodies, [b"one".to_vec(), b"three".to_vec()]);
            assert_eq!(report.rotten, [positions[1]]);
            let (journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
            assert!(matches!(journal.read(positions[1]), Err(JournalError::Rotten(_))));
        }
    }

    #[test]
    fn a_damaged_length_costs_one_record_and_not_all_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let positions = written(directory.path());
        let path = directory.path().join("00000001.log");
        let whole = fs::read(&path).unwrap();
        for bit in 0..32 {
            let mut damaged = whole.clone();
            damaged[usize::try_from(positions[1].offset).unwrap() + bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            let (bodies, report) = read_all(directory.path());
            assert!(
                bodies.contains(&b"one".to_vec()) && bodies.contains(&b"three".to_vec()),
                "bit {bit}: {bodies:?}"
            );
            assert_eq!((report.rotten.len(), report.torn_bytes), (1, 0), "bit {bit}");
            assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is cut");
        }
    }

    #[test]
    fn a_journal_says_how_far_it_reaches() {
        let directory = tempfile::tempdir().unwrap();
        let positions = written(directory.path());
        assert!(Journal::reaches(directory.path(), positions[2]));
        assert!(!Journal::reaches(directory.path(), Position { segment: 2, offset: 8 }));
        let path = directory.path().join("00000001.log");
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(20)
            .unwrap();
        assert!(!Journal::reaches(directory.path(), positions[2]));
    }

    #[test]
    fn a_foreign_file_is_left_alone_and_an_oversized_record_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        let long = vec![0; RECORD_BYTES_MAX + 1];
        assert!(matches!(journal.append(&[&long]), Err(JournalError::TooLarge(_))));
        journal.append(&[b"still usable"]).unwrap();
        let path = directory.path().join("00000001.log");
        fs::write(&path, b"something else entirely").unwrap();
        assert!(matches!(
            Journal::open(directory.path(), None, |_, _| {}),
            Err(JournalError::NotASegment(_))
        ));
        assert_eq!(fs::read(&path).unwrap(), b"something else entirely");
    }
}
