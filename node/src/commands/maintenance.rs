//! `starling maintenance`: keeps this node from working for a while, and tells the others.

use std::path::Path;

use clap::{Args, ValueEnum};

use super::CommandError;
use crate::{
    control::{self, MaintenanceStatus, Request},
    data_directory::DataDirectory,
};

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Take no new work until told otherwise, also after a restart.
    On,
    /// Work again.
    Off,
}

/// Which way to turn the switch.
#[derive(Args)]
pub struct Maintenance {
    /// Whether the node is kept from working.
    switch: Switch,
}

/// Asks the running node.
///
/// # Errors
/// When none runs, or its disk refuses.
pub fn run(path: &Path, Maintenance { switch }: &Maintenance) -> Result<(), CommandError> {
    DataDirectory::open(path)?;
    let status: MaintenanceStatus = control::request(path, &Request::Maintenance(*switch == Switch::On))?;
    println!("{}", words(&status));
    Ok(())
}

fn words(status: &MaintenanceStatus) -> String {
    let MaintenanceStatus {
        on,
        changed,
        running,
        told,
        others,
    } = status;
    let told = match told {
        0 => "No other node is connected now.".to_owned(),
        told => format!("{told} connected node(s) know of it; the rest hear of it from them."),
    };
    if !on && !changed {
        return "This node was not in maintenance: nothing was changed.".to_owned();
    }
    if !on {
        return format!("This node works again. {told}");
    }
    let running = match running {
        0 => "nothing runs here any more".to_owned(),
        running => format!("{running} answer(s) that run are finished"),
    };
    let others = match others {
        0 => "No other node with a model is in reach: questions wait until one is, or until this one works again."
            .to_owned(),
        others => format!("{others} other node(s) answer its people meanwhile."),
    };
    format!(
        "This node is in maintenance, also after a restart: it takes no new work, {running}. {others} {told} To end it: starling maintenance off"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_what_happens_to_people_meanwhile() {
        let status = |on, running, others| MaintenanceStatus {
            on,
            changed: true,
            running,
            told: 2,
            others,
        };
        for (status, words_wanted) in [
            (status(true, 0, 1), "1 other node(s) answer its people"),
            (status(true, 3, 1), "3 answer(s) that run are finished"),
            (status(true, 0, 0), "questions wait until"),
            (status(false, 0, 0), "works again. 2 connected"),
        ] {
            assert!(words(&status).contains(words_wanted), "{}", words(&status));
        }
        let again = MaintenanceStatus {
            changed: false,
            ..status(false, 0, 0)
        };
        assert!(words(&again).contains("nothing was changed"));
    }
}
