//! The files of characters: kept as blobs here, and brought from other nodes when somebody looks at them here.

use std::{future::Future, path::PathBuf, pin::Pin, time::Duration};

use gateway::{FileError, Filed, Files};
use inference::CardFiles;
use keys::ContentId;
use mesh::{
    Mesh,
    blobs::{self, BlobId, BlobStatus, BlobStore, Pace, Progress, Rate},
};
use tokio::sync::watch;

use crate::data_directory::DataDirectory;

/// Bytes of a file that is brought because somebody looks at it: the largest card.
const FILE_BYTES_MAX: u64 = crdt::limits::CARD_BYTES_MAX as u64;
/// How long somebody waits for one.
const PATIENCE: Duration = Duration::from_secs(15);

/// Files as blobs.
pub struct BlobFiles {
    /// Those that are here.
    blobs: BlobStore,
    /// Those that others have.
    mesh: Mesh,
    /// Where bytes lie for a moment before they are a blob.
    incoming: PathBuf,
}

impl BlobFiles {
    /// Files of a node's directory and of the others.
    #[must_use]
    pub fn new(blobs: &BlobStore, mesh: &Mesh, directory: &DataDirectory) -> Self {
        Self {
            blobs: blobs.clone(),
            mesh: mesh.clone(),
            incoming: directory.path().join("incoming"),
        }
    }

    async fn add(&self, bytes: Vec<u8>) -> Result<ContentId, FileError> {
        let id = BlobId::of(&bytes);
        if self.is_here(id) {
            return Ok(id.0);
        }
        let (blobs, incoming) = (self.blobs.clone(), self.incoming.clone());
        let added = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&incoming).map_err(|_| FileError::Disk)?;
            let path = incoming.join(id.to_string());
            std::fs::write(&path, &bytes).map_err(|_| FileError::Disk)?;
            let added = blobs.add(&path).map_err(|error| {
                tracing::warn!(%error, "a file cannot be kept");
                FileError::Disk
            });
            // The blob is a copy; what is left here after a crash is replaced by the next file of the same bytes.
            let _ = std::fs::remove_file(&path);
            added
        });
        added.await.map_err(|_| FileError::Disk)?.map(|blob| blob.0)
    }

    fn is_here(&self, id: BlobId) -> bool {
        self.blobs
            .have(id)
            .is_some_and(|summary| summary.status == BlobStatus::Whole)
    }

    async fn bring(&self, id: BlobId) -> Result<(), FileError> {
        let sources: Vec<_> = self.mesh.view().borrow().reachable().map(|(node, _)| *node).collect();
        let (progress, mut watched) = watch::channel(Progress::default());
        let pace = Pace::new(Rate::Measured, self.mesh.token_streams());
        let too_large = async {
            let large = watched
                .wait_for(|progress| progress.total > FILE_BYTES_MAX)
                .await
                .is_ok();
            if !large {
                std::future::pending::<()>().await;
            }
        };
        let fetching = blobs::fetch(&self.mesh, (&self.blobs, &pace), id, &sources, &progress);
        tokio::select! {
            fetched = tokio::time::timeout(PATIENCE, fetching) => match fetched {
                Ok(Ok(_)) => Ok(()),
                _ => Err(FileError::Unreachable),
            },
            () = too_large => Err(FileError::Unreachable),
        }
    }

    async fn read(&self, id: ContentId) -> Result<Vec<u8>, FileError> {
        let id = BlobId(id);
        if !self.is_here(id) {
            self.bring(id).await?;
        }
        let path = self.blobs.path(id).map_err(|_| FileError::Unreachable)?;
        let bytes = tokio::fs::read(path).await.map_err(|_| FileError::Disk)?;
        // A disk that rots must not become a picture of something else.
        if BlobId::of(&bytes) == id {
            Ok(bytes)
        } else {
            Err(FileError::Disk)
        }
    }
}

impl CardFiles for BlobFiles {
    fn find(&self, card: ContentId) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + '_>> {
        Box::pin(async move { self.read(card).await.ok() })
    }
}

impl Files for BlobFiles {
    fn keep(&self, bytes: Vec<u8>) -> Filed<'_, ContentId> {
        Box::pin(self.add(bytes))
    }

    fn find(&self, id: ContentId) -> Filed<'_, Vec<u8>> {
        Box::pin(self.read(id))
    }
}
