//! A message of a chat, and how its id is made.
//!
//! Ids are made so that nothing appears twice: a person's message carries the hash of the client's outbox id, an answer the hash of
//! its question. A resend, or two nodes that answer the same question, meet in one entry.

use keys::{ContentId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::records::{EntryId, RecordError, Sealed, shape};

/// Names a message.
pub type MessageId = EntryId;

/// Characters of a person's message that are stored: the first 900 and the last 100 of a longer one.
pub const PERSON_CHARACTERS_MAX: usize = 1000;
const PERSON_HEAD: usize = 900;
/// Characters of an answer that are stored.
pub const ANSWER_CHARACTERS_MAX: usize = 2000;
/// Characters of a text that are read: twice the limit, so that a later version may be more generous.
pub(super) const READ_CHARACTERS_MAX: usize = 2 * ANSWER_CHARACTERS_MAX;
/// Characters of a model's name.
pub const MODEL_CHARACTERS_MAX: usize = 200;
/// What message ids are hashed under.
const ID_CONTEXT: &str = "starling message id 1";

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Time of the first acceptance and a hash, see the module.
    pub id: MessageId,
    /// The message (or the thread, see [`super::Session::threads`]) that it follows; `None` at the beginning of the first dialogue.
    pub parent: Option<MessageId>,
    /// How it stands to others that follow the same message.
    pub place: Place,
    /// Who says it.
    pub speaker: Speaker,
    /// What is said: the newest of its versions.
    pub text: Sealed,
    /// When it was accepted or finished.
    pub at: Timestamp,
    /// Whether the text was cut at its limit.
    pub truncated: bool,
    /// Every text of a message that was changed in place, oldest first, the last one the text it has now; empty when it never was.
    pub versions: Vec<Version>,
}

/// How a message stands to others that follow the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// It goes on. Two that go on from the same message were written without knowledge of each other, and stand one behind the other.
    Continues,
    /// It begins another branch on purpose.
    Branches,
    /// It is an edited form of this message, and with what follows it another branch.
    Replaces(MessageId),
}

/// Who says a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaker {
    /// The person.
    Person {
        /// The node that accepted the message and sees to its answer. `None` while it is written: then it is the node that signs it;
        /// and when that node is not known.
        gateway: Option<NodeId>,
    },
    /// The character. Several answers to one question are alternatives.
    Character {
        /// The node that generated the answer. `None` as for a gateway.
        node: Option<NodeId>,
        /// The model that generated it; empty for a greeting.
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

/// A text that a message had or has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// When it was written; the first one has the message's own id.
    pub id: EntryId,
    /// What was said.
    pub text: Sealed,
    /// Whether it was cut at its limit.
    pub truncated: bool,
}

impl Message {
    /// A person's message as it is stored: over-long text keeps its beginning and its end.
    #[must_use]
    pub fn from_person(
        text: &str,
        outbox: &str,
        session: &ContentId,
        parent: Option<MessageId>,
        at: Timestamp,
    ) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let truncated = characters.len() > PERSON_CHARACTERS_MAX;
        let text: String = if truncated {
            let tail = &characters[characters.len() - (PERSON_CHARACTERS_MAX - PERSON_HEAD)..];
            characters[..PERSON_HEAD].iter().chain(tail).collect()
        } else {
            text.to_owned()
        };
        Self {
            id: person_id(at, session, outbox),
            parent,
            place: Place::Continues,
            speaker: Speaker::Person { gateway: None },
            text: text.into(),
            at,
            truncated,
            versions: Vec::new(),
        }
    }

    /// The first answer to a question, as it is stored. A further one gets the id of [`another_answer_id`].
    #[must_use]
    pub fn answer(question: MessageId, text: &str, at: Timestamp, model: &str, ending: Ending) -> Self {
        let truncated = text.chars().nth(ANSWER_CHARACTERS_MAX).is_some();
        Self {
            id: answer_id(question),
            parent: Some(question),
            place: Place::Continues,
            speaker: Speaker::Character {
                node: None,
                model: model.to_owned(),
                ending,
            },
            text: shape::cut(text.to_owned(), ANSWER_CHARACTERS_MAX).into(),
            at,
            truncated,
            versions: Vec::new(),
        }
    }

    /// A character's first words in a dialogue; `number` tells its greetings apart, which are alternatives.
    #[must_use]
    pub fn greeting(text: &str, session: &ContentId, thread: Option<MessageId>, number: u8, at: Timestamp) -> Self {
        let thread_bytes = thread.map_or([0; 16], |thread| *thread.bytes());
        let id = EntryId::derived(at, ID_CONTEXT, &[b"greeting", &session.0, &thread_bytes, &[number]]);
        Self {
            id,
            parent: thread,
            ..Self::answer(id, text, at, "", Ending::Complete)
        }
    }

    /// Whether this is the message that a client's outbox id names.
    #[must_use]
    pub fn is_from_outbox(&self, outbox: &str, session: &ContentId) -> bool {
        self.id.hash_half() == person_id(Timestamp(0), session, outbox).hash_half()
    }

    /// Whether the person says it.
    #[must_use]
    pub const fn is_from_person(&self) -> bool {
        matches!(self.speaker, Speaker::Person { .. })
    }

    /// The earlier messages that want no answer because of this one: the question it answers, and the one it replaces.
    pub(super) fn settles(&self) -> impl Iterator<Item = MessageId> + use<> {
        let (id, answered) = (self.id, self.parent.filter(|_| !self.is_from_person()));
        let earlier = move |settled: &MessageId| *settled < id;
        [answered, self.replaced()].into_iter().flatten().filter(earlier)
    }

    const fn replaced(&self) -> Option<MessageId> {
        match self.place {
            Place::Replaces(replaced) => Some(replaced),
            Place::Continues | Place::Branches => None,
        }
    }

    /// Checks every limit of a message that this node is about to write.
    pub(super) fn validate(&self) -> Result<(), RecordError> {
        let most = match &self.speaker {
            Speaker::Person { .. } => PERSON_CHARACTERS_MAX,
            Speaker::Character { model, .. } => {
                shape::check_text("model", model, 0, MODEL_CHARACTERS_MAX)?;
                ANSWER_CHARACTERS_MAX
            }
        };
        // References point back in time: otherwise a tree of messages could have a circle.
        if [self.parent, self.replaced()]
            .into_iter()
            .flatten()
            .any(|id| id >= self.id)
        {
            return Err(RecordError::Limit("parent"));
        }
        shape::check_sealed("text", &self.text, 0, most)
    }
}

fn person_id(at: Timestamp, session: &ContentId, outbox: &str) -> MessageId {
    EntryId::derived(at, ID_CONTEXT, &[b"person", &session.0, outbox.as_bytes()])
}

/// The id of the first answer to a question: a millisecond after it, so that it sorts behind it, and the same wherever it is
/// generated.
#[must_use]
pub fn answer_id(question: MessageId) -> MessageId {
    EntryId::derived(question.at().plus(1), ID_CONTEXT, &[b"answer", question.bytes()])
}

/// The id of a further answer to a question, asked for under a client's outbox id at a time.
#[must_use]
pub fn another_answer_id(question: MessageId, outbox: &str, at: Timestamp) -> MessageId {
    let at = at.max(question.at().plus(2));
    EntryId::derived(
        at,
        ID_CONTEXT,
        &[b"another answer", question.bytes(), outbox.as_bytes()],
    )
}

/// Whether this is the id of the further answer to a question that was asked for under a client's outbox id, whenever that was.
#[must_use]
pub fn is_another_answer_id(id: MessageId, question: MessageId, outbox: &str) -> bool {
    id.hash_half() == another_answer_id(question, outbox, Timestamp(0)).hash_half()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: ContentId = ContentId([2; 32]);

    #[test]
    fn over_long_texts_are_cut_as_the_seed_says() {
        let text: String = (0..1001).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
        let stored = Message::from_person(&text, "outbox-1", &SESSION, None, Timestamp(5));
        let cut = stored.text.text();
        assert_eq!(cut.chars().count(), 1000);
        assert!(stored.truncated && cut.starts_with(&text[..900]) && cut.ends_with(&text[901..]));
        let exact = Message::from_person(&text[..1000], "outbox-1", &SESSION, None, Timestamp(5));
        assert!(!exact.truncated && exact.text.text() == &text[..1000]);
        let answer = Message::answer(stored.id, &"ы".repeat(2001), Timestamp(9), "m", Ending::Complete);
        assert!(answer.truncated && answer.text.text().chars().count() == 2000);
        for message in [stored, exact, answer] {
            message.validate().unwrap();
        }
    }

    #[test]
    fn a_resend_is_recognised_and_an_answer_follows_its_question() {
        let first = Message::from_person("a", "outbox-1", &SESSION, None, Timestamp(5));
        let again = Message::from_person("a", "outbox-1", &SESSION, None, Timestamp(900));
        assert!(again.is_from_outbox("outbox-1", &SESSION) && first.id.hash_half() == again.id.hash_half());
        assert!(!first.is_from_outbox("outbox-2", &SESSION) && !first.is_from_outbox("outbox-1", &ContentId([3; 32])));
        assert!(answer_id(first.id) > first.id);
        assert_eq!(answer_id(first.id), answer_id(first.id));
        let another = another_answer_id(first.id, "again-1", Timestamp(0));
        assert!(another > answer_id(first.id) && another != another_answer_id(first.id, "again-2", Timestamp(0)));
        let later = another_answer_id(first.id, "again-1", Timestamp(900));
        assert!(another != later && is_another_answer_id(later, first.id, "again-1"));
        assert!(!is_another_answer_id(later, first.id, "again-2") && !is_another_answer_id(later, later, "again-1"));
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        let good = Message::from_person("a", "outbox-1", &SESSION, None, Timestamp(5));
        let refused = |message: Message, field| assert_eq!(message.validate(), Err(RecordError::Limit(field)));
        let long = "x".repeat(PERSON_CHARACTERS_MAX + 1);
        refused(
            Message {
                text: long.into(),
                ..good.clone()
            },
            "text",
        );
        refused(
            Message {
                parent: Some(answer_id(good.id)),
                ..good.clone()
            },
            "parent",
        );
        refused(
            Message {
                place: Place::Replaces(good.id),
                ..good.clone()
            },
            "parent",
        );
        let model = "m".repeat(MODEL_CHARACTERS_MAX + 1);
        refused(
            Message::answer(good.id, "a", Timestamp(9), &model, Ending::Complete),
            "model",
        );
    }
}
