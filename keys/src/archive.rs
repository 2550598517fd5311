//! Archives: an encrypted stream of any length, for backups that lie on disks of others.
//!
//! An archive is a header and chunks:
//!
//! - header, 66 bytes: `STARBAK1` | kind of key (1) | argon2id memory in KiB (u32 LE), passes (u32 LE) and lanes (1), all zero with
//!   a key file | salt (32) | key check (16). The salt is fresh for each archive, so each has its own stream key: blake3's
//!   `derive_key` of the backup key, or of argon2id of the passphrase, together with the header before the key check.
//! - chunks of 64 KiB, the last one shorter, each with a 16-byte tag: ChaCha20-Poly1305 in the STREAM construction (Hoang,
//!   Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance"). The nonce is the
//!   chunk's number and whether it is the last. So a changed, moved, missing or added chunk is noticed, and a cut end, too.
//!
//! Nothing of a chunk is given out before its tag was verified; more than one chunk is never in memory. But a reader has seen
//! the first chunks of an archive before it can know that the last one is there: read it once to the end before believing it.

mod header;
mod key;

use std::io::{self, Read, Write};

use aead_stream::{NewStream, Nonce, StreamBE32, StreamPrimitive};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::Zeroizing;

pub use key::{ArchiveKey, PassphraseError};

use crate::{identity::random_bytes, limits::ARCHIVE_CHUNK_BYTES};
use header::{HEADER_BYTES, Header};

const TAG_BYTES: usize = 16;
const SEALED_CHUNK_BYTES: usize = ARCHIVE_CHUNK_BYTES + TAG_BYTES;

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are not those of an archive.
    #[error("this is no encrypted file of Starling, or one of another version")]
    NotAnArchive,
    /// The archive needs the backup key file and a passphrase was given.
    #[error("this file is opened with the backup key file, not with a passphrase")]
    NeedsKeyFile,
    /// The archive needs a passphrase and a key file was given.
    #[error("this file is opened with its passphrase, not with a backup key file")]
    NeedsPassphrase,
    /// The header asks for more memory or time than any archive that this program writes.
    #[error("the file asks for {memory_kib} KiB and {passes} passes to try a passphrase, which is refused")]
    TooExpensive {
        /// argon2id memory.
        memory_kib: u32,
        /// argon2id passes.
        passes: u32,
    },
    /// argon2id failed (no memory, for example).
    #[error("the passphrase could not be turned into a key")]
    Hashing,
    /// The key or passphrase is not the one the archive was written with, or the header was changed.
    #[error("the key does not open this file (or its first {HEADER_BYTES} bytes were changed)")]
    WrongKey,
    /// A chunk was changed, moved, or comes from another archive.
    #[error("the encrypted file is damaged or cut in its chunk {chunk} (of 64 KiB, from 0)")]
    Damaged {
        /// Number of the chunk.
        chunk: u64,
    },
    /// The end is missing.
    #[error("the encrypted file is cut off: of its chunks only the first {chunks} are there")]
    Cut {
        /// Chunks that are there, each whole.
        chunks: u64,
    },
    /// More than 2^32 chunks.
    #[error("an encrypted file holds at most 256 TiB")]
    TooLarge,
    /// The operating system refused.
    #[error("the encrypted file: {0}")]
    Io(#[from] io::Error),
}

impl ArchiveError {
    /// The error that [`ArchiveReader`]'s `read` or [`ArchiveWriter`]'s `write` wrapped.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::Io(error),
        }
    }

    fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// The chunks' cipher: what is the same on both sides.
struct Chunks {
    stream: StreamBE32<ChaCha20Poly1305>,
    /// Number of the next chunk.
    number: u64,
}

impl Chunks {
    /// The nonce may begin with zeros: the key serves this archive alone.
    fn new(key: &[u8; 32]) -> Self {
        Self {
            stream: StreamBE32::new(
                key.into(),
                &Nonce::<ChaCha20Poly1305, StreamBE32<ChaCha20Poly1305>>::default(),
            ),
            number: 0,
        }
    }

    fn position(&self) -> Result<u32, ArchiveError> {
        u32::try_from(self.number).map_err(|_| ArchiveError::TooLarge)
    }

    /// Encrypts `chunk` in its place and counts it.
    fn seal(&mut self, chunk: &mut Vec<u8>, is_last: bool) -> Result<(), ArchiveError> {
        let sealed = self.stream.encrypt_in_place(self.position()?, is_last, &[], chunk);
        sealed.map_err(|_| ArchiveError::TooLarge)?;
        self.number += 1;
        Ok(())
    }

    /// Decrypts `chunk` in its place and counts it.
    fn open(&mut self, chunk: &mut Vec<u8>, is_last: bool) -> Result<(), ArchiveError> {
        let position = self.position()?;
        if self.stream.decrypt_in_place(position, is_last, &[], chunk).is_ok() {
            self.number += 1;
            return Ok(());
        }
        // One that would be right in the middle of the archive says what happened.
        let is_middle = is_last && self.stream.decrypt_in_place(position, false, &[], chunk).is_ok();
        Err(if is_middle {
            ArchiveError::Cut {
                chunks: self.number + 1,
            }
        } else {
            ArchiveError::Damaged { chunk: self.number }
        })
    }
}

/// Encrypts what is written to it. An archive without [`ArchiveWriter::finish`] reads as cut off.
pub struct ArchiveWriter<W: Write> {
    inner: W,
    chunks: Chunks,
    /// What belongs to the next chunk. A full chunk waits here until it is known not to be the last.
    chunk: Zeroizing<Vec<u8>>,
    failed: bool,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive: writes the header. With a passphrase this takes about 200 ms and 64 MiB.
    ///
    /// # Errors
    /// When the header cannot be written or the passphrase not be hashed.
    pub fn new(inner: W, key: &ArchiveKey) -> Result<Self, ArchiveError> {
        Self::with_header(inner, key, Header::new(key, random_bytes()))
    }

    /// One salt must never serve two archives under one key, so only a test chooses it.
    fn with_header(mut inner: W, key: &ArchiveKey, header: Header) -> Result<Self, ArchiveError> {
        let keys = header.keys(key)?;
        inner.write_all(&header.encode(&keys))?;
        Ok(Self {
            inner,
            chunks: Chunks::new(&keys.stream),
            // Room for all of it at once: a vector that grows leaves copies behind.
            chunk: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_BYTES)),
            failed: false,
        })
    }

    /// Writes the last chunk and returns what was written to, flushed. The caller syncs it.
    ///
    /// # Errors
    /// When it cannot be written; the archive is not usable then.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        if self.failed {
            return Err(after_failure().into());
        }
        self.write_chunk(true)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn write_chunk(&mut self, is_last: bool) -> Result<(), ArchiveError> {
        self.chunks.seal(&mut self.chunk, is_last)?;
        self.inner.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for ArchiveWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(after_failure());
        }
        if self.chunk.len() == ARCHIVE_CHUNK_BYTES && !bytes.is_empty() {
            // Half a chunk may have been written: after that, nothing that is written makes the archive whole again.
            let written = self.write_chunk(false);
            self.failed = written.is_err();
            written.map_err(ArchiveError::into_io)?;
        }
        let size = bytes.len().min(ARCHIVE_CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..size]);
        Ok(size)
    }

    /// Only hands on what is encrypted already; a chunk that is not full stays until more comes, or the end.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Decrypts an archive; its errors are [`ArchiveError`]s inside an [`io::Error`], see [`ArchiveError::from_io`].
pub struct ArchiveReader<R: Read> {
    inner: R,
    chunks: Chunks,
    chunk: Zeroizing<Vec<u8>>,
    /// How much of `chunk` was given out.
    given: usize,
    /// The first byte of the next chunk: whether there is one says whether a chunk is the last.
    ahead: Option<u8>,
    state: ReaderState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReaderState {
    Reading,
    Ended,
    Failed,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header and checks the key. With a passphrase this takes as long as the header says, within limits.
    ///
    /// # Errors
    /// When it is no archive, or not one that this key opens.
    pub fn new(mut inner: R, key: &ArchiveKey) -> Result<Self, ArchiveError> {
        let mut bytes = [0; HEADER_BYTES];
        inner.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::NotAnArchive,
            _ => error.into(),
        })?;
        let header = Header::decode(&bytes)?;
        let keys = header.keys(key)?;
        // Not in constant time: whoever can measure this has the archive itself to try keys on.
        if header.encode(&keys) != bytes {
            return Err(ArchiveError::WrongKey);
        }
        Ok(Self {
            inner,
            chunks: Chunks::new(&keys.stream),
            chunk: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_BYTES)),
            given: 0,
            ahead: None,
            state: ReaderState::Reading,
        })
    }

    /// Reads and decrypts the next chunk.
    fn next_chunk(&mut self) -> Result<(), ArchiveError> {
        self.given = 0;
        self.chunk.clear();
        self.chunk.extend(self.ahead.take());
        let missing = SEALED_CHUNK_BYTES - self.chunk.len();
        let mut inner = (&mut self.inner).take(missing as u64);
        inner.read_to_end(&mut self.chunk)?;
        let mut ahead = Vec::with_capacity(1);
        (&mut self.inner).take(1).read_to_end(&mut ahead)?;
        self.ahead = ahead.pop();
        let is_last = self.ahead.is_none();
        if self.chunk.is_empty() {
            return Err(ArchiveError::Cut { chunks: 0 });
        }
        self.chunks.open(&mut self.chunk, is_last)?;
        if is_last {
            self.state = ReaderState::Ended;
        }
        Ok(())
    }
}

impl<R: Read> Read for ArchiveReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() && self.state == ReaderState::Reading {
            if let Err(error) = self.next_chunk() {
                self.state = ReaderState::Failed;
                // What did not verify is not given out.
                self.chunk.clear();
                return Err(error.into_io());
            }
        }
        if self.state == ReaderState::Failed {
            return Err(after_failure());
        }
        let size = bytes.len().min(self.chunk.len() - self.given);
        bytes[..size].copy_from_slice(&self.chunk[self.given..self.given + size]);
        self.given += size;
        Ok(size)
    }
}

fn after_failure() -> io::Error {
    io::Error::other("the archive failed before")
}

#[cfg(test)]
mod tests;
