//! Bytes with an author: born only by signing, read only by verifying.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ContentId, NodeId, NodeKey, limits::SIGNED_BYTES_MAX};

/// First byte of a signed object on disk and on the wire.
pub const SIGNED_VERSION: u8 = 1;

/// What can be signed. The domain names the type *and its version*, so that a signature for one can never serve as another.
pub trait Payload: Serialize + DeserializeOwned {
    /// For example `starling/certificate/1`.
    const DOMAIN: &'static str;

    /// Opens what was signed as an older version of this type; called when the signature is not one of this version. A type that
    /// has had one version only leaves it as it is.
    ///
    /// # Errors
    /// [`SignedError::BadSignature`] when it was not signed as an older version either.
    fn open_older(_signed: &Signed<Self>) -> Result<Self, SignedError> {
        Err(SignedError::BadSignature)
    }
}

/// Why a signed object was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// Longer than [`SIGNED_BYTES_MAX`].
    #[error("a signed object of {0} bytes is over the limit of {SIGNED_BYTES_MAX}")]
    TooLarge(usize),
    /// The first byte is a version this build does not know.
    #[error("a signed object has version {0}, this build knows {SIGNED_VERSION}")]
    UnknownVersion(u8),
    /// The frame around payload and signature is broken.
    #[error("a signed object is cut or malformed")]
    Malformed,
    /// The signature does not belong to author, domain and bytes.
    #[error("the signature does not verify")]
    BadSignature,
    /// The signature holds but the payload is not of the expected shape.
    #[error("the signed payload is malformed")]
    BadPayload,
}

/// A `T` in the exact bytes its author signed.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    author: NodeId,
    payload: Vec<u8>,
    // Two halves, because serde knows arrays up to 32.
    signature: ([u8; 32], [u8; 32]),
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self {
            author: self.author,
            payload: self.payload.clone(),
            signature: self.signature,
            kind: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Signed({} bytes by {})",
            self.payload.len(),
            self.author.short()
        )
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.author == other.author && self.payload == other.payload && self.signature == other.signature
    }
}

impl<T: Payload> Signed<T> {
    /// Signs `value` as `key`.
    ///
    /// # Errors
    /// [`SignedError::TooLarge`] when the encoded value is over the limit.
    pub fn sign(key: &NodeKey, value: &T) -> Result<Self, SignedError> {
        let payload = postcard::to_stdvec(value).map_err(|_| SignedError::BadPayload)?;
        if payload.len() > SIGNED_BYTES_MAX {
            return Err(SignedError::TooLarge(payload.len()));
        }
        let signature = key.sign(&message::<T>(&payload));
        Ok(Self {
            author: key.id(),
            payload,
            signature: halves(&signature),
            kind: PhantomData,
        })
    }

    /// Rebuilds a signed value whose parts travelled separately (an invite leaves out what the reader can derive).
    ///
    /// # Errors
    /// As [`Signed::open`].
    pub fn from_parts(author: NodeId, value: &T, signature: &[u8; 64]) -> Result<Self, SignedError> {
        let payload = postcard::to_stdvec(value).map_err(|_| SignedError::BadPayload)?;
        let signed = Self {
            author,
            payload,
            signature: halves(signature),
            kind: PhantomData,
        };
        signed.open()?;
        Ok(signed)
    }

    /// Decodes without verifying, because a signature costs more than everything else. Only for bytes that were verified when they came in
    /// and that a store has just proven to be unchanged, and to see that an object would be of no use anyhow, and leave it out then.
    ///
    /// # Errors
    /// When the payload is bad.
    pub fn unverified(&self) -> Result<T, SignedError> {
        match postcard::take_from_bytes(&self.payload) {
            Ok((value, [])) => Ok(value),
            _ => Err(SignedError::BadPayload),
        }
    }

    /// Verifies and decodes: the only way to the content of what comes from outside. What was signed as an older version that
    /// `T` still reads is opened as that.
    ///
    /// # Errors
    /// When the signature or the payload is bad.
    pub fn open(&self) -> Result<T, SignedError> {
        if !self
            .author
            .verifies(&message::<T>(&self.payload), &self.signature_bytes())
        {
            return T::open_older(self);
        }
        self.unverified()
    }
}

impl<T> Signed<T> {
    /// The same bytes, said to be a `U`. Nothing is believed by that: the domain of `U` is in what [`Signed::open`] verifies.
    pub(crate) fn claimed_as<U>(&self) -> Signed<U> {
        Signed {
            author: self.author,
            payload: self.payload.clone(),
            signature: self.signature,
            kind: PhantomData,
        }
    }

    /// Who claims to have signed; proven only by [`Signed::open`].
    #[must_use]
    pub const fn author(&self) -> NodeId {
        self.author
    }

    /// The 64 signature bytes.
    #[must_use]
    pub fn signature_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.signature.0);
        bytes[32..].copy_from_slice(&self.signature.1);
        bytes
    }

    /// Version byte, then author, payload and signature.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let buffer = vec![SIGNED_VERSION];
        // Writing fixed-size fields and a byte string into a growing vector cannot fail.
        postcard::to_extend(self, buffer).unwrap_or_default()
    }

    /// Reads what [`Signed::to_bytes`] wrote, and nothing else: postcard also reads lengths with needless bytes, and with those
    /// anyone could give a second content id to what someone else has signed. The signature is *not* checked yet.
    ///
    /// # Errors
    /// When too large, of an unknown version, or malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        // 160: author, signature and lengths around the payload.
        if bytes.len() > SIGNED_BYTES_MAX + 160 {
            return Err(SignedError::TooLarge(bytes.len()));
        }
        match bytes.split_first() {
            Some((&SIGNED_VERSION, rest)) => match postcard::take_from_bytes::<Self>(rest) {
                Ok((signed, [])) if signed.to_bytes() == bytes => Ok(signed),
                _ => Err(SignedError::Malformed),
            },
            Some((&version, _)) => Err(SignedError::UnknownVersion(version)),
            None => Err(SignedError::Malformed),
        }
    }

    /// blake3 of [`Signed::to_bytes`].
    #[must_use]
    pub fn content_id(&self) -> ContentId {
        ContentId::of(&self.to_bytes())
    }
}

/// What is signed: length-prefixed domain, then the payload. The prefix keeps one domain from being the start of another.
fn message<T: Payload>(payload: &[u8]) -> Vec<u8> {
    let domain = T::DOMAIN.as_bytes();
    let mut message = Vec::with_capacity(1 + domain.len() + payload.len());
    message.push(u8::try_from(domain.len()).unwrap_or(u8::MAX));
    message.extend_from_slice(domain);
    message.extend_from_slice(payload);
    message
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let mut halves = ([0; 32], [0; 32]);
    halves.0.copy_from_slice(&signature[..32]);
    halves.1.copy_from_slice(&signature[32..]);
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Note(String);
    impl Payload for Note {
        const DOMAIN: &'static str = "starling/test-note/1";
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct OtherNote(String);
    impl Payload for OtherNote {
        const DOMAIN: &'static str = "starling/test-other/1";
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = NodeKey::from_seed(&[3; 32]);
        let bytes = Signed::sign(&key, &Note("murmuration".into())).unwrap().to_bytes();
        assert_eq!(
            Signed::<Note>::from_bytes(&bytes).unwrap().open().unwrap().0,
            "murmuration"
        );
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            let opened = Signed::<Note>::from_bytes(&damaged).and_then(|signed| signed.open());
            assert!(opened.is_err(), "bit {position} was not noticed");
        }
        for length in 0..bytes.len() {
            assert!(Signed::<Note>::from_bytes(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_signed_object() {
        let key = NodeKey::from_seed(&[3; 32]);
        let bytes = Signed::sign(&key, &Note("murmuration".into())).unwrap().to_bytes();
        let length = 1 + 32;
        // The length of the payload, with a byte more than it needs.
        let longer = [&bytes[..length], &[bytes[length] | 0x80, 0], &bytes[length + 1..]].concat();
        let read: Result<(Signed<Note>, _), _> = postcard::take_from_bytes(&longer[1..]);
        assert!(
            read.unwrap().0.open().is_ok(),
            "without the comparison it would be taken"
        );
        assert_eq!(Signed::<Note>::from_bytes(&longer).unwrap_err(), SignedError::Malformed);
    }

    #[test]
    fn a_signature_does_not_serve_another_type_or_author() {
        let key = NodeKey::from_seed(&[4; 32]);
        let note = Signed::sign(&key, &Note("a".into())).unwrap();
        let other = Signed::<OtherNote>::from_bytes(&note.to_bytes()).unwrap();
        assert_eq!(other.open(), Err(SignedError::BadSignature));
        let stranger = NodeKey::from_seed(&[5; 32]).id();
        assert!(Signed::from_parts(stranger, &Note("a".into()), &note.signature_bytes()).is_err());
        assert!(Signed::from_parts(key.id(), &Note("a".into()), &note.signature_bytes()).is_ok());
    }

    #[test]
    fn oversized_and_future_objects_have_their_own_errors() {
        let key = NodeKey::generate();
        let long = Note("x".repeat(SIGNED_BYTES_MAX + 1));
        assert!(matches!(Signed::sign(&key, &long), Err(SignedError::TooLarge(_))));
        assert_eq!(
            Signed::<Note>::from_bytes(&[9, 1, 2]).unwrap_err(),
            SignedError::UnknownVersion(9)
        );
        assert!(matches!(
            Signed::<Note>::from_bytes(&vec![1; 70_000]),
            Err(SignedError::TooLarge(_))
        ));
    }
}
