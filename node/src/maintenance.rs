//! Maintenance: a person keeps this node from working, also after a restart, until they say otherwise.
//!
//! What runs here is finished; nothing new is begun, neither for this node's people nor for others. Every member is told, and asks elsewhere;
//! this node's people are answered by the others meanwhile. What it stores it goes on keeping and exchanging.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mesh::liveness::Standing;

use crate::{control::MaintenanceStatus, node::Node};

/// What the file holds: the version of its format. That it is there is all it says.
const VERSION: &[u8] = b"1\n";

/// Why the switch did not turn.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be changed, so that a restart would undo it: {source}. Nothing was changed")]
pub struct MaintenanceError {
    path: PathBuf,
    source: io::Error,
}

/// The file that keeps a node in maintenance.
fn mark(directory: &Path) -> PathBuf {
    directory.join("maintenance")
}

/// What a node of this directory is ready for once it is up.
pub(crate) fn standing(directory: &Path) -> Standing {
    if mark(directory).exists() {
        Standing::Maintenance
    } else {
        Standing::Serving
    }
}

/// Notes on the disk whether the node is in maintenance.
fn note(directory: &Path, on: bool) -> Result<(), MaintenanceError> {
    let path = mark(directory);
    let noted = match on {
        true => fs::File::create(&path).and_then(|mut file| {
            io::Write::write_all(&mut file, VERSION)?;
            file.sync_all()
        }),
        false => match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
    };
    let noted = noted.and_then(|()| fs::File::open(directory)?.sync_all());
    noted.map_err(|source| MaintenanceError { path, source })
}

impl Node {
    /// Keeps the node from working, or lets it work again, and tells every member.
    ///
    /// # Errors
    /// When the disk refuses; nothing changes then.
    pub async fn maintain(&self, on: bool) -> Result<MaintenanceStatus, MaintenanceError> {
        let before = standing(self.directory().path());
        note(self.directory().path(), on)?;
        self.mesh().stand(standing(self.directory().path())).await;
        tracing::info!(on, "maintenance");
        let offers = self.offers().into_iter();
        let others = offers.filter(|(node, offers)| *node != self.mesh().node() && !offers.is_empty());
        Ok(MaintenanceStatus {
            on,
            changed: before != standing(self.directory().path()),
            running: self.generations(),
            told: self.mesh().view().borrow().reachable().count(),
            others: others.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_outlives_a_restart_and_ends_when_it_is_switched_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(standing(path), Standing::Serving);
        for _ in 0..2 {
            note(path, true).unwrap();
            assert_eq!(standing(path), Standing::Maintenance);
        }
        for _ in 0..2 {
            note(path, false).unwrap();
            assert_eq!(standing(path), Standing::Serving);
        }
        assert!(note(&path.join("none"), true).is_err());
    }
}
