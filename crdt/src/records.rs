//! Everything the network remembers, one file per record:
//!
//! - [`member`]: a node's certificate; written by the member that admitted it.
//! - [`account`]: a person: name, roles, devices, consents, favourites, when and by which one-time link it was made.
//! - [`credential`]: what a person signs in with, kept apart from the profile.
//! - [`character`]: a character in drafts and published versions.
//! - [`session`]: a chat of one person with one character: messages by ULID, in a tree.
//! - [`claim`]: who wants a name, an address or a prompt for themselves, and who has it.
//! - [`service`]: a stop of a node, a role or the whole mesh: announced, confirmed, in force, over.
//! - [`alert`]: something that somebody should be told.
//! - [`report`]: a document that was made for people; its bytes are a blob.
//! - [`outbox`]: a message that leaves the mesh once, although any node may send it.
//! - [`settings`]: what administrators have set.
//! - [`audit`]: what was done by whom, in a chain of hashes for each node.
//! - [`model`]: a model in the catalogue: what it is called, what it is, and the hash by which its file is fetched.
//! - [`complaint`]: what a person complains of, as the person saw it, and what a moderator decided.
//!
//! A record is plain data with limits; its merge law is the shape in which it stands in a document, and is said in each file.
//!
//! ## Laws for all of them
//! - *What this node writes is checked strictly* ([`Record::validate`], and each [`Edit`] by itself) before it is written.
//! - *What comes from outside is never refused by a rule of a record*, because then the set of changes that a node holds would
//!   depend on their order. Only the first change of a document must read as its record, which every node judges alike. After that,
//!   reading sanitises: text that is too long is cut, numbers are clamped, what is unknown is left out.
//! - *Every stored value has a version*: documents in their field `version`, composed values in their first byte ([`migrate`]).
//! - *Reading is a function of the set of changes*: no clock, no order of arrival, no key takes part in what counts.

pub mod account;
pub mod alert;
pub mod audit;
pub mod character;
pub mod claim;
pub mod complaint;
pub mod credential;
mod entry_id;
pub mod member;
pub mod migrate;
pub mod model;
pub mod outbox;
pub mod report;
pub mod service;
pub mod session;
pub mod settings;
mod shape;
pub mod standalone;
#[cfg(test)]
mod testing;

use keys::ContentId;
use serde::{Deserialize, Serialize};

pub(crate) use self::shape::{Payload, Reader, Writer};
pub use self::{
    entry_id::EntryId,
    shape::{Open, PayloadReference, RecordError, Seal, Sealed},
};

/// What a document is. The numbers are on disk and on the wire: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// [`claim::Claim`]
    Claim = 5,
    /// [`service::Stop`]
    Service = 6,
    /// [`alert::Alert`]
    Alert = 7,
    /// [`report::Report`]
    Report = 8,
    /// [`outbox::Outbox`]
    Outbox = 9,
    /// [`settings::Settings`]
    Settings = 10,
    /// [`audit::Audit`]
    Audit = 11,
    /// [`model::Model`]
    Model = 12,
    /// [`complaint::Complaint`]
    Complaint = 13,
}

impl RecordKind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 14] = [
        Self::Member,
        Self::Account,
        Self::Credential,
        Self::Character,
        Self::Session,
        Self::Claim,
        Self::Service,
        Self::Alert,
        Self::Report,
        Self::Outbox,
        Self::Settings,
        Self::Audit,
        Self::Model,
        Self::Complaint,
    ];
}

/// A record that begins a document.
pub trait Record: shape::Shape + Send + 'static {
    /// What the document is.
    const KIND: RecordKind;
    /// Whether such a record may hold a person's data. An account's data is sealed under its own key, every other record's under
    /// that of its [owner](Record::owner).
    const PERSONAL: bool;

    /// Checks every limit of the record. What this node cannot read it does not judge.
    ///
    /// # Errors
    /// Which limit is broken.
    fn validate(&self) -> Result<(), RecordError>;

    /// The account whose personal data the record is. `None` for an account itself, and for what belongs to nobody.
    fn owner(&self) -> Option<ContentId> {
        None
    }
}

/// A change to a document that exists. Each record's edits are one enum, beside the record.
pub trait Edit: shape::Apply + Send + 'static {
    /// What kind of document it changes.
    const KIND: RecordKind;
}

/// Whose personal data a document is, and so under which key its text is sealed and by whose erasure it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's: its text stands in plain words.
    Nobody,
    /// It is an account: its own.
    Itself,
    /// This account's.
    Account(ContentId),
}

/// Whose personal data a document is. Fixed with its first change, so it can be remembered.
pub(crate) fn owner_of(kind: RecordKind, reader: &Reader<'_>) -> Owner {
    let account = match kind {
        RecordKind::Account => return Owner::Itself,
        RecordKind::Credential => credential::owner(reader),
        RecordKind::Session => session::owner(reader),
        RecordKind::Claim => claim::owner(reader),
        RecordKind::Outbox => outbox::owner(reader),
        RecordKind::Complaint => complaint::owner(reader),
        RecordKind::Member
        | RecordKind::Character
        | RecordKind::Service
        | RecordKind::Alert
        | RecordKind::Report
        | RecordKind::Settings
        | RecordKind::Audit
        | RecordKind::Model => None,
    };
    account.map_or(Owner::Nobody, Owner::Account)
}

/// Whether the first change of a document makes a record of its kind. It is judged without any key, so that every node says the same.
pub(crate) fn is_valid_genesis(kind: RecordKind, reader: &Reader<'_>) -> bool {
    fn reads<R: Record>(reader: &Reader<'_>) -> bool {
        R::read(&Reader::of_structure(reader.document)).is_ok()
    }
    match kind {
        RecordKind::Member => reads::<member::Member>(reader),
        RecordKind::Account => reads::<account::Account>(reader),
        RecordKind::Credential => reads::<credential::Credential>(reader),
        RecordKind::Character => reads::<character::Character>(reader),
        RecordKind::Session => reads::<session::Session>(reader),
        RecordKind::Claim => reads::<claim::Claim>(reader),
        RecordKind::Service => reads::<service::Stop>(reader),
        RecordKind::Alert => reads::<alert::Alert>(reader),
        RecordKind::Report => reads::<report::Report>(reader),
        RecordKind::Outbox => reads::<outbox::Outbox>(reader),
        RecordKind::Settings => reads::<settings::Settings>(reader),
        RecordKind::Audit => reads::<audit::Audit>(reader),
        RecordKind::Model => reads::<model::Model>(reader),
        RecordKind::Complaint => reads::<complaint::Complaint>(reader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_kinds_are_what_is_written() {
        for (number, kind) in RecordKind::ALL.into_iter().enumerate() {
            assert_eq!(postcard::to_stdvec(&kind).unwrap(), [u8::try_from(number).unwrap()]);
            assert_eq!(kind as usize, number);
        }
    }
}
