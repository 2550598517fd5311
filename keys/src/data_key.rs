//! Data keys: the key under which one account's texts are sealed before they enter an envelope.
//!
//! Whoever destroys the key has erased the texts, wherever copies of them lie: that is how an account is forgotten.
//!
//! Texts are sealed with AES-256-SIV ([RFC 5297](https://www.rfc-editor.org/rfc/rfc5297)): deterministic, so the same text in the
//! same place gives the same bytes and a repeated write loses nothing; and misuse resistant, because there is no number that
//! must never be used twice. What it shows is only whether two texts *in the same place* are equal. So the context says the
//! place as exactly as it can (document and message), and it binds: text moved to another place does not open there.
//!
//! A sealed text is `version (1 byte) | key id (4) | SIV tag (16) | ciphertext`: [`OVERHEAD_BYTES`] more than the text.

use std::fmt;

use aes_siv::{KeyInit, siv::Aes256Siv};
use zeroize::Zeroizing;

use crate::identity::random_bytes;

/// First byte of a sealed text.
pub const SEALED_VERSION: u8 = 1;
/// Bytes by which a sealed text is longer than the text: version, key id and SIV tag.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

const HEADER_BYTES: usize = 1 + 4;
const TAG_BYTES: usize = 16;
/// What the secret is expanded for; another purpose or version gives another key.
const CIPHER_KEY_CONTEXT: &str = "starling/data-key/1 AES-256-SIV key";
const KEY_ID_CONTEXT: &str = "starling/data-key/1 key id";

/// Tells the data keys of one account apart. Short, because every sealed text carries it; it says nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataKeyId(pub [u8; 4]);

impl fmt::Display for DataKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DataKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DataKeyId({self})")
    }
}

/// Why a sealed text was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than the sealed form of an empty text.
    #[error("a sealed text of {0} bytes is cut: it has at least {OVERHEAD_BYTES}")]
    TooShort(usize),
    /// The first byte is a version this build does not know.
    #[error("a sealed text has version {0}, this build knows {SEALED_VERSION}")]
    UnknownVersion(u8),
    /// Sealed with another key than the one at hand.
    #[error("the text was sealed with the key {0}")]
    OtherKey(DataKeyId),
    /// The bytes were changed, or were sealed for another context.
    #[error("a sealed text was changed, or belongs to another place")]
    Forged,
}

/// The key of one account's texts. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct DataKey {
    // In a box, so that moving the key leaves no copies behind.
    secret: Box<Zeroizing<[u8; 32]>>,
    id: DataKeyId,
}

impl DataKey {
    /// A fresh key from the operating system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(&Zeroizing::new(random_bytes()))
    }

    /// The key with this secret: from the key file, or from another node.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        let mut id = [0; 4];
        id.copy_from_slice(&Zeroizing::new(blake3::derive_key(KEY_ID_CONTEXT, secret))[..4]);
        Self {
            secret: Box::new(Zeroizing::new(*secret)),
            id: DataKeyId(id),
        }
    }

    /// The secret, for the key file and for another node.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        (*self.secret).clone()
    }

    /// What sealed texts call this key.
    #[must_use]
    pub const fn id(&self) -> DataKeyId {
        self.id
    }

    /// The key that `sealed` asks for; `None` when it is no sealed text of this version.
    #[must_use]
    pub fn id_of(sealed: &[u8]) -> Option<DataKeyId> {
        header(sealed).ok().map(|(id, _)| id)
    }

    /// Seals `text` for the place that `context` names. Equal arguments give equal bytes.
    #[must_use]
    pub fn seal(&self, context: &[u8], text: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + text.len());
        sealed.push(SEALED_VERSION);
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&[0; TAG_BYTES]);
        sealed.extend_from_slice(text);
        let (head, body) = sealed.split_at_mut(OVERHEAD_BYTES);
        let (header, tag) = head.split_at_mut(HEADER_BYTES);
        let made = self.cipher().encrypt_inout_detached([&*header, context], body.into());
        #[expect(clippy::expect_used, reason = "SIV refuses only more than 126 headers; here are 2")]
        tag.copy_from_slice(&made.expect("two headers are allowed"));
        sealed
    }

    /// Opens what [`DataKey::seal`] made for the same context.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] when another key is needed; [`SealError::Forged`] when the bytes or the context are not those that
    /// were sealed; nothing of the text is given out then.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.opener().open(context, sealed)
    }

    /// Opens many texts, for as long as they are read: the key is expanded once.
    #[must_use]
    pub fn opener(&self) -> Opener {
        Opener {
            cipher: self.cipher(),
            id: self.id,
        }
    }

    /// The secret is expanded for each use instead of kept expanded: half a microsecond, and half as much secret in memory.
    fn cipher(&self) -> Aes256Siv {
        let mut key = Zeroizing::new([0; 64]);
        let mut expansion = blake3::Hasher::new_derive_key(CIPHER_KEY_CONTEXT);
        expansion.update(&**self.secret).finalize_xof().fill(&mut *key);
        Aes256Siv::new((&*key).into())
    }
}

/// A key that stands ready to open texts; see [`DataKey::opener`].
pub struct Opener {
    cipher: Aes256Siv,
    id: DataKeyId,
}

impl Opener {
    /// What sealed texts call its key.
    #[must_use]
    pub const fn id(&self) -> DataKeyId {
        self.id
    }

    /// As [`DataKey::open`].
    ///
    /// # Errors
    /// As [`DataKey::open`].
    pub fn open(&mut self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, body) = header(sealed)?;
        if id != self.id {
            return Err(SealError::OtherKey(id));
        }
        let opened = self.cipher.decrypt([&sealed[..HEADER_BYTES], context], body);
        opened.map_err(|_| SealError::Forged)
    }
}

impl PartialEq for DataKey {
    /// In constant time: whoever offers a key must not learn how much of it is right.
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(**self.secret) == blake3::Hash::from_bytes(**other.secret)
    }
}

impl Eq for DataKey {}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DataKey({})", self.id)
    }
}

/// The key id, and tag with ciphertext behind it.
fn header(sealed: &[u8]) -> Result<(DataKeyId, &[u8]), SealError> {
    match sealed {
        [SEALED_VERSION, a, b, c, d, body @ ..] if body.len() >= TAG_BYTES => Ok((DataKeyId([*a, *b, *c, *d]), body)),
        [version, ..] if *version != SEALED_VERSION => Err(SealError::UnknownVersion(*version)),
        _ => Err(SealError::TooShort(sealed.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &[u8] = b"document and message";
    const TEXT: &str = "скворец летит";

    fn key() -> DataKey {
        DataKey::from_bytes(&[7; 32])
    }

    #[test]
    fn golden_bytes_and_an_overhead_of_21() {
        let sealed = key().seal(CONTEXT, TEXT.as_bytes());
        assert_eq!(
            data_encoding::HEXLOWER.encode(&sealed),
            "01112ba4524a18c9fec370ca9aaaa3db03d5ad1ceddb07668458b3d0bd22a6aca053c125ce5d6a3a2aeff624c956"
        );
        assert_eq!(OVERHEAD_BYTES, 21);
        for length in [0, 1, 15, 16, 17, 1000] {
            let text = vec![b'a'; length];
            let sealed = key().seal(CONTEXT, &text);
            assert_eq!(sealed.len(), length + 21);
            assert_eq!(key().open(CONTEXT, &sealed).unwrap(), text);
        }
        assert_eq!(
            sealed,
            key().seal(CONTEXT, TEXT.as_bytes()),
            "a repeated write gives the same bytes"
        );
        assert_ne!(sealed[5..], key().seal(b"elsewhere", TEXT.as_bytes())[5..]);
    }

    #[test]
    fn the_cipher_is_the_one_that_others_use() {
        // From OpenSSL's AES-256-SIV, by way of Python's cryptography 48; the golden bytes above agree with it, too.
        let key: Vec<u8> = (0..64).collect();
        let mut cipher = Aes256Siv::new(key.as_slice().try_into().unwrap());
        let headers = [b"header".as_slice(), b"context"];
        let sealed = cipher.encrypt(headers, b"a text of some length").unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&sealed),
            "14ceaf6ce2e0d073448cf5b4973229cb823f4c9a1a7ccbec08c3681844044ba47e6dcad85a"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let sealed = key().seal(CONTEXT, TEXT.as_bytes());
        assert_eq!(key().open(CONTEXT, &sealed).unwrap(), TEXT.as_bytes());
        for position in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            let refused = key().open(CONTEXT, &damaged).unwrap_err();
            let expected = match position / 8 {
                0 => SealError::UnknownVersion(damaged[0]),
                1..=4 => SealError::OtherKey(DataKey::id_of(&damaged).unwrap()),
                _ => SealError::Forged,
            };
            assert_eq!(refused, expected, "bit {position}");
        }
        for length in 0..sealed.len() {
            assert!(key().open(CONTEXT, &sealed[..length]).is_err(), "cut at {length}");
        }
        assert_eq!(key().open(CONTEXT, &sealed[..20]), Err(SealError::TooShort(20)));
        assert_eq!(DataKey::id_of(&sealed[..20]), None);
        assert_eq!(DataKey::id_of(&[]), None);
    }

    #[test]
    fn another_context_and_another_key_are_refused() {
        let sealed = key().seal(CONTEXT, TEXT.as_bytes());
        assert_eq!(key().open(b"document and messagf", &sealed), Err(SealError::Forged));
        assert_eq!(key().open(b"", &sealed), Err(SealError::Forged));
        let other = DataKey::generate();
        assert_eq!(other.open(CONTEXT, &sealed), Err(SealError::OtherKey(key().id())));
        // Even when the id is made to fit.
        let mut renamed = sealed;
        renamed[1..5].copy_from_slice(&other.id().0);
        assert_eq!(other.open(CONTEXT, &renamed), Err(SealError::Forged));
    }

    #[test]
    fn a_key_survives_its_bytes_and_debug_text_holds_no_secret() {
        let key = DataKey::generate();
        assert_eq!(DataKey::from_bytes(&key.to_bytes()), key);
        assert_ne!(key, DataKey::generate());
        let text = format!("{:?}", self::key());
        assert_eq!(text, format!("DataKey({})", self::key().id()));
        assert!(!text.contains("0707"), "{text}");
    }
}
