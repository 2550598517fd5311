//! Files that hold secrets: created with mode 0600, refused when others may read them, overwritten before they are given up.
//!
//! Overwriting in place reaches the blocks of an ordinary file system. Copy-on-write file systems, snapshots and the wear
//! levelling of a flash disk may keep an older copy of a block; only an encrypted disk answers that.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::identity::random_bytes;

/// Why a secret file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// A file of this name is there already; it was not touched.
    #[error("{0} exists already and was not overwritten")]
    Exists(PathBuf),
    /// The file can be read or written by other users.
    #[error("{path} may be read by other users (mode {mode:03o}); run: chmod 600 {path}")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold what it should.
    #[error("{path} is damaged: it does not hold {expected} bytes")]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Bytes it should hold.
        expected: usize,
    },
    /// The file is longer than any that this program writes.
    #[error("{path} is damaged: it is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes it may hold.
        limit: usize,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> SecretFileError {
    move |source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Creates `path` with mode 0600, writes `bytes`, and syncs file and directory.
///
/// # Errors
/// [`SecretFileError::Exists`] when the file is there; otherwise what the system said.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let file = create_unsynced(path, bytes)?;
    file.sync_all().map_err(io_error(path))?;
    sync_directory_of(path)
}

/// Like [`create`], but a crash may lose or cut the file: for thousands of files that are synced together later.
///
/// # Errors
/// As [`create`].
pub fn create_unsynced(path: &Path, bytes: &[u8]) -> Result<fs::File, SecretFileError> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                SecretFileError::Exists(path.to_owned())
            } else {
                io_error(path)(error)
            }
        })?;
    file.write_all(bytes).map_err(io_error(path))?;
    Ok(file)
}

/// Writes `bytes` as the new content of `path`, in one step: after a crash there is the old file or the new one, whole. The old
/// content is overwritten once the new one is safe.
///
/// # Errors
/// What the system said; the old file stands then, or the new one when only overwriting the old content failed.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    replace_with(path, |file| file.write_all(bytes).map_err(io_error(path)))
}

/// Like [`replace`], with content that `write` writes piece by piece into the new file of mode 0600.
///
/// # Errors
/// What `write` or the system said; the old file stands then, or the new one when only overwriting the old content failed.
pub fn replace_with<T, E: From<SecretFileError>>(
    path: &Path,
    write: impl FnOnce(&mut fs::File) -> Result<T, E>,
) -> Result<T, E> {
    let partial = partial_path(path);
    // What a crash left there is secret, too.
    destroy(&partial)?;
    let mut new = create_unsynced(&partial, &[])?;
    let written = write(&mut new).and_then(|written| {
        new.sync_all().map_err(io_error(&partial))?;
        Ok(written)
    });
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            // The first error is the one to tell; what stays is overwritten by the next attempt.
            let _ = destroy(&partial);
            return Err(error);
        }
    };
    swap(&partial, path)?;
    Ok(written)
}

/// Puts `new` in the place of `path` and overwrites what was there.
fn swap(new: &Path, path: &Path) -> Result<(), SecretFileError> {
    let old = match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io_error(path)(error)),
    };
    fs::rename(new, path).map_err(io_error(path))?;
    sync_directory_of(path)?;
    old.map_or(Ok(()), |file| overwrite(file).map_err(io_error(path)))
}

/// Overwrites a file with random bytes and removes it, with what an interrupted [`replace`] left beside it. Says whether there
/// was such a file.
///
/// # Errors
/// What the system said; the file may stand then, overwritten or not, and the call is to be repeated.
pub fn destroy(path: &Path) -> Result<bool, SecretFileError> {
    let mut existed = false;
    for path in [path, &partial_path(path)] {
        match fs::OpenOptions::new().write(true).open(path) {
            Ok(file) => overwrite(file).map_err(io_error(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error(path)(error)),
        }
        fs::remove_file(path).map_err(io_error(path))?;
        existed = true;
    }
    if existed {
        sync_directory_of(path)?;
    }
    Ok(existed)
}

/// Where [`replace`] writes before it renames.
fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn overwrite(mut file: fs::File) -> io::Result<()> {
    let mut left = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let block = random_bytes::<4096>();
        let size = left.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(size).unwrap_or(block.len())])?;
        left -= size;
    }
    file.sync_all()
}

fn sync_directory_of(path: &Path) -> Result<(), SecretFileError> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error(path))
}

/// Reads a file of exactly `size` bytes that only its owner may read.
///
/// # Errors
/// When it is missing, too open, or not exactly `size` bytes long.
pub fn read(path: &Path, size: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let wrong_size = || SecretFileError::WrongSize {
        path: path.to_owned(),
        expected: size,
    };
    match read_bounded(path, size) {
        Ok(bytes) if bytes.len() == size => Ok(bytes),
        Ok(_) | Err(SecretFileError::TooLong { .. }) => Err(wrong_size()),
        Err(error) => Err(error),
    }
}

/// Reads a file of at most `limit` bytes that only its owner may read.
///
/// # Errors
/// When it is missing, too open, or longer.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let file = fs::File::open(path).map_err(io_error(path))?;
    let mode = file.metadata().map_err(io_error(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error(path))?;
    if bytes.len() > limit {
        return Err(SecretFileError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_never_overwritten_and_refused_when_opened_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        create(&path, &[1; 32]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, &[2; 32]), Err(SecretFileError::Exists(_))));
        assert_eq!(*read(&path, 32).unwrap(), vec![1; 32]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read(&path, 32),
            Err(SecretFileError::TooOpen { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path, 31), Err(SecretFileError::WrongSize { .. })));
    }

    #[test]
    fn a_replaced_or_destroyed_file_leaves_its_old_bytes_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account.key");
        let (watched, watched_partial) = (directory.path().join("watched"), directory.path().join("partial"));
        create(&path, &[1; 300]).unwrap();
        // Other names of the same files, so that what became of their bytes can be seen.
        fs::hard_link(&path, &watched).unwrap();
        fs::write(partial_path(&path), [3; 300]).unwrap();
        fs::hard_link(partial_path(&path), &watched_partial).unwrap();
        replace(&path, &[2; 400]).unwrap();
        assert_eq!(*read(&path, 400).unwrap(), vec![2; 400]);
        for watched in [&watched, &watched_partial] {
            let left = fs::read(watched).unwrap();
            assert_eq!(left.len(), 300);
            assert!(
                !left.windows(8).any(|bytes| bytes == [1; 8] || bytes == [3; 8]),
                "{left:?}"
            );
            fs::remove_file(watched).unwrap();
        }

        fs::hard_link(&path, &watched).unwrap();
        let failed = replace_with(&path, |file| {
            file.write_all(&[4; 10]).unwrap();
            Err::<(), _>(SecretFileError::Exists(path.clone()))
        });
        assert!(failed.is_err());
        assert_eq!(*read(&path, 400).unwrap(), vec![2; 400], "the old file stands");
        assert!(!partial_path(&path).exists());

        assert!(destroy(&path).unwrap());
        assert!(!fs::read(&watched).unwrap().windows(8).any(|bytes| bytes == [2; 8]));
        assert!(!path.exists());
        assert!(!destroy(&path).unwrap(), "there is nothing left to destroy");
        assert!(matches!(
            read_bounded(&watched, 399),
            Err(SecretFileError::TooLong { limit: 399, .. })
        ));
    }
}
