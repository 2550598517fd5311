//! One piece of what a roster is computed from, as it travels and lasts.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{Certificate, Decree};
use crate::{ContentId, limits::EVIDENCE_BYTES_MAX, versioned};

/// First byte of a piece of evidence.
pub const EVIDENCE_VERSION: u8 = 1;

/// A certificate or a decree. Two nodes that have taken in the same evidence have the same roster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Evidence {
    /// How a node came in.
    Certificate(Certificate),
    /// What the root or an operator decided since.
    Decree(Decree),
}

/// Why bytes are not evidence: too large, of another version, or malformed.
pub type EvidenceError = versioned::VersionedError;

impl Evidence {
    /// Version byte, then postcard.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Within the limit by the limits of its parts; one that is not is refused by whoever reads it.
        versioned::encode(EVIDENCE_VERSION, self, usize::MAX).unwrap_or_default()
    }

    /// Reads what [`Evidence::to_bytes`] wrote, and nothing else: bytes that mean the same must not have a second id. Nothing is
    /// verified yet.
    ///
    /// # Errors
    /// Why the bytes are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let evidence: Self = versioned::decode(EVIDENCE_VERSION, bytes, EVIDENCE_BYTES_MAX)?;
        if evidence.to_bytes() == bytes {
            Ok(evidence)
        } else {
            Err(EvidenceError::Malformed)
        }
    }

    /// The same in hexadecimal digits, for the node's own socket.
    #[must_use]
    pub fn to_text(&self) -> String {
        HEXLOWER.encode(&self.to_bytes())
    }

    /// Reads what [`Evidence::to_text`] wrote.
    ///
    /// # Errors
    /// Why the text is refused.
    pub fn parse(text: &str) -> Result<Self, EvidenceError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| EvidenceError::Malformed)?;
        Self::from_bytes(&bytes)
    }

    /// What names it: the hash of its bytes.
    #[must_use]
    pub fn id(&self) -> ContentId {
        ContentId::of(&self.to_bytes())
    }
}
