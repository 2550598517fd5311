//! The swarm: what nodes offer each other, and what they say to each other over a generation.

pub mod journal;
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
    engine::{Engine, GenerationError, Sampling, cache::TokenId, calibration::Profile},
    template::ChatMessage,
};

/// The section under which offers are announced.
pub const OFFERS: &str = "offers";
/// First byte of offers and of every frame of a generation.
pub(crate) const VERSION: u8 = 3;
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
    /// What the model sees.
    pub messages: Vec<ChatMessage>,
    /// How it chooses tokens.
    pub sampling: Sampling,
    /// The number of the attempt.
    pub epoch: u32,
    /// What another node has made of the answer.
    pub begun: Option<Begun>,
}

/// From the asking node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromAsker {
    Generate(Box<Request>),
    Stop,
    /// The answer may be written: this attempt is still the one that counts.
    Record,
}

/// From the generating node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGenerator {
    /// It begins or goes on, with this model, and will say something at least every so many milliseconds.
    Accepted { model: String, beat_ms: u32 },
    /// Nothing new, but what computes is alive.
    Progress,
    /// The prompt did not fit and is made shorter.
    Shortened,
    /// The next tokens, beginning with that number, and what they say.
    Said {
        epoch: u32,
        from: u32,
        tokens: Vec<TokenId>,
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
}

pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    frame::encode(VERSION, message)
}

pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    frame::decode(VERSION, bytes)
}

/// What this node's engine offers now.
#[must_use]
pub fn own_offers(engine: &Engine) -> Vec<Offer> {
    let load = *engine.load().borrow();
    let offer = engine.model().map(|model| {
        // Until something better is known of it, a server elsewhere counts as a small graphics card.
        let unknown = Profile {
            threads: 1,
            is_unified: true,
            prefill: 1000.0,
            decode: 40.0,
            decode_eight: 150.0,
        };
        let profile = model.profile.unwrap_or(unknown);
        Offer {
            model: model.name.clone(),
            slots: model.slots,
            generations: load.generations,
            prefill_tokens_per_second: profile.prefill as f32,
            decode_tokens_per_second: profile.decode as f32,
            decode_eight_tokens_per_second: profile.decode_eight as f32,
        }
    });
    offer.into_iter().collect()
}

/// Every offer that may be taken up now: this node's own and those of members within reach, but of none that takes no new work.
#[must_use]
pub fn known_offers(own: NodeId, engine: &Engine, view: &MeshView) -> BTreeMap<NodeId, Vec<Offer>> {
    let mut known = BTreeMap::new();
    if view.takes_work(&own) {
        known.insert(own, own_offers(engine));
    }
    for (node, link) in view.reachable().filter(|(node, _)| view.takes_work(node)) {
        known.insert(
            *node,
            link.sections
                .get(OFFERS)
                .map_or_else(Vec::new, |section| parse_offers(section)),
        );
    }
    known
}

/// Reads an announced section; malformed ones offer nothing.
#[must_use]
pub fn parse_offers(section: &[u8]) -> Vec<Offer> {
    let mut offers: Vec<Offer> = decode(section).unwrap_or_default();
    offers.truncate(OFFERS_MAX);
    offers
}

/// Announces this node's offers whenever engine or load change, until the engine is gone.
pub(crate) async fn announce(mesh: Mesh, engine: Engine) {
    let (mut status, mut load) = (engine.status(), engine.load());
    loop {
        if let Err(error) = mesh.announce(OFFERS, encode(&own_offers(&engine))) {
            tracing::error!(%error, "offers cannot be announced");
        }
        // A node without a model has no actor behind its engine, and then its offers never change again.
        let changed = tokio::select! {
            changed = status.changed() => changed,
            changed = load.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
