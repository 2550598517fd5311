//! How records stand in automerge documents, and how personal text stands beside them.
//!
//! Every document is one flat map: a field under its name, an entry under a letter and its ULID (a message under the ULID alone).
//! Nested maps would cost 25 bytes more in every change (measured), because each operation then names the map and the actor that
//! made it. A field merges like a register; which of several concurrent values counts is said by each record.
//!
//! Personal text is *sealed*: its ciphertext travels beside the signed change, inside the same envelope, and the document holds
//! only the first bytes of the ciphertext's blake3 hash. When text is erased, the ciphertext is dropped everywhere and the change stays, so the
//! set of changes remains whole. A document without an owner, whose text nobody asks to erase, holds it in plain words.

mod reader;
mod text;
mod writer;

pub use self::text::{PayloadReference, Sealed};
pub(crate) use self::{
    reader::{Payload, Reader, decode},
    text::{StoredText, context, cut, reference_of},
    writer::Writer,
};
use crate::limits::TEXT_BYTES_MAX;

/// Encrypts a text, bound to its context: `(context, text) -> ciphertext`. The same text in the same context makes the same
/// ciphertext, so that writing what is there already changes nothing.
pub type Seal<'a> = &'a dyn Fn(&[u8], &[u8]) -> Vec<u8>;
/// Decrypts `(context, ciphertext)`; `None` when this node has no key, or the ciphertext is not of this context.
pub type Open<'a> = &'a dyn Fn(&[u8], &[u8]) -> Option<Vec<u8>>;

/// Why a record cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A field is missing or of the wrong type.
    #[error("the field {0} is missing or malformed")]
    Field(&'static str),
    /// A field breaks its limit.
    #[error("the field {0} is empty, too long or out of range")]
    Limit(&'static str),
    /// There are as many as there may be.
    #[error("there are as many {0} as there may be")]
    Full(&'static str),
    /// An edit of something that is not there.
    #[error("there is no such {0}")]
    Absent(&'static str),
    /// automerge refused.
    #[error("the document could not be changed: {0}")]
    Document(String),
}

/// How a record is written into and read from a document. Not visible outside, so that automerge stays inside this crate.
pub trait Shape: Sized {
    /// Writes the first content of a document.
    ///
    /// # Errors
    /// When a text cannot be written because it is not readable, or automerge refuses.
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError>;

    /// Reads the record as it is now, sanitised: what is too long is cut, what is out of range is clamped, what is unknown is left out.
    ///
    /// # Errors
    /// When a field that has no default is missing or malformed.
    fn read(reader: &Reader<'_>) -> Result<Self, RecordError>;
}

/// How an edit is written into a document.
pub trait Apply {
    /// Writes the change. What it finds to be so already it leaves alone, so that nothing is signed for nothing.
    ///
    /// # Errors
    /// When the edit breaks a limit; what was written until then is rolled back by the caller.
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError>;
}

/// A text of `least` to `most` characters.
pub(crate) fn check_text(name: &'static str, text: &str, least: usize, most: usize) -> Result<(), RecordError> {
    let characters = text.chars().count();
    let acceptable = characters >= least && characters <= most && text.len() <= TEXT_BYTES_MAX;
    if acceptable {
        Ok(())
    } else {
        Err(RecordError::Limit(name))
    }
}

/// A sealed text of `least` to `most` characters. What this node cannot read it cannot judge.
pub(crate) fn check_sealed(name: &'static str, text: &Sealed, least: usize, most: usize) -> Result<(), RecordError> {
    match text {
        Sealed::Readable(text) => check_text(name, text, least, most),
        Sealed::Erased | Sealed::Locked | Sealed::Missing | Sealed::Unopened => Ok(()),
    }
}

/// A name that programs use: 1 to `most` small letters, digits, dots, hyphens and underlines.
pub(crate) fn check_name(field: &'static str, name: &str, most: usize) -> Result<(), RecordError> {
    check_text(field, name, 1, most)?;
    let is_name_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if name.chars().all(is_name_part) {
        Ok(())
    } else {
        Err(RecordError::Limit(field))
    }
}

/// At most `most` of something.
pub(crate) const fn check_count(name: &'static str, count: usize, most: usize) -> Result<(), RecordError> {
    if count > most {
        Err(RecordError::Full(name))
    } else {
        Ok(())
    }
}
