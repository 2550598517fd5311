//! `starling restore`: a node from a backup, in an empty data directory.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use clap::Args;
use crdt::backup::{RestoreError, Restored};
use keys::{
    archive::{ArchiveError, ArchiveKey, ArchiveReader, PassphraseError},
    membership::Roster,
    secret_file::{self, SecretFileError},
};

use super::CommandError;
use crate::{
    backups::{self, time},
    config::{self, ConfigError},
    data_directory::{DataDirectory, DataDirectoryError},
    hints::here,
};

/// What to restore, and what opens it.
#[derive(Args)]
pub struct Sources {
    /// The archive: starling-NODE-TIME.backup
    pub archive: PathBuf,
    /// The keys file: keys-NODE.backup; looked for beside the archive unless given.
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// The node's backup.key; looked for beside the archive and one directory above unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub key_file: Option<PathBuf>,
    /// A private file with the passphrase, when the backup was closed with one.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
enum RestoreFailure {
    #[error("there is no keys file {0}; name it with --keys")]
    NoKeysFile(PathBuf),
    #[error("{0} does not have the name of an archive, so its keys file cannot be found by it; name it with --keys")]
    NotNamed(PathBuf),
    #[error("there is no backup.key beside {0}; name it with --key-file, or the passphrase with --passphrase-file")]
    NoKey(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Archive { path: PathBuf, source: ArchiveError },
    #[error("nothing was restored: {0}")]
    Restore(#[from] RestoreError),
    #[error("nothing was restored: {0}")]
    DataDirectory(DataDirectoryError),
    #[error("nothing was restored: {0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

impl From<DataDirectoryError> for RestoreFailure {
    fn from(error: DataDirectoryError) -> Self {
        Self::DataDirectory(error)
    }
}

/// Makes a node in `path` from a backup.
///
/// # Errors
/// Why nothing was restored; nothing is left behind then.
pub fn run(path: &Path, sources: &Sources) -> Result<(), CommandError> {
    DataDirectory::check_free(path)?;
    let keys = match &sources.keys {
        Some(file) => file.clone(),
        None => {
            backups::keys_beside(&sources.archive).ok_or_else(|| RestoreFailure::NotNamed(sources.archive.clone()))?
        }
    };
    if !keys.exists() {
        return Err(RestoreFailure::NoKeysFile(keys).into());
    }
    let key = choose_key(sources)?;
    let mut result = None;
    DataDirectory::create_with(path, |partial| {
        result = Some(fill(partial, &sources.archive, &keys, &key)?);
        Ok::<_, RestoreFailure>(())
    })?;
    if let Some((restored, roster)) = result {
        print(path, &restored, &roster);
    }
    Ok(())
}

fn fill(
    partial: &DataDirectory,
    archive: &Path,
    keys: &Path,
    key: &ArchiveKey,
) -> Result<(Restored, Roster), RestoreFailure> {
    let journal = partial.store_path().join("journal");
    let restored = crdt::backup::restore(open(archive, key)?, open(keys, key)?, &journal, &partial.keys_path());
    let restored = restored?;
    let roster = partial.save_identity(&restored.identity)?;
    config::parse(&restored.identity.configuration, &partial.config_path())?;
    if let ArchiveKey::File(secret) = key {
        // So that the next backup is closed with the key of which there are copies already.
        secret_file::create(&partial.backup_key_path(), &**secret)?;
    }
    Ok((restored, roster))
}

fn open(path: &Path, key: &ArchiveKey) -> Result<ArchiveReader<File>, RestoreFailure> {
    let file = File::open(path).map_err(|source| RestoreFailure::Io {
        path: path.to_owned(),
        source,
    })?;
    ArchiveReader::new(file, key).map_err(|source| RestoreFailure::Archive {
        path: path.to_owned(),
        source,
    })
}

/// The key that was named, or the key file that lies where backups are made.
fn choose_key(sources: &Sources) -> Result<ArchiveKey, RestoreFailure> {
    if let Some(file) = &sources.passphrase_file {
        return Ok(ArchiveKey::load_passphrase(file)?);
    }
    if let Some(file) = &sources.key_file {
        return Ok(ArchiveKey::load(file)?);
    }
    let archive = std::path::absolute(&sources.archive).map_err(|source| RestoreFailure::Io {
        path: sources.archive.clone(),
        source,
    })?;
    let near = archive
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("backup.key"));
    let file = near.into_iter().find(|file| file.exists());
    let file = file.ok_or_else(|| RestoreFailure::NoKey(sources.archive.clone()))?;
    Ok(ArchiveKey::load(&file)?)
}

fn print(path: &Path, restored: &Restored, roster: &Roster) {
    let node = restored.memory.origin.node;
    let name = roster
        .get(&node)
        .map_or_else(|| node.short(), |member| member.name.clone());
    println!(
        "Restored node \"{name}\" ({}) as of {} into {}: {} change(s), the keys of {} account(s).",
        node.short(),
        time::readable(restored.memory.origin.created),
        path.display(),
        restored.memory.envelopes,
        restored.secrets.accounts
    );
    if restored.memory.origin.created > restored.secrets.origin.created {
        println!(
            "The keys file is older ({}): texts of accounts made after it cannot be read until another node gives their keys.",
            time::readable(restored.secrets.origin.created)
        );
    }
    println!("The node it was made from must not run any more: there would be two with one key.");
    println!("Start it with: {}", here("run"));
}
