//! A key that lies in a safe place, closed with a passphrase: the root's, on a stick or in a drawer.
//!
//! The file says its version and what the passphrase costs to try (argon2id, as for archives), and holds the 32 bytes of the key under
//! XChaCha20-Poly1305. It is of mode 0600 as every secret is.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::{
    NodeKey,
    archive::{ArchiveKey, PassphraseError},
    identity::random_bytes,
    limits::{ARCHIVE_ARGON2_MEMORY_KIB, ARCHIVE_ARGON2_PASSES},
    secret_file::{self, SecretFileError},
};

/// The first bytes of the file; the last one is the version.
const MAGIC: &[u8; 8] = b"STARKEY1";
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const SEALED_BYTES: usize = 32 + 16;
/// Bytes of a file that holds a closed key.
pub const SEALED_KEY_BYTES: usize = MAGIC.len() + SALT_BYTES + NONCE_BYTES + SEALED_BYTES;

/// Why a closed key cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SealedKeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The passphrase is not acceptable.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// A key file stands in the passphrase's place.
    #[error("a key is closed with a passphrase, not with a key file")]
    NotAPassphrase,
    /// It is closed, and no passphrase was given.
    #[error("the key is closed with a passphrase; give the file that holds it with --root-passphrase-file FILE")]
    PassphraseNeeded,
    /// The passphrase is another one, or the file was changed.
    #[error("the passphrase does not open this key, or the file is damaged")]
    WrongPassphrase,
    /// There is not enough memory for the passphrase.
    #[error("the passphrase could not be processed: {ARCHIVE_ARGON2_MEMORY_KIB} KiB of memory are needed")]
    OutOfMemory,
}

fn cipher(passphrase: &ArchiveKey, salt: &[u8]) -> Result<XChaCha20Poly1305, SealedKeyError> {
    let ArchiveKey::Passphrase(passphrase) = passphrase else {
        return Err(SealedKeyError::NotAPassphrase);
    };
    let mut secret = Zeroizing::new([0; 32]);
    let params = Params::new(ARCHIVE_ARGON2_MEMORY_KIB, ARCHIVE_ARGON2_PASSES, 1, Some(32));
    let params = params.map_err(|_| SealedKeyError::OutOfMemory)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *secret)
        .map_err(|_| SealedKeyError::OutOfMemory)?;
    Ok(XChaCha20Poly1305::new((&*secret).into()))
}

/// Writes a key into a new file that only the passphrase opens.
///
/// # Errors
/// When the file exists already or cannot be written; nothing is overwritten.
pub fn save(key: &NodeKey, path: &Path, passphrase: &ArchiveKey) -> Result<(), SealedKeyError> {
    let (salt, nonce) = (random_bytes::<SALT_BYTES>(), random_bytes::<NONCE_BYTES>());
    let mut sealed = Zeroizing::new(key.seed().to_vec());
    cipher(passphrase, &salt)?
        .encrypt_in_place(&XNonce::from(nonce), MAGIC, &mut *sealed)
        .map_err(|_| SealedKeyError::OutOfMemory)?;
    let bytes = [MAGIC.as_slice(), &salt, &nonce, &sealed].concat();
    Ok(secret_file::create(path, &bytes)?)
}

/// Reads a key from a file: one that [`save`] closed, with its passphrase, or an open one.
///
/// # Errors
/// When the file is missing, readable by others or damaged, or the passphrase is wrong or missing.
pub fn load(path: &Path, passphrase: Option<&ArchiveKey>) -> Result<NodeKey, SealedKeyError> {
    let bytes = secret_file::read_bounded(path, SEALED_KEY_BYTES)?;
    let Some(rest) = bytes.strip_prefix(MAGIC).filter(|_| bytes.len() == SEALED_KEY_BYTES) else {
        return Ok(NodeKey::load(path)?);
    };
    let passphrase = passphrase.ok_or(SealedKeyError::PassphraseNeeded)?;
    let (salt, rest) = rest.split_at(SALT_BYTES);
    let (nonce, sealed) = rest.split_at(NONCE_BYTES);
    let mut seed = Zeroizing::new(sealed.to_vec());
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| SealedKeyError::WrongPassphrase)?;
    cipher(passphrase, salt)?
        .decrypt_in_place(&XNonce::from(nonce), MAGIC, &mut *seed)
        .map_err(|_| SealedKeyError::WrongPassphrase)?;
    let seed: &[u8; 32] = seed
        .as_slice()
        .try_into()
        .map_err(|_| SealedKeyError::WrongPassphrase)?;
    Ok(NodeKey::from_seed(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_key_opens_with_its_passphrase_only_and_an_open_one_as_ever() {
        let directory = tempfile::tempdir().unwrap();
        let (closed, open) = (directory.path().join("closed.key"), directory.path().join("root.key"));
        let key = NodeKey::from_seed(&[7; 32]);
        let passphrase = ArchiveKey::passphrase("correct horse battery").unwrap();
        save(&key, &closed, &passphrase).unwrap();
        let bytes = std::fs::read(&closed).unwrap();
        assert_eq!(bytes.len(), SEALED_KEY_BYTES);
        assert!(
            !bytes.windows(8).any(|window| window == &key.seed()[..8]),
            "the key is not in it"
        );
        assert_eq!(load(&closed, Some(&passphrase)).unwrap().id(), key.id());
        assert!(matches!(load(&closed, None), Err(SealedKeyError::PassphraseNeeded)));
        let other = ArchiveKey::passphrase("incorrect horse battery").unwrap();
        assert!(matches!(
            load(&closed, Some(&other)),
            Err(SealedKeyError::WrongPassphrase)
        ));
        assert!(matches!(
            save(&key, &closed, &passphrase),
            Err(SealedKeyError::File(SecretFileError::Exists(_)))
        ));
        key.save(&open).unwrap();
        assert_eq!(load(&open, None).unwrap().id(), key.id());
        let mut changed = bytes;
        changed[70] ^= 1;
        std::fs::write(&closed, changed).unwrap();
        assert!(matches!(
            load(&closed, Some(&passphrase)),
            Err(SealedKeyError::WrongPassphrase)
        ));
    }
}
