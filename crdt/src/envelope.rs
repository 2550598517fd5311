//! The envelope: one automerge change, signed by the node that made it, with the sealed texts it brings.
//!
//! Two parts travel and lie together. The *signed part* holds the change and the hashes of its payloads; its hash is the
//! envelope's id. The *payloads* (ciphertexts of personal texts) stand beside it, proven by those hashes. So a text can be erased
//! by dropping its payload, while the change, its signature and everything that depends on it stay whole.
//!
//! Layout of version 2: the byte 2, length of the signed part (LEB128), the signed part, then for each payload its length plus
//! one (LEB128; zero: erased) and its bytes. Version 1 is a bare signed object (its first byte is 1) without payloads.

use keys::{ContentId, NodeId, NodeKey, Payload, Signed, SignedError};
use serde::{Deserialize, Serialize};

use crate::{
    limits::{ENVELOPE_BYTES_MAX, PAYLOADS_PER_ENVELOPE_MAX},
    records::RecordKind,
};

/// First byte of an envelope of this version. Version 1 begins with the version of its signed object.
const VERSION: u8 = 2;
const VERSION_1: u8 = keys::signed::SIGNED_VERSION;

/// What is signed. The document id is the content id of the document's first envelope, so a document certifies itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// What the document is.
    pub kind: RecordKind,
    /// The document; `None` in the envelope that begins one.
    pub document: Option<ContentId>,
    /// The account whose personal data the document is; only in the envelope that begins it.
    pub owner: Option<ContentId>,
    /// The automerge change, uncompressed.
    pub change: Vec<u8>,
    /// blake3 of each payload.
    pub payloads: Vec<ContentId>,
}

impl Payload for Body {
    const DOMAIN: &'static str = "starling/envelope/2";
}

/// What version 1 signed.
#[derive(Serialize, Deserialize)]
struct BodyVersion1 {
    kind: RecordKind,
    document: Option<ContentId>,
    change: Vec<u8>,
}

impl Payload for BodyVersion1 {
    const DOMAIN: &'static str = "starling/envelope/1";
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Over [`ENVELOPE_BYTES_MAX`].
    #[error("an envelope of {0} bytes is over the limit of {ENVELOPE_BYTES_MAX}")]
    TooLarge(usize),
    /// More than [`PAYLOADS_PER_ENVELOPE_MAX`].
    #[error("an envelope with {0} payloads is over the limit of {PAYLOADS_PER_ENVELOPE_MAX}")]
    TooManyPayloads(usize),
    /// Not an envelope of any version this build knows.
    #[error("the envelope has the unknown version {0}")]
    UnknownVersion(u8),
    /// A length points outside, or bytes follow.
    #[error("the envelope is cut or malformed")]
    Malformed,
    /// A payload is not the one that was signed for.
    #[error("a payload does not match its hash")]
    WrongPayload,
    /// The signed part is refused.
    #[error(transparent)]
    Signed(#[from] SignedError),
}

/// A verified envelope.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Hash of the signed part.
    pub id: ContentId,
    /// Who signed.
    pub author: NodeId,
    /// The document it belongs to.
    pub document: ContentId,
    /// Whether it begins the document.
    pub is_genesis: bool,
    /// What the document is.
    pub kind: RecordKind,
    /// The account whose data it is; known only in the envelope that begins a document.
    pub owner: Option<ContentId>,
    /// The automerge change.
    pub change: Vec<u8>,
    /// Each payload with its hash; `None` where it was erased.
    pub payloads: Vec<(ContentId, Option<Vec<u8>>)>,
    signed: Vec<u8>,
    /// Version 1 has no frame around the signed part.
    framed: bool,
}

impl Envelope {
    /// Signs a change with its payloads.
    ///
    /// # Errors
    /// When it is too large or has too many payloads.
    pub fn seal(
        key: &NodeKey,
        kind: RecordKind,
        document: Option<ContentId>,
        owner: Option<ContentId>,
        change: Vec<u8>,
        payloads: Vec<Vec<u8>>,
    ) -> Result<Self, EnvelopeError> {
        if payloads.len() > PAYLOADS_PER_ENVELOPE_MAX {
            return Err(EnvelopeError::TooManyPayloads(payloads.len()));
        }
        let body = Body {
            kind,
            document,
            owner,
            change,
            payloads: payloads.iter().map(|payload| ContentId::of(payload)).collect(),
        };
        let signed = Signed::sign(key, &body)?.to_bytes();
        let envelope = Self::assemble(key.id(), body, signed, payloads.into_iter().map(Some).collect(), true);
        let length = envelope.to_bytes().len();
        if length > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge(length));
        }
        Ok(envelope)
    }

    /// Verifies signature and payloads and reads the content.
    ///
    /// # Errors
    /// Why the bytes are not an envelope.
    pub fn open(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Self::read(bytes, Trust::Nothing)
    }

    /// Reads an envelope from this node's own journal, whose record has just been proven to be what was written: the signature was
    /// verified when it came in, and is not verified again.
    ///
    /// # Errors
    /// Why the bytes are not an envelope.
    pub fn open_own(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Self::read(bytes, Trust::Journal)
    }

    fn read(bytes: &[u8], trust: Trust) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        match bytes.split_first() {
            Some((&VERSION_1, _)) => Self::read_version_1(bytes, trust),
            Some((&VERSION, framed)) => Self::read_framed(framed, trust),
            Some((version, _)) => Err(EnvelopeError::UnknownVersion(*version)),
            None => Err(EnvelopeError::Malformed),
        }
    }

    fn read_framed(mut rest: &[u8], trust: Trust) -> Result<Self, EnvelopeError> {
        let length = take_length(&mut rest)?;
        let signed = take_bytes(&mut rest, length)?;
        let (author, body) = read_signed::<Body>(signed, trust)?;
        if body.payloads.len() > PAYLOADS_PER_ENVELOPE_MAX {
            return Err(EnvelopeError::TooManyPayloads(body.payloads.len()));
        }
        let mut payloads = Vec::with_capacity(body.payloads.len());
        for expected in &body.payloads {
            payloads.push(match take_length(&mut rest)? {
                0 => None,
                length => {
                    let payload = take_bytes(&mut rest, length - 1)?;
                    if ContentId::of(payload) != *expected {
                        return Err(EnvelopeError::WrongPayload);
                    }
                    Some(payload.to_vec())
                }
            });
        }
        if !rest.is_empty() {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self::assemble(author, body, signed.to_vec(), payloads, true))
    }

    fn read_version_1(bytes: &[u8], trust: Trust) -> Result<Self, EnvelopeError> {
        let (author, body) = read_signed::<BodyVersion1>(bytes, trust)?;
        let BodyVersion1 { kind, document, change } = body;
        let body = Body {
            kind,
            document,
            owner: None,
            change,
            payloads: Vec::new(),
        };
        Ok(Self::assemble(author, body, bytes.to_vec(), Vec::new(), false))
    }

    fn assemble(author: NodeId, body: Body, signed: Vec<u8>, payloads: Vec<Option<Vec<u8>>>, framed: bool) -> Self {
        let id = ContentId::of(&signed);
        Self {
            id,
            author,
            document: body.document.unwrap_or(id),
            is_genesis: body.document.is_none(),
            kind: body.kind,
            owner: body.owner,
            change: body.change,
            payloads: body.payloads.into_iter().zip(payloads).collect(),
            signed,
            framed,
        }
    }

    /// The bytes to journal and to send: the signed part with every payload that is still there.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if !self.framed {
            return self.signed.clone();
        }
        let mut bytes = vec![VERSION];
        put_length(&mut bytes, self.signed.len());
        bytes.extend_from_slice(&self.signed);
        for (_, payload) in &self.payloads {
            put_length(&mut bytes, payload.as_ref().map_or(0, |payload| payload.len() + 1));
            bytes.extend_from_slice(payload.as_deref().unwrap_or_default());
        }
        bytes
    }

    /// Whether it is of version 1, which knew neither payloads nor the rule for actors.
    #[must_use]
    pub fn is_version_1(&self) -> bool {
        !self.framed
    }

    /// Whether every payload is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.payloads.iter().all(|(_, payload)| payload.is_some())
    }

    /// Drops every payload: what remains proves the change and says nothing.
    pub fn strip(&mut self) {
        self.strip_but(|_| false);
    }

    /// Drops every payload but those whose hash is to be kept.
    pub fn strip_but(&mut self, is_kept: impl Fn(&ContentId) -> bool) {
        for (hash, payload) in &mut self.payloads {
            if !is_kept(hash) {
                *payload = None;
            }
        }
    }
}

/// What is known of bytes before they are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// They come from outside.
    Nothing,
    /// They were verified before and lay in the journal since.
    Journal,
}

fn read_signed<T: Payload>(bytes: &[u8], trust: Trust) -> Result<(NodeId, T), EnvelopeError> {
    let object = Signed::<T>::from_bytes(bytes)?;
    if trust == Trust::Journal {
        return Ok((object.author(), object.unverified()?));
    }
    // In its one form only: otherwise whoever passes it on could give it a second id.
    if object.to_bytes() != bytes {
        return Err(EnvelopeError::Malformed);
    }
    Ok((object.author(), object.open()?))
}

fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

fn take_length(rest: &mut &[u8]) -> Result<usize, EnvelopeError> {
    let mut length = 0;
    // Three groups of seven bits are enough for every length under the limit.
    for shift in [0, 7, 14] {
        let (first, after) = rest.split_first().ok_or(EnvelopeError::Malformed)?;
        *rest = after;
        length |= usize::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            // One length has one form, or the same envelope could be sent in many.
            let minimal = shift == 0 || *first != 0;
            return if minimal {
                Ok(length)
            } else {
                Err(EnvelopeError::Malformed)
            };
        }
    }
    Err(EnvelopeError::Malformed)
}

fn take_bytes<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], EnvelopeError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(EnvelopeError::Malformed)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payloads: Vec<Vec<u8>>) -> Envelope {
        let key = NodeKey::from_seed(&[1; 32]);
        let owner = Some(ContentId([7; 32]));
        Envelope::seal(&key, RecordKind::Session, None, owner, vec![1, 2, 3], payloads).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_and_what_is_stripped_keeps_its_id() {
        let mut envelope = sealed(vec![b"text".to_vec(), Vec::new()]);
        let opened = Envelope::open(&envelope.to_bytes()).unwrap();
        assert_eq!(
            (opened.id, opened.document, opened.is_genesis),
            (envelope.id, envelope.id, true)
        );
        assert_eq!(opened.owner, Some(ContentId([7; 32])));
        assert_eq!(opened.payloads, envelope.payloads);
        assert!(opened.is_complete());
        envelope.strip();
        let stripped = Envelope::open(&envelope.to_bytes()).unwrap();
        assert_eq!(stripped.id, opened.id);
        assert!(!stripped.is_complete());
        assert!(!envelope.to_bytes().windows(4).any(|window| window == b"text"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused_or_reads_the_same() {
        let bytes = sealed(vec![b"one text".to_vec()]).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::open(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Envelope::open(&bytes[..length]).is_err(), "cut at {length}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Envelope::open(&longer).unwrap_err(), EnvelopeError::Malformed);
    }

    #[test]
    fn limits_hold_when_sealing_and_when_opening() {
        let key = NodeKey::from_seed(&[1; 32]);
        let seal = |change: Vec<u8>, payloads| Envelope::seal(&key, RecordKind::Session, None, None, change, payloads);
        assert!(matches!(
            seal(vec![], vec![vec![0; ENVELOPE_BYTES_MAX]]),
            Err(EnvelopeError::TooLarge(_))
        ));
        assert!(matches!(
            seal(vec![], vec![vec![]; PAYLOADS_PER_ENVELOPE_MAX + 1]),
            Err(EnvelopeError::TooManyPayloads(_))
        ));
        assert!(matches!(
            Envelope::open(&vec![2; ENVELOPE_BYTES_MAX + 1]),
            Err(EnvelopeError::TooLarge(_))
        ));
        assert_eq!(Envelope::open(&[9, 9]).unwrap_err(), EnvelopeError::UnknownVersion(9));
        assert_eq!(Envelope::open(&[]).unwrap_err(), EnvelopeError::Malformed);
    }
}
