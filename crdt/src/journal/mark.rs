//! The mark that says whether, and up to where, segments have been rewritten: the file `rewritten` beside them.
//!
//! Rewriting moves records. An index that does not know of it would look in the wrong places, and sled may lose what it was told
//! in the last half second. So every rewrite begins a new segment, and the mark holds where that begins: an index whose checkpoint
//! lies before it has missed the rewrite, and is built anew. A reader in another thread compares the counter before and after: odd
//! while segments are being replaced, another even number afterwards.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::{
    JournalError, Position,
    segment::{FIRST_RECORD, before_change, io_error, sync_directory},
};

const NAME: &str = "rewritten";
/// First bytes of the mark; the last one is the version.
const MAGIC: &[u8; 8] = b"STARREW1";
const CONTENT_BYTES: usize = MAGIC.len() + 8 + 4 + 8;
const FILE_BYTES: usize = CONTENT_BYTES + 32;

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Odd while a rewrite replaces segments.
    pub(super) counter: u64,
    /// Where the segment begins that the last rewrite began.
    pub(super) boundary: Position,
}

impl Mark {
    /// Of a journal that was never rewritten.
    pub(super) const NONE: Self = Self {
        counter: 0,
        boundary: Position {
            segment: 0,
            offset: FIRST_RECORD,
        },
    };

    pub(super) fn is_rewriting(&self) -> bool {
        self.counter % 2 == 1
    }

    /// Reads the mark of the journal in `directory`: [`Mark::NONE`] when there is none, `None` when it is damaged.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, JournalError> {
        let path = directory.join(NAME);
        match read_bounded(&path) {
            Ok(bytes) => Ok(Self::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Self::NONE)),
            Err(error) => Err(io_error(&path, error)),
        }
    }

    /// Puts this mark in the place of the one before, durably.
    pub(super) fn write(&self, directory: &Path) -> Result<(), JournalError> {
        let path = directory.join(NAME);
        let fresh = path.with_extension("new");
        let written = before_change()
            .and_then(|()| File::create(&fresh))
            .and_then(|mut file| {
                file.write_all(&self.encode())?;
                file.sync_all()?;
                before_change()
            });
        written
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|source| io_error(&path, source))?;
        sync_directory(directory)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.counter.to_le_bytes());
        bytes.extend_from_slice(&self.boundary.segment.to_le_bytes());
        bytes.extend_from_slice(&self.boundary.offset.to_le_bytes());
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, hash) = bytes.split_at_checked(CONTENT_BYTES)?;
        if blake3::hash(content).as_bytes() != hash {
            return None;
        }
        let content = content.strip_prefix(MAGIC)?;
        let (counter, content) = content.split_first_chunk::<8>()?;
        let (segment, content) = content.split_first_chunk::<4>()?;
        let (offset, _) = content.split_first_chunk::<8>()?;
        Some(Self {
            counter: u64::from_le_bytes(*counter),
            boundary: Position {
                segment: u32::from_le_bytes(*segment),
                offset: u64::from_le_bytes(*offset),
            },
        })
    }
}

/// Reads no more than tells whether the file is longer than a mark can be.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
    io::Read::read_to_end(
        &mut io::Read::take(File::open(path)?, FILE_BYTES as u64 + 1),
        &mut bytes,
    )?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_written_and_every_flipped_bit_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(directory.path()).unwrap(), Some(Mark::NONE));
        let mark = Mark {
            counter: 3,
            boundary: Position { segment: 7, offset: 8 },
        };
        mark.write(directory.path()).unwrap();
        assert_eq!(Mark::read(directory.path()).unwrap(), Some(mark));
        let whole = mark.encode();
        let golden = [
            b"STARREW1".as_slice(),
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(whole, [golden.as_slice(), blake3::hash(&golden).as_bytes()].concat());
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(Mark::decode(&whole[..whole.len() - 1]), None);
        assert_eq!(Mark::decode(&[&whole[..], &[0]].concat()), None);
    }
}
