//! What a person says is wrong with a character or an answer, and what a moderator decided.
//!
//! It is the data of the person who complained: words and excerpt are sealed under that account's key, and go with it.
//!
//! ## Merge law
//! The complaint is written once. Of decisions that were made at the same time the later one counts, then the one of the greater id;
//! a decision is never taken back, only followed by another.

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, EntryId, Record, RecordError, RecordKind, Sealed,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, StoredText, Writer, context, cut},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of what is said about it.
pub const WORDS_CHARACTERS_MAX: usize = 1000;
/// Characters of the answer that it is about.
pub const EXCERPT_CHARACTERS_MAX: usize = 2000;
/// Characters of what a moderator notes.
pub const NOTE_CHARACTERS_MAX: usize = 500;

const BY: &str = "by";
const COMPLAINT: &str = "complaint";
const DECISION: &str = "decision";

/// What a complaint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum About {
    /// A character.
    Character(ContentId),
    /// An answer in a chat with a character.
    Answer {
        /// The chat.
        session: ContentId,
        /// The answer.
        message: EntryId,
        /// Who gave it.
        character: ContentId,
    },
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// It hurts somebody or calls for it.
    Harm,
    /// It is about sex, where that is not wanted.
    Sexual,
    /// It breaks the law.
    Illegal,
    /// It is somebody else's.
    Copied,
    /// It is a nuisance.
    Spam,
    /// Something else, which the words say.
    Other,
}

/// What a moderator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing is wrong.
    Dismissed,
    /// The character is offered no longer.
    Withdrawn,
    /// Seen to in another way.
    Settled,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When; the later one counts.
    pub at: Timestamp,
    /// By whom.
    pub by: ContentId,
    /// What was decided.
    pub verdict: Verdict,
    /// Why.
    pub note: String,
}

impl InitialFormat for Decision {
    const VERSION: u8 = 1;
}

/// A complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Who complained.
    pub by: ContentId,
    /// What it is about.
    pub about: About,
    /// What is wrong.
    pub reason: Reason,
    /// What is said about it.
    pub words: Sealed,
    /// What the answer said when it was complained about; empty for a character.
    pub excerpt: Sealed,
    /// When.
    pub created: Timestamp,
    /// What was decided; `None` while it waits.
    pub decision: Option<Decision>,
}

#[derive(Serialize, Deserialize)]
struct StoredComplaint {
    about: About,
    reason: Reason,
    words: StoredText,
    excerpt: StoredText,
    created: Timestamp,
}

impl InitialFormat for StoredComplaint {
    const VERSION: u8 = 1;
}

/// Whose a complaint is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    reader.content_id(BY).ok()
}

impl Decision {
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("note", &self.note, 0, NOTE_CHARACTERS_MAX)
    }
}

impl Record for Complaint {
    const KIND: RecordKind = RecordKind::Complaint;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("words", &self.words, 0, WORDS_CHARACTERS_MAX)?;
        shape::check_sealed("excerpt", &self.excerpt, 0, EXCERPT_CHARACTERS_MAX)?;
        self.decision.as_ref().map_or(Ok(()), Decision::validate)
    }

    fn owner(&self) -> Option<ContentId> {
        Some(self.by)
    }
}

impl Shape for Complaint {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(BY, self.by.0.to_vec())?;
        let stored = StoredComplaint {
            about: self.about,
            reason: self.reason,
            words: writer.seal_text("words", &context("words", None), &self.words)?,
            excerpt: writer.seal_text("excerpt", &context("excerpt", None), &self.excerpt)?,
            created: self.created,
        };
        writer.put_value(COMPLAINT, COMPLAINT, &stored)?;
        match &self.decision {
            Some(decision) => writer.put_value(DECISION, DECISION, decision),
            None => Ok(()),
        }
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredComplaint = reader.value(COMPLAINT).ok_or(RecordError::Field(COMPLAINT))?;
        let text = |field: &str, stored: &StoredText, most| reader.open_text(stored, &context(field, None), most);
        let decisions = reader.values::<Decision>(DECISION).into_iter();
        let decision = decisions.max_by(|left, right| {
            (left.at, left.by, left.verdict, &left.note).cmp(&(right.at, right.by, right.verdict, &right.note))
        });
        Ok(Self {
            by: reader.content_id(BY)?,
            about: stored.about,
            reason: stored.reason,
            words: text("words", &stored.words, WORDS_CHARACTERS_MAX),
            excerpt: text("excerpt", &stored.excerpt, EXCERPT_CHARACTERS_MAX),
            created: stored.created,
            decision: decision.map(|decision| Decision {
                note: cut(decision.note, NOTE_CHARACTERS_MAX),
                ..decision
            }),
        })
    }
}

/// A change to a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComplaintEdit {
    /// A moderator decides.
    Decide(Decision),
}

impl Edit for ComplaintEdit {
    const KIND: RecordKind = RecordKind::Complaint;
}

impl Apply for ComplaintEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        let Self::Decide(decision) = self;
        decision.validate()?;
        writer.put_value(DECISION, DECISION, decision)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::records::testing::{Replicas, config, steps};

    fn complaint() -> Complaint {
        Complaint {
            by: ContentId([1; 32]),
            about: About::Character(ContentId([2; 32])),
            reason: Reason::Copied,
            words: "it is mine".into(),
            excerpt: "".into(),
            created: Timestamp(5),
            decision: None,
        }
    }

    fn decision(at: u64, verdict: Verdict) -> ComplaintEdit {
        ComplaintEdit::Decide(Decision {
            at: Timestamp(at),
            by: ContentId([9; 32]),
            verdict,
            note: at.to_string(),
        })
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn replicas_agree_whatever_was_done_in_which_order(
            steps in steps((1u64..9).prop_map(|at| decision(at, Verdict::Settled)))
        ) {
            let mut replicas = Replicas::of(&complaint());
            replicas.take(&steps);
            let read: Complaint = replicas.agreed();
            prop_assert_eq!(Complaint { decision: None, ..read }, complaint());
        }
    }

    #[test]
    fn of_two_decisions_made_apart_the_later_one_counts() {
        let mut replicas = Replicas::of(&complaint());
        replicas.edit(1, &decision(7, Verdict::Dismissed)).unwrap();
        replicas.edit(2, &decision(6, Verdict::Withdrawn)).unwrap();
        let read: Complaint = replicas.agreed();
        assert_eq!(read.decision.unwrap().verdict, Verdict::Dismissed);
        let long = ComplaintEdit::Decide(Decision {
            at: Timestamp(8),
            by: ContentId([9; 32]),
            verdict: Verdict::Settled,
            note: "x".repeat(501),
        });
        assert_eq!(replicas.edit(1, &long), Err(RecordError::Limit("note")));
    }
}
