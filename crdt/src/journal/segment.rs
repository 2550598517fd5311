//! Names, headers and files of segments.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::JournalError;
use crate::limits::RECORD_BYTES_MAX;

/// First bytes of a segment; the last one is the version.
pub(super) const MAGIC: &[u8; 8] = b"STARJNL1";
/// Where the first record of a segment begins.
pub(super) const FIRST_RECORD: u64 = MAGIC.len() as u64;
/// Length (u32) and blake3 of the body.
pub(super) const RECORD_HEADER: u64 = 4 + 32;
/// Bytes overwritten with one write when a file is wiped.
const WIPE_BYTES: usize = 1024 * 1024;

pub(super) fn io_error(path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:08}.log"))
}

/// The file into which a segment is rewritten before it takes the segment's place.
pub(super) fn new_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:08}.new"))
}

/// The numbers of the segments in `directory`, ascending. Files with other names are not touched.
pub(super) fn segments(directory: &Path) -> Result<Vec<u32>, JournalError> {
    let mut segments = Vec::new();
    for path in files(directory)? {
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        // Only names that this program writes: `1.log` would be read, and then looked for under another name.
        segments.extend(number.filter(|number| *number > 0 && segment_path(directory, *number) == path));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Every file of the journal's directory.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let error = |source| io_error(directory, source);
    let entries = fs::read_dir(directory).map_err(error)?;
    entries.map(|entry| Ok(entry.map_err(error)?.path())).collect()
}

/// Makes names that were created, replaced or removed durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), JournalError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| io_error(directory, source))
}

/// Begins an empty segment, on disk with its name.
pub(super) fn create(directory: &Path, segment: u32) -> Result<File, JournalError> {
    let path = segment_path(directory, segment);
    let error = |source| io_error(&path, source);
    before_change().map_err(error)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(error)?;
    file.write_all(MAGIC).and_then(|()| file.sync_all()).map_err(error)?;
    // The directory entry must be on disk too, or the whole segment could vanish with a power cut.
    sync_directory(directory)?;
    Ok(file)
}

/// Called before every change of the directory or of a file in it, so that tests can stop there, or fail it.
pub(super) fn before_change() -> io::Result<()> {
    #[cfg(test)]
    super::tests::at_change()?;
    Ok(())
}

/// The header of a record.
#[derive(Clone, Copy)]
pub(super) struct Header {
    /// Bytes of the body, as the disk says; check [`Header::is_possible`] before believing it.
    pub(super) size: usize,
    hash: [u8; 32],
}

impl Header {
    /// Reads a header; `None` when there are too few bytes for one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let hash = rest.first_chunk::<32>()?;
        Some(Self {
            size: u32::from_le_bytes(*size) as usize,
            hash: *hash,
        })
    }

    /// Whether a record of this program can be this long.
    pub(super) fn is_possible(&self) -> bool {
        self.size <= RECORD_BYTES_MAX
    }

    /// Whether `body` is what was written.
    pub(super) fn matches(&self, body: &[u8]) -> bool {
        #[cfg(test)]
        if super::tests::hashes(body) {
            return true;
        }
        blake3::hash(body).as_bytes() == &self.hash
    }

    /// Whether the hash looks like one. A blake3 hash with fewer than 20 different bytes is a matter of one in 7 * 10^9; tables of
    /// small numbers, text and zeros have fewer, and nothing need be hashed to know that they are no records.
    pub(super) fn looks_hashed(&self) -> bool {
        let mut seen = [0_u64; 4];
        for byte in self.hash {
            seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
        seen.iter().map(|word| word.count_ones()).sum::<u32>() >= 20
    }
}

/// Appends the bytes of a record to `buffer`.
///
/// # Errors
/// When the body is empty or over the limit.
pub(super) fn encode(body: &[u8], buffer: &mut Vec<u8>) -> Result<(), JournalError> {
    if body.is_empty() {
        return Err(JournalError::Empty);
    }
    let size = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= RECORD_BYTES_MAX)
        .ok_or(JournalError::TooLarge(body.len()))?;
    buffer.extend_from_slice(&size.to_le_bytes());
    buffer.extend_from_slice(blake3::hash(body).as_bytes());
    buffer.extend_from_slice(body);
    Ok(())
}

/// Overwrites a file with zeros, so that what was erased does not lie in free blocks. It is the best that a program can do: a disk
/// that writes elsewhere (flash, copy on write) keeps the old blocks until it needs them.
pub(super) fn wipe(file: &File) -> io::Result<()> {
    before_change()?;
    let zeros = vec![0; WIPE_BYTES];
    let length = file.metadata()?.len();
    let mut offset = 0;
    while offset < length {
        let part = usize::try_from(length - offset).unwrap_or(WIPE_BYTES).min(WIPE_BYTES);
        file.write_all_at(&zeros[..part], offset)?;
        offset += part as u64;
    }
    file.sync_data()
}
