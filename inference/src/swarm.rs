//! The swarm: what nodes offer each other, and what they say to each other over a generation.
//!
//! A node tells of all its models in the section [`MODELS`](models::MODELS), those that it would load first among them; what it can answer with at once also
//! in the section [`OFFERS`], which the release before reads.

pub mod journal;
pub mod models;
pub mod pace;
pub mod route;
pub mod router;

use std::collections::BTreeMap;

use crdt::records::session::{Message, MessageId};
use keys::{ContentId, NodeId};
use mesh::{Mesh, MeshView, frame};
use serde::{Deserialize, Serialize};

use self::journal::Begun;
use crate::{
    engine::{GenerationError, Sampling, cache::TokenId},
    keeper::Engines,
    live::Lease,
    template::ChatMessage,
};

/// The section under which the model is announced that a node answers with at once.
pub const OFFERS: &str = "offers";
/// First byte of what is announced: offers and leases.
const ANNOUNCED: u8 = 4;
/// First byte of every frame of a generation.
const FRAMES: u8 = 6;
/// The same on a stream of version 2: what it lacks is [`FromAsker::GenerateFrom`].
const FRAMES_WITHOUT_STATES: u8 = 5;
/// The same on a stream of the release before.
const FRAMES_BEFORE: u8 = 4;
/// Models that one node may offer.
const OFFERS_MAX: usize = 16;

/// A model that a node can run now, with how busy and how fast it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// What people call the model.
    pub model: String,
    /// Sequences at once.
    pub slots: u32,
    /// Generations running or waiting.
    pub generations: u32,
    /// Prompt tokens per second, measured.
    pub prefill_tokens_per_second: f32,
    /// Generated tokens per second of one sequence, measured.
    pub decode_tokens_per_second: f32,
    /// Generated tokens per second of eight sequences together, measured.
    pub decode_eight_tokens_per_second: f32,
    /// Whether the node answers with it in chats; other models only programs ask for.
    #[serde(skip, default = "of_the_release_before")]
    pub is_main: bool,
    /// Milliseconds until it is in memory.
    #[serde(skip)]
    pub reload_ms: u32,
}

/// That one has a single model.
const fn of_the_release_before() -> bool {
    true
}

/// A question for a generating node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Whose chat it is: what is computed for one account is never used for another.
    pub account: ContentId,
    /// The chat, into which the generating node writes the answer.
    pub session: ContentId,
    /// The question.
    pub question: MessageId,
    /// The answer: the first one, a further one, or one that is said further.
    pub answer: MessageId,
    /// The gateway that sees to it.
    pub gateway: NodeId,
    /// Names what readers hear: under the same run the text only grows, whichever node says it.
    pub run: u64,
    /// What the answer says already, when it is to be said further.
    pub said: Option<String>,
    /// What the model sees.
    pub messages: Vec<ChatMessage>,
    /// How it chooses tokens.
    pub sampling: Sampling,
    /// The number of the attempt.
    pub epoch: u32,
    /// What another node has made of the answer.
    pub begun: Option<Begun>,
    /// Which node has the conversation computed, where that is another one than it goes to.
    #[serde(skip)]
    pub computed_at: Option<NodeId>,
}

impl Request {
    /// What is announced of it.
    pub(crate) const fn lease(&self) -> Lease {
        Lease {
            account: self.account,
            session: self.session,
            question: self.question,
            answer: self.answer,
            gateway: self.gateway,
        }
    }

    /// What there is of the answer before this attempt: its tokens, and what it says.
    pub(crate) fn start(&self) -> (&[TokenId], &str) {
        match (&self.begun, &self.said) {
            (Some(begun), _) => (&begun.tokens, &begun.text),
            (None, said) => (&[], said.as_deref().unwrap_or("")),
        }
    }
}

/// From the asking node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromAsker {
    Generate(Box<Request>),
    Stop,
    /// The answer may be written: this attempt is still the one that counts.
    Record,
    /// What is being said for somebody else, from so many bytes on.
    Follow {
        answer: MessageId,
        bytes: u32,
    },
    /// As `Generate`, where that node has the conversation computed.
    GenerateFrom(Box<Request>, NodeId),
}

/// From the generating node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGenerator {
    /// It begins or goes on, with this model, and will say something at least every so many milliseconds. Where it has begun before,
    /// run and attempt are those of that time.
    Accepted {
        model: String,
        beat_ms: u32,
        run: u64,
        epoch: u32,
    },
    /// Nothing new, but what computes is alive.
    Progress,
    /// The prompt did not fit and is made shorter.
    Shortened,
    /// The next tokens, beginning with that number, and what they say, behind so many bytes.
    Said {
        epoch: u32,
        from: u32,
        tokens: Vec<TokenId>,
        at: u32,
        text: String,
    },
    /// The whole answer, and whether this node can write it into the session when it is told to.
    Finished {
        epoch: u32,
        message: Message,
        can_record: bool,
    },
    /// Whether it is written.
    Recorded(bool),
    /// It failed.
    Failed(GenerationError),
    /// It says no such answer.
    Unknown,
    /// It waits for its turn: so many go before it, and it will wait for so many milliseconds, about.
    Queued { ahead: u32, wait_ms: u32 },
}

/// How frames are written on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frames(u8);

impl Frames {
    /// On a stream of this version of the protocol.
    pub(crate) const fn on(version: u16) -> Self {
        Self(match version {
            0 | 1 => FRAMES_BEFORE,
            2 => FRAMES_WITHOUT_STATES,
            _ => FRAMES,
        })
    }

    pub(crate) fn ask(self, question: &FromAsker) -> Vec<u8> {
        if self.0 >= FRAMES
            && let FromAsker::Generate(request) = question
            && let Some(node) = request.computed_at
        {
            return frame::encode(self.0, &FromAsker::GenerateFrom(request.clone(), node));
        }
        frame::encode(self.0, question)
    }

    /// A question, with what a newer asker says besides in its place.
    pub(crate) fn read_question(self, bytes: &[u8]) -> Option<FromAsker> {
        match self.read(bytes)? {
            FromAsker::GenerateFrom(_, _) if self.0 < FRAMES => None,
            FromAsker::GenerateFrom(mut request, node) => {
                request.computed_at = Some(node);
                Some(FromAsker::Generate(request))
            }
            question => Some(question),
        }
    }

    /// What the release before does not know is said in its words: who waits is alive, and a full queue is a busy engine.
    pub(crate) fn report(self, report: &FromGenerator) -> Vec<u8> {
        let is_before = self.0 == FRAMES_BEFORE;
        match report {
            FromGenerator::Queued { .. } if is_before => frame::encode(self.0, &FromGenerator::Progress),
            FromGenerator::Failed(GenerationError::Full { .. }) if is_before => {
                frame::encode(self.0, &FromGenerator::Failed(GenerationError::Busy))
            }
            report => frame::encode(self.0, report),
        }
    }

    pub(crate) fn read<T: for<'de> Deserialize<'de>>(self, bytes: &[u8]) -> Option<T> {
        frame::decode(self.0, bytes)
    }
}

/// An announced section.
pub(crate) fn encode(section: &impl Serialize) -> Vec<u8> {
    frame::encode(ANNOUNCED, section)
}

/// What [`encode`] wrote.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    frame::decode(ANNOUNCED, bytes)
}

/// Every offer that may be taken up now: this node's own and those of members within reach, but of none that takes no new work.
#[must_use]
pub fn known_offers(own: NodeId, engines: &Engines, view: &MeshView) -> BTreeMap<NodeId, Vec<Offer>> {
    let mut known = BTreeMap::new();
    if view.takes_work(&own) {
        known.insert(own, engines.offers());
    }
    for (node, link) in view.reachable().filter(|(node, _)| view.takes_work(node)) {
        let models = models::told(|section| link.sections.get(section).map(|bytes| &**bytes));
        known.insert(*node, models::offers(models));
    }
    known
}

/// Announces this node's models whenever one of them or its load changes, until they are gone.
pub(crate) async fn announce(mesh: Mesh, engines: Engines) {
    let mut changes = engines.changes();
    loop {
        let models = models::own(&engines);
        let at_once = models::at_once(&models);
        let announced = mesh
            .announce(models::MODELS, models::encode(&models))
            .and_then(|()| mesh.announce(OFFERS, encode(&at_once)));
        if let Err(error) = announced {
            tracing::error!(%error, "offers cannot be announced");
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
