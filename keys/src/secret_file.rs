//! Files that hold secrets: created with mode 0600, refused when others may read them.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

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
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Creates `path` with mode 0600, writes `bytes`, and syncs file and directory.
///
/// # Errors
/// [`SecretFileError::Exists`] when the file is there; otherwise what the system said.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let io_error = |source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                SecretFileError::Exists(path.to_owned())
            } else {
                io_error(error)
            }
        })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error)?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io_error)?;
    }
    Ok(())
}

/// Reads at most `size` bytes of a file that only its owner may read.
///
/// # Errors
/// When it is missing, too open, or not exactly `size` bytes long.
pub fn read(path: &Path, size: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let io_error = |source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(size as u64 + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() != size {
        return Err(SecretFileError::WrongSize {
            path: path.to_owned(),
            expected: size,
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
}
