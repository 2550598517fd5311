//! Node identity: an ed25519 key pair whose public half is the node's id.

use std::{fmt, path::Path};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::secret_file::{self, SecretFileError};

/// A node's ed25519 public key: what the transport proves and what signatures name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// Reads the text that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The first eight digits, for people; never used to decide anything.
    #[must_use]
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }

    /// Whether `signature` over `message` was made by this id's key. Strict: refuses small-order keys and malleable signatures.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeId({})", self.short())
    }
}

/// The secret half of an identity. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// A fresh key from the operating system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = random_bytes();
        let key = Self::from_seed(&seed);
        seed.zeroize();
        key
    }

    /// The key that `seed` determines (an invite carries such a seed).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for a transport that needs the key itself.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Writes the key to a new file of mode 0600.
    ///
    /// # Errors
    /// When the file exists already or cannot be written; nothing is overwritten.
    pub fn save(&self, path: &Path) -> Result<(), SecretFileError> {
        secret_file::create(path, &*self.seed())
    }

    /// Reads a key that [`NodeKey::save`] wrote.
    ///
    /// # Errors
    /// When the file is missing, readable by others, or does not hold 32 bytes.
    pub fn load(path: &Path) -> Result<Self, SecretFileError> {
        let bytes = secret_file::read(path, 32)?;
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(bytes.as_slice().try_into().map_err(|_| SecretFileError::WrongSize {
                path: path.to_owned(),
                expected: 32,
            })?);
        Ok(Self::from_seed(&seed))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeKey(of {})", self.id().short())
    }
}

/// `N` bytes from the operating system, for nonces and seeds.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    use rand::TryRng;
    let mut bytes = [0; N];
    // A system without random numbers cannot run a node at all, and going on would make guessable keys.
    #[expect(clippy::expect_used, reason = "no safe way to go on without random numbers")]
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system gives random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_of_a_key_holds_no_secret() {
        let key = NodeKey::from_seed(&[7; 32]);
        let text = format!("{key:?}");
        assert!(!text.contains(&data_encoding::HEXLOWER.encode(&[7; 32])[..8]), "{text}");
        assert!(text.contains(&key.id().short()));
    }

    #[test]
    fn node_id_text_round_trips() {
        let id = NodeKey::generate().id();
        assert_eq!(NodeId::parse(&id.to_string()), Some(id));
        assert_eq!(NodeId::parse("00"), None);
    }
}
