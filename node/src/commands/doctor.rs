//! `starling doctor`: checks this machine and this node, in words with what to do.

use std::path::Path;

use super::CommandError;
use crate::{config, control, data_directory::DataDirectory};

/// Checks one thing after the other and prints each result.
///
/// # Errors
/// When something must be mended.
pub fn run(path: &Path) -> Result<(), CommandError> {
    let mut problems = 0;
    let mut check = |what: &str, result: Result<String, String>| match result {
        Ok(detail) => println!("ok    {what}: {detail}"),
        Err(problem) => {
            problems += 1;
            println!("MEND  {what}: {problem}");
        }
    };
    let directory = DataDirectory::open(path)?;
    check("data directory", Ok(path.display().to_string()));
    let key = directory.key();
    check(
        "node key",
        key.as_ref().map(|key| key.id().short()).map_err(ToString::to_string),
    );
    if let Ok(key) = &key {
        let roster = directory.roster(key);
        check(
            "membership",
            roster
                .map(|roster| format!("{} member(s)", roster.members().count()))
                .map_err(|error| error.to_string()),
        );
    }
    let config = config::load(&directory.config_path());
    check(
        "configuration",
        config
            .as_ref()
            .map(|_| "readable".to_owned())
            .map_err(ToString::to_string),
    );
    if let Ok(config) = &config {
        check(
            "model",
            super::init::check_model(&config.inference.model)
                .map(|()| config.inference.model.clone())
                .map_err(|error| error.to_string()),
        );
    }
    match control::ask(path) {
        Ok(status) => {
            check(
                "running",
                Ok(format!(
                    "since {} s, page at http://{}",
                    status.uptime_seconds, status.http
                )),
            );
            check(
                "engine",
                match status.engine.as_str() {
                    "failed" => Err(status.engine_detail.unwrap_or_default()),
                    engine => Ok(engine.to_owned()),
                },
            );
            let others = status.members.len().saturating_sub(1);
            let connected = status
                .members
                .iter()
                .filter(|member| member.state == "connected")
                .count();
            check(
                "links",
                if others == 0 || connected > 0 {
                    Ok(format!("{connected} of {others} other member(s) connected"))
                } else {
                    Err("no other member is connected: is the mesh port (UDP and TCP) open, and are the others running?".into())
                },
            );
        }
        Err(error) => check("running", Err(error.to_string())),
    }
    if problems == 0 {
        Ok(())
    } else {
        Err(format!("{problems} thing(s) to mend").into())
    }
}
