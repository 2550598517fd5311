//! What can be changed in a chat.

use super::{
    ARCHIVED, AnswerChoice, CHOICE, CURRENT, DELETED, EXCLUDED, MESSAGE, Message, MessageId, PINNED, Place, READ,
    SUMMARY, Session, Speaker, StoredLink, StoredMessage, StoredSpeaker, StoredSummary, StoredTitle, StoredVersion,
    Summary, THREAD, THREADS_MAX, TITLE, TITLE_CHARACTERS_MAX, VERSION_OF_MESSAGE, Version, context,
    message::ANSWER_CHARACTERS_MAX, read_mark,
};
use crate::{
    limits::MESSAGES_PER_SESSION_MAX,
    records::{
        Edit, RecordError, RecordKind, Sealed,
        shape::{self, Apply, Writer},
    },
};

/// Operations on one document: room for [`MESSAGES_PER_SESSION_MAX`] messages and a few flags and marks for each. Messages that are
/// there are not counted, because that would take time for each of them whenever one is added.
const OPERATIONS_MAX: u64 = 4 * MESSAGES_PER_SESSION_MAX as u64;

/// A change to a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEdit {
    /// Adds a message, or replaces the one with the same id.
    PutMessage(Message),
    /// Changes a message in place, as an answer does that is continued. What follows it stays where it is.
    PutVersion {
        /// Which message.
        message: MessageId,
        /// The new text, under an id of the time at which it was written.
        version: Version,
    },
    /// Deletes a message, or restores it.
    SetDeleted {
        /// Which message.
        message: MessageId,
        /// Whether it is deleted.
        deleted: bool,
    },
    /// Keeps a message in the model's context, or no longer.
    SetPinned {
        /// Which message.
        message: MessageId,
        /// Whether it is pinned.
        pinned: bool,
    },
    /// Keeps a message out of the model's context, or no longer.
    SetExcluded {
        /// Which message.
        message: MessageId,
        /// Whether it is left out.
        excluded: bool,
    },
    /// The person has read everything up to this message.
    SetRead(MessageId),
    /// The person wants to see the chat through this message: another answer, another branch, another dialogue.
    SetCurrent(MessageId),
    /// Begins a new dialogue.
    BeginThread(MessageId),
    /// Renames the chat, in the person's own words.
    SetTitle(String),
    /// Names the chat after one of its messages, with which the name is erased.
    SetTitleFrom {
        /// The name.
        title: String,
        /// The message that it was made from.
        message: MessageId,
    },
    /// Says what stands for a range of messages in the model's context.
    PutSummary(Summary),
    /// Says why a node was asked for an answer.
    PutChoice {
        /// Which answer.
        answer: MessageId,
        /// Why.
        choice: Box<AnswerChoice>,
    },
    /// Takes the chat out of the list, or back into it.
    SetArchived(bool),
}

impl Edit for SessionEdit {
    const KIND: RecordKind = RecordKind::Session;
}

impl Apply for SessionEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::PutMessage(message) => put_message(writer, message),
            Self::PutVersion { message, version } => put_version(writer, message, version),
            Self::SetDeleted { message, deleted } => set_flag(writer, DELETED, message, *deleted),
            Self::SetPinned { message, pinned } => set_flag(writer, PINNED, message, *pinned),
            Self::SetExcluded { message, excluded } => set_flag(writer, EXCLUDED, message, *excluded),
            Self::SetRead(message) => match read_mark(&writer.reader()) {
                // The mark never goes back.
                Some(read) if read >= *message => Ok(()),
                _ => writer.put(READ, message.bytes().to_vec()),
            },
            Self::SetCurrent(message) => writer.put(CURRENT, message.bytes().to_vec()),
            Self::BeginThread(thread) => begin_thread(writer, thread),
            Self::SetTitle(title) => {
                shape::check_text(TITLE, title, 0, TITLE_CHARACTERS_MAX)?;
                writer.put_sealed(TITLE, &context(TITLE, None), title)
            }
            Self::SetTitleFrom { title, message } => {
                shape::check_text(TITLE, title, 0, TITLE_CHARACTERS_MAX)?;
                let stored = StoredTitle {
                    text: writer.seal(&context(TITLE, None), title),
                    made_from: Some(message.hash_half()),
                };
                writer.put_value(TITLE, TITLE, &stored)
            }
            Self::PutSummary(summary) => put_summary(writer, summary),
            Self::PutChoice { answer, choice } => put_choice(writer, answer, choice),
            Self::SetArchived(archived) => set_register(writer, ARCHIVED, *archived),
        }
    }
}

/// Writes everything of a chat but what never changes.
pub(super) fn write_contents(session: &Session, writer: &mut Writer<'_>) -> Result<(), RecordError> {
    if let Some(title) = &session.title {
        writer.put_text(TITLE, &context(TITLE, None), title)?;
    }
    for thread in &session.threads {
        begin_thread(writer, thread)?;
    }
    for message in &session.messages {
        put_message(writer, message)?;
        for version in message.versions.iter().skip(1) {
            put_version(writer, &message.id, version)?;
        }
    }
    for (prefix, messages) in [
        (DELETED, &session.deleted),
        (PINNED, &session.pinned),
        (EXCLUDED, &session.excluded),
    ] {
        for message in messages {
            set_flag(writer, prefix, message, true)?;
        }
    }
    for summary in &session.summaries {
        put_summary(writer, summary)?;
    }
    for (answer, choice) in &session.choices {
        put_choice(writer, answer, choice)?;
    }
    if let Some(read) = session.read {
        writer.put(READ, read.bytes().to_vec())?;
    }
    if let Some(current) = session.current {
        writer.put(CURRENT, current.bytes().to_vec())?;
    }
    set_register(writer, ARCHIVED, session.archived)
}

fn put_message(writer: &mut Writer<'_>, message: &Message) -> Result<(), RecordError> {
    message.validate()?;
    if writer.operations() >= OPERATIONS_MAX {
        return Err(RecordError::Full("messages"));
    }
    let (text, truncated) = match message.versions.first() {
        Some(first) => (&first.text, first.truncated),
        None => (&message.text, message.truncated),
    };
    let stored = StoredMessage {
        link: link(message),
        speaker: match &message.speaker {
            Speaker::Person { gateway: None } => StoredSpeaker::Person,
            Speaker::Person { gateway: Some(gateway) } => StoredSpeaker::PersonAt(*gateway),
            Speaker::Character { node, model, ending } => StoredSpeaker::Character {
                node: *node,
                model: model.clone(),
                ending: *ending,
                after_milliseconds: message.at.since(message.id.at()),
            },
        },
        truncated,
        text: writer.seal_text("text", &context("message", Some(&message.id)), text)?,
    };
    writer.put_value("message", &format!("{MESSAGE}{}", message.id), &stored)
}

fn link(message: &Message) -> StoredLink {
    match (message.place, message.parent) {
        (Place::Replaces(replaced), _) => StoredLink::InsteadOf(replaced.short()),
        (Place::Continues, None) => StoredLink::First,
        (Place::Continues, Some(parent)) => StoredLink::After(parent.short()),
        (Place::Branches, None) => StoredLink::BranchFirst,
        (Place::Branches, Some(parent)) => StoredLink::BranchAfter(parent.short()),
    }
}

fn put_version(writer: &mut Writer<'_>, message: &MessageId, version: &Version) -> Result<(), RecordError> {
    if version.id <= *message {
        return Err(RecordError::Limit("version"));
    }
    shape::check_sealed("text", &version.text, 0, ANSWER_CHARACTERS_MAX)?;
    let stored = StoredVersion {
        message: message.hash_half(),
        truncated: version.truncated,
        text: writer.seal_text("text", &context("version", Some(&version.id)), &version.text)?,
    };
    writer.put_value("version", &format!("{VERSION_OF_MESSAGE}{}", version.id), &stored)
}

fn begin_thread(writer: &mut Writer<'_>, thread: &MessageId) -> Result<(), RecordError> {
    if writer.reader().entries(THREAD).count() >= THREADS_MAX {
        return Err(RecordError::Full("threads"));
    }
    writer.put(&format!("{THREAD}{thread}"), true)
}

fn put_summary(writer: &mut Writer<'_>, summary: &Summary) -> Result<(), RecordError> {
    summary.validate()?;
    let stored = StoredSummary {
        first: summary.first,
        origin: summary.origin,
        covers: summary.covers.clone(),
        text: writer.seal_text("summary", &context("summary", Some(&summary.last)), &summary.text)?,
    };
    writer.put_value("summary", &format!("{SUMMARY}{}", summary.last), &stored)
}

fn put_choice(writer: &mut Writer<'_>, answer: &MessageId, choice: &AnswerChoice) -> Result<(), RecordError> {
    choice.check()?;
    if writer.operations() >= OPERATIONS_MAX {
        return Err(RecordError::Full("messages"));
    }
    writer.put_value("choice", &format!("{CHOICE}{answer}"), choice)
}

fn set_flag(writer: &mut Writer<'_>, prefix: &str, message: &MessageId, value: bool) -> Result<(), RecordError> {
    set_register(writer, &format!("{prefix}{message}"), value)
}

/// A flag that is not there is not set.
fn set_register(writer: &mut Writer<'_>, key: &str, value: bool) -> Result<(), RecordError> {
    if value || writer.reader().scalar(key).is_some() {
        writer.put(key, value)
    } else {
        Ok(())
    }
}

impl From<Message> for SessionEdit {
    fn from(message: Message) -> Self {
        Self::PutMessage(message)
    }
}

impl Version {
    /// A new text of a message.
    #[must_use]
    pub fn new(id: MessageId, text: &str) -> Self {
        let truncated = text.chars().nth(ANSWER_CHARACTERS_MAX).is_some();
        Self {
            id,
            text: Sealed::from(shape::cut(text.to_owned(), ANSWER_CHARACTERS_MAX)),
            truncated,
        }
    }
}
