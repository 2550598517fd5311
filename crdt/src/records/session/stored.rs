//! How messages, versions and summaries stand in a session's document, version by version.

use automerge::ScalarValue;
use keys::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Coverage, Ending, MessageId, SummaryOrigin};
use crate::records::{
    EntryId,
    entry_id::ShortId,
    migrate::{InitialFormat, Migrate},
    shape::{PayloadReference, StoredText},
};

/// Version 1: the whole message in plain words, with an id and a node that the document says anyway.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredMessage1 {
    id: EntryId,
    speaker: Speaker1,
    text: String,
    at: Timestamp,
    truncated: bool,
}

#[derive(Serialize, Deserialize)]
enum Speaker1 {
    Person {
        gateway: NodeId,
    },
    Character {
        question: EntryId,
        node: NodeId,
        model: String,
        ending: Ending,
    },
}

impl InitialFormat for StoredMessage1 {
    const VERSION: u8 = 1;
}

/// Version 2. The id is the entry's key, the time is in the id, the node is the signer of the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredMessage {
    pub(super) link: StoredLink,
    pub(super) speaker: StoredSpeaker,
    pub(super) truncated: bool,
    pub(super) text: StoredText,
}

/// Which message a message follows. Four bytes name it: another one of the same session would have to share them by chance, and
/// then the nearest one before counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredLink {
    /// None.
    First,
    /// [`super::Place::Continues`]
    After(ShortId),
    /// [`super::Place::Branches`]
    BranchAfter(ShortId),
    /// [`super::Place::Branches`] without a parent.
    BranchFirst,
    /// [`super::Place::Replaces`]; it follows what the replaced one follows.
    InsteadOf(ShortId),
    /// The message before it in order of time: version 1 knew no parents.
    Previous,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredSpeaker {
    /// Through the node that signed.
    Person,
    /// Through another node.
    PersonAt(NodeId),
    Character {
        /// Only when it is not the node that signed.
        node: Option<NodeId>,
        model: String,
        ending: Ending,
        /// When it was finished, in milliseconds after the time in its id.
        after_milliseconds: u64,
    },
}

impl Migrate for StoredMessage {
    const VERSION: u8 = 2;
    type Previous = StoredMessage1;

    fn migrate(previous: StoredMessage1) -> Self {
        let (link, speaker) = match previous.speaker {
            Speaker1::Person { gateway } => (StoredLink::Previous, StoredSpeaker::PersonAt(gateway)),
            Speaker1::Character {
                question,
                node,
                model,
                ending,
            } => (
                StoredLink::After(question.short()),
                StoredSpeaker::Character {
                    node: Some(node),
                    model,
                    ending,
                    after_milliseconds: previous.at.since(previous.id.at()),
                },
            ),
        };
        Self {
            link,
            speaker,
            truncated: previous.truncated,
            text: StoredText::Plain(previous.text),
        }
    }
}

/// A later text of a message.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredVersion {
    /// The time-independent half of the message's id.
    pub(super) message: [u8; 10],
    pub(super) truncated: bool,
    pub(super) text: StoredText,
}

impl InitialFormat for StoredVersion {
    const VERSION: u8 = 1;
}

/// Version 1 of a summary: it did not say which messages between the first and the last one it covers.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredSummary1 {
    first: MessageId,
    origin: SummaryOrigin,
    text: StoredText,
}

impl InitialFormat for StoredSummary1 {
    const VERSION: u8 = 1;
}

/// A summary; the last message that it covers is the entry's key.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredSummary {
    pub(super) first: MessageId,
    pub(super) origin: SummaryOrigin,
    pub(super) covers: Coverage,
    pub(super) text: StoredText,
}

impl Migrate for StoredSummary {
    const VERSION: u8 = 2;
    type Previous = StoredSummary1;

    fn migrate(previous: StoredSummary1) -> Self {
        Self {
            first: previous.first,
            origin: previous.origin,
            covers: Coverage::Everything,
            text: previous.text,
        }
    }
}

/// Version 1 of a title: the person's own words, a sealed field like any other.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredTitle1(PayloadReference);

impl InitialFormat for StoredTitle1 {
    const VERSION: u8 = 1;
}

/// A title that says where it comes from.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredTitle {
    pub(super) text: StoredText,
    /// The time-independent half of the id of the message that it was made from; `None` when the person wrote it.
    pub(super) made_from: Option<[u8; 10]>,
}

impl Migrate for StoredTitle {
    const VERSION: u8 = 2;
    type Previous = StoredTitle1;

    fn migrate(StoredTitle1(reference): StoredTitle1) -> Self {
        Self {
            text: StoredText::Sealed(reference),
            made_from: None,
        }
    }
}

impl StoredTitle {
    /// Reads a title as it stands in a document; one in plain words stands there as a text.
    pub(super) fn from_scalar(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Str(text) => Some(Self {
                text: StoredText::Plain(text.to_string()),
                made_from: None,
            }),
            ScalarValue::Bytes(bytes) => Self::decode(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = include_bytes!("../../../../tests/formats/session-message-1-question.bin");
    const ANSWER: &[u8] = include_bytes!("../../../../tests/formats/session-message-1-answer.bin");
    const CUT: &[u8] = include_bytes!("../../../../tests/formats/session-message-1-cut.bin");

    /// The bytes were written by the program as it was before version 2.
    #[test]
    fn messages_of_version_1_are_read() {
        let question = StoredMessage::decode(QUESTION).unwrap();
        let expected = StoredMessage {
            link: StoredLink::Previous,
            speaker: StoredSpeaker::PersonAt(NodeId([1; 32])),
            truncated: false,
            text: StoredText::Plain("Привет! Как тебя зовут?".into()),
        };
        assert_eq!(question, expected);
        let id: EntryId = keys::versioned::decode::<StoredMessage1>(1, QUESTION, 1000).unwrap().id;
        let answer = StoredMessage::decode(ANSWER).unwrap();
        let expected = StoredMessage {
            link: StoredLink::After(id.short()),
            speaker: StoredSpeaker::Character {
                node: Some(NodeId([9; 32])),
                model: "built-in".into(),
                ending: Ending::Stopped,
                after_milliseconds: 2499,
            },
            truncated: false,
            text: StoredText::Plain("Меня зовут Лис.".into()),
        };
        assert_eq!(answer, expected);
        assert!(StoredMessage::decode(CUT).unwrap().truncated);
        // What is rewritten is of version 2, and says the same.
        let rewritten = answer.encode().unwrap();
        assert_eq!((rewritten[0], StoredMessage::decode(&rewritten)), (2, Some(answer)));
        assert_eq!(StoredMessage::decode(&ANSWER[..ANSWER.len() - 1]), None);
    }
}
