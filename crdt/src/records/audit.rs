//! What was done by whom, as one node saw it: a chain of hashes to which only that node adds.
//!
//! Each entry holds the hash of the one before it, so that nothing can be changed, left out or put in between without [`Audit::verify`]
//! finding the place. A long chain goes on in a further document, which begins with the end of the one before.
//!
//! ## Merge law
//! Entries are only added, each under its number, by the node that began the document. Whatever else stands in it is found by
//! [`Audit::verify`], and is shown rather than hidden: two entries under one number, an entry of another node, a gap.
//!
//! The record is nobody's: it names people by their accounts, and what it says stays when one of them is erased.

use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind,
    migrate::{InitialFormat, Migrate},
    shape::{self, Apply, Reader, Shape, Writer, cut, decode},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Entries of one document; then the chain goes on in a further one.
pub const ENTRIES_MAX: u32 = 10_000;
/// Characters of what was done, such as `account.block`.
pub const ACTION_CHARACTERS_MAX: usize = 60;
/// Characters of any other text of an entry.
pub const TEXT_CHARACTERS_MAX: usize = 300;
/// What the first entry of a chain has in place of the hash of the one before.
const BEGINNING: [u8; 32] = [0; 32];

const CREATED: &str = "created";
const CONTINUES: &str = "continues";
const ENTRY: &str = "entry/";

/// One node's record of what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When the document was begun.
    pub created: Timestamp,
    /// What it goes on from.
    pub continues: Option<Continuation>,
    /// The node that began it; `None` when that is not known here.
    pub node: Option<NodeId>,
    /// By number.
    pub entries: Vec<AuditEntry>,
}

/// The end of the document before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    /// Which document.
    pub document: ContentId,
    /// The hash of its last entry.
    pub hash: [u8; 32],
}

impl InitialFormat for Continuation {
    const VERSION: u8 = 1;
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// By whom; `None` for what the node does by itself.
    pub by: Option<ContentId>,
    /// What, such as `account.block`.
    pub action: String,
    /// To what or to whom.
    pub subject: String,
    /// From which network address.
    pub address: String,
    /// From what kind of device.
    pub device: String,
    /// Why, or with what outcome.
    pub detail: String,
}

/// An entry of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place, counted from zero.
    pub number: u32,
    /// What was done.
    pub event: AuditEvent,
    /// The hash of the entry before.
    pub previous: [u8; 32],
    /// The hash of this entry: blake3 of the exact bytes as they stand in the document.
    pub hash: [u8; 32],
    /// Who signed it.
    pub author: Option<NodeId>,
    /// Whether there is another one under the same number.
    pub is_forked: bool,
}

/// Where a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A number is missing.
    #[error("entry {0} is missing")]
    Gap(u32),
    /// An entry does not hold the hash of the one before, so one of the two was changed.
    #[error("entry {0} does not follow the one before it")]
    Changed(u32),
    /// Another node wrote it.
    #[error("entry {0} was written by another node")]
    Foreign(u32),
    /// There are two under one number.
    #[error("there are two entries {0}")]
    Forked(u32),
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    previous: [u8; 32],
    event: AuditEvent,
}

impl InitialFormat for StoredEntry {
    const VERSION: u8 = 1;
}

impl Audit {
    /// A chain's beginning, or a further document of one.
    #[must_use]
    pub const fn new(created: Timestamp, continues: Option<Continuation>) -> Self {
        Self {
            created,
            continues,
            node: None,
            entries: Vec::new(),
        }
    }

    /// Checks the whole chain of this document; returns the hash of its end, with which the next one goes on.
    ///
    /// # Errors
    /// Where the first break is.
    pub fn verify(&self) -> Result<[u8; 32], ChainError> {
        let mut previous = self.continues.map_or(BEGINNING, |continuation| continuation.hash);
        for (number, entry) in (0..).zip(&self.entries) {
            if entry.number != number {
                return Err(ChainError::Gap(number));
            }
            if entry.is_forked {
                return Err(ChainError::Forked(number));
            }
            if entry.author != self.node {
                return Err(ChainError::Foreign(number));
            }
            if entry.previous != previous {
                return Err(ChainError::Changed(number));
            }
            previous = entry.hash;
        }
        Ok(previous)
    }
}

impl AuditEvent {
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_name("action", &self.action, ACTION_CHARACTERS_MAX)?;
        for (name, text) in [
            ("subject", &self.subject),
            ("address", &self.address),
            ("device", &self.device),
            ("detail", &self.detail),
        ] {
            shape::check_text(name, text, 0, TEXT_CHARACTERS_MAX)?;
        }
        Ok(())
    }

    fn sanitised(self) -> Self {
        Self {
            action: cut(self.action, ACTION_CHARACTERS_MAX),
            subject: cut(self.subject, TEXT_CHARACTERS_MAX),
            address: cut(self.address, TEXT_CHARACTERS_MAX),
            device: cut(self.device, TEXT_CHARACTERS_MAX),
            detail: cut(self.detail, TEXT_CHARACTERS_MAX),
            ..self
        }
    }
}

/// Eight digits, so that keys sort as numbers do.
fn key(number: u32) -> String {
    format!("{ENTRY}{number:08}")
}

impl Record for Audit {
    const KIND: RecordKind = RecordKind::Audit;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        // Entries are chained when they are added: a document begins without any.
        shape::check_count("entries", self.entries.len(), 0)
    }
}

impl Shape for Audit {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(CREATED, self.created.0)?;
        match &self.continues {
            Some(continuation) => writer.put_value(CONTINUES, CONTINUES, continuation),
            None => Ok(()),
        }
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let entries = reader.named(ENTRY).filter_map(|entry| {
            let number: u32 = entry.key.parse().ok()?;
            let bytes = entry.value.as_bytes()?;
            let hash = *blake3::hash(bytes).as_bytes();
            let stored: StoredEntry = decode(&entry.value)?;
            Some(AuditEntry {
                number,
                event: stored.event.sanitised(),
                previous: stored.previous,
                hash,
                author: entry.author,
                is_forked: entry.is_conflict,
            })
        });
        Ok(Self {
            created: reader.time(CREATED)?,
            continues: reader.value(CONTINUES),
            node: reader.author_of(CREATED),
            entries: entries.take(ENTRIES_MAX as usize).collect(),
        })
    }
}

/// A change to an audit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditEdit {
    /// Adds an entry at the end of the chain. Refused when the document is full: then a further one is begun.
    Append(AuditEvent),
}

impl Edit for AuditEdit {
    const KIND: RecordKind = RecordKind::Audit;
}

impl Apply for AuditEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        let Self::Append(event) = self;
        event.validate()?;
        let (number, previous) = end(&writer.reader());
        if number >= ENTRIES_MAX {
            return Err(RecordError::Full("entries"));
        }
        let stored = StoredEntry {
            previous,
            event: event.clone(),
        };
        let bytes = stored.encode().map_err(|_| RecordError::Limit("entry"))?;
        writer.put(&key(number), bytes)
    }
}

/// The number of the next entry and the hash of the last one. Looks at a few entries only, however many there are.
fn end(reader: &Reader<'_>) -> (u32, [u8; 32]) {
    let is_there = |number: u32| reader.scalar(&key(number)).is_some();
    let (mut there, mut missing) = (0, ENTRIES_MAX);
    // Entries below `there` are there, those from `missing` on are not.
    while there < missing {
        let middle = there + (missing - there) / 2;
        if is_there(middle) {
            there = middle + 1;
        } else {
            missing = middle;
        }
    }
    let last = there.checked_sub(1).and_then(|last| reader.scalar(&key(last)));
    let hash = last
        .as_ref()
        .and_then(|value| value.as_bytes())
        .map(|bytes| *blake3::hash(bytes).as_bytes());
    let continued = || {
        reader
            .value::<Continuation>(CONTINUES)
            .map(|continuation| continuation.hash)
    };
    (there, hash.or_else(continued).unwrap_or(BEGINNING))
}

#[cfg(test)]
mod tests;
