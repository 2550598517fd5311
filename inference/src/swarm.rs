//! The swarm: what nodes offer each other, and what they say to each other over a generation.

pub mod route;

use std::collections::BTreeMap;

use crdt::records::session::{Message, MessageId};
use keys::{ContentId, NodeId};
use mesh::{Mesh, MeshView};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Engine, GenerationError, Sampling, calibration::Profile},
    live::Lease,
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
    /// The answer: the first one, a further one, or one that is said further.
    pub answer: MessageId,
    /// The gateway that sees to it.
    pub gateway: NodeId,
    /// Names this attempt to say it.
    pub run: u64,
    /// What was said of the answer already, when it is to be said further.
    pub said: Option<String>,
    /// What the model sees.
    pub messages: Vec<ChatMessage>,
    /// How it chooses tokens.
    pub sampling: Sampling,
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
}

/// From the asking node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromAsker {
    Generate(Request),
    Stop,
    /// What is being said in answer to somebody else, from so many bytes on.
    Follow {
        answer: MessageId,
        bytes: u32,
    },
}

/// From the generating node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGenerator {
    /// It begins, with this model, or began already: then with the run of that time.
    Accepted { model: String, run: u64 },
    /// Nothing new, but alive.
    Progress,
    /// The next piece of text, behind so many bytes.
    Text { at: u32, text: String },
    /// The whole answer, and whether it is written into the session.
    Finished { message: Message, recorded: bool },
    /// It failed.
    Failed(GenerationError),
    /// It says no such answer.
    Unknown,
}

pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(message, vec![VERSION]).unwrap_or_default()
}

pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first()? {
        (&VERSION, body) => postcard::take_from_bytes(body)
            .ok()
            .filter(|(_, rest)| rest.is_empty())
            .map(|(message, _)| message),
        _ => None,
    }
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

/// Every offer this node knows: its own and those of members within reach.
#[must_use]
pub fn known_offers(own: NodeId, engine: &Engine, view: &MeshView) -> BTreeMap<NodeId, Vec<Offer>> {
    let mut known = BTreeMap::from([(own, own_offers(engine))]);
    for (node, link) in view.reachable() {
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
