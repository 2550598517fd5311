//! What opens an archive: a key file, or a passphrase.

use std::{fmt, path::Path};

use zeroize::Zeroizing;

use crate::{
    identity::random_bytes,
    limits::{PASSPHRASE_CHARACTERS_MIN, PASSPHRASE_FILE_BYTES_MAX, PASSWORD_BYTES_MAX},
    secret_file::{self, SecretFileError},
};

/// Why a passphrase is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// So short that a stolen archive could be opened by guessing.
    #[error("a passphrase has at least {PASSPHRASE_CHARACTERS_MIN} characters")]
    TooShort,
    /// Longer than anyone types.
    #[error("a passphrase has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The file is not text.
    #[error("{0} does not hold a line of text")]
    NotText(std::path::PathBuf),
    /// The file cannot be read, or others may read it.
    #[error(transparent)]
    File(#[from] SecretFileError),
}

/// The secret that an archive is encrypted with. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub enum ArchiveKey {
    /// 32 random bytes of a `backup.key`.
    File(Zeroizing<[u8; 32]>),
    /// What a person remembers or keeps in a password manager; see [`ArchiveKey::passphrase`].
    Passphrase(Zeroizing<String>),
}

impl ArchiveKey {
    /// Reads a backup key file.
    ///
    /// # Errors
    /// When it is missing, readable by others, or does not hold 32 bytes.
    pub fn load(path: &Path) -> Result<Self, SecretFileError> {
        let bytes = secret_file::read(path, 32)?;
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(&bytes);
        Ok(Self::File(secret))
    }

    /// Reads a backup key file, or makes one of mode 0600 when there is none.
    ///
    /// # Errors
    /// As [`ArchiveKey::load`], or when it cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretFileError> {
        let secret = Zeroizing::new(random_bytes::<32>());
        match secret_file::create(path, &*secret) {
            Ok(()) => Ok(Self::File(secret)),
            Err(SecretFileError::Exists(_)) => Self::load(path),
            Err(error) => Err(error),
        }
    }

    /// A passphrase, as typed. Blanks around it do not count.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn passphrase(text: &str) -> Result<Self, PassphraseError> {
        let text = text.trim();
        if text.chars().count() < PASSPHRASE_CHARACTERS_MIN {
            return Err(PassphraseError::TooShort);
        }
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PassphraseError::TooLong);
        }
        Ok(Self::Passphrase(Zeroizing::new(text.to_owned())))
    }

    /// Reads a passphrase from a file that only its owner may read; a passphrase never stands on a command line.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or does not hold a passphrase.
    pub fn load_passphrase(path: &Path) -> Result<Self, PassphraseError> {
        let bytes = secret_file::read_bounded(path, PASSPHRASE_FILE_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| PassphraseError::NotText(path.to_owned()))?;
        Self::passphrase(text)
    }
}

impl fmt::Debug for ArchiveKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::File(_) => "ArchiveKey::File",
            Self::Passphrase(_) => "ArchiveKey::Passphrase",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.key");
        assert!(ArchiveKey::load(&path).is_err());
        let made = ArchiveKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for again in [
            ArchiveKey::load_or_create(&path).unwrap(),
            ArchiveKey::load(&path).unwrap(),
        ] {
            let (ArchiveKey::File(made), ArchiveKey::File(again)) = (&made, &again) else {
                panic!("not a key file")
            };
            assert_eq!(made, again);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            ArchiveKey::load_or_create(&path),
            Err(SecretFileError::TooOpen { .. })
        ));
    }

    #[test]
    fn a_passphrase_comes_from_a_private_file_and_has_limits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        secret_file::create(&path, "верный конь батарея\n".as_bytes()).unwrap();
        let key = ArchiveKey::load_passphrase(&path).unwrap();
        assert!(matches!(&key, ArchiveKey::Passphrase(text) if **text == "верный конь батарея"));
        assert_eq!(format!("{key:?}"), "ArchiveKey::Passphrase");
        assert!(matches!(
            ArchiveKey::passphrase("  short    "),
            Err(PassphraseError::TooShort)
        ));
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert!(matches!(ArchiveKey::passphrase(&long), Err(PassphraseError::TooLong)));
        fs::write(&path, [0xff; 20]).unwrap();
        assert!(matches!(
            ArchiveKey::load_passphrase(&path),
            Err(PassphraseError::NotText(_))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            ArchiveKey::load_passphrase(&path),
            Err(PassphraseError::File(_))
        ));
    }
}
