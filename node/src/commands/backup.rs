//! `starling backup`: one encrypted, verified backup, also while the node runs.

use std::path::{Path, PathBuf};

use clap::Args;
use keys::{Timestamp, archive::ArchiveKey};

use super::CommandError;
use crate::{
    backups::{self, Made},
    config,
    data_directory::DataDirectory,
};

/// Where to, and closed with what; the configuration says it unless given.
#[derive(Args)]
pub struct Target {
    /// The directory for the backup. Old backups are not removed from it by this command.
    #[arg(long, value_name = "DIRECTORY")]
    pub to: Option<PathBuf>,
    /// A private file with the passphrase that closes it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Makes a backup and says what it takes to restore it.
///
/// # Errors
/// Why there is none.
pub fn run(path: &Path, target: &Target) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let mut config = config::load(&directory.config_path())?.backup;
    if let Some(to) = &target.to {
        config.directory = Some(std::path::absolute(to)?);
    }
    if let Some(file) = &target.passphrase_file {
        config.passphrase_file = Some(std::path::absolute(file)?);
    }
    let key = directory.key()?;
    let roster = directory.roster(&key)?;
    let archive_key = backups::key(&directory, &config)?;
    let into = backups::target(&directory, &config);
    let made = backups::make(&directory, &into, &archive_key, roster.mesh(), Timestamp::now())?;
    print(&made);
    let opened_with = match archive_key {
        ArchiveKey::File(_) => directory.backup_key_path().display().to_string(),
        ArchiveKey::Passphrase(_) => "the passphrase".to_owned(),
    };
    println!("A restore needs both files and {opened_with}. Keep copies of them on another machine.");
    Ok(())
}

fn print(made: &Made) {
    println!(
        "Backed up {} change(s) and the keys of {} account(s); read back and verified.",
        made.memory.envelopes, made.secrets.accounts
    );
    println!("  {} ({} bytes)", made.archive.display(), made.archive_bytes);
    println!("  {} (the newest replaces the one before)", made.keys.display());
    if made.damaged > 0 {
        println!(
            "Left out: {} damaged record(s) or key file(s); the log of the running node names them.",
            made.damaged
        );
    }
}
