//! Everything the network remembers, one file per record:
//!
//! - [`member`]: a node's certificate; written by the member that admitted it.
//! - [`account`]: a person: name, role, when and by which one-time link it was made.
//! - [`credential`]: what a person signs in with, kept apart from the profile.
//! - [`character`]: name, description, greeting, prompt and sampling of a character.
//! - [`session`]: a chat of one person with one character: messages by ULID.
//!
//! A record is plain data with validation; its merge law is the automerge shape it is written into, said in each file.

pub mod account;
pub mod character;
pub mod credential;
pub mod member;
pub mod session;
mod shape;

use automerge::AutoCommit;
use serde::{Deserialize, Serialize};

pub use shape::RecordError;

/// What a document is. The numbers are on disk and on the wire: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum RecordKind {
    /// [`member::Member`]
    Member = 0,
    /// [`account::Account`]
    Account = 1,
    /// [`credential::Credential`]
    Credential = 2,
    /// [`character::Character`]
    Character = 3,
    /// [`session::Session`]
    Session = 4,
}

/// A record that begins a document.
pub trait Record: sealed::Shape + Send + 'static {
    /// What the document is.
    const KIND: RecordKind;
    /// Checks every limit of the record.
    ///
    /// # Errors
    /// Which limit is broken.
    fn validate(&self) -> Result<(), RecordError>;
}

/// A change to a document that exists.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Adds a message to a session, or replaces the one with the same id.
    PutMessage(session::Message),
}

pub(crate) mod sealed {
    use super::{AutoCommit, RecordError};

    /// How a record is written into and read from a document. Not visible outside, so that automerge stays inside this crate.
    pub trait Shape: Sized {
        /// Writes the first content of a document.
        fn write(&self, document: &mut AutoCommit) -> Result<(), RecordError>;
        /// Reads the record as it is now.
        fn read(document: &AutoCommit) -> Result<Self, RecordError>;
    }
}

/// Whether a document, as it would be with a change from outside, still reads as its record and keeps its limits.
pub(crate) fn is_valid(kind: RecordKind, document: &AutoCommit) -> bool {
    fn valid<R: Record>(document: &AutoCommit) -> bool {
        R::read(document).is_ok_and(|record| record.validate().is_ok())
    }
    match kind {
        RecordKind::Member => valid::<member::Member>(document),
        RecordKind::Account => valid::<account::Account>(document),
        RecordKind::Credential => valid::<credential::Credential>(document),
        RecordKind::Character => valid::<character::Character>(document),
        // Messages are validated one by one where they are read: a session with one bad message keeps the others.
        RecordKind::Session => <session::Session as sealed::Shape>::read(document).is_ok(),
    }
}
