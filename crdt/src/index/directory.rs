//! The index's directory: markers in it, and its replacement by another one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::IndexError;

/// Says something of the index for the next process, by a file in its directory.
#[derive(Clone, Copy)]
pub(super) enum Marker {
    /// It is being opened. Some damage ends the process (it makes the database ask for impossible memory): who finds this does not
    /// try again.
    Opening,
    /// It must be built anew.
    Condemned,
}

impl Marker {
    fn file(self, index: &Path) -> PathBuf {
        index.join(match self {
            Self::Opening => "opening",
            Self::Condemned => "condemned",
        })
    }

    pub(super) fn is_set(self, index: &Path) -> bool {
        self.file(index).exists()
    }

    /// Sets it durably.
    pub(super) fn set(self, index: &Path) -> Result<(), IndexError> {
        let error = |source| io_error(index, source);
        fs::create_dir_all(index).map_err(error)?;
        File::create(self.file(index))
            .and_then(|file| file.sync_all())
            .map_err(error)?;
        sync(index).map_err(error)
    }

    pub(super) fn clear(self, index: &Path) -> Result<(), IndexError> {
        fs::remove_file(self.file(index)).map_err(|source| io_error(index, source))
    }
}

fn io_error(path: &Path, source: io::Error) -> IndexError {
    IndexError::Io {
        path: path.to_owned(),
        source,
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Where a compacted index is written.
pub(super) fn compacting(index: &Path) -> PathBuf {
    index.with_extension("compacting")
}

/// Where an index stands for the moment in which a compacted one takes its place.
fn replaced(index: &Path) -> PathBuf {
    index.with_extension("replaced")
}

/// Removes what a compaction left behind when it was interrupted, and puts the index back if it was interrupted in the middle.
pub(super) fn tidy(index: &Path) -> Result<(), IndexError> {
    remove(&compacting(index))?;
    let replaced = replaced(index);
    if replaced.exists() && !index.exists() {
        fs::rename(&replaced, index).map_err(|source| io_error(index, source))?;
    }
    remove(&replaced)
}

/// Renames a damaged index, so that a person can still look at it; an older one set aside is replaced.
pub(super) fn set_aside(index: &Path) -> Result<(), IndexError> {
    let aside = index.with_extension("damaged");
    remove(&aside)?;
    match fs::rename(index, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(index, error)),
        _ => Ok(()),
    }
}

/// Puts the closed index `fresh` in the place of the closed index `index`. On an error one of the two stands there.
pub(super) fn replace(index: &Path, fresh: &Path) -> Result<(), IndexError> {
    let error = |source| io_error(index, source);
    for file in files(fresh).map_err(error)? {
        sync(&file).map_err(error)?;
    }
    let replaced = replaced(index);
    remove(&replaced)?;
    fs::rename(index, &replaced).map_err(error)?;
    if let Err(source) = fs::rename(fresh, index) {
        fs::rename(&replaced, index).map_err(error)?;
        return Err(error(source));
    }
    if let Some(parent) = index.parent() {
        sync(parent).map_err(error)?;
    }
    remove(&replaced)
}

pub(super) fn remove(directory: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(directory, error)),
        _ => Ok(()),
    }
}

/// Bytes of all files; what vanishes meanwhile takes none.
pub(super) fn bytes(directory: &Path) -> u64 {
    let length = |path: PathBuf| fs::metadata(path).map_or(0, |file| if file.is_file() { file.len() } else { 0 });
    files(directory).unwrap_or_default().into_iter().map(length).sum()
}

/// Every file and directory below, but for the directory itself.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        }
        found.push(path);
    }
    Ok(found)
}
