//! A message that leaves the mesh once, although any node may send it: a letter, a notice.
//!
//! Who sends it is settled by a *lease*, and the rules are pure functions of the record and the time ([`lease`](Outbox::turn)): the
//! able nodes have an order (a rendezvous hash), each may take the lease a little later than the one before it, and whoever has taken
//! it waits until the others must have heard of it. So exactly one sends while clocks agree to a few seconds and the network is whole.
//! In a split both halves may send; the message then carries the same [`key`](Outbox::key), by which the receiving side tells that it
//! is the same one, and once the halves meet nobody sends again.
//!
//! ## Merge law
//! - The message is written once.
//! - Of concurrent *leases* the one of the later attempt counts, then the one taken first, then the smaller node id.
//! - *Attempts* are only added. *Done* stays, with the earliest time noted; *abandoned* stays, and done wins over it.
//!
//! Recipient, subject and body are sealed when the message is about a person.

mod lease;

use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::lease::{
    ATTEMPTS_MAX, BACKOFF_MILLISECONDS, LEASE_MILLISECONDS, SETTLE_MILLISECONDS, STAGGER_MILLISECONDS, Turn,
};
use super::{
    Edit, EntryId, Record, RecordError, RecordKind, Sealed,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, StoredText, Writer, context, cut, decode},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of an address.
pub const RECIPIENT_CHARACTERS_MAX: usize = 320;
/// Characters of a subject.
pub const SUBJECT_CHARACTERS_MAX: usize = 200;
/// Characters of a body.
pub const BODY_CHARACTERS_MAX: usize = 8000;
/// Characters of why an attempt failed.
pub const ERROR_CHARACTERS_MAX: usize = 300;

const ACCOUNT: &str = "account";
const MESSAGE: &str = "message";
const LEASE: &str = "lease";
const ATTEMPT: &str = "a";
const DONE: &str = "done";
const ABANDONED: &str = "abandoned";

/// By which way a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// A letter.
    Mail,
    /// A Telegram message.
    Telegram,
    /// A short message.
    Sms,
    /// A push to a browser.
    Push,
}

/// A message that leaves the mesh once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Whom it is about.
    pub account: Option<ContentId>,
    /// By which way it leaves.
    pub channel: Channel,
    /// By which the receiving side can tell a second copy, for example as a letter's Message-ID.
    pub key: [u8; 16],
    /// To whom.
    pub recipient: Sealed,
    /// What stands above it.
    pub subject: Sealed,
    /// What it says.
    pub body: Sealed,
    /// When it was written.
    pub created: Timestamp,
    /// Not sent before this.
    pub not_before: Timestamp,
    /// Not sent after this.
    pub expires: Timestamp,
    /// Who is about to send it.
    pub lease: Option<Lease>,
    /// Attempts that failed, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it was sent.
    pub done: Option<Timestamp>,
    /// Whether it is not to be sent any more.
    pub abandoned: bool,
}

/// The right to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The node that signed it; `None` when that is not known here.
    pub holder: Option<NodeId>,
    /// When it was taken.
    pub taken: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// For which attempt, counted from zero.
    pub attempt: u64,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub id: EntryId,
    /// Which node tried.
    pub node: Option<NodeId>,
    /// Why it failed.
    pub error: String,
}

#[derive(Serialize, Deserialize)]
struct StoredMessage {
    channel: Channel,
    key: [u8; 16],
    recipient: StoredText,
    subject: StoredText,
    body: StoredText,
    created: Timestamp,
    not_before: Timestamp,
    expires: Timestamp,
}

impl InitialFormat for StoredMessage {
    const VERSION: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct StoredLease {
    taken: Timestamp,
    until: Timestamp,
    attempt: u64,
}

impl InitialFormat for StoredLease {
    const VERSION: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct StoredAttempt {
    error: String,
}

impl InitialFormat for StoredAttempt {
    const VERSION: u8 = 1;
}

/// Whose a message is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    reader.content_id(ACCOUNT).ok()
}

impl Record for Outbox {
    const KIND: RecordKind = RecordKind::Outbox;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("recipient", &self.recipient, 1, RECIPIENT_CHARACTERS_MAX)?;
        shape::check_sealed("subject", &self.subject, 0, SUBJECT_CHARACTERS_MAX)?;
        shape::check_sealed("body", &self.body, 0, BODY_CHARACTERS_MAX)?;
        shape::check_count("attempts", self.attempts.len(), ATTEMPTS_MAX)?;
        if self.not_before > self.expires {
            return Err(RecordError::Limit("expires"));
        }
        self.attempts.iter().try_for_each(Attempt::validate)
    }

    fn owner(&self) -> Option<ContentId> {
        self.account
    }
}

impl Attempt {
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("error", &self.error, 0, ERROR_CHARACTERS_MAX)
    }
}

impl Shape for Outbox {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        if let Some(account) = self.account {
            writer.put(ACCOUNT, account.0.to_vec())?;
        }
        let stored = StoredMessage {
            channel: self.channel,
            key: self.key,
            recipient: writer.seal_text("recipient", &context("recipient", None), &self.recipient)?,
            subject: writer.seal_text("subject", &context("subject", None), &self.subject)?,
            body: writer.seal_text("body", &context("body", None), &self.body)?,
            created: self.created,
            not_before: self.not_before,
            expires: self.expires,
        };
        writer.put_value(MESSAGE, MESSAGE, &stored)?;
        if let Some(lease) = &self.lease {
            write_lease(writer, lease.taken, lease.until, lease.attempt)?;
        }
        for attempt in &self.attempts {
            write_attempt(writer, attempt.id, &attempt.error)?;
        }
        if let Some(done) = self.done {
            writer.put(DONE, done.0)?;
        }
        if self.abandoned {
            writer.put(ABANDONED, true)?;
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredMessage = reader.value(MESSAGE).ok_or(RecordError::Field(MESSAGE))?;
        let text = |name, stored: &StoredText, most| reader.open_text(stored, &context(name, None), most);
        let attempts = reader.entries(ATTEMPT).filter_map(|entry| {
            let stored: StoredAttempt = decode(&entry.value)?;
            Some(Attempt {
                id: entry.key,
                node: entry.author,
                error: cut(stored.error, ERROR_CHARACTERS_MAX),
            })
        });
        Ok(Self {
            account: owner(reader),
            channel: stored.channel,
            key: stored.key,
            recipient: text("recipient", &stored.recipient, RECIPIENT_CHARACTERS_MAX),
            subject: text("subject", &stored.subject, SUBJECT_CHARACTERS_MAX),
            body: text("body", &stored.body, BODY_CHARACTERS_MAX),
            created: stored.created,
            not_before: stored.not_before,
            expires: stored.expires,
            lease: standing_lease(reader),
            // After so many there are no further ones, so more are somebody's mistake.
            attempts: attempts.take(ATTEMPTS_MAX).collect(),
            done: reader.least(DONE).map(Timestamp),
            abandoned: reader.flag(ABANDONED, true).unwrap_or(false),
        })
    }
}

fn standing_lease(reader: &Reader<'_>) -> Option<Lease> {
    let leases = reader.signed_values::<StoredLease>(LEASE).into_iter();
    let leases = leases.map(|(stored, holder)| Lease {
        holder,
        taken: stored.taken,
        until: stored.until.min(stored.taken.plus(LEASE_MILLISECONDS)),
        attempt: stored.attempt,
    });
    leases.min_by_key(|lease| (std::cmp::Reverse(lease.attempt), lease.taken, lease.holder))
}

fn write_lease(writer: &mut Writer<'_>, taken: Timestamp, until: Timestamp, attempt: u64) -> Result<(), RecordError> {
    let stored = StoredLease { taken, until, attempt };
    writer.put_value(LEASE, LEASE, &stored)
}

fn write_attempt(writer: &mut Writer<'_>, id: EntryId, error: &str) -> Result<(), RecordError> {
    let error = cut(error.to_owned(), ERROR_CHARACTERS_MAX);
    writer.put_value("attempt", &format!("{ATTEMPT}{id}"), &StoredAttempt { error })
}

/// A change to a message that leaves the mesh. Whose lease or attempt it is, is who signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxEdit {
    /// This node wants to send it. Only when [`Outbox::turn`] says so.
    TakeLease(Timestamp),
    /// This node tried and failed.
    AddAttempt {
        /// When.
        id: EntryId,
        /// Why it failed; over-long text is cut.
        error: String,
    },
    /// It was sent.
    Finish(Timestamp),
    /// It is not to be sent any more.
    Abandon,
}

impl Edit for OutboxEdit {
    const KIND: RecordKind = RecordKind::Outbox;
}

impl Apply for OutboxEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::TakeLease(now) => {
                let attempt = writer.reader().entries(ATTEMPT).count() as u64;
                write_lease(writer, *now, now.plus(LEASE_MILLISECONDS), attempt)
            }
            Self::AddAttempt { id, error } => {
                if writer.reader().entries(ATTEMPT).count() >= ATTEMPTS_MAX {
                    return Err(RecordError::Full("attempts"));
                }
                write_attempt(writer, *id, error)
            }
            Self::Finish(at) => match writer.reader().least(DONE) {
                Some(_) => Ok(()),
                None => writer.put(DONE, at.0),
            },
            Self::Abandon => writer.put(ABANDONED, true),
        }
    }
}

#[cfg(test)]
mod tests;
