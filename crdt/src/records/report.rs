//! A document that was made for people: what it is about; its bytes are a blob.
//!
//! ## Merge law
//! Everything is written once, but *resolved*, a flag that stays set. Two nodes that made the same report begin two documents;
//! [`standing`] says which one is shown.

use std::collections::BTreeMap;

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, Writer, cut},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of a title.
pub const TITLE_CHARACTERS_MAX: usize = 200;
/// Bytes of a report.
pub const REPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;

const REPORT: &str = "report";
const RESOLVED: &str = "resolved";

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReportKind {
    /// One day.
    Daily,
    /// One week, and the next one.
    Weekly,
    /// One incident.
    Incident,
    /// Errors, by type and frequency.
    Errors,
    /// What was erased on whose demand, with the receipts of the nodes.
    Erasure,
}

/// How its bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReportFormat {
    /// A page that needs nothing else.
    Html,
    /// For paper.
    Pdf,
    /// For programs.
    Json,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub kind: ReportKind,
    /// How its bytes are to be read.
    pub format: ReportFormat,
    /// What stands above it.
    pub title: String,
    /// The beginning of the time that it is about.
    pub from: Timestamp,
    /// The end of it.
    pub to: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// Hash of its bytes.
    pub blob: ContentId,
    /// How many there are.
    pub bytes: u64,
    /// Whether what it tells of is done with.
    pub resolved: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredReport {
    kind: ReportKind,
    format: ReportFormat,
    title: String,
    from: Timestamp,
    to: Timestamp,
    created: Timestamp,
    blob: ContentId,
    bytes: u64,
}

impl InitialFormat for StoredReport {
    const VERSION: u8 = 1;
}

/// Of reports about the same, which is shown: the one made first, then the one with the smaller id.
#[must_use]
pub fn standing(
    reports: &BTreeMap<ContentId, Report>,
) -> BTreeMap<(ReportKind, ReportFormat, Timestamp, Timestamp), ContentId> {
    let mut standing: BTreeMap<_, (Timestamp, ContentId)> = BTreeMap::new();
    for (id, report) in reports {
        let about = (report.kind, report.format, report.from, report.to);
        let own = (report.created, *id);
        let first = standing.entry(about).or_insert(own);
        *first = own.min(*first);
    }
    standing.into_iter().map(|(about, (_, id))| (about, id)).collect()
}

impl Record for Report {
    const KIND: RecordKind = RecordKind::Report;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("title", &self.title, 1, TITLE_CHARACTERS_MAX)?;
        if self.from > self.to {
            return Err(RecordError::Limit("to"));
        }
        if self.bytes > REPORT_BYTES_MAX {
            return Err(RecordError::Limit("bytes"));
        }
        Ok(())
    }
}

impl Shape for Report {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        let stored = StoredReport {
            kind: self.kind,
            format: self.format,
            title: self.title.clone(),
            from: self.from,
            to: self.to,
            created: self.created,
            blob: self.blob,
            bytes: self.bytes,
        };
        writer.put_value(REPORT, REPORT, &stored)?;
        if self.resolved {
            writer.put(RESOLVED, true)?;
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredReport = reader.value(REPORT).ok_or(RecordError::Field(REPORT))?;
        Ok(Self {
            kind: stored.kind,
            format: stored.format,
            title: cut(stored.title, TITLE_CHARACTERS_MAX),
            from: stored.from,
            to: stored.to.max(stored.from),
            created: stored.created,
            blob: stored.blob,
            bytes: stored.bytes.min(REPORT_BYTES_MAX),
            resolved: reader.flag(RESOLVED, true).unwrap_or(false),
        })
    }
}

/// A change to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportEdit {
    /// What it tells of is done with.
    Resolve,
}

impl Edit for ReportEdit {
    const KIND: RecordKind = RecordKind::Report;
}

impl Apply for ReportEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::Resolve => writer.put(RESOLVED, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::records::testing::{Replicas, config, steps};

    fn report(created: u64) -> Report {
        Report {
            kind: ReportKind::Daily,
            format: ReportFormat::Html,
            title: "21 November".into(),
            from: Timestamp(1),
            to: Timestamp(2),
            created: Timestamp(created),
            blob: ContentId([7; 32]),
            bytes: 1000,
            resolved: false,
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn replicas_agree_whatever_was_done_in_which_order(steps in steps(Just(ReportEdit::Resolve))) {
            let mut replicas = Replicas::of(&report(3));
            let resolved = steps.iter().any(|step| matches!(step, crate::records::testing::Step::Edit(..)));
            replicas.take(&steps);
            prop_assert_eq!(replicas.agreed::<Report>(), Report { resolved, ..report(3) });
        }
    }

    #[test]
    fn one_of_two_reports_about_the_same_is_shown_and_limits_hold() {
        let weekly = Report {
            kind: ReportKind::Weekly,
            ..report(1)
        };
        let reports = BTreeMap::from([
            (ContentId([1; 32]), report(9)),
            (ContentId([2; 32]), report(8)),
            (ContentId([3; 32]), report(8)),
            (ContentId([4; 32]), weekly),
        ]);
        let shown: Vec<u8> = standing(&reports).into_values().map(|id| id.0[0]).collect();
        assert_eq!(shown, [2, 4]);
        let refused = |report: Report, field| assert_eq!(report.validate(), Err(RecordError::Limit(field)));
        refused(
            Report {
                title: String::new(),
                ..report(1)
            },
            "title",
        );
        refused(
            Report {
                to: Timestamp(0),
                ..report(1)
            },
            "to",
        );
        refused(
            Report {
                bytes: REPORT_BYTES_MAX + 1,
                ..report(1)
            },
            "bytes",
        );
    }
}
