//! The envelope: one automerge change, signed by the node that made it.

use keys::{ContentId, NodeId, NodeKey, Payload, Signed, SignedError};
use serde::{Deserialize, Serialize};

use crate::records::RecordKind;

/// What is signed. The document id is the content id of the document's first envelope, so a document certifies itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// What the document is.
    pub kind: RecordKind,
    /// The document; `None` in the envelope that begins one.
    pub document: Option<ContentId>,
    /// The automerge change, uncompressed.
    pub change: Vec<u8>,
}

impl Payload for Body {
    const DOMAIN: &'static str = "starling/envelope/1";
}

/// A verified envelope with its exact bytes.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Hash of the exact bytes.
    pub id: ContentId,
    /// Who signed.
    pub author: NodeId,
    /// The document it belongs to.
    pub document: ContentId,
    /// Whether it begins the document.
    pub is_genesis: bool,
    /// What the document is.
    pub kind: RecordKind,
    /// The automerge change.
    pub change: Vec<u8>,
    /// The exact bytes, as journalled and sent.
    pub bytes: Vec<u8>,
}

impl Envelope {
    /// Signs a change.
    ///
    /// # Errors
    /// When it is too large.
    pub fn seal(
        key: &NodeKey,
        kind: RecordKind,
        document: Option<ContentId>,
        change: Vec<u8>,
    ) -> Result<Self, SignedError> {
        let body = Body { kind, document, change };
        let bytes = Signed::sign(key, &body)?.to_bytes();
        Ok(Self::assemble(key.id(), body, bytes))
    }

    /// Verifies the signature and reads the content.
    ///
    /// # Errors
    /// Why the bytes are not an envelope.
    pub fn open(bytes: Vec<u8>) -> Result<Self, SignedError> {
        let signed = Signed::<Body>::from_bytes(&bytes)?;
        let body = signed.open()?;
        Ok(Self::assemble(signed.author(), body, bytes))
    }

    fn assemble(author: NodeId, body: Body, bytes: Vec<u8>) -> Self {
        let id = ContentId::of(&bytes);
        Self {
            id,
            author,
            document: body.document.unwrap_or(id),
            is_genesis: body.document.is_none(),
            kind: body.kind,
            change: body.change,
            bytes,
        }
    }
}
