//! From a backup to a store: journal and key files. The index is rebuilt from the journal when the store is opened.

use std::{collections::BTreeSet, io::Read, path::Path};

use keys::{ContentId, NodeId, NodeKey};

use super::{BackupError, ContentKind, Origin, Part, Summary, read};
use crate::{
    journal::{Journal, JournalError},
    keyring::{Keyring, KeyringError},
    limits::{RESTORE_BATCH_BYTES, RESTORE_BATCH_RECORDS},
};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// One of the two files is damaged, or is another file.
    #[error("{file}: {source}")]
    Backup {
        /// Which.
        file: ContentKind,
        /// What is wrong with it.
        source: BackupError,
    },
    /// The two files do not belong together.
    #[error("the archive is of the node {}, the keys file of the node {}", memory.short(), secrets.short())]
    OtherNode {
        /// Whose the archive is.
        memory: NodeId,
        /// Whose the keys file is.
        secrets: NodeId,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A key file cannot be written.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

/// What makes the restored node the one it was.
#[derive(Debug)]
pub struct Identity {
    /// The node's own key.
    pub node_key: NodeKey,
    /// The mesh's root key, on the first node.
    pub root_key: Option<NodeKey>,
    /// The membership file.
    pub membership: Vec<u8>,
    /// The configuration file.
    pub configuration: String,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What makes the node the one it was.
    pub identity: Identity,
    /// What the archive held.
    pub memory: Summary,
    /// What the keys file held.
    pub secrets: Summary,
}

/// Restores journal and key files into two directories that are not there yet, from the contents of an archive and a keys file of
/// the same node. The erasures of both come first in the journal. Only when this returns without an error is what it wrote worth
/// anything: the caller works in a partial directory and renames that.
///
/// # Errors
/// When one of the files is not whole, they do not belong together, or the disk refuses.
pub fn restore(
    memory: impl Read,
    secrets: impl Read,
    journal_directory: &Path,
    keys_directory: &Path,
) -> Result<Restored, RestoreError> {
    let keyring = Keyring::open(keys_directory)?;
    let (journal, _) = Journal::open(journal_directory, None, |_, _| {})?;
    let mut records = Records {
        journal,
        statements: BTreeSet::new(),
        batch: Vec::new(),
        bytes: 0,
    };
    let mut parts = IdentityParts::default();
    let secrets = read_file(secrets, ContentKind::Secrets, |part| {
        match part {
            Part::Statement(bytes) => records.statement(bytes)?,
            Part::DataKeys(account, keys) => keyring.fill(account, &keys)?,
            part => parts.take(part),
        }
        Ok(())
    })?;
    let identity = parts.whole(&secrets.origin)?;
    let memory = read_file(memory, ContentKind::Memory, |part| match part {
        Part::Statement(bytes) => records.statement(bytes),
        Part::Envelope(bytes) => records.push(bytes),
        _ => Ok(()),
    })?;
    if (memory.origin.mesh, memory.origin.node) != (secrets.origin.mesh, secrets.origin.node) {
        let (memory, secrets) = (memory.origin.node, secrets.origin.node);
        return Err(RestoreError::OtherNode { memory, secrets });
    }
    records.write()?;
    keyring.sync()?;
    Ok(Restored {
        identity,
        memory,
        secrets,
    })
}

/// Why reading a file ended: the file itself, or what was done with its parts.
enum Ended {
    File(BackupError),
    Elsewhere(RestoreError),
}

impl From<BackupError> for Ended {
    fn from(error: BackupError) -> Self {
        Self::File(error)
    }
}

/// Reads one file and says in errors which it was.
fn read_file(
    inner: impl Read,
    file: ContentKind,
    mut visit: impl FnMut(Part<'_>) -> Result<(), RestoreError>,
) -> Result<Summary, RestoreError> {
    read(inner, file, |part| visit(part).map_err(Ended::Elsewhere)).map_err(|ended| match ended {
        Ended::File(source) => RestoreError::Backup { file, source },
        Ended::Elsewhere(error) => error,
    })
}

/// Collects records for one sync at a time.
struct Records {
    journal: Journal,
    /// Erasures and receipts that are written; both files hold most of them.
    statements: BTreeSet<ContentId>,
    batch: Vec<Vec<u8>>,
    bytes: usize,
}

impl Records {
    fn statement(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        if self.statements.insert(ContentId::of(body)) {
            self.push(body)?;
        }
        Ok(())
    }

    fn push(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        self.bytes += body.len();
        self.batch.push(body.to_vec());
        if self.batch.len() >= RESTORE_BATCH_RECORDS || self.bytes >= RESTORE_BATCH_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), RestoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let bodies: Vec<&[u8]> = self.batch.iter().map(Vec::as_slice).collect();
        self.journal.append(&bodies)?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

#[derive(Default)]
struct IdentityParts {
    node_key: Option<NodeKey>,
    root_key: Option<NodeKey>,
    membership: Option<Vec<u8>>,
    configuration: Option<String>,
}

impl IdentityParts {
    fn take(&mut self, part: Part<'_>) {
        match part {
            Part::NodeKey(key) => self.node_key = Some(key),
            Part::RootKey(key) => self.root_key = Some(key),
            Part::Membership(bytes) => self.membership = Some(bytes.to_vec()),
            Part::Configuration(text) => self.configuration = Some(text.to_owned()),
            Part::Statement(_) | Part::Envelope(_) | Part::DataKeys(..) => {}
        }
    }

    fn whole(self, origin: &Origin) -> Result<Identity, RestoreError> {
        match (self.node_key, self.membership, self.configuration) {
            (Some(node_key), Some(membership), Some(configuration)) if node_key.id() == origin.node => Ok(Identity {
                node_key,
                root_key: self.root_key,
                membership,
                configuration,
            }),
            _ => Err(RestoreError::Backup {
                file: ContentKind::Secrets,
                source: BackupError::NotWhole,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
