//! The commands that messages name, as the person who reads them would have to type them: with the script or the program that was
//! started, and with the data directory that was given.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// What `--data-dir` said; nothing when it was not given, because then it need not be said again.
static GIVEN: OnceLock<PathBuf> = OnceLock::new();

/// Remembers what `--data-dir` said, for every message of this process.
pub(crate) fn given(directory: &Path) {
    // Said once, at the start.
    let _ = GIVEN.set(directory.to_owned());
}

/// How a person calls this program: by the project's script when it started us, else by its own name.
#[must_use]
pub fn launcher() -> String {
    match std::env::var("STARLING_LAUNCHER") {
        Ok(launcher) if !launcher.is_empty() && launcher.len() < 200 => launcher,
        _ => "starling".to_owned(),
    }
}

/// A command of this program on this node.
#[must_use]
pub fn here(command: &str) -> String {
    with(&launcher(), command, GIVEN.get().map(PathBuf::as_path))
}

fn with(launcher: &str, command: &str, directory: Option<&Path>) -> String {
    match directory {
        None => format!("{launcher} {command}"),
        Some(directory) => format!(
            "{launcher} {command} --data-dir {}",
            quoted(&directory.to_string_lossy())
        ),
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+=:@,".contains(character);
    if !path.is_empty() && path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_typed_as_it_stands() {
        for (directory, hint) in [
            (None, "./x run"),
            (Some("/srv/starling"), "./x run --data-dir /srv/starling"),
            (Some("/my data/it's"), "./x run --data-dir '/my data/it'\\''s'"),
        ] {
            assert_eq!(with("./x", "run", directory.map(Path::new)), hint);
        }
    }
}
