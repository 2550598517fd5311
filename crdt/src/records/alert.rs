//! Something that somebody should be told, from when it was first seen until it is over.
//!
//! ## Merge law
//! - What it is and where is written once.
//! - *Severity* and *last seen* only rise: the greatest wins. An alert that is seen again after it was resolved is open again.
//! - *Resolved* is the time from which it was over; of concurrent ones the latest.
//! - *Acknowledgements* are only added, one for each person; the earliest one since the alert was last resolved counts.
//! - *Notified* holds for each channel when people were last told; the latest wins, so that nobody is told twice.
//!
//! Two nodes that see the same thing at the same time begin two documents; [`standing`] says which one stands for both.

use std::collections::BTreeMap;

use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, Writer, cut},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of what kind of thing it is, such as `cpu.high`.
pub const NAME_CHARACTERS_MAX: usize = 60;
/// Characters of what people are told.
pub const TEXT_CHARACTERS_MAX: usize = 1000;
/// People who acknowledge one alert.
pub const ACKNOWLEDGEMENTS_MAX: usize = 20;
/// Channels by which people are told.
pub const CHANNELS_MAX: usize = 10;
/// Characters of a channel's name.
pub const CHANNEL_CHARACTERS_MAX: usize = 40;

const ALERT: &str = "alert";
const SEVERITY: &str = "severity";
const SEEN: &str = "seen";
const RESOLVED: &str = "resolved";
const ACKNOWLEDGED: &str = "acknowledged/";
const NOTIFIED: &str = "notified/";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Into the daily report.
    Low,
    /// Somebody should look.
    Medium,
    /// Somebody must act.
    High,
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What kind of thing it is, such as `cpu.high`.
    pub name: String,
    /// The node that it is about; `None` when it is about the mesh.
    pub subject: Option<NodeId>,
    /// What people are told.
    pub text: String,
    /// What was measured.
    pub value: Option<f64>,
    /// What it should have stayed under.
    pub limit: Option<f64>,
    /// When it was first seen.
    pub opened: Timestamp,
    /// How bad it is at its worst.
    pub severity: Severity,
    /// When it was last seen.
    pub seen: Timestamp,
    /// Who acknowledged it, and when.
    pub acknowledged: BTreeMap<ContentId, Timestamp>,
    /// When it was over.
    pub resolved: Option<Timestamp>,
    /// When people were last told, by channel.
    pub notified: BTreeMap<String, Timestamp>,
}

/// Where an alert has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// Nobody has taken note of it.
    Open,
    /// Somebody has.
    Acknowledged {
        /// Who was first.
        by: ContentId,
        /// When.
        at: Timestamp,
    },
    /// It is over.
    Resolved {
        /// Since when.
        at: Timestamp,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredAlert {
    name: String,
    subject: Option<NodeId>,
    text: String,
    value: Option<f64>,
    limit: Option<f64>,
    opened: Timestamp,
}

impl InitialFormat for StoredAlert {
    const VERSION: u8 = 1;
}

impl Severity {
    const fn number(self) -> u64 {
        match self {
            Self::Low => 0,
            Self::Medium => 1,
            Self::High => 2,
        }
    }

    /// What a later version calls worse than all this one knows is at least as bad as the worst.
    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Low,
            1 => Self::Medium,
            _ => Self::High,
        }
    }
}

impl Alert {
    /// An alert that was just seen.
    #[must_use]
    pub fn new(name: &str, subject: Option<NodeId>, severity: Severity, text: &str, opened: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            subject,
            text: text.to_owned(),
            value: None,
            limit: None,
            opened,
            severity,
            seen: opened,
            acknowledged: BTreeMap::new(),
            resolved: None,
            notified: BTreeMap::new(),
        }
    }

    /// Where the alert has got to.
    #[must_use]
    pub fn state(&self) -> AlertState {
        if let Some(at) = self.resolved.filter(|resolved| *resolved >= self.seen) {
            return AlertState::Resolved { at };
        }
        // What somebody took note of before it was over they do not know to be back.
        let since = self.resolved;
        let counting = self.acknowledged.iter().filter(|(_, at)| Some(**at) > since);
        match counting.map(|(by, at)| (*at, *by)).min() {
            Some((at, by)) => AlertState::Acknowledged { by, at },
            None => AlertState::Open,
        }
    }
}

/// Of alerts that are not over, which stands for each thing: the one opened first, then the one with the smaller id.
#[must_use]
pub fn standing(alerts: &BTreeMap<ContentId, Alert>) -> BTreeMap<(String, Option<NodeId>), ContentId> {
    let mut standing: BTreeMap<(String, Option<NodeId>), (Timestamp, ContentId)> = BTreeMap::new();
    for (id, alert) in alerts {
        if matches!(alert.state(), AlertState::Resolved { .. }) {
            continue;
        }
        let own = (alert.opened, *id);
        let first = standing.entry((alert.name.clone(), alert.subject)).or_insert(own);
        *first = own.min(*first);
    }
    standing.into_iter().map(|(thing, (_, id))| (thing, id)).collect()
}

impl Record for Alert {
    const KIND: RecordKind = RecordKind::Alert;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_name("name", &self.name, NAME_CHARACTERS_MAX)?;
        shape::check_text("text", &self.text, 0, TEXT_CHARACTERS_MAX)?;
        shape::check_count("acknowledgements", self.acknowledged.len(), ACKNOWLEDGEMENTS_MAX)?;
        shape::check_count("channels", self.notified.len(), CHANNELS_MAX)?;
        let figures = [self.value, self.limit];
        if figures.into_iter().flatten().any(|figure| !figure.is_finite()) {
            return Err(RecordError::Limit("value"));
        }
        self.notified
            .keys()
            .try_for_each(|channel| shape::check_name("channel", channel, CHANNEL_CHARACTERS_MAX))
    }
}

impl Shape for Alert {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        let stored = StoredAlert {
            name: self.name.clone(),
            subject: self.subject,
            text: self.text.clone(),
            value: self.value,
            limit: self.limit,
            opened: self.opened,
        };
        writer.put_value(ALERT, ALERT, &stored)?;
        writer.put(SEVERITY, self.severity.number())?;
        writer.put(SEEN, self.seen.0)?;
        if let Some(resolved) = self.resolved {
            writer.put(RESOLVED, resolved.0)?;
        }
        for (account, at) in &self.acknowledged {
            writer.put(&format!("{ACKNOWLEDGED}{account}"), at.0)?;
        }
        for (channel, at) in &self.notified {
            writer.put(&format!("{NOTIFIED}{channel}"), at.0)?;
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredAlert = reader.value(ALERT).ok_or(RecordError::Field(ALERT))?;
        let acknowledged = reader.named(ACKNOWLEDGED).filter_map(|entry| {
            let at = reader.greatest(&format!("{ACKNOWLEDGED}{}", entry.key))?;
            Some((ContentId::parse(&entry.key)?, Timestamp(at)))
        });
        let notified = reader.named(NOTIFIED).filter_map(|entry| {
            let at = reader.greatest(&format!("{NOTIFIED}{}", entry.key))?;
            Some((cut(entry.key, CHANNEL_CHARACTERS_MAX), Timestamp(at)))
        });
        let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
        Ok(Self {
            name: cut(stored.name, NAME_CHARACTERS_MAX),
            subject: stored.subject,
            text: cut(stored.text, TEXT_CHARACTERS_MAX),
            value: finite(stored.value),
            limit: finite(stored.limit),
            opened: stored.opened,
            severity: Severity::from_number(reader.greatest(SEVERITY).unwrap_or(0)),
            seen: Timestamp(reader.greatest(SEEN).unwrap_or(0)).max(stored.opened),
            acknowledged: acknowledged.take(ACKNOWLEDGEMENTS_MAX).collect(),
            resolved: reader.greatest(RESOLVED).map(Timestamp),
            notified: notified.take(CHANNELS_MAX).collect(),
        })
    }
}

/// A change to an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertEdit {
    /// It was seen again.
    See {
        /// When.
        at: Timestamp,
        /// How bad it is by now.
        severity: Severity,
    },
    /// Somebody takes note of it.
    Acknowledge {
        /// Who.
        by: ContentId,
        /// When.
        at: Timestamp,
    },
    /// It is over.
    Resolve(Timestamp),
    /// People were told.
    Notify {
        /// By which channel.
        channel: String,
        /// When.
        at: Timestamp,
    },
}

impl Edit for AlertEdit {
    const KIND: RecordKind = RecordKind::Alert;
}

impl Apply for AlertEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::See { at, severity } => {
                writer.raise(SEEN, at.0)?;
                writer.raise(SEVERITY, severity.number())
            }
            Self::Acknowledge { by, at } => {
                let key = format!("{ACKNOWLEDGED}{by}");
                let count = writer.reader().named(ACKNOWLEDGED).count();
                if count >= ACKNOWLEDGEMENTS_MAX && writer.reader().scalar(&key).is_none() {
                    return Err(RecordError::Full("acknowledgements"));
                }
                // Whoever takes note of it again knows that it is back.
                writer.raise(&key, at.0)
            }
            Self::Resolve(at) => writer.raise(RESOLVED, at.0),
            Self::Notify { channel, at } => {
                shape::check_name("channel", channel, CHANNEL_CHARACTERS_MAX)?;
                let key = format!("{NOTIFIED}{channel}");
                let count = writer.reader().named(NOTIFIED).count();
                if count >= CHANNELS_MAX && writer.reader().scalar(&key).is_none() {
                    return Err(RecordError::Full("channels"));
                }
                writer.raise(&key, at.0)
            }
        }
    }
}

#[cfg(test)]
mod tests;
