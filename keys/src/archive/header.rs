//! The first bytes of an archive, and the keys that follow from them.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{ArchiveError, ArchiveKey};
use crate::limits::{
    ARCHIVE_ARGON2_MEMORY_KIB, ARCHIVE_ARGON2_MEMORY_KIB_MAX, ARCHIVE_ARGON2_PASSES, ARCHIVE_ARGON2_PASSES_MAX,
};

/// The last byte is the version.
const MAGIC: &[u8; 8] = b"STARBAK1";
const KEY_FILE: u8 = 1;
const PASSPHRASE: u8 = 2;
const LANES: u8 = 1;
/// The header without the key check.
const PREFIX_BYTES: usize = MAGIC.len() + 1 + 4 + 4 + 1 + 32;
pub(super) const HEADER_BYTES: usize = PREFIX_BYTES + 16;

const STREAM_KEY_CONTEXT: &str = "starling/archive/1 stream key";
const KEY_CHECK_CONTEXT: &str = "starling/archive/1 key check";

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// argon2id's parameters when there is a passphrase.
    pub(super) cost: Option<Cost>,
    pub(super) salt: [u8; 32],
}

/// argon2id's parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
}

/// What follows from header and secret.
pub(super) struct Keys {
    pub(super) stream: Zeroizing<[u8; 32]>,
    check: [u8; 16],
}

impl Header {
    pub(super) fn new(key: &ArchiveKey, salt: [u8; 32]) -> Self {
        let cost = Cost {
            memory_kib: ARCHIVE_ARGON2_MEMORY_KIB,
            passes: ARCHIVE_ARGON2_PASSES,
        };
        Self {
            cost: matches!(key, ArchiveKey::Passphrase(_)).then_some(cost),
            salt,
        }
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, ArchiveError> {
        let Some((&[kind, m0, m1, m2, m3, p0, p1, p2, p3, lanes], rest)) =
            bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk())
        else {
            return Err(ArchiveError::NotAnArchive);
        };
        let cost = Cost {
            memory_kib: u32::from_le_bytes([m0, m1, m2, m3]),
            passes: u32::from_le_bytes([p0, p1, p2, p3]),
        };
        let Cost { memory_kib, passes } = cost;
        let cost = match (kind, lanes) {
            (KEY_FILE, 0) if (memory_kib, passes) == (0, 0) => None,
            (PASSPHRASE, LANES) => Some(cost),
            // A key check of another kind of key could not fit.
            _ => return Err(ArchiveError::WrongKey),
        };
        if memory_kib > ARCHIVE_ARGON2_MEMORY_KIB_MAX || passes > ARCHIVE_ARGON2_PASSES_MAX {
            return Err(ArchiveError::TooExpensive { memory_kib, passes });
        }
        let mut salt = [0; 32];
        salt.copy_from_slice(&rest[..32]);
        Ok(Self { cost, salt })
    }

    pub(super) fn encode(&self, keys: &Keys) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..PREFIX_BYTES].copy_from_slice(&self.prefix());
        bytes[PREFIX_BYTES..].copy_from_slice(&keys.check);
        bytes
    }

    fn prefix(&self) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = KEY_FILE;
        if let Some(Cost { memory_kib, passes }) = self.cost {
            bytes[8] = PASSPHRASE;
            bytes[9..13].copy_from_slice(&memory_kib.to_le_bytes());
            bytes[13..17].copy_from_slice(&passes.to_le_bytes());
            bytes[17] = LANES;
        }
        bytes[18..].copy_from_slice(&self.salt);
        bytes
    }

    /// The keys of this archive, if `key` is of the kind that it asks for.
    pub(super) fn keys(&self, key: &ArchiveKey) -> Result<Keys, ArchiveError> {
        let secret = match (key, self.cost) {
            (ArchiveKey::File(secret), None) => secret.clone(),
            (ArchiveKey::Passphrase(passphrase), Some(cost)) => self.stretch(passphrase.as_bytes(), cost)?,
            (ArchiveKey::File(_), Some(_)) => return Err(ArchiveError::NeedsPassphrase),
            (ArchiveKey::Passphrase(_), None) => return Err(ArchiveError::NeedsKeyFile),
        };
        let derive = |context| {
            let mut derivation = blake3::Hasher::new_derive_key(context);
            derivation.update(&*secret).update(&self.prefix());
            Zeroizing::new(*derivation.finalize().as_bytes())
        };
        let mut check = [0; 16];
        check.copy_from_slice(&derive(KEY_CHECK_CONTEXT)[..16]);
        let stream = derive(STREAM_KEY_CONTEXT);
        Ok(Keys { stream, check })
    }

    fn stretch(&self, passphrase: &[u8], cost: Cost) -> Result<Zeroizing<[u8; 32]>, ArchiveError> {
        let parameters = Params::new(cost.memory_kib, cost.passes, u32::from(LANES), Some(32));
        let parameters = parameters.map_err(|_| ArchiveError::WrongKey)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let mut secret = Zeroizing::new([0; 32]);
        let stretched = argon2.hash_password_into(passphrase, &self.salt, &mut *secret);
        stretched.map_err(|_| ArchiveError::Hashing)?;
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_asks_for_too_much_is_refused_before_anything_is_done() {
        let key = ArchiveKey::passphrase("correct horse battery").unwrap();
        let cost = |memory_kib, passes| Header {
            cost: Some(Cost { memory_kib, passes }),
            salt: [1; 32],
        };
        let encoded = |header: Header| {
            header.encode(&Keys {
                stream: Zeroizing::new([0; 32]),
                check: [0; 16],
            })
        };
        let limits = (ARCHIVE_ARGON2_MEMORY_KIB_MAX, ARCHIVE_ARGON2_PASSES_MAX);
        assert_eq!(
            Header::decode(&encoded(cost(limits.0, limits.1))).unwrap(),
            cost(limits.0, limits.1)
        );
        for (memory_kib, passes) in [(limits.0 + 1, 1), (8, limits.1 + 1), (u32::MAX, u32::MAX)] {
            let refused = Header::decode(&encoded(cost(memory_kib, passes)));
            assert!(matches!(refused, Err(ArchiveError::TooExpensive { .. })), "{refused:?}");
        }
        // Parameters that argon2 itself refuses.
        let header = Header::decode(&encoded(cost(0, 0))).unwrap();
        assert!(matches!(header.keys(&key), Err(ArchiveError::WrongKey)));
    }
}
