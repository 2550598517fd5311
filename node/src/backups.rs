//! Backups of this node: made once a day while it runs, or when `starling backup` asks; what they hold and mean says
//! [`crdt::backup`].
//!
//! A backup directory holds archives `starling-<node>-<time>.backup` and one keys file `keys-<node>.backup`, so that several nodes
//! can share one. Whoever makes a backup locks the directory, reads the journal and the key files beside the running node, writes
//! under a name that no restore takes, reads it all again, and only then renames.

pub mod daily;
pub mod time;

use std::{
    fs::{self, File},
    io::{self, Seek},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crdt::{
    backup::{BackupError, ContentKind, ContentWriter, Origin, Summary, Survey},
    journal::JournalError,
    keyring::{Keyring, KeyringError},
};
use keys::{
    ContentId, NodeId, Timestamp,
    archive::{ArchiveError, ArchiveKey, ArchiveReader, ArchiveWriter, PassphraseError},
    secret_file::{self, SecretFileError},
};

use crate::{
    config::{BackupConfig, BackupTime},
    data_directory::{DataDirectory, DataDirectoryError},
};

/// How often a backup is begun anew because the journal was rewritten under it.
const ATTEMPTS: usize = 3;
/// A daily backup that was missed this long needs a person.
const TOO_OLD: u64 = 3 * time::DAY;
/// Name of the background task.
pub const TASK: &str = "backups";

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupFailure {
    /// The node has never run.
    #[error("there is nothing to back up yet in {0}: start the node first")]
    Nothing(PathBuf),
    /// The archive would fill the disk on which the node itself lives.
    #[error(
        "no backup was made: it needs {needed} bytes and {free} are free on the disk of the node's data; \
         choose another disk with [backup] directory"
    )]
    NoRoom {
        /// What the archive takes, and what must stay free.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// Another backup goes into this directory right now.
    #[error("another backup is being made in {0}")]
    Busy(PathBuf),
    /// What was read back is not what was written.
    #[error("the backup {0} could not be read back as it was written: is the disk healthy?")]
    Unsound(PathBuf),
    /// The node's own files.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// The backup key, or the keys file.
    #[error("{0}")]
    Secret(#[from] SecretFileError),
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Journal, key files or archive.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<KeyringError> for BackupFailure {
    fn from(error: KeyringError) -> Self {
        Self::Backup(error.into())
    }
}

impl From<ArchiveError> for BackupFailure {
    fn from(error: ArchiveError) -> Self {
        Self::Backup(error.into())
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> BackupFailure + '_ {
    |source| BackupFailure::Io {
        path: path.to_owned(),
        source,
    }
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// The archive.
    pub archive: PathBuf,
    /// Its bytes.
    pub archive_bytes: u64,
    /// What is in it.
    pub memory: Summary,
    /// The keys file.
    pub keys: PathBuf,
    /// What is in it.
    pub secrets: Summary,
    /// Damaged places of the journal and damaged key files that were left out.
    pub damaged: usize,
}

/// The name of an archive.
#[must_use]
pub fn archive_name(node: NodeId, created: Timestamp) -> String {
    format!("starling-{}-{}.backup", node.short(), time::compact(created))
}

/// The name of the keys file.
#[must_use]
pub fn keys_name(node: NodeId) -> String {
    format!("keys-{}.backup", node.short())
}

/// The keys file that belongs beside an archive, by the archive's name.
#[must_use]
pub fn keys_beside(archive: &Path) -> Option<PathBuf> {
    let name = archive.file_name()?.to_str()?;
    let (node, created) = name
        .strip_prefix("starling-")?
        .strip_suffix(".backup")?
        .rsplit_once('-')?;
    time::parse_compact(created)?;
    Some(archive.with_file_name(format!("keys-{node}.backup")))
}

/// The key that the configuration names: a passphrase, or the node's `backup.key`, which is made when there is none.
///
/// # Errors
/// When it cannot be read or made.
pub fn key(directory: &DataDirectory, config: &BackupConfig) -> Result<ArchiveKey, BackupFailure> {
    match &config.passphrase_file {
        Some(file) => Ok(ArchiveKey::load_passphrase(&directory.path().join(file))?),
        None => Ok(ArchiveKey::load_or_create(&directory.backup_key_path())?),
    }
}

/// Where the configuration wants backups.
#[must_use]
pub fn target(directory: &DataDirectory, config: &BackupConfig) -> PathBuf {
    let configured = config.directory.as_deref().unwrap_or(Path::new("backups"));
    directory.path().join(configured)
}

/// The archives of a node in `target`, oldest first.
///
/// # Errors
/// When the directory cannot be read. One that is not there holds none.
pub fn list(target: &Path, node: NodeId) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let prefix = format!("starling-{}-", node.short());
    let mut archives = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let created = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".backup"));
        if let Some(created) = created.and_then(time::parse_compact) {
            archives.push((created, entry.path()));
        }
    }
    archives.sort();
    Ok(archives)
}

/// One line about the newest backup, for people, and whether it is too old to be at ease.
///
/// # Errors
/// The same line, when something must be mended.
pub fn describe(directory: &DataDirectory, config: &BackupConfig, now: Timestamp) -> Result<String, String> {
    let target = target(directory, config);
    let key = directory.key().map_err(|error| error.to_string())?;
    let archives = list(&target, key.id()).map_err(|error| format!("{}: {error}", target.display()))?;
    let is_daily = matches!(config.daily, BackupTime::Daily { .. });
    match archives.last() {
        None if is_daily => Ok("none yet; the first one is made ten minutes after a start".to_owned()),
        None => Ok("none; the daily one is turned off".to_owned()),
        Some((newest, _)) => {
            let words = format!("the newest of {} is of {}", archives.len(), time::readable(*newest));
            if is_daily && now.since(*newest) > TOO_OLD {
                Err(format!(
                    "{words}; the task \"{TASK}\" in starling status --json says why"
                ))
            } else {
                Ok(format!("{words}, in {}", target.display()))
            }
        }
    }
}

/// Makes a backup of the node in `directory`, which may be running. Takes as long as it takes to read the journal twice and to
/// write it once.
///
/// # Errors
/// Why there is none. The keys file of before stands then, and no half archive is left behind; an archive that was whole before
/// the keys file failed stays.
pub fn make(
    directory: &DataDirectory,
    target: &Path,
    archive_key: &ArchiveKey,
    mesh: ContentId,
    now: Timestamp,
) -> Result<Made, BackupFailure> {
    let journal = directory.store_path().join("journal");
    if !journal.is_dir() {
        return Err(BackupFailure::Nothing(directory.path().to_owned()));
    }
    let node = directory.key()?.id();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(target)
        .map_err(io_error(target))?;
    let _lock = lock(target)?;
    let (created, archive) = free_name(target, node, now);
    let origin = Origin { mesh, node, created };
    let (memory, survey, archive_bytes) = unless_rewritten(|| write_archive(&archive, archive_key, origin, &journal))?;
    // After the archive: whoever came meanwhile has a key too many, and nobody has one too few.
    let identity = directory.identity()?;
    let keys = target.join(keys_name(origin.node));
    let keyring = Keyring::open(&directory.keys_path())?;
    let (secrets, left_out) = unless_rewritten(|| {
        secret_file::replace_with(&keys, |file| {
            write_content(file, &keys, archive_key, ContentKind::Secrets, origin, |writer| {
                crdt::backup::write_secrets(writer, &identity, &journal, crdt::erasure::Statement::is_one, &keyring)
            })
        })
    })?;
    Ok(Made {
        archive,
        archive_bytes,
        memory,
        keys,
        secrets,
        damaged: survey.damaged + left_out.damaged,
    })
}

/// A name that no archive has, from the one of this second on: a second backup in it must not take the place of the first.
fn free_name(target: &Path, node: NodeId, now: Timestamp) -> (Timestamp, PathBuf) {
    let named = |at: Timestamp| (at, target.join(archive_name(node, at)));
    let mut free = named(now);
    while free.1.exists() {
        free = named(free.0.plus(1000));
    }
    free
}

/// Begins anew when the journal was rewritten under the reader, which an erasure does.
fn unless_rewritten<T>(mut attempt: impl FnMut() -> Result<T, BackupFailure>) -> Result<T, BackupFailure> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(BackupFailure::Backup(BackupError::Journal(JournalError::Rewritten))) => {}
            other => return other,
        }
    }
    attempt()
}

/// Writes the archive under another name, reads it again, and renames it.
fn write_archive(
    archive: &Path,
    key: &ArchiveKey,
    origin: Origin,
    journal: &Path,
) -> Result<(Summary, Survey, u64), BackupFailure> {
    let partial = archive.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut file = secret_file::create_unsynced(&partial, &[])?;
    let written = write_content(&mut file, &partial, key, ContentKind::Memory, origin, |writer| {
        crdt::backup::write_records(writer, journal, crdt::erasure::Statement::is_one)
    })
    .and_then(|(summary, survey)| {
        file.sync_all().map_err(io_error(&partial))?;
        let bytes = file.metadata().map_err(io_error(&partial))?.len();
        fs::rename(&partial, archive).map_err(io_error(archive))?;
        sync_directory_of(archive)?;
        Ok((summary, survey, bytes))
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Writes one encrypted file of a backup, and reads it again to its end.
fn write_content(
    file: &mut File,
    path: &Path,
    key: &ArchiveKey,
    kind: ContentKind,
    origin: Origin,
    fill: impl FnOnce(&mut ContentWriter<ArchiveWriter<&mut File>>) -> Result<Survey, BackupError>,
) -> Result<(Summary, Survey), BackupFailure> {
    let mut writer = ContentWriter::new(ArchiveWriter::new(&mut *file, key)?, kind, origin)?;
    let survey = fill(&mut writer)?;
    let (archive, summary) = writer.finish()?;
    archive.finish()?;
    file.rewind().map_err(io_error(path))?;
    let read = crdt::backup::verify(ArchiveReader::new(&mut *file, key)?, kind)?;
    if read == summary {
        Ok((summary, survey))
    } else {
        Err(BackupFailure::Unsound(path.to_owned()))
    }
}

/// Removes the archives of a node that need not be kept, and what interrupted backups left. Returns which.
///
/// # Errors
/// When the directory cannot be read or a file not be removed.
pub fn prune(target: &Path, node: NodeId, now: Timestamp) -> Result<Vec<PathBuf>, BackupFailure> {
    let _lock = lock(target)?;
    let archives = list(target, node).map_err(io_error(target))?;
    let created: Vec<Timestamp> = archives.iter().map(|(created, _)| *created).collect();
    let kept = crdt::backup::keep(&created, now);
    let mut removed: Vec<PathBuf> = archives
        .into_iter()
        .zip(kept)
        .filter_map(|((_, path), kept)| (!kept).then_some(path))
        .collect();
    let prefix = format!("starling-{}-", node.short());
    for entry in fs::read_dir(target).map_err(io_error(target))? {
        let path = entry.map_err(io_error(target))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(&prefix) && name.ends_with(".partial") {
            removed.push(path);
        }
    }
    for path in &removed {
        fs::remove_file(path).map_err(io_error(path))?;
    }
    Ok(removed)
}

/// Keeps every other backup out of the directory for as long as the returned file lives.
fn lock(target: &Path) -> Result<File, BackupFailure> {
    let path = target.join(".lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BackupFailure::Busy(target.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

fn sync_directory_of(path: &Path) -> Result<(), BackupFailure> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(io_error(directory))
}

#[cfg(test)]
mod tests;
