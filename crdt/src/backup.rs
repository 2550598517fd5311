//! Backup: what is in one, how long one is kept, and how a store comes back from one.
//!
//! A backup is two files, both encrypted by [`keys::archive`]:
//!
//! - the *archive* ([`ContentKind::Memory`]), one for each backup: every record of the journal, as it stands there. Texts in it are
//!   sealed under data keys that are not in it.
//! - the *keys file* ([`ContentKind::Secrets`]), one for all: the node's own key, the membership, the configuration, the data keys of
//!   all accounts, and every erasure known. Each backup replaces it, and only the newest is kept. So a data key that was destroyed is
//!   gone from the backups with the next run, and the archives of before, which hold the erased texts, cannot open them any more. And
//!   an old archive is never restored without the erasures that came after it. Whoever copies the keys file elsewhere must replace
//!   that copy, too, or the erasure does not reach it.
//!
//! What a keys file cannot do: a single erased *message* is sealed under its account's key, which lives on; it leaves the backups
//! when the last archive that holds it is dropped by [`keep`], seven weeks later, and a restore before that drops it again because
//! of the erasure in the keys file.
//!
//! The node's own key may be restored: what must never happen twice, one actor writing one sequence number, cannot, because every
//! start of a process writes as a fresh actor. Only two nodes running at once with one key would be wrong.
//!
//! Everything here is a function over readers and writers; who names, encrypts, syncs and renames files is the `node`.

mod content;
mod records;
mod restore;
mod retention;
mod secrets;

use keys::{ContentId, DataKey, NodeId, NodeKey, Timestamp, archive::ArchiveError};

pub use content::{CONTENT_VERSION, ContentWriter, read, verify};
pub use records::{Survey, write_records};
pub use restore::{Identity, RestoreError, Restored, restore};
pub use retention::keep;
pub use secrets::write_secrets;

use crate::{journal::JournalError, keyring::KeyringError};

/// Which of the two files of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ContentKind {
    /// The archive: records of the journal.
    Memory = 1,
    /// The keys file.
    Secrets = 2,
}

impl std::fmt::Display for ContentKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "the archive",
            Self::Secrets => "the keys file",
        })
    }
}

/// Whose backup, and of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The mesh.
    pub mesh: ContentId,
    /// The node that made it.
    pub node: NodeId,
    /// When it was begun.
    pub created: Timestamp,
}

/// One thing in a backup.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// The node's own key.
    NodeKey(NodeKey),
    /// The mesh's root key; only the first node has it.
    RootKey(NodeKey),
    /// The membership file.
    Membership(&'a [u8]),
    /// The configuration file.
    Configuration(&'a str),
    /// A record of the journal: a signed erasure or receipt.
    Statement(&'a [u8]),
    /// A record of the journal: a signed change.
    Envelope(&'a [u8]),
    /// The data keys of an account.
    DataKeys(ContentId, Vec<DataKey>),
}

/// What a whole backup file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose, and of when.
    pub origin: Origin,
    /// Erasures and receipts.
    pub statements: u64,
    /// Changes.
    pub envelopes: u64,
    /// Accounts whose data keys are there.
    pub accounts: u64,
    /// blake3 over everything.
    pub hash: ContentId,
}

/// Why a backup could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is the other file of a backup.
    #[error("this is {found} of a backup; {expected} is needed here")]
    OtherKind {
        /// What it is.
        found: ContentKind,
        /// What was asked for.
        expected: ContentKind,
    },
    /// It decrypts, but is no backup, or one of another version.
    #[error("the content is no backup of this version")]
    NotABackup,
    /// A part that this file may not have, or not here, or not twice; or one it must have and has not.
    #[error("the backup is malformed: a part of kind {0} is missing or misplaced")]
    Misplaced(u8),
    /// A part larger than any this program writes.
    #[error("a part of kind {kind} has {length} bytes, which is not allowed")]
    WrongSize {
        /// Its kind.
        kind: u8,
        /// Its bytes.
        length: usize,
    },
    /// A part cannot be read.
    #[error("the backup is malformed: a part of kind {0} cannot be read")]
    Malformed(u8),
    /// The end says something else than what was there.
    #[error("the backup is not whole: its end does not match its content")]
    NotWhole,
    /// The encrypted file is damaged, cut, or needs another key.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A key file cannot be read.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        Self::Archive(ArchiveError::from_io(error))
    }
}
