//! A chat of one person with one character.
//!
//! ## Merge law
//! - A *message* is one scalar under its ULID, written once (14 us to append, measured): messages of both halves of a split simply
//!   meet in the map. Two nodes that answer one question write under one id; the answer that counts is the same everywhere by
//!   automerge's rule.
//! - Each message names the one it follows, and so the chat is a tree ([`Tree`]): alternatives (further answers, edited questions,
//!   branches) are children of one message. Of alternatives the chosen one is shown, else the longest, else the smaller hash.
//! - A message that was *changed in place* keeps every version; the one with the greatest id is shown.
//! - *Deleted* is a flag: when one device deletes and another restores at the same time, the message stays. *Pinned* and *excluded*
//!   stay set in the same case.
//! - The *read* mark only advances: the greatest wins.
//! - *Title*, *current* message and *archived* are registers: the causally last write wins (archived gives way to its opposite).
//! - A *summary* belongs to the last message it covers; of concurrent ones a person's goes before a model's, and that before an
//!   extract. It says which messages it repeats ([`Coverage`]), so that it goes when one of them is erased.
//! - Why a node was asked for an answer ([`AnswerChoice`]) is a register of that answer.
//! - A *thread* begins a new dialogue; threads are only added.
//!
//! What a person wrote or was told is sealed under the key of the account.

mod choice;
mod coverage;
mod edits;
mod message;
mod opening;
mod stored;
mod texts;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use automerge::{ROOT, ReadDoc, ScalarValue, Value};
use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    choice::{AnswerChoice, CHOICE_TERMS_MAX, ChoiceCost, ChoiceHow, ChoiceTerm},
    coverage::{COVERED_MESSAGES_MAX, Coverage},
    edits::SessionEdit,
    message::{
        ANSWER_CHARACTERS_MAX, Ending, MODEL_CHARACTERS_MAX, Message, MessageId, PERSON_CHARACTERS_MAX, Place, Speaker,
        Version, another_answer_id, answer_id, is_another_answer_id,
    },
    opening::Opening,
    tree::Tree,
};
use self::{
    message::READ_CHARACTERS_MAX,
    stored::{StoredLink, StoredMessage, StoredSpeaker, StoredSummary, StoredTitle, StoredVersion},
};
pub(crate) use self::{opening::read_texts, texts::kept_without};
use super::{
    EntryId, Record, RecordError, RecordKind, Sealed,
    entry_id::ShortId,
    shape::{self, Reader, Shape, StoredText, Writer, context, cut, decode},
};
use crate::limits::MESSAGES_PER_SESSION_MAX;

/// Layout of the document: 2 since messages stand beside the fields and name their parents.
const VERSION: u8 = 2;
/// Characters of a chat's title.
pub const TITLE_CHARACTERS_MAX: usize = 120;
/// Characters of a summary.
pub const SUMMARY_CHARACTERS_MAX: usize = 4000;
/// Summaries of one chat that are read, the newest first kept.
pub const SUMMARIES_MAX: usize = 1000;
/// Dialogues in one chat.
pub const THREADS_MAX: usize = 1000;
/// Versions of one message that was changed in place, of which the newest are read.
pub const VERSIONS_MAX: usize = 50;

const ACCOUNT: &str = "account";
const CHARACTER: &str = "character";
const CREATED: &str = "created";
const TITLE: &str = "title";
const READ: &str = "read";
const CURRENT: &str = "current";
const ARCHIVED: &str = "archived";
/// Version 1 kept its messages in a map of this name.
const MESSAGES_1: &str = "messages";
/// A message stands under its id alone, everything else that belongs to one under a letter and an id.
const MESSAGE: &str = "";
const VERSION_OF_MESSAGE: &str = "v";
const DELETED: &str = "d";
const PINNED: &str = "p";
const EXCLUDED: &str = "x";
const SUMMARY: &str = "s";
const THREAD: &str = "t";
const CHOICE: &str = "w";

/// A chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Whose chat it is.
    pub account: ContentId,
    /// With whom.
    pub character: ContentId,
    /// When it began.
    pub created: Timestamp,
    /// What the person calls it.
    pub title: Option<Sealed>,
    /// Every message of every branch, in order of time. [`Tree`] says how they hang together.
    pub messages: Vec<Message>,
    /// New dialogues in this chat, oldest first; the first dialogue has no entry. Its first message has the thread as parent.
    pub threads: Vec<MessageId>,
    /// The message through which the person last chose to see the chat.
    pub current: Option<MessageId>,
    /// The newest message that the person has read.
    pub read: Option<MessageId>,
    /// Deleted, and restorable until the text is erased.
    pub deleted: BTreeSet<MessageId>,
    /// Kept in the model's context.
    pub pinned: BTreeSet<MessageId>,
    /// Kept out of the model's context.
    pub excluded: BTreeSet<MessageId>,
    /// What the model is told instead of older messages, in order of what they cover.
    pub summaries: Vec<Summary>,
    /// By the answer: why its node was asked for it.
    pub choices: BTreeMap<MessageId, AnswerChoice>,
    /// Out of the list of chats.
    pub archived: bool,
}

/// A shorter form of a range of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The first message that it covers.
    pub first: MessageId,
    /// The last message that it covers.
    pub last: MessageId,
    /// Which messages it repeats, first and last included. Whoever makes a summary from another one adds what that one covers.
    pub covers: Coverage,
    /// Who wrote it.
    pub origin: SummaryOrigin,
    /// What it says.
    pub text: Sealed,
}

/// Who wrote a summary; later ones go before earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SummaryOrigin {
    /// Sentences taken out of the messages.
    Extract,
    /// A model.
    Model,
    /// The person.
    Person,
}

impl Session {
    /// A chat without messages.
    #[must_use]
    pub const fn new(account: ContentId, character: ContentId, created: Timestamp) -> Self {
        Self {
            account,
            character,
            created,
            title: None,
            messages: Vec::new(),
            threads: Vec::new(),
            current: None,
            read: None,
            deleted: BTreeSet::new(),
            pinned: BTreeSet::new(),
            excluded: BTreeSet::new(),
            summaries: Vec::new(),
            choices: BTreeMap::new(),
            archived: false,
        }
    }

    /// Questions that have no answer yet, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = &Message> {
        // In one walk, as a chat may be long and hold many of them.
        let settled: BTreeSet<MessageId> = self.messages.iter().flat_map(Message::settles).collect();
        let waits = move |message: &&Message| self.may_want_an_answer(message) && !settled.contains(&message.id);
        self.messages.iter().filter(waits)
    }

    /// Whether a message is a question without an answer. Deleted and replaced ones want none.
    #[must_use]
    pub fn is_unanswered(&self, message: &Message) -> bool {
        self.may_want_an_answer(message) && {
            let from = self.messages.partition_point(|other| other.id <= message.id);
            let mut later = self.messages[from..].iter().flat_map(Message::settles);
            !later.any(|settled| settled == message.id)
        }
    }

    fn may_want_an_answer(&self, message: &Message) -> bool {
        message.is_from_person() && !self.deleted.contains(&message.id)
    }
}

impl Record for Session {
    const KIND: RecordKind = RecordKind::Session;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_count("messages", self.messages.len(), MESSAGES_PER_SESSION_MAX)?;
        shape::check_count("threads", self.threads.len(), THREADS_MAX)?;
        shape::check_count("summaries", self.summaries.len(), SUMMARIES_MAX)?;
        shape::check_count("choices", self.choices.len(), MESSAGES_PER_SESSION_MAX)?;
        if let Some(title) = &self.title {
            shape::check_sealed(TITLE, title, 0, TITLE_CHARACTERS_MAX)?;
        }
        self.summaries.iter().try_for_each(Summary::validate)?;
        self.messages.iter().try_for_each(Message::validate)
    }

    fn owner(&self) -> Option<ContentId> {
        Some(self.account)
    }
}

impl Summary {
    fn validate(&self) -> Result<(), RecordError> {
        if self.first > self.last {
            return Err(RecordError::Limit("first"));
        }
        if ![self.first, self.last]
            .iter()
            .all(|message| self.covers.includes(message))
        {
            return Err(RecordError::Limit("covers"));
        }
        shape::check_sealed("summary", &self.text, 1, SUMMARY_CHARACTERS_MAX)
    }
}

/// Whose a session is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    reader.content_id(ACCOUNT).ok()
}

impl Shape for Session {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(ACCOUNT, self.account.0.to_vec())?;
        writer.put(CHARACTER, self.character.0.to_vec())?;
        writer.put(CREATED, self.created.0)?;
        edits::write_contents(self, writer)
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        Self::read_opening(reader, Opening::ALL)
    }
}

impl Session {
    /// Reads a chat of which only some messages are opened.
    pub(crate) fn read_opening(reader: &Reader<'_>, opening: Opening) -> Result<Self, RecordError> {
        let (account, character) = (reader.content_id(ACCOUNT)?, reader.content_id(CHARACTER)?);
        let threads: Vec<MessageId> = reader
            .entries(THREAD)
            .map(|entry| entry.key)
            .take(THREADS_MAX)
            .collect();
        let entries = message_entries(reader);
        let mut session = Self::new(account, character, reader.time(CREATED)?);
        session.messages = place(reader, entries, &threads, opening);
        session.threads = threads;
        add_versions(reader, &mut session.messages);
        let ids: HashMap<[u8; 10], MessageId> = session
            .messages
            .iter()
            .map(|message| (message.id.hash_half(), message.id))
            .collect();
        session.deleted = flagged(reader, DELETED, false, &ids);
        session.pinned = flagged(reader, PINNED, true, &ids);
        session.excluded = flagged(reader, EXCLUDED, true, &ids);
        session.title = title(reader);
        session.current = reader.bytes(CURRENT).ok().map(EntryId::from_bytes);
        session.read = read_mark(reader);
        session.summaries = summaries(reader);
        session.choices = choices(reader);
        session.archived = reader.flag(ARCHIVED, false).unwrap_or(false);
        Ok(session)
    }
}

/// A message as it stands in the document.
struct StoredEntry {
    id: MessageId,
    message: StoredMessage,
    author: Option<NodeId>,
}

/// Every message that this version understands, in order of time; the newest when there are too many.
fn message_entries(reader: &Reader<'_>) -> Vec<StoredEntry> {
    // A message of a later version or a damaged one is left out; the others stay.
    let current = reader.entries(MESSAGE).filter_map(|entry| {
        Some(StoredEntry {
            id: entry.key,
            message: decode(&entry.value)?,
            author: entry.author,
        })
    });
    let mut entries: Vec<StoredEntry> = messages_of_version_1(reader).into_iter().chain(current).collect();
    entries.sort_by_key(|entry| entry.id);
    // One outbox id accepted by two gateways in a split: the earlier one stands for both.
    let mut seen = HashSet::new();
    entries.retain(|entry| seen.insert(entry.id.hash_half()));
    entries.split_off(entries.len().saturating_sub(MESSAGES_PER_SESSION_MAX))
}

fn messages_of_version_1(reader: &Reader<'_>) -> Vec<StoredEntry> {
    let Ok(Some((Value::Object(_), object))) = reader.document.get(ROOT, MESSAGES_1) else {
        return Vec::new();
    };
    let items = reader.document.map_range(object, ..);
    let entries = items.filter_map(|item| {
        let id = EntryId::parse(&item.key)?;
        let Value::Scalar(value) = item.value.into_value() else {
            return None;
        };
        Some(StoredEntry {
            id,
            message: decode(&value)?,
            author: None,
        })
    });
    entries.collect()
}

/// Finds for each message what it follows, and opens the texts that are asked for.
fn place(reader: &Reader<'_>, entries: Vec<StoredEntry>, threads: &[MessageId], opening: Opening) -> Vec<Message> {
    let count = entries.len();
    let mut messages: Vec<Message> = Vec::with_capacity(entries.len());
    let mut known: HashMap<ShortId, MessageId> = HashMap::new();
    let mut parents: HashMap<MessageId, Option<MessageId>> = HashMap::new();
    let mut threads = threads.iter().copied().peekable();
    for entry in entries {
        // Only what is older can be followed: so there is no circle.
        while let Some(thread) = threads.next_if(|thread| *thread < entry.id) {
            known.insert(thread.short(), thread);
        }
        let previous = messages.last().map(|message| message.id);
        let find = |short: &ShortId| known.get(short).copied();
        let (parent, place) = match &entry.message.link {
            StoredLink::First => (None, Place::Continues),
            StoredLink::BranchFirst => (None, Place::Branches),
            StoredLink::Previous => (previous, Place::Continues),
            StoredLink::After(short) => (find(short).or(previous), Place::Continues),
            StoredLink::BranchAfter(short) => (find(short).or(previous), Place::Branches),
            StoredLink::InsteadOf(short) => match find(short).filter(|replaced| parents.contains_key(replaced)) {
                Some(replaced) => (parents[&replaced], Place::Replaces(replaced)),
                None => (previous, Place::Branches),
            },
        };
        known.insert(entry.id.short(), entry.id);
        parents.insert(entry.id, parent);
        let reader = opening.includes(messages.len(), count).then_some(reader);
        messages.push(open(reader, entry, parent, place));
    }
    messages
}

/// Without a reader the text stays closed.
fn open(reader: Option<&Reader<'_>>, entry: StoredEntry, parent: Option<MessageId>, place: Place) -> Message {
    let StoredEntry { id, message, author } = entry;
    let (speaker, after) = match message.speaker {
        StoredSpeaker::Person => (Speaker::Person { gateway: author }, 0),
        StoredSpeaker::PersonAt(gateway) => (Speaker::Person { gateway: Some(gateway) }, 0),
        StoredSpeaker::Character {
            node,
            model,
            ending,
            after_milliseconds,
        } => {
            let model = cut(model, MODEL_CHARACTERS_MAX);
            let node = node.or(author);
            (Speaker::Character { node, model, ending }, after_milliseconds)
        }
    };
    Message {
        id,
        parent,
        place,
        speaker,
        text: reader.map_or(Sealed::Unopened, |reader| open_message(reader, &id, &message.text)),
        at: id.at().plus(after),
        truncated: message.truncated,
        versions: Vec::new(),
    }
}

fn open_message(reader: &Reader<'_>, id: &MessageId, text: &StoredText) -> Sealed {
    reader.open_text(text, &context("message", Some(id)), READ_CHARACTERS_MAX)
}

fn open_version(reader: &Reader<'_>, id: &EntryId, text: &StoredText) -> Sealed {
    reader.open_text(text, &context("version", Some(id)), READ_CHARACTERS_MAX)
}

/// The later texts of each message that was changed in place, oldest first.
fn stored_versions(reader: &Reader<'_>) -> BTreeMap<[u8; 10], Vec<(EntryId, StoredVersion)>> {
    let mut versions: BTreeMap<[u8; 10], Vec<_>> = BTreeMap::new();
    // Entries come in the order of their ids.
    for entry in reader.entries(VERSION_OF_MESSAGE) {
        if let Some(stored) = decode::<StoredVersion>(&entry.value) {
            versions.entry(stored.message).or_default().push((entry.key, stored));
        }
    }
    versions
}

/// Puts the versions of messages that were changed in place where they belong.
fn add_versions(reader: &Reader<'_>, messages: &mut [Message]) {
    let mut versions = stored_versions(reader);
    for message in messages {
        let Some(stored) = versions.remove(&message.id.hash_half()) else {
            continue;
        };
        let is_unopened = message.text.is_unopened();
        let later = stored.into_iter().map(|(id, stored)| Version {
            id,
            text: match is_unopened {
                true => Sealed::Unopened,
                false => open_version(reader, &id, &stored.text),
            },
            truncated: stored.truncated,
        });
        let mut later: Vec<Version> = later.collect();
        let first = Version {
            id: message.id,
            text: message.text.clone(),
            truncated: message.truncated,
        };
        later.insert(0, first);
        let newest = &later[later.len() - 1];
        (message.text, message.truncated) = (newest.text.clone(), newest.truncated);
        message.versions = later.split_off(later.len().saturating_sub(VERSIONS_MAX));
    }
}

/// The messages under a flag.
fn flagged(
    reader: &Reader<'_>,
    prefix: &'static str,
    decisive: bool,
    ids: &HashMap<[u8; 10], MessageId>,
) -> BTreeSet<MessageId> {
    let set = reader.entries(prefix).filter(|entry| match entry.is_conflict {
        true => reader.flag(&format!("{prefix}{}", entry.key), decisive) == Some(true),
        false => entry.value.as_bool() == Some(true),
    });
    set.filter_map(|entry| ids.get(&entry.key.hash_half()).copied())
        .collect()
}

fn title(reader: &Reader<'_>) -> Option<Sealed> {
    let title = StoredTitle::from_scalar(&reader.scalar(TITLE)?)?;
    Some(reader.open_text(&title.text, &context(TITLE, None), TITLE_CHARACTERS_MAX))
}

/// The greatest of the concurrent marks.
fn read_mark(reader: &Reader<'_>) -> Option<MessageId> {
    let marks = reader.all(READ).into_iter().filter_map(|value| match value {
        ScalarValue::Bytes(bytes) => Some(EntryId::from_bytes(bytes.try_into().ok()?)),
        _ => None,
    });
    marks.max()
}

fn summaries(reader: &Reader<'_>) -> Vec<Summary> {
    let entries = reader.entries(SUMMARY).filter_map(|entry| {
        let last = entry.key;
        let mut values: Vec<StoredSummary> = if entry.is_conflict {
            reader.values(&format!("{SUMMARY}{last}"))
        } else {
            decode(&entry.value).into_iter().collect()
        };
        values.retain(|stored| stored.first <= last);
        let stored = values.into_iter().max_by_key(|stored| stored.origin)?;
        let text = reader.open_text(&stored.text, &context("summary", Some(&last)), SUMMARY_CHARACTERS_MAX);
        Some(Summary {
            first: stored.first,
            last,
            covers: stored.covers,
            origin: stored.origin,
            text,
        })
    });
    let mut summaries: Vec<Summary> = entries.collect();
    summaries.split_off(summaries.len().saturating_sub(SUMMARIES_MAX))
}

/// Those that this version understands.
fn choices(reader: &Reader<'_>) -> BTreeMap<MessageId, AnswerChoice> {
    let readable = reader.entries(CHOICE).filter_map(|entry| {
        let choice: AnswerChoice = decode(&entry.value)?;
        choice.check().ok()?;
        Some((entry.key, choice))
    });
    readable.take(MESSAGES_PER_SESSION_MAX).collect()
}

#[cfg(test)]
mod tests;
