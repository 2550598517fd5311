//! The catalogue of a node that is stopped: its store and its blobs are opened for one command.

use std::sync::Arc;

use crdt::{Store, StoreSettings, ingress::Right};
use mesh::blobs::{BlobLimits, BlobStore};

use super::{Catalogue, ModelsError};
use crate::data_directory::{DataDirectory, DataDirectoryError};

/// Why the catalogue of a stopped node cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The data directory: above all, a node that runs with it.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// The store or the blobs.
    #[error(transparent)]
    Models(#[from] ModelsError),
}

/// A stopped node's catalogue; keeps the node from starting as long as it lives.
pub struct Offline {
    /// The catalogue.
    pub catalogue: Catalogue,
    _lock: std::fs::File,
    /// What is written would be announced here. Nobody listens: it is reconciled when the node runs.
    _outputs: crdt::Outputs,
}

impl Offline {
    /// Opens it. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When a node runs with the directory, or it cannot be read.
    pub fn open(directory: &DataDirectory) -> Result<Self, OfflineError> {
        let lock = directory.lock()?;
        let key = directory.key()?;
        let roster = directory.roster(&key)?;
        let settings = StoreSettings {
            directory: directory.store_path(),
            keys: directory.keys_path(),
            key,
            right: Arc::new(move |node| match (roster.get(node), roster.former(node)) {
                (Some(_), _) => Right::Member,
                (None, Some(_)) => Right::Former,
                (None, None) => Right::Unknown,
            }),
        };
        let (store, outputs, _) = Store::open(settings).map_err(ModelsError::from)?;
        let blobs = BlobStore::open(&directory.blobs_path(), BlobLimits::default()).map_err(ModelsError::from)?;
        Ok(Self {
            catalogue: Catalogue { store, blobs },
            _lock: lock,
            _outputs: outputs,
        })
    }

    /// Waits until what was written is on the disk and the store is closed.
    pub async fn close(self) {
        self.catalogue.store.stop().await;
    }
}
