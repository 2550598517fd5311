//! Snapshots of long documents as files: `snapshots/aa/<document>.snapshot`. They prove themselves (see `view::snapshot`), so they are
//! written without a sync, in one rename, and a damaged one is no more than a missing one.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use keys::ContentId;

use crate::{journal::JournalError, limits::SNAPSHOT_BYTES_MAX};

pub(super) struct Snapshots {
    directory: PathBuf,
}

impl Snapshots {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, document: &ContentId) -> PathBuf {
        let name = document.to_string();
        self.directory.join(&name[..2]).join(format!("{name}.snapshot"))
    }

    pub(super) fn read(&self, document: &ContentId) -> Option<Vec<u8>> {
        let file = fs::File::open(self.path(document)).ok()?;
        let length = file.metadata().ok()?.len();
        if length > SNAPSHOT_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).ok()?);
        file.take(SNAPSHOT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(super) fn write(&self, document: &ContentId, bytes: &[u8]) {
        if let Err(error) = self.try_write(document, bytes) {
            tracing::warn!(%error, "a snapshot could not be kept; the document only opens more slowly");
        }
    }

    fn try_write(&self, document: &ContentId, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(document);
        let partial = path.with_extension("new");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(&partial)?.write_all(bytes)?;
        fs::rename(&partial, &path)
    }

    /// Overwritten before it goes: it holds what must be forgotten.
    pub(super) fn remove(&self, document: &ContentId) -> Result<(), JournalError> {
        let path = self.path(document);
        for path in [path.with_extension("new"), path] {
            match overwrite_and_remove(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(JournalError::Io { path, source }),
            }
        }
        Ok(())
    }
}

fn overwrite_and_remove(path: &Path) -> io::Result<()> {
    let length = usize::try_from(fs::metadata(path)?.len()).unwrap_or(0);
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    fs::remove_file(path)
}
