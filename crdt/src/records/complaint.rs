//! What a person complains of: an answer or a character, and what became of it.
//!
//! What is complained of is copied as the person saw it, because whoever judges may not read chats, and because a character may be
//! another one by then. All of it belongs to who complained: it is sealed under the key of that account and goes when it is erased.
//! Its texts can be erased alone, too ([`EraseTarget::Message`](crate::erasure::EraseTarget)), when a decision is long past.
//! Who judges adds no words, only one of a few decisions, so nothing of theirs stays in somebody else's record.
//!
//! ## Merge law
//! - The complaint is written once.
//! - Of concurrent *takings* the earliest counts, then the smaller account id; a later one that knows of it replaces it.
//! - *Decisions* are only added, and none where one is known. So there are several only when moderators decided without knowledge of
//!   each other: the [strictest](Decision) stands, then the earliest. What it says was done by its node at once, and cannot be undone by
//!   a milder one; the others are kept, so that everybody sees that there was more than one opinion.

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, EntryId, Record, RecordError, RecordKind, Sealed,
    migrate::InitialFormat,
    session::MessageId,
    shape::{self, Apply, Reader, Shape, StoredText, Writer, context, decode},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of what the person says about it.
pub const WORDS_CHARACTERS_MAX: usize = 1000;
/// Characters of the character's name as it was shown: the longest name, and the suffix of a second one.
pub const NAME_CHARACTERS_MAX: usize = 80;
/// Characters of what is copied: the longest answer, continued once.
pub const EXCERPT_CHARACTERS_MAX: usize = 4000;
/// Decisions about one complaint that are read: as many as moderators could make in a split.
pub const DECISIONS_MAX: usize = 20;

const ACCOUNT: &str = "account";
const COMPLAINT: &str = "complaint";
const TAKEN: &str = "taken";
const DECISION: &str = "d";

/// Why a person complains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ComplaintReason {
    /// Advice or encouragement by which somebody could be harmed.
    Harmful,
    /// Sexual where it has no place.
    Sexual,
    /// Cruelty, threats.
    Violent,
    /// Against people for what they are.
    Hateful,
    /// Tells of a living person what is private.
    PersonalData,
    /// Says what is not so, or passes for somebody else.
    Deceptive,
    /// Something else, which the words should tell.
    Other,
}

/// What a moderator decided, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Decision {
    /// Nothing is wrong.
    Dismissed,
    /// The character's author is told.
    AuthorWarned,
    /// The character is not offered until its author publishes it again.
    CharacterHidden,
    /// The character is not offered any more.
    CharacterBlocked,
    /// Its author is shut out.
    AuthorBlocked,
}

/// A complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Who complains.
    pub account: ContentId,
    /// Of which character, or of whose answer.
    pub character: ContentId,
    /// Who made the character; nobody for those that a mesh begins with.
    pub author: Option<ContentId>,
    /// The chat and the answer; `None` when it is about the character itself.
    pub answer: Option<(ContentId, MessageId)>,
    /// Why.
    pub reason: ComplaintReason,
    /// What the person says about it.
    pub words: Sealed,
    /// What the character was called.
    pub name: Sealed,
    /// What the person saw.
    pub excerpt: Sealed,
    /// When.
    pub created: Timestamp,
    /// Who is looking at it.
    pub taken: Option<Taken>,
    /// What was decided: the one that stands first.
    pub decisions: Vec<Decided>,
}

/// Who looks at a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The account.
    pub by: ContentId,
    /// Since when.
    pub at: Timestamp,
}

/// A decision, by whom and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// When.
    pub id: EntryId,
    /// What.
    pub decision: Decision,
    /// By whom.
    pub by: ContentId,
}

/// Where a complaint has got to, in the order in which moderators should look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComplaintState {
    /// Nobody looks at it.
    Open,
    /// Somebody does.
    Taken,
    /// It is decided.
    Decided,
}

#[derive(Serialize, Deserialize)]
struct StoredComplaint {
    character: ContentId,
    author: Option<ContentId>,
    answer: Option<(ContentId, MessageId)>,
    reason: ComplaintReason,
    words: StoredText,
    name: StoredText,
    excerpt: StoredText,
    created: Timestamp,
}

impl InitialFormat for StoredComplaint {
    const VERSION: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct StoredTaken {
    by: ContentId,
    at: Timestamp,
}

impl InitialFormat for StoredTaken {
    const VERSION: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct StoredDecision {
    decision: Decision,
    by: ContentId,
}

impl InitialFormat for StoredDecision {
    const VERSION: u8 = 1;
}

impl Complaint {
    /// The decision that stands.
    #[must_use]
    pub fn decided(&self) -> Option<&Decided> {
        self.decisions.first()
    }

    /// Where it has got to.
    #[must_use]
    pub fn state(&self) -> ComplaintState {
        if self.decided().is_some() {
            ComplaintState::Decided
        } else if self.taken.is_some() {
            ComplaintState::Taken
        } else {
            ComplaintState::Open
        }
    }
}

/// Whose a complaint is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    reader.content_id(ACCOUNT).ok()
}

impl Record for Complaint {
    const KIND: RecordKind = RecordKind::Complaint;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("words", &self.words, 0, WORDS_CHARACTERS_MAX)?;
        shape::check_sealed("name", &self.name, 0, NAME_CHARACTERS_MAX)?;
        shape::check_sealed("excerpt", &self.excerpt, 0, EXCERPT_CHARACTERS_MAX)?;
        shape::check_count("decisions", self.decisions.len(), DECISIONS_MAX)
    }

    fn owner(&self) -> Option<ContentId> {
        Some(self.account)
    }
}

impl Shape for Complaint {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(ACCOUNT, self.account.0.to_vec())?;
        let stored = StoredComplaint {
            character: self.character,
            author: self.author,
            answer: self.answer,
            reason: self.reason,
            words: writer.seal_text("words", &context("words", None), &self.words)?,
            name: writer.seal_text("name", &context("name", None), &self.name)?,
            excerpt: writer.seal_text("excerpt", &context("excerpt", None), &self.excerpt)?,
            created: self.created,
        };
        writer.put_value(COMPLAINT, COMPLAINT, &stored)?;
        if let Some(taken) = self.taken {
            write_taken(writer, taken.by, taken.at)?;
        }
        self.decisions
            .iter()
            .try_for_each(|decided| write_decision(writer, decided))
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredComplaint = reader.value(COMPLAINT).ok_or(RecordError::Field(COMPLAINT))?;
        let text = |name, stored: &StoredText, most| reader.open_text(stored, &context(name, None), most);
        let taken = reader.values::<StoredTaken>(TAKEN).into_iter();
        let taken = taken.map(|StoredTaken { by, at }| Taken { by, at });
        let decisions = reader.entries(DECISION).filter_map(|entry| {
            let StoredDecision { decision, by } = decode(&entry.value)?;
            Some(Decided {
                id: entry.key,
                decision,
                by,
            })
        });
        let mut decisions: Vec<Decided> = decisions.collect();
        decisions.sort_by_key(|decided| (std::cmp::Reverse(decided.decision), decided.id));
        decisions.truncate(DECISIONS_MAX);
        Ok(Self {
            account: reader.content_id(ACCOUNT)?,
            character: stored.character,
            author: stored.author,
            answer: stored.answer,
            reason: stored.reason,
            words: text("words", &stored.words, WORDS_CHARACTERS_MAX),
            name: text("name", &stored.name, NAME_CHARACTERS_MAX),
            excerpt: text("excerpt", &stored.excerpt, EXCERPT_CHARACTERS_MAX),
            created: stored.created,
            taken: taken.min_by_key(|taken| (taken.at, taken.by)),
            decisions,
        })
    }
}

fn write_taken(writer: &mut Writer<'_>, by: ContentId, at: Timestamp) -> Result<(), RecordError> {
    writer.put_value(TAKEN, TAKEN, &StoredTaken { by, at })
}

fn write_decision(writer: &mut Writer<'_>, decided: &Decided) -> Result<(), RecordError> {
    let stored = StoredDecision {
        decision: decided.decision,
        by: decided.by,
    };
    writer.put_value("decision", &format!("{DECISION}{}", decided.id), &stored)
}

/// A change to a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComplaintEdit {
    /// Somebody looks at it from now on.
    Take(Taken),
    /// Somebody decides.
    Decide(Decided),
}

impl Edit for ComplaintEdit {
    const KIND: RecordKind = RecordKind::Complaint;
}

impl Apply for ComplaintEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        if writer.reader().entries(DECISION).next().is_some() {
            return Err(RecordError::Full("decisions"));
        }
        match self {
            Self::Take(taken) => {
                let known = writer.reader().values::<StoredTaken>(TAKEN);
                if known.iter().all(|known| known.by == taken.by) && !known.is_empty() {
                    return Ok(());
                }
                write_taken(writer, taken.by, taken.at)
            }
            Self::Decide(decided) => write_decision(writer, decided),
        }
    }
}

#[cfg(test)]
mod tests;
