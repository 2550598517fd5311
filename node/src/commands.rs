//! What each command does, one file each.

pub mod backup;
mod decision;
pub mod doctor;
pub mod erase;
pub mod init;
pub mod invite;
pub mod join;
pub mod leave;
pub mod links;
pub mod maintenance;
pub mod model;
pub mod operator;
pub mod renew;
pub mod restore;
pub mod revoke;
pub mod rotate;
pub mod run;
pub mod status;

use std::io::{self, BufRead, IsTerminal, Write as _};

use serde::Serialize;

/// Anything that ends a command with one clear sentence.
pub type CommandError = Box<dyn std::error::Error>;

/// Why something that cannot be undone was not done.
#[derive(Debug, thiserror::Error)]
enum Unconfirmed {
    /// A script must say so.
    #[error("{words} Nobody can be asked here, so nothing was {done}. Say --yes to do it")]
    NobodyToAsk {
        /// What would happen.
        words: String,
        /// What it is called.
        done: &'static str,
    },
    /// The person said no.
    #[error("nothing was {0}")]
    No(&'static str),
    /// The terminal.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// Asks a person for a yes to what cannot be undone; a script must say --yes.
fn confirm(words: &str, done: &'static str) -> Result<(), Unconfirmed> {
    if !io::stdin().is_terminal() {
        let words = words.to_owned();
        return Err(Unconfirmed::NobodyToAsk { words, done });
    }
    eprint!("{words} Type yes to go on: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == "yes" {
        Ok(())
    } else {
        Err(Unconfirmed::No(done))
    }
}

/// Prints what programs read.
fn print_json(told: &impl Serialize) -> Result<(), CommandError> {
    // A reader that has seen enough (`| head`) is no error.
    let _ = writeln!(io::stdout(), "{}", serde_json::to_string_pretty(told)?);
    Ok(())
}

/// The machine's own name, for a node that was given none.
#[must_use]
pub fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(40)
        .collect();
    if name.is_empty() { "node".to_owned() } else { name }
}
