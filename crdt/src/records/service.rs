//! A stop: of the whole mesh, of a role or of a node; announced, confirmed, in force and over, with a countdown.
//!
//! ## Merge law
//! - What is stopped, why and by whom it was proposed is written once.
//! - *Begins* and *ends*: of two times set concurrently the later one counts, so that nobody is stopped earlier than they were told.
//! - *Confirmations* are only added, one for each person.
//! - *Cancelled* and *ended* stay, with the earliest of the times noted. Cancelled wins over everything: in doubt nothing is stopped.

use std::collections::BTreeMap;

use automerge::ScalarValue;
use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, Writer, cut},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of a reason.
pub const REASON_CHARACTERS_MAX: usize = 500;
/// Characters of how to reach somebody.
pub const CONTACTS_CHARACTERS_MAX: usize = 300;
/// Characters of a role's name.
pub const ROLE_CHARACTERS_MAX: usize = 40;
/// People who confirm one stop.
pub const CONFIRMATIONS_MAX: usize = 20;

const STOP: &str = "stop";
const BEGINS: &str = "begins";
const ENDS: &str = "ends";
const CONFIRMED: &str = "confirmed/";
const CANCELLED: &str = "cancelled";
const ENDED: &str = "ended";

/// What kind of stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StopKind {
    /// Announced a day before.
    Planned,
    /// At once.
    Emergency,
    /// A part of the mesh, announced an hour before.
    Partial,
    /// To see whether it works, announced a quarter of an hour before.
    Test,
}

/// What is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    Mesh,
    /// One node.
    Node(NodeId),
    /// Every node of a role.
    Role(String),
}

/// A stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What kind of stop.
    pub kind: StopKind,
    /// What is stopped.
    pub scope: Scope,
    /// Why, for everyone to read.
    pub reason: String,
    /// How to reach somebody meanwhile.
    pub contacts: String,
    /// Who proposed it.
    pub proposed_by: Option<ContentId>,
    /// When it was proposed.
    pub created: Timestamp,
    /// When it begins.
    pub begins: Timestamp,
    /// When it is expected to end.
    pub ends: Timestamp,
    /// Who confirmed it, and when.
    pub confirmed: BTreeMap<ContentId, Timestamp>,
    /// When it was cancelled.
    pub cancelled: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// Where a stop has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not enough people have confirmed it.
    Proposed,
    /// It begins in so many milliseconds.
    Announced {
        /// Until it begins.
        milliseconds: u64,
    },
    /// It is expected to end in so many milliseconds; zero when it is overdue.
    InForce {
        /// Until it should end.
        milliseconds: u64,
    },
    /// Over.
    Ended,
    /// It does not happen.
    Cancelled,
}

#[derive(Serialize, Deserialize)]
struct StoredStop {
    kind: StopKind,
    scope: Scope,
    reason: String,
    contacts: String,
    proposed_by: Option<ContentId>,
    created: Timestamp,
}

impl InitialFormat for StoredStop {
    const VERSION: u8 = 1;
}

impl Stop {
    /// Where the stop has got to at a time, when it takes `confirmations` people to confirm one.
    #[must_use]
    pub fn phase(&self, now: Timestamp, confirmations: usize) -> Phase {
        if self.cancelled.is_some() {
            Phase::Cancelled
        } else if self.ended.is_some() {
            Phase::Ended
        } else if self.confirmed.len() < confirmations {
            Phase::Proposed
        } else if now < self.begins {
            Phase::Announced {
                milliseconds: self.begins.since(now),
            }
        } else {
            Phase::InForce {
                milliseconds: self.ends.since(now),
            }
        }
    }

    /// Whether it stops a node with these roles.
    #[must_use]
    pub fn concerns(&self, node: &NodeId, roles: &[&str]) -> bool {
        match &self.scope {
            Scope::Mesh => true,
            Scope::Node(stopped) => stopped == node,
            Scope::Role(stopped) => roles.contains(&stopped.as_str()),
        }
    }
}

/// The stop that a node has to tell of: one in force before one that is announced, then the one that begins first, then the smaller id.
#[must_use]
pub fn next_stop<'a>(
    stops: &'a BTreeMap<ContentId, Stop>,
    node: &NodeId,
    roles: &[&str],
    now: Timestamp,
    confirmations: usize,
) -> Option<(ContentId, &'a Stop)> {
    let due = stops.iter().filter(|(_, stop)| stop.concerns(node, roles));
    let due = due.filter_map(|(id, stop)| match stop.phase(now, confirmations) {
        Phase::InForce { .. } => Some((false, stop.begins, *id)),
        Phase::Announced { .. } => Some((true, stop.begins, *id)),
        Phase::Proposed | Phase::Ended | Phase::Cancelled => None,
    });
    let (_, _, id) = due.min()?;
    Some((id, &stops[&id]))
}

impl Record for Stop {
    const KIND: RecordKind = RecordKind::Service;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("reason", &self.reason, 1, REASON_CHARACTERS_MAX)?;
        shape::check_text("contacts", &self.contacts, 0, CONTACTS_CHARACTERS_MAX)?;
        if let Scope::Role(role) = &self.scope {
            shape::check_name("role", role, ROLE_CHARACTERS_MAX)?;
        }
        shape::check_count("confirmations", self.confirmed.len(), CONFIRMATIONS_MAX)?;
        check_times(self.begins, self.ends)
    }
}

fn check_times(begins: Timestamp, ends: Timestamp) -> Result<(), RecordError> {
    if begins <= ends {
        Ok(())
    } else {
        Err(RecordError::Limit(ENDS))
    }
}

impl Shape for Stop {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        let stored = StoredStop {
            kind: self.kind,
            scope: self.scope.clone(),
            reason: self.reason.clone(),
            contacts: self.contacts.clone(),
            proposed_by: self.proposed_by,
            created: self.created,
        };
        writer.put_value(STOP, STOP, &stored)?;
        writer.put(BEGINS, self.begins.0)?;
        writer.put(ENDS, self.ends.0)?;
        for (account, at) in &self.confirmed {
            writer.put(&format!("{CONFIRMED}{account}"), at.0)?;
        }
        for (field, at) in [(CANCELLED, self.cancelled), (ENDED, self.ended)] {
            if let Some(at) = at {
                writer.put(field, at.0)?;
            }
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredStop = reader.value(STOP).ok_or(RecordError::Field(STOP))?;
        let begins = Timestamp(reader.greatest(BEGINS).ok_or(RecordError::Field(BEGINS))?);
        let confirmed = reader.named(CONFIRMED).filter_map(|entry| match entry.value {
            ScalarValue::Uint(at) => Some((ContentId::parse(&entry.key)?, Timestamp(at))),
            _ => None,
        });
        Ok(Self {
            kind: stored.kind,
            scope: match stored.scope {
                Scope::Role(role) => Scope::Role(cut(role, ROLE_CHARACTERS_MAX)),
                scope @ (Scope::Mesh | Scope::Node(_)) => scope,
            },
            reason: cut(stored.reason, REASON_CHARACTERS_MAX),
            contacts: cut(stored.contacts, CONTACTS_CHARACTERS_MAX),
            proposed_by: stored.proposed_by,
            created: stored.created,
            begins,
            // A stop does not end before it begins.
            ends: Timestamp(reader.greatest(ENDS).unwrap_or(0)).max(begins),
            confirmed: confirmed.take(CONFIRMATIONS_MAX).collect(),
            cancelled: reader.least(CANCELLED).map(Timestamp),
            ended: reader.least(ENDED).map(Timestamp),
        })
    }
}

/// A change to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopEdit {
    /// Somebody confirms it.
    Confirm {
        /// Who.
        by: ContentId,
        /// When.
        at: Timestamp,
    },
    /// It is put off, or is expected to take longer.
    SetTimes {
        /// When it begins.
        begins: Timestamp,
        /// When it is expected to end.
        ends: Timestamp,
    },
    /// It does not happen.
    Cancel(Timestamp),
    /// It is over.
    End(Timestamp),
}

impl Edit for StopEdit {
    const KIND: RecordKind = RecordKind::Service;
}

impl Apply for StopEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::Confirm { by, at } => {
                let key = format!("{CONFIRMED}{by}");
                if writer.reader().scalar(&key).is_some() {
                    return Ok(());
                }
                if writer.reader().named(CONFIRMED).count() >= CONFIRMATIONS_MAX {
                    return Err(RecordError::Full("confirmations"));
                }
                writer.put(&key, at.0)
            }
            Self::SetTimes { begins, ends } => {
                check_times(*begins, *ends)?;
                writer.put(BEGINS, begins.0)?;
                writer.put(ENDS, ends.0)
            }
            Self::Cancel(at) => put_once(writer, CANCELLED, *at),
            Self::End(at) => put_once(writer, ENDED, *at),
        }
    }
}

/// The first one stays.
fn put_once(writer: &mut Writer<'_>, field: &'static str, at: Timestamp) -> Result<(), RecordError> {
    match writer.reader().least(field) {
        Some(_) => Ok(()),
        None => writer.put(field, at.0),
    }
}

#[cfg(test)]
mod tests;
