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
pub mod operator;
pub mod renew;
pub mod restore;
pub mod revoke;
pub mod rotate;
pub mod run;
pub mod status;

use std::io::{self, BufRead, IsTerminal, Write as _};

/// Anything that ends a command with one clear sentence.
pub type CommandError = Box<dyn std::error::Error>;

/// How a person calls this program: by the project's script when it started us, else by its own name.
#[must_use]
pub fn launcher() -> String {
    match std::env::var("STARLING_LAUNCHER") {
        Ok(launcher) if !launcher.is_empty() && launcher.len() < 200 => launcher,
        _ => "starling".to_owned(),
    }
}

/// Whether a person says yes to what cannot be undone; a script must say --yes.
fn is_confirmed(words: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        eprintln!("{words} Say --yes to do it.");
        return Ok(false);
    }
    eprint!("{words} Type yes to go on: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
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
