//! A chat of one person with one character. Messages live in a map from ULID to one scalar each, so that messages of both halves
//! of a split simply meet in the map (a scalar appends in 14 us; a nested map costs 62 us, a text object 256 us, measured).
//!
//! Message ids are made so that nothing appears twice: a person's message carries the hash of the client's outbox id, an answer
//! the hash of its question. A resend, or two nodes that answer the same question, meet in one entry.

use automerge::{AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value, transaction::Transactable};
use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{Record, RecordError, RecordKind, sealed::Shape, shape};
use crate::limits::MESSAGES_PER_SESSION_MAX;

/// First byte of a stored message.
const VERSION: u8 = 1;
const MESSAGES: &str = "messages";

/// Names a message: a ULID, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Reads the 26 characters that [`std::fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Ulid::from_string(text).ok().map(|ulid| Self(ulid.to_bytes()))
    }

    /// The time inside the id.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp(Ulid::from_bytes(self.0).timestamp_ms())
    }

    /// The part that does not depend on time.
    fn hash(&self) -> &[u8] {
        &self.0[6..]
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ulid::from_bytes(self.0).fmt(formatter)
    }
}

/// Characters of a person's message that are stored: the first 900 and the last 100 of a longer one.
pub const PERSON_CHARACTERS_MAX: usize = 1000;
const PERSON_HEAD: usize = 900;
/// Characters of an answer that are stored.
pub const ANSWER_CHARACTERS_MAX: usize = 2000;

/// A chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Whose chat it is.
    pub account: ContentId,
    /// With whom.
    pub character: ContentId,
    /// When it began.
    pub created: Timestamp,
    /// In order of time.
    pub messages: Vec<Message>,
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Time of the first acceptance and a hash, see the module.
    pub id: MessageId,
    /// Who says it.
    pub speaker: Speaker,
    /// What is said.
    pub text: String,
    /// When it was accepted or finished.
    pub at: Timestamp,
    /// Whether the text was cut at its limit.
    pub truncated: bool,
}

/// Who says a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaker {
    /// The person, through this gateway (which sees to the answer).
    Person {
        /// The node that accepted the message.
        gateway: NodeId,
    },
    /// The character.
    Character {
        /// The message it answers.
        question: MessageId,
        /// The node that generated the answer.
        node: NodeId,
        /// The model that generated it.
        model: String,
        /// Whether the person stopped it or a limit did.
        ending: Ending,
    },
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The model said that it is finished.
    Complete,
    /// The longest allowed length was reached.
    Length,
    /// The person stopped it.
    Stopped,
}

impl Message {
    /// A person's message as it is stored: over-long text keeps its beginning and its end.
    #[must_use]
    pub fn from_person(text: &str, outbox: &str, session: &ContentId, gateway: NodeId, at: Timestamp) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let truncated = characters.len() > PERSON_CHARACTERS_MAX;
        let text = if truncated {
            let tail = &characters[characters.len() - (PERSON_CHARACTERS_MAX - PERSON_HEAD)..];
            characters[..PERSON_HEAD].iter().chain(tail).collect()
        } else {
            text.to_owned()
        };
        let id = derived_id(at, &[b"person", &session.0, outbox.as_bytes()]);
        Self {
            id,
            speaker: Speaker::Person { gateway },
            text,
            at,
            truncated,
        }
    }

    /// An answer as it is stored.
    #[must_use]
    pub fn answer(question: MessageId, text: &str, at: Timestamp, node: NodeId, model: &str, ending: Ending) -> Self {
        let truncated = text.chars().nth(ANSWER_CHARACTERS_MAX).is_some();
        let text = text.chars().take(ANSWER_CHARACTERS_MAX).collect();
        let speaker = Speaker::Character {
            question,
            node,
            model: model.to_owned(),
            ending,
        };
        Self {
            id: answer_id(question),
            speaker,
            text,
            at,
            truncated,
        }
    }

    /// Whether this is the message that a client's outbox id names.
    #[must_use]
    pub fn is_from_outbox(&self, outbox: &str, session: &ContentId) -> bool {
        self.id.hash() == derived_id(Timestamp(0), &[b"person", &session.0, outbox.as_bytes()]).hash()
    }

    fn is_valid(&self) -> bool {
        // Twice the limits, so that a later version may be more generous without older nodes hiding messages.
        self.text.chars().count() <= 2 * ANSWER_CHARACTERS_MAX
    }
}

/// The id of the answer to a question: a millisecond after it, so that it sorts behind it, and the same wherever it is generated.
#[must_use]
pub fn answer_id(question: MessageId) -> MessageId {
    derived_id(question.at().plus(1), &[b"answer", &question.0])
}

fn derived_id(at: Timestamp, parts: &[&[u8]]) -> MessageId {
    let mut hasher = blake3::Hasher::new_derive_key("starling message id 1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut random = [0; 16];
    random.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    MessageId(Ulid::from_parts(at.0, u128::from_le_bytes(random)).to_bytes())
}

impl Session {
    /// Questions that have no answer yet, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| self.is_unanswered(message))
    }

    /// Whether a message is a question without an answer.
    #[must_use]
    pub fn is_unanswered(&self, message: &Message) -> bool {
        matches!(message.speaker, Speaker::Person { .. }) && {
            let answer = answer_id(message.id);
            !self.messages.iter().any(|other| other.id == answer)
        }
    }
}

impl Record for Session {
    const KIND: RecordKind = RecordKind::Session;
    fn validate(&self) -> Result<(), RecordError> {
        let valid = self.messages.len() <= MESSAGES_PER_SESSION_MAX && self.messages.iter().all(Message::is_valid);
        if valid {
            Ok(())
        } else {
            Err(RecordError::Limit("messages"))
        }
    }
}

impl Shape for Session {
    fn write(&self, document: &mut AutoCommit) -> Result<(), RecordError> {
        shape::put(document, "account", self.account.0.to_vec())?;
        shape::put(document, "character", self.character.0.to_vec())?;
        shape::put(document, "created", self.created.0)?;
        document
            .put_object(ROOT, MESSAGES, ObjType::Map)
            .map_err(|error| RecordError::Document(error.to_string()))?;
        self.messages
            .iter()
            .try_for_each(|message| put_message(document, message))
    }

    fn read(document: &AutoCommit) -> Result<Self, RecordError> {
        let id = |key| -> Result<ContentId, RecordError> {
            Ok(ContentId(
                shape::bytes(document, key)?
                    .try_into()
                    .map_err(|_| RecordError::Field(key))?,
            ))
        };
        let mut messages = Vec::new();
        for item in document.map_range(messages_object(document)?, ..) {
            // A message of a later version or a damaged one is left out of the view; the others stay.
            if let Some(message) = decode(&item.value.into_value()) {
                messages.push(message);
            }
        }
        messages.retain(Message::is_valid);
        messages.sort_by_key(|message: &Message| message.id);
        // One outbox id accepted by two gateways in a split: the earlier one stands for both.
        let mut seen = std::collections::HashSet::new();
        messages.retain(|message| seen.insert(message.id.hash().to_vec()));
        let created = Timestamp(shape::number(document, "created")?);
        Ok(Self {
            account: id("account")?,
            character: id("character")?,
            created,
            messages,
        })
    }
}

fn messages_object(document: &AutoCommit) -> Result<ObjId, RecordError> {
    match document.get(ROOT, MESSAGES) {
        Ok(Some((Value::Object(ObjType::Map), object))) => Ok(object),
        _ => Err(RecordError::Field(MESSAGES)),
    }
}

/// Writes one message into the session's map.
pub(crate) fn put_message(document: &mut AutoCommit, message: &Message) -> Result<(), RecordError> {
    if !message.is_valid() {
        return Err(RecordError::Limit("text"));
    }
    let object = messages_object(document)?;
    if document.length(&object) >= MESSAGES_PER_SESSION_MAX {
        return Err(RecordError::Limit(MESSAGES));
    }
    let bytes = postcard::to_extend(message, vec![VERSION]).map_err(|_| RecordError::Field("message"))?;
    let value = ScalarValue::Bytes(bytes);
    document
        .put(&object, message.id.to_string(), value)
        .map_err(|error| RecordError::Document(error.to_string()))
}

fn decode(value: &Value<'_>) -> Option<Message> {
    let bytes = value.as_bytes()?;
    match bytes.split_first()? {
        (&VERSION, body) => postcard::from_bytes(body).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const SESSION: ContentId = ContentId([2; 32]);

    #[test]
    fn over_long_texts_are_cut_as_the_seed_says() {
        let text: String = (0..1001).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
        let stored = Message::from_person(&text, "outbox-1", &SESSION, NODE, Timestamp(5));
        assert_eq!(stored.text.chars().count(), 1000);
        assert!(stored.truncated && stored.text.starts_with(&text[..900]) && stored.text.ends_with(&text[901..]));
        let exact = Message::from_person(&text[..1000], "outbox-1", &SESSION, NODE, Timestamp(5));
        assert!(!exact.truncated && exact.text == text[..1000]);
        let answer = Message::answer(stored.id, &"ы".repeat(2001), Timestamp(9), NODE, "m", Ending::Complete);
        assert!(answer.truncated && answer.text.chars().count() == 2000);
    }

    #[test]
    fn a_resend_is_recognised_and_an_answer_follows_its_question() {
        let first = Message::from_person("a", "outbox-1", &SESSION, NODE, Timestamp(5));
        let again = Message::from_person("a", "outbox-1", &SESSION, NODE, Timestamp(900));
        assert!(again.is_from_outbox("outbox-1", &SESSION) && first.id.hash() == again.id.hash());
        assert!(!first.is_from_outbox("outbox-2", &SESSION) && !first.is_from_outbox("outbox-1", &ContentId([3; 32])));
        assert!(answer_id(first.id) > first.id);
        assert_eq!(answer_id(first.id), answer_id(first.id));
    }
}
