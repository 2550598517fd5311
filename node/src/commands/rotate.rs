//! `starling rotate`: a new key for this node, or a new root for the mesh.

use std::path::{Path, PathBuf};

use clap::Args;
use keys::{
    NodeKey, Timestamp,
    archive::ArchiveKey,
    membership::{Evidence, Out},
    sealed_key,
};

use super::{
    CommandError, confirm,
    decision::{Decision, RootKey, said_to},
};
use crate::{data_directory::DataDirectory, hints::here};

/// Which key is replaced, and where the new one goes.
#[derive(Args)]
pub struct Rotation {
    /// Hand the root of the mesh over to a new key instead.
    #[arg(long, requires = "to")]
    root: bool,
    /// Where the new root key is written.
    #[arg(long, value_name = "FILE", requires = "root")]
    to: Option<PathBuf>,
    /// A private file with a passphrase that closes the new root key.
    #[arg(long, value_name = "FILE", requires = "root")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    old: RootKey,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Replaces the node's key, or the root's.
///
/// # Errors
/// When the node runs, is no member, or the keys are not at hand; whatever was begun is finished by the next call.
pub fn run(path: &Path, rotation: &Rotation) -> Result<(), CommandError> {
    match &rotation.to {
        Some(to) if rotation.root => hand_over(path, to, rotation),
        _ => rotate(path, rotation.yes),
    }
}

/// In this order, so that a power cut leaves nothing that the next call cannot finish: the new key lies beside the old one, the
/// membership says that it is the heir, and it takes the old one's place.
fn rotate(path: &Path, yes: bool) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let _lock = directory.lock()?;
    let old = directory.key()?;
    let mut roster = directory.roster(&old)?;
    let new = match directory.next_key()? {
        Some(begun) => begun,
        None => {
            let warning =
                "This node gets a new key, and its old one is refused everywhere. People of this node log in again.";
            if !yes {
                confirm(warning, "changed")?;
            }
            let new = NodeKey::generate();
            new.save(&directory.next_key_path())?;
            new
        }
    };
    let why = roster.former(&old.id()).map(|former| &former.why);
    let is_said = old.id() == new.id() || matches!(why, Some(Out::Rotated { to, .. }) if *to == new.id());
    if !is_said {
        let decree = roster.rotate(&old, &new, Timestamp::now())?;
        if let Some((_, error)) = roster.take(vec![Evidence::Decree(decree)]).refused.into_iter().next() {
            return Err(error.into());
        }
        directory.save_roster(&roster)?;
    }
    directory.replace_key(&new)?;
    println!(
        "This node's key is {} now; it was {}.",
        new.id().short(),
        old.id().short()
    );
    println!(
        "Start the node with: {}. The others hear of it from this node.",
        here("run")
    );
    println!("Backups that were made before hold the old key: make a new one.");
    Ok(())
}

fn hand_over(path: &Path, to: &Path, rotation: &Rotation) -> Result<(), CommandError> {
    let decision = Decision::open(path, &rotation.old)?;
    let passphrase = rotation.new_passphrase_file.as_deref();
    let passphrase = passphrase.map(ArchiveKey::load_passphrase).transpose()?;
    let warning =
        "The root of this mesh is handed over to a new key. Invites of the old one that nobody has used are void.";
    if !rotation.yes {
        confirm(warning, "changed")?;
    }
    let (new, now) = (NodeKey::generate(), Timestamp::now());
    let decrees = decision.sign(|roster, key| roster.hand_over_root(key, &new, now))?;
    // Written before anybody hears of it: a root that nobody holds would be the end of all decisions.
    match &passphrase {
        Some(passphrase) => sealed_key::save(&new, to, passphrase)?,
        None => new.save(to)?,
    }
    let told = decision.publish(decrees)?;
    println!("The root key is in {} now. {}", to.display(), said_to(told));
    println!("The old root key decides nothing any more: destroy it. Keep a copy of the new one in a safe place.");
    Ok(())
}
