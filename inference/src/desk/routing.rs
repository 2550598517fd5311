//! Between the desk and the router: what a question is worth in tokens, who could answer it, and what its end says of who did.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crdt::records::session::{Ending, Message, Speaker};
use keys::{ContentId, NodeId, Timestamp};
use mesh::Mesh;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    engine::Engine,
    swarm::{
        self, Request,
        route::{self, Decision, Penalties, Priced, Work},
        router::{Asked, BreakerEvent, Ended, Known, Question, Router},
    },
};

/// Three characters a token is near the truth for Russian and English alike.
const CHARACTERS_PER_TOKEN: f64 = 3.0;
/// Changes of breakers that are kept: a day of trouble on a few nodes.
const BREAKER_EVENTS_MAX: usize = 256;
/// Tokens of an answer, before anything is known of it.
const ANSWER_TOKENS: f64 = 100.0;

/// The router, shared by the attempts of a desk. Held only while it computes.
#[derive(Clone, Debug)]
pub(super) struct Routing(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    router: Router,
    /// For the draw between nodes that the news cannot tell apart.
    random: StdRng,
    /// The last changes of breakers, oldest first.
    events: VecDeque<(Timestamp, BreakerEvent)>,
}

impl Default for Routing {
    fn default() -> Self {
        let random = StdRng::from_seed(keys::identity::random_bytes());
        let router = Router::default();
        Self(Arc::new(Mutex::new(State {
            router,
            random,
            events: VecDeque::new(),
        })))
    }
}

fn tokens(text: &str) -> f64 {
    text.chars().count() as f64 / CHARACTERS_PER_TOKEN
}

fn question_of(request: &Request) -> Question {
    let card = request.messages.first().map_or("", |first| first.content.as_str());
    let prompt_tokens = request.messages.iter().map(|message| tokens(&message.content)).sum();
    Question {
        session: request.session,
        card: ContentId::of(card.as_bytes()),
        card_tokens: tokens(card),
        work: Work {
            prompt_tokens,
            answer_tokens: ANSWER_TOKENS,
        },
    }
}

fn known(engine: &Engine, mesh: &Mesh) -> Vec<Known> {
    let (own, view) = (mesh.node(), mesh.view());
    let view = view.borrow();
    let offers = swarm::known_offers(own, engine, &view).into_iter();
    let known = offers.flat_map(|(node, offers)| {
        let round_trip = view.links.get(&node).and_then(|link| link.round_trip);
        let round_trip_ms = round_trip.unwrap_or(Duration::ZERO).as_secs_f64() * 1000.0;
        offers.into_iter().map(move |offer| Known {
            node,
            offer,
            round_trip_ms,
            penalties: Penalties::default(),
        })
    });
    known.collect()
}

impl Routing {
    /// In which order nodes are asked.
    pub(super) fn decide(&self, engine: &Engine, mesh: &Mesh, request: &Request) -> (Question, Decision) {
        let question = question_of(request);
        let known = known(engine, mesh);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates = state.router.candidates(Instant::now(), &question, known);
        let draw = state.random.next_u64();
        drop(state);
        let decision = route::decide(candidates, question.work, draw);
        if let Some(choice) = decision.choice(0) {
            tracing::debug!(node = %choice.winner.node.short(), ?choice, "a node is chosen");
        }
        (question, decision)
    }

    /// In which order nodes with this model are asked for something that belongs to no chat.
    pub(super) fn order(&self, engine: &Engine, mesh: &Mesh, model: &str, characters: usize) -> Vec<NodeId> {
        let question = Question {
            session: ContentId(keys::identity::random_bytes()),
            card: ContentId::of(b""),
            card_tokens: 0.0,
            work: Work {
                prompt_tokens: characters as f64 / CHARACTERS_PER_TOKEN,
                answer_tokens: ANSWER_TOKENS,
            },
        };
        let mut known = known(engine, mesh);
        known.retain(|known| known.offer.model == model);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates = state.router.candidates(Instant::now(), &question, known);
        let draw = state.random.next_u64();
        drop(state);
        let decision = route::decide(candidates, question.work, draw);
        decision
            .order
            .into_iter()
            .map(|(candidate, _)| candidate.node)
            .collect()
    }

    /// A question goes to a node.
    pub(super) fn began(&self, question: Question, (candidate, cost): &Priced) -> Asked {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, event) = state.router.began(Instant::now(), question, candidate, *cost);
        state.keep(event);
        asked
    }

    /// It ended.
    pub(super) fn ended(&self, asked: Asked, ended: Ended) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let event = state.router.ended(Instant::now(), asked, ended);
        state.keep(event);
    }

    /// The last changes of breakers, oldest first.
    pub(super) fn breaker_events(&self) -> Vec<(Timestamp, BreakerEvent)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.events.iter().cloned().collect()
    }
}

impl State {
    fn keep(&mut self, event: Option<BreakerEvent>) {
        let Some(event) = event else { return };
        let (node, model, transition) = (event.node.short(), &event.model, event.transition);
        tracing::info!(%node, model, ?transition, "a breaker changed");
        if self.events.len() == BREAKER_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back((Timestamp::now(), event));
    }
}

/// What an answer says of the node that gave it.
pub(super) fn answered(message: &Message, took: Duration) -> Ended {
    match &message.speaker {
        Speaker::Character {
            ending: Ending::Stopped,
            ..
        } => Ended::Stopped,
        _ => Ended::Answered {
            took_ms: took.as_secs_f64() * 1000.0,
            answer_tokens: if message.text.is_readable() {
                tokens(message.text.text())
            } else {
                0.0
            },
        },
    }
}
