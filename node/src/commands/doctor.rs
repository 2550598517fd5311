//! `starling doctor`: checks this machine and this node, in words with what to do.

use std::path::Path;

use keys::Timestamp;

use super::CommandError;
use crate::{backups, config, control, data_directory::DataDirectory};

/// Prints one result after the other and counts what must be mended.
#[derive(Default)]
struct Checklist {
    problems: usize,
}

impl Checklist {
    fn check(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(detail) => println!("ok    {what}: {detail}"),
            Err(problem) => {
                self.problems += 1;
                println!("MEND  {what}: {problem}");
            }
        }
    }
}

/// Checks one thing after the other and prints each result.
///
/// # Errors
/// When something must be mended.
pub fn run(path: &Path) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let mut list = Checklist::default();
    list.check("data directory", Ok(path.display().to_string()));
    check_files(&mut list, &directory);
    check_running(&mut list, path);
    if list.problems == 0 {
        Ok(())
    } else {
        Err(format!("{} thing(s) to mend", list.problems).into())
    }
}

fn check_files(list: &mut Checklist, directory: &DataDirectory) {
    let key = directory.key();
    list.check(
        "node key",
        key.as_ref().map(|key| key.id().short()).map_err(ToString::to_string),
    );
    if let Ok(key) = &key {
        let members = directory
            .roster(key)
            .map(|roster| format!("{} member(s)", roster.members().count()));
        list.check("membership", members.map_err(|error| error.to_string()));
    }
    match config::load(&directory.config_path()) {
        Ok(config) => {
            list.check("configuration", Ok("readable".to_owned()));
            let model = super::init::check_model(&config.inference.model).map(|()| config.inference.model.clone());
            list.check("model", model.map_err(|error| error.to_string()));
            let backup = backups::describe(directory, &config.backup, Timestamp::now());
            list.check("backups", backup);
        }
        Err(error) => list.check("configuration", Err(error.to_string())),
    }
}

fn check_running(list: &mut Checklist, path: &Path) {
    let status = match control::ask(path) {
        Ok(status) => status,
        Err(error) => return list.check("running", Err(error.to_string())),
    };
    list.check(
        "running",
        Ok(format!(
            "since {} s, page at http://{}",
            status.uptime_seconds, status.http
        )),
    );
    let engine = match status.engine.as_str() {
        "failed" => Err(status.engine_detail.unwrap_or_default()),
        engine => Ok(engine.to_owned()),
    };
    list.check("engine", engine);
    let others = status.members.len().saturating_sub(1);
    let connected = status
        .members
        .iter()
        .filter(|member| member.state == "connected")
        .count();
    let links = if others == 0 || connected > 0 {
        Ok(format!("{connected} of {others} other member(s) connected"))
    } else {
        Err("no other member is connected: is the mesh port (UDP and TCP) open, and are the others running?".to_owned())
    };
    list.check("links", links);
}
