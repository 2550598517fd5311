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
use tokio::sync::watch;

use super::breakers::Events;
use crate::{
    keeper::Engines,
    limits::BREAKER_EVENTS_MAX,
    swarm::{
        self, Offer, Request,
        route::{self, Decision, Penalties, Priced, Work},
        router::{Asked, BreakerEvent, Ended, Known, Operation, Question, Router},
    },
};

/// Three characters a token is near the truth for Russian and English alike.
const CHARACTERS_PER_TOKEN: f64 = 3.0;
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
    events: Events,
    /// Counts them.
    changed: watch::Sender<u64>,
}

impl Default for Routing {
    fn default() -> Self {
        let random = StdRng::from_seed(keys::identity::random_bytes());
        let router = Router::default();
        Self(Arc::new(Mutex::new(State {
            router,
            random,
            events: VecDeque::new(),
            changed: watch::Sender::new(0),
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
        operation: Operation::Generate,
        work: Work {
            prompt_tokens,
            answer_tokens: ANSWER_TOKENS,
        },
    }
}

/// Of every node within reach, the models that are wanted.
fn known(engines: &Engines, mesh: &Mesh, wanted: impl Fn(&Offer) -> bool) -> Vec<Known> {
    let (own, view) = (mesh.node(), mesh.view());
    let view = view.borrow();
    let offers = swarm::known_offers(own, engines, &view).into_iter();
    let known = offers.flat_map(|(node, offers)| {
        let round_trip = view.links.get(&node).and_then(|link| link.round_trip);
        let round_trip_ms = round_trip.unwrap_or(Duration::ZERO).as_secs_f64() * 1000.0;
        let offers: Vec<Offer> = offers.into_iter().filter(&wanted).collect();
        offers.into_iter().map(move |offer| Known {
            node,
            offer,
            round_trip_ms,
            penalties: Penalties::default(),
        })
    });
    known.collect()
}

/// No chat names its model: a node answers with its main one.
const fn for_chats(offer: &Offer) -> bool {
    offer.is_main
}

impl Routing {
    /// In which order nodes are asked.
    pub(super) fn decide(
        &self,
        engines: &Engines,
        mesh: &Mesh,
        request: &Request,
        operation: Operation,
    ) -> (Question, Decision) {
        let question = Question {
            operation,
            ..question_of(request)
        };
        let known = known(engines, mesh, for_chats);
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

    /// Whether any node within reach has a model.
    pub(super) fn is_anyone_known(&self, engines: &Engines, mesh: &Mesh) -> bool {
        !known(engines, mesh, for_chats).is_empty()
    }

    /// How long a node still loads the model with which it answers chats; nothing when it is in memory.
    pub(super) fn loading(&self, engines: &Engines, mesh: &Mesh, node: NodeId) -> Option<Duration> {
        let known = known(engines, mesh, for_chats).into_iter();
        let mut of_node = known.filter(|known| known.node == node);
        let reload = Duration::from_millis(of_node.next()?.offer.reload_ms.into());
        (!reload.is_zero()).then_some(reload)
    }

    /// In which order nodes with this model are asked for something that belongs to no chat.
    pub(super) fn order(&self, engines: &Engines, mesh: &Mesh, model: &str, characters: usize) -> Vec<NodeId> {
        let question = Question {
            operation: Operation::Generate,
            session: ContentId(keys::identity::random_bytes()),
            card: ContentId::of(b""),
            card_tokens: 0.0,
            work: Work {
                prompt_tokens: characters as f64 / CHARACTERS_PER_TOKEN,
                answer_tokens: ANSWER_TOKENS,
            },
        };
        let known = known(engines, mesh, |offer| offer.model == model);
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

    /// The node from which a chosen one can have what is computed of a conversation.
    pub(super) fn holder(&self, request: &Request, (candidate, _): &Priced) -> Option<NodeId> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.router.holder(Instant::now(), &request.session, candidate)
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

    /// Changes whenever a breaker does.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.changed.subscribe()
    }

    /// What happened before this start goes before what has happened since.
    pub(super) fn recall(&self, before: Vec<(Timestamp, BreakerEvent)>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = BREAKER_EVENTS_MAX - state.events.len();
        for event in before.into_iter().rev().take(room) {
            state.events.push_front(event);
        }
    }

    /// A breaker changed.
    #[cfg(test)]
    pub(super) fn note(&self, at: Timestamp, event: BreakerEvent) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.push(at, event);
    }
}

impl State {
    fn keep(&mut self, event: Option<BreakerEvent>) {
        let Some(event) = event else { return };
        let (node, model, transition) = (event.node.short(), &event.model, event.transition);
        tracing::info!(%node, model, ?transition, "a breaker changed");
        self.push(Timestamp::now(), event);
    }

    fn push(&mut self, at: Timestamp, event: BreakerEvent) {
        if self.events.len() == BREAKER_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back((at, event));
        self.changed.send_modify(|changed| *changed = changed.wrapping_add(1));
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
