//! The bytes inside both files of a backup:
//!
//! `STARCNT1 | kind of file (1) | mesh (32) | node (32) | created (u64 LE)`, then parts of `kind (1) | length (u32 LE) | bytes` in
//! the order of their kinds, then the end: kind 255, length 56, numbers of statements, envelopes and accounts (u64 LE each), and
//! blake3 over everything before it. Nothing may follow.

use std::io::{Read, Write};

use keys::{ContentId, DataKey, NodeId, NodeKey, Timestamp, Zeroizing};

use super::{BackupError, ContentKind, Origin, Part, Summary};
use crate::limits::{
    BACKUP_CONFIGURATION_BYTES_MAX, BACKUP_MEMBERSHIP_BYTES_MAX, KEYS_PER_ACCOUNT_MAX, RECORD_BYTES_MAX,
};

/// Version of the content, the last byte of its first eight.
pub const CONTENT_VERSION: u8 = b'1';
const MAGIC: &[u8; 8] = b"STARCNT1";
const HEADER_BYTES: usize = MAGIC.len() + 1 + 32 + 32 + 8;
const END: u8 = 255;
const COUNTS_BYTES: usize = 3 * 8;
const HASH_BYTES: usize = 32;
/// Room for every secret part, so that a growing buffer leaves no copies behind.
const SECRET_BYTES_MAX: usize = 32 + KEYS_PER_ACCOUNT_MAX * 32;

/// Kinds of parts. The numbers are in files: never reuse one.
mod kind {
    pub(super) const NODE_KEY: u8 = 1;
    pub(super) const ROOT_KEY: u8 = 2;
    pub(super) const MEMBERSHIP: u8 = 3;
    pub(super) const CONFIGURATION: u8 = 4;
    pub(super) const STATEMENT: u8 = 5;
    pub(super) const ENVELOPE: u8 = 6;
    pub(super) const DATA_KEYS: u8 = 7;
}

/// What may come next, for whoever writes and whoever reads.
struct Rules {
    file: ContentKind,
    last: u8,
    statements: u64,
    envelopes: u64,
    accounts: u64,
}

impl Rules {
    const fn new(file: ContentKind) -> Self {
        Self {
            file,
            last: 0,
            statements: 0,
            envelopes: 0,
            accounts: 0,
        }
    }

    /// Admits the next part and counts it.
    fn admit(&mut self, part: u8, length: usize) -> Result<(), BackupError> {
        let is_here = match self.file {
            ContentKind::Memory => matches!(part, kind::STATEMENT | kind::ENVELOPE),
            ContentKind::Secrets => matches!(part, kind::NODE_KEY..=kind::STATEMENT | kind::DATA_KEYS),
        };
        let is_single = part < kind::STATEMENT;
        if !is_here || part < self.last || (is_single && part == self.last) {
            return Err(BackupError::Misplaced(part));
        }
        self.check_skipped(part)?;
        let allowed = match part {
            kind::NODE_KEY | kind::ROOT_KEY => 32..=32,
            kind::MEMBERSHIP => 1..=BACKUP_MEMBERSHIP_BYTES_MAX,
            kind::CONFIGURATION => 0..=BACKUP_CONFIGURATION_BYTES_MAX,
            kind::DATA_KEYS => 64..=SECRET_BYTES_MAX,
            _ => 1..=RECORD_BYTES_MAX,
        };
        if !allowed.contains(&length) || (part == kind::DATA_KEYS && !length.is_multiple_of(32)) {
            return Err(BackupError::WrongSize { kind: part, length });
        }
        self.last = part;
        let count = match part {
            kind::STATEMENT => &mut self.statements,
            kind::ENVELOPE => &mut self.envelopes,
            kind::DATA_KEYS => &mut self.accounts,
            _ => return Ok(()),
        };
        *count += 1;
        Ok(())
    }

    /// A keys file without the node's key, membership or configuration restores no node.
    fn check_skipped(&self, next: u8) -> Result<(), BackupError> {
        let needed = [kind::NODE_KEY, kind::MEMBERSHIP, kind::CONFIGURATION];
        let skipped = needed.into_iter().find(|needed| self.last < *needed && *needed < next);
        match skipped {
            Some(skipped) if self.file == ContentKind::Secrets => Err(BackupError::Misplaced(skipped)),
            _ => Ok(()),
        }
    }

    fn counts(&self) -> [u8; COUNTS_BYTES] {
        let mut bytes = [0; COUNTS_BYTES];
        let counts = [self.statements, self.envelopes, self.accounts];
        for (bytes, count) in bytes.chunks_exact_mut(8).zip(counts) {
            bytes.copy_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    fn summary(&self, origin: Origin, hash: blake3::Hash) -> Summary {
        Summary {
            origin,
            statements: self.statements,
            envelopes: self.envelopes,
            accounts: self.accounts,
            hash: ContentId(*hash.as_bytes()),
        }
    }
}

/// Writes the content of one file of a backup, part by part.
pub struct ContentWriter<W: Write> {
    inner: W,
    origin: Origin,
    rules: Rules,
    hash: blake3::Hasher,
}

impl<W: Write> ContentWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(inner: W, file: ContentKind, origin: Origin) -> Result<Self, BackupError> {
        let mut writer = Self {
            inner,
            origin,
            rules: Rules::new(file),
            hash: blake3::Hasher::new(),
        };
        writer.put(&header(file, &origin))?;
        Ok(writer)
    }

    /// Writes the next part. Kinds come in their order: keys, membership, configuration, statements, envelopes, data keys.
    ///
    /// # Errors
    /// When the part may not stand here or is too large, or what the writer says; the file is not usable then.
    pub fn write(&mut self, part: &Part<'_>) -> Result<(), BackupError> {
        let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX));
        let (part, bytes): (u8, &[u8]) = match part {
            Part::NodeKey(key) | Part::RootKey(key) => {
                secret.extend_from_slice(&*key.seed());
                let is_node = matches!(part, Part::NodeKey(_));
                (if is_node { kind::NODE_KEY } else { kind::ROOT_KEY }, &secret)
            }
            Part::Membership(bytes) => (kind::MEMBERSHIP, bytes),
            Part::Configuration(text) => (kind::CONFIGURATION, text.as_bytes()),
            Part::Statement(bytes) => (kind::STATEMENT, bytes),
            Part::Envelope(bytes) => (kind::ENVELOPE, bytes),
            Part::DataKeys(account, keys) => {
                secret.extend_from_slice(&account.0);
                keys.iter().for_each(|key| secret.extend_from_slice(&*key.to_bytes()));
                (kind::DATA_KEYS, &secret)
            }
        };
        self.rules.admit(part, bytes.len())?;
        self.put(&part_header(part, bytes.len()))?;
        self.put(bytes)
    }

    /// Writes the end and returns what was written to.
    ///
    /// # Errors
    /// When something is missing, or what the writer says.
    pub fn finish(mut self) -> Result<(W, Summary), BackupError> {
        self.rules.check_skipped(END)?;
        self.put(&part_header(END, COUNTS_BYTES + HASH_BYTES))?;
        self.put(&self.rules.counts())?;
        let hash = self.hash.finalize();
        self.inner.write_all(hash.as_bytes())?;
        Ok((self.inner, self.rules.summary(self.origin, hash)))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hash.update(bytes);
        Ok(self.inner.write_all(bytes)?)
    }
}

fn header(file: ContentKind, origin: &Origin) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = file as u8;
    bytes[9..41].copy_from_slice(&origin.mesh.0);
    bytes[41..73].copy_from_slice(&origin.node.0);
    bytes[73..].copy_from_slice(&origin.created.0.to_le_bytes());
    bytes
}

fn part_header(part: u8, length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [part, a, b, c, d]
}

/// Reads one file of a backup to its end and hands each part to `visit`. Only when this returns without an error was the file
/// whole: what `visit` did before must be thrown away otherwise.
///
/// # Errors
/// The first thing that is wrong, or what `visit` said.
pub fn read<E: From<BackupError>>(
    inner: impl Read,
    file: ContentKind,
    mut visit: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut reader = ContentReader {
        inner,
        hash: blake3::Hasher::new(),
    };
    let origin = reader.header(file)?;
    let mut rules = Rules::new(file);
    let mut buffer = Vec::new();
    let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX));
    loop {
        let [part, length @ ..] = reader.take::<5>()?;
        let length = u32::from_le_bytes(length) as usize;
        if part == END {
            rules.check_skipped(END)?;
            let hash = reader.end(&rules, length)?;
            return Ok(rules.summary(origin, hash));
        }
        rules.admit(part, length)?;
        let is_secret = matches!(part, kind::NODE_KEY | kind::ROOT_KEY | kind::DATA_KEYS);
        let bytes = if is_secret { &mut *secret } else { &mut buffer };
        // At most what the rules allow for this kind.
        bytes.resize(length, 0);
        reader.fill(bytes)?;
        visit(parse(part, bytes)?)?;
    }
}

/// Reads one file of a backup to its end and says what it holds.
///
/// # Errors
/// What is wrong with it.
pub fn verify(inner: impl Read, file: ContentKind) -> Result<Summary, BackupError> {
    read(inner, file, |_| Ok(()))
}

fn parse(part: u8, bytes: &[u8]) -> Result<Part<'_>, BackupError> {
    let malformed = BackupError::Malformed(part);
    let key = || bytes.first_chunk().map(NodeKey::from_seed);
    let parsed = match part {
        kind::NODE_KEY => key().map(Part::NodeKey),
        kind::ROOT_KEY => key().map(Part::RootKey),
        kind::MEMBERSHIP => Some(Part::Membership(bytes)),
        kind::CONFIGURATION => std::str::from_utf8(bytes).ok().map(Part::Configuration),
        kind::STATEMENT => Some(Part::Statement(bytes)),
        kind::ENVELOPE => Some(Part::Envelope(bytes)),
        kind::DATA_KEYS => match bytes.as_chunks() {
            ([account, keys @ ..], []) => {
                let keys = keys.iter().map(DataKey::from_bytes).collect();
                Some(Part::DataKeys(ContentId(*account), keys))
            }
            _ => None,
        },
        _ => None,
    };
    parsed.ok_or(malformed)
}

struct ContentReader<R> {
    inner: R,
    hash: blake3::Hasher,
}

impl<R: Read> ContentReader<R> {
    fn header(&mut self, file: ContentKind) -> Result<Origin, BackupError> {
        let bytes = self.take::<HEADER_BYTES>()?;
        let found = match bytes[8] {
            _ if !bytes.starts_with(MAGIC) => return Err(BackupError::NotABackup),
            1 => ContentKind::Memory,
            2 => ContentKind::Secrets,
            _ => return Err(BackupError::NotABackup),
        };
        let (mut mesh, mut node, mut created) = ([0; 32], [0; 32], [0; 8]);
        mesh.copy_from_slice(&bytes[9..41]);
        node.copy_from_slice(&bytes[41..73]);
        created.copy_from_slice(&bytes[73..]);
        if found != file {
            return Err(BackupError::OtherKind { found, expected: file });
        }
        Ok(Origin {
            mesh: ContentId(mesh),
            node: NodeId(node),
            created: Timestamp(u64::from_le_bytes(created)),
        })
    }

    fn end(&mut self, rules: &Rules, length: usize) -> Result<blake3::Hash, BackupError> {
        if length != COUNTS_BYTES + HASH_BYTES || self.take::<COUNTS_BYTES>()? != rules.counts() {
            return Err(BackupError::NotWhole);
        }
        let hash = self.hash.finalize();
        let mut stated = [0; HASH_BYTES];
        self.fill(&mut stated)?;
        let mut more = [0];
        // Also what makes an encrypted file read its last chunk, and so say whether it is whole.
        if hash != stated || self.inner.read(&mut more)? != 0 {
            return Err(BackupError::NotWhole);
        }
        Ok(hash)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.inner.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => BackupError::NotWhole,
            _ => error.into(),
        })?;
        self.hash.update(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
