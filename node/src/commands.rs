//! What each command does, one file each.

pub mod backup;
pub mod doctor;
pub mod erase;
pub mod init;
pub mod invite;
pub mod join;
pub mod restore;
pub mod run;
pub mod status;

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
