//! What a person has agreed to, and when, and to which words.

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::records::{
    EntryId, RecordError, Sealed,
    migrate::InitialFormat,
    shape::{self, Reader, StoredText, Writer, context, decode},
};

/// Consents of one account, of which the newest are read.
pub const CONSENTS_MAX: usize = 200;
/// Characters of a network address (an IPv6 address with a zone).
const ADDRESS_CHARACTERS_MAX: usize = 64;
const CONSENT: &str = "c";

/// What is agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConsentKind {
    /// The terms of use.
    Terms,
    /// The processing of personal data.
    PersonalData,
}

/// A person agreed, or withdrew what had been agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// When; nothing else of an id is used.
    pub id: EntryId,
    /// To what.
    pub kind: ConsentKind,
    /// Whether it was given; otherwise withdrawn.
    pub given: bool,
    /// Hash of the words that were shown.
    pub text: ContentId,
    /// Which edition of the words.
    pub edition: u32,
    /// From which network address.
    pub address: Sealed,
}

#[derive(Serialize, Deserialize)]
struct StoredConsent {
    kind: ConsentKind,
    given: bool,
    text: ContentId,
    edition: u32,
    address: StoredText,
}

impl InitialFormat for StoredConsent {
    const VERSION: u8 = 1;
}

impl Consent {
    /// When it was said.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.id.at()
    }

    pub(super) fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("address", &self.address, 0, ADDRESS_CHARACTERS_MAX)
    }
}

pub(super) fn read(reader: &Reader<'_>) -> Vec<Consent> {
    let consents = reader.entries(CONSENT).filter_map(|entry| {
        let id = entry.key;
        let stored: StoredConsent = decode(&entry.value)?;
        Some(Consent {
            id,
            kind: stored.kind,
            given: stored.given,
            text: stored.text,
            edition: stored.edition,
            address: reader.open_text(&stored.address, &context("consent", Some(&id)), ADDRESS_CHARACTERS_MAX),
        })
    });
    let mut consents: Vec<Consent> = consents.collect();
    consents.split_off(consents.len().saturating_sub(CONSENTS_MAX))
}

pub(super) fn write(writer: &mut Writer<'_>, consent: &Consent) -> Result<(), RecordError> {
    consent.validate()?;
    let stored = StoredConsent {
        kind: consent.kind,
        given: consent.given,
        text: consent.text,
        edition: consent.edition,
        address: writer.seal_text("address", &context("consent", Some(&consent.id)), &consent.address)?,
    };
    writer.put_value("consent", &format!("{CONSENT}{}", consent.id), &stored)
}
