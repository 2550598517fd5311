//! What a gateway knows of the nodes that answer its questions, beyond what they announce: pure, the time is an argument.
//!
//! ## A question's way
//! [`Router::candidates`] takes the offers that are known and adds what was seen of each node; [`super::route::decide`] chooses;
//! [`Router::began`] notes what goes where, so that the next question knows of it before the node can announce it; and
//! [`Router::ended`] learns from how it ended.
//!
//! ## What is learned
//! - *Slowdown*: how much longer a node takes than its announced speed and load say, as the mean of the logarithms, so that twice as
//!   fast and twice as slow weigh alike. A node that overstates its speed loses most of what it gains by it within a few questions. What
//!   is not seen again fades, or a node that was slow once would never be asked again.
//! - *Failing*: the part of its last generations that came to nothing, and for each operation a [`breaker`] for those that fail in a row.
//! - *Where prompts are computed*: a conversation's on the node that answered it last, a character's card on those that were asked with
//!   it. A card that nobody has yet belongs on few nodes, the same for every gateway: those first by rendezvous hashing, weighted by
//!   speed (Thaler and Ravishankar, 1998).
//!
//! All of it is this node's own experience: nobody else can spoil a node's name.

pub mod breaker;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use keys::{ContentId, NodeId};
use serde::{Deserialize, Serialize};

use self::breaker::{Breaker, BreakerState, Transition};
use super::{
    Offer,
    route::{Candidate, Cost, Penalties, Work},
};
use crate::limits::BREAKER_MODEL_CHARACTERS_MAX;

/// What was sent to a node this short a while ago is not in its announcement yet: it announces at once, and news travels with the
/// next heartbeat.
const ANNOUNCED_AFTER: Duration = Duration::from_millis(500);
/// Weight of the newest answer, once there were some: more would follow the chance of single answers, whose waits are never known
/// exactly. The first ones weigh more, as in a plain mean with the node's word as one answer: after twenty, 97 % is what was seen.
const NEWEST: f64 = 0.1;
/// Weight of the newest failure, or of its absence.
const NEWEST_FAILING: f64 = 0.2;
/// Bounds of the slowdown: beyond them a node is as good as useless, or has understated itself by mistake.
const SLOWDOWN: (f64, f64) = (0.25, 16.0);
/// What was seen of a node counts half after this long.
const FADES_BY_HALF: Duration = Duration::from_secs(600);
/// How long a computed prompt is expected to stay where it is.
const STAYS_COMPUTED: Duration = Duration::from_secs(1800);
/// Nodes on which a card is at home.
const CARD_HOMES: usize = 2;
/// Nodes and models that are remembered; the one that was not asked for the longest time goes first.
const WORKERS_MAX: usize = 1024;
/// Conversations that are remembered, and cards.
const PROMPTS_MAX: usize = 8192;
/// Questions to one node that were sent a moment ago; it takes fewer at once.
const RECENT_MAX: usize = 64;

/// A question as far as routing goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The conversation.
    pub session: ContentId,
    /// What every conversation with the character begins with.
    pub card: ContentId,
    /// Tokens of that.
    pub card_tokens: f64,
    /// The work as a whole.
    pub work: Work,
    /// What is asked for.
    pub operation: Operation,
}

/// What a node is asked for. One that fails at one of them may be good at the other, so each has a breaker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An answer from its beginning.
    Generate,
    /// To go on with what another node has begun.
    Continue,
}

/// A worker that is within reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The node.
    pub node: NodeId,
    /// What it offers.
    pub offer: Offer,
    /// Round trip to it; zero for this node itself.
    pub round_trip_ms: f64,
    /// What speaks against it beside time.
    pub penalties: Penalties,
}

/// How a question to a node ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// With an answer.
    Answered {
        /// From the asking to the end, in milliseconds.
        took_ms: f64,
        /// Tokens of the answer.
        answer_tokens: f64,
    },
    /// It was refused because of too much work: no failure.
    Busy,
    /// The person stopped it, or nobody wanted the answer any more: it says nothing.
    Stopped,
    /// It came to nothing.
    Failed,
}

/// What a breaker did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerEvent {
    /// The node.
    pub node: NodeId,
    /// The model.
    pub model: String,
    /// At what.
    pub operation: Operation,
    /// What changed.
    pub transition: Transition,
}

/// A question that is under way; hand it back with [`Router::ended`].
#[derive(Debug)]
pub struct Asked {
    worker: Worker,
    question: Question,
    cost: Cost,
}

type Worker = (NodeId, String);

/// What was seen of a worker.
#[derive(Debug)]
struct Seen {
    /// The mean of the logarithms of what it took by what it claimed.
    slowdown: f64,
    /// Answers behind that mean, as far as they still count.
    answers: f64,
    failing: f64,
    at: Instant,
    /// Of [`Operation::Generate`] and [`Operation::Continue`].
    breakers: [Breaker; 2],
    /// When the last questions went there, oldest first.
    recent: VecDeque<Instant>,
}

impl Seen {
    const fn new(now: Instant) -> Self {
        Self {
            slowdown: 0.0,
            answers: 0.0,
            failing: 0.0,
            at: now,
            breakers: [Breaker::new(now); 2],
            recent: VecDeque::new(),
        }
    }

    const fn breaker(&mut self, operation: Operation) -> &mut Breaker {
        &mut self.breakers[operation as usize]
    }

    /// How much of what was seen still counts.
    fn weight(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        (-age / FADES_BY_HALF.as_secs_f64()).exp2()
    }

    fn fade(&mut self, now: Instant) {
        let weight = self.weight(now);
        self.slowdown *= weight;
        self.answers *= weight;
        self.failing *= weight;
        self.at = now;
    }
}

/// Where something was computed.
#[derive(Clone, Debug)]
struct Computed {
    worker: Worker,
    tokens: f64,
    at: Instant,
}

impl Computed {
    fn is_fresh(&self, now: Instant, worker: &Worker) -> bool {
        self.worker == *worker && now.saturating_duration_since(self.at) < STAYS_COMPUTED
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Router {
    workers: HashMap<Worker, Seen>,
    conversations: HashMap<ContentId, Computed>,
    cards: HashMap<ContentId, Vec<Computed>>,
}

impl Router {
    /// The workers that may be asked, with everything that is known of them.
    #[must_use]
    pub fn candidates(&self, now: Instant, question: &Question, known: Vec<Known>) -> Vec<Candidate> {
        let homes = card_homes(&question.card, &known);
        let allowed = known.into_iter().filter_map(|known| {
            let worker = (known.node, known.offer.model.clone());
            let seen = self.workers.get(&worker);
            if seen.is_some_and(|seen| !seen.breakers[question.operation as usize].allows(now)) {
                return None;
            }
            let mut candidate = Candidate::new(known.node, known.offer, known.round_trip_ms);
            candidate.penalties = known.penalties;
            candidate.reload_ms = f64::from(candidate.offer.reload_ms);
            candidate.cached_tokens = self.cached(now, question, &worker, &homes);
            candidate.holds_conversation = self.conversation(now, question, &worker).is_some();
            if let Some(seen) = seen {
                let weight = seen.weight(now);
                candidate.slowdown = (seen.slowdown * weight).exp();
                candidate.failing = seen.failing * weight;
                let recent = seen.recent.iter();
                let unannounced = recent.filter(|sent| now.saturating_duration_since(**sent) < ANNOUNCED_AFTER);
                candidate.unannounced = u32::try_from(unannounced.count()).unwrap_or(u32::MAX);
            }
            Some(candidate)
        });
        allowed.collect()
    }

    /// The question's conversation, where this worker has it computed.
    fn conversation(&self, now: Instant, question: &Question, worker: &Worker) -> Option<&Computed> {
        let computed = self.conversations.get(&question.session)?;
        computed.is_fresh(now, worker).then_some(computed)
    }

    /// The node that has a conversation computed in this model, for one that has not.
    #[must_use]
    pub fn holder(&self, now: Instant, session: &ContentId, candidate: &Candidate) -> Option<NodeId> {
        let computed = self.conversations.get(session)?;
        let (node, model) = &computed.worker;
        let is_elsewhere = *node != candidate.node && *model == candidate.offer.model;
        (is_elsewhere && computed.is_fresh(now, &computed.worker)).then_some(*node)
    }

    fn cached(&self, now: Instant, question: &Question, worker: &Worker, homes: &[NodeId]) -> f64 {
        if let Some(computed) = self.conversation(now, question, worker) {
            return computed.tokens;
        }
        let cards = self.cards.get(&question.card);
        let is_here = cards.is_some_and(|cards| cards.iter().any(|computed| computed.is_fresh(now, worker)));
        if is_here || homes.contains(&worker.0) {
            question.card_tokens
        } else {
            0.0
        }
    }

    /// A question goes to a candidate, at this cost.
    pub fn began(
        &mut self,
        now: Instant,
        question: Question,
        candidate: &Candidate,
        cost: Cost,
    ) -> (Asked, Option<BreakerEvent>) {
        let worker = (candidate.node, candidate.offer.model.clone());
        let seen = self.seen(now, &worker);
        if seen.recent.len() == RECENT_MAX {
            seen.recent.pop_front();
        }
        seen.recent.push_back(now);
        let transition = seen.breaker(question.operation).began(now);
        let event = event(&worker, question.operation, transition);
        let asked = Asked { worker, question, cost };
        (asked, event)
    }

    /// It ended.
    pub fn ended(&mut self, now: Instant, asked: Asked, ended: Ended) -> Option<BreakerEvent> {
        let Asked { worker, question, cost } = asked;
        let seen = self.seen(now, &worker);
        let transition = match ended {
            Ended::Answered { took_ms, answer_tokens } => {
                seen.fade(now);
                seen.failing *= 1.0 - NEWEST_FAILING;
                // What it claimed for an answer as long as this one turned out.
                let long = answer_tokens.max(1.0) / question.work.answer_tokens.max(1.0);
                let claimed = cost.reload + cost.queue + cost.prefill + cost.decode * long;
                let ratio = (took_ms - cost.round_trip).max(1.0) / claimed.max(1.0);
                let observed = ratio.clamp(SLOWDOWN.0, SLOWDOWN.1).ln();
                seen.answers += 1.0;
                seen.slowdown += (observed - seen.slowdown) * NEWEST.max(1.0 / (seen.answers + 1.0));
                let transition = seen.breaker(question.operation).succeeded();
                self.note_computed(now, &worker, &question, answer_tokens);
                transition
            }
            Ended::Busy | Ended::Stopped => None,
            Ended::Failed => {
                seen.fade(now);
                seen.failing += (1.0 - seen.failing) * NEWEST_FAILING;
                // What it had computed may be gone with it.
                let transition = seen.breaker(question.operation).failed(now);
                self.conversations.remove(&question.session);
                transition
            }
        };
        event(&worker, question.operation, transition)
    }

    fn seen(&mut self, now: Instant, worker: &Worker) -> &mut Seen {
        if self.workers.len() >= WORKERS_MAX && !self.workers.contains_key(worker) {
            let oldest = self.workers.iter().min_by_key(|(_, seen)| seen.at);
            if let Some(oldest) = oldest.map(|(worker, _)| worker.clone()) {
                self.workers.remove(&oldest);
            }
        }
        self.workers.entry(worker.clone()).or_insert_with(|| Seen::new(now))
    }

    fn note_computed(&mut self, now: Instant, worker: &Worker, question: &Question, answer_tokens: f64) {
        let at_once = |tokens| Computed {
            worker: worker.clone(),
            tokens,
            at: now,
        };
        make_room(&mut self.conversations, |computed| computed.at);
        let tokens = question.work.prompt_tokens + answer_tokens;
        self.conversations.insert(question.session, at_once(tokens));
        make_room(&mut self.cards, |computed| {
            computed.iter().map(|one| one.at).max().unwrap_or(now)
        });
        let cards = self.cards.entry(question.card).or_default();
        cards.retain(|computed| {
            computed.worker != *worker && now.saturating_duration_since(computed.at) < STAYS_COMPUTED
        });
        if cards.len() < WORKERS_MAX {
            cards.push(at_once(question.card_tokens));
        }
    }

    /// How the breaker of a worker stands.
    #[must_use]
    pub fn breaker(&self, node: NodeId, model: &str, operation: Operation) -> BreakerState {
        let seen = self.workers.get(&(node, model.to_owned()));
        seen.map_or(BreakerState::Closed, |seen| seen.breakers[operation as usize].state())
    }
}

fn event(worker: &Worker, operation: Operation, transition: Option<Transition>) -> Option<BreakerEvent> {
    Some(BreakerEvent {
        node: worker.0,
        model: worker.1.chars().take(BREAKER_MODEL_CHARACTERS_MAX).collect(),
        operation,
        transition: transition?,
    })
}

/// Lets the tenth go that was not used for the longest time, where there are too many.
fn make_room<T>(map: &mut HashMap<ContentId, T>, at: impl Fn(&T) -> Instant) {
    if map.len() < PROMPTS_MAX {
        return;
    }
    let mut times: Vec<Instant> = map.values().map(&at).collect();
    times.sort_unstable();
    let limit = times[PROMPTS_MAX / 10];
    map.retain(|_, value| at(value) > limit);
}

/// The nodes on which a card is at home: weighted rendezvous hashing, so that a faster node is home to more cards, and so that the
/// homes of most cards stay when a node comes or goes.
fn card_homes(card: &ContentId, known: &[Known]) -> Vec<NodeId> {
    let mut scores: Vec<(f64, NodeId)> = known
        .iter()
        .map(|known| {
            let mut hasher = blake3::Hasher::new_derive_key("starling card home 1");
            hasher.update(&card.0).update(&known.node.0);
            let mut first = [0; 8];
            first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
            // In (0, 1): 53 bits, as many as the number has.
            let unit = ((u64::from_le_bytes(first) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            let speed = f64::from(known.offer.decode_tokens_per_second).max(0.0);
            (speed / -unit.ln(), known.node)
        })
        .collect();
    scores.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    scores.dedup_by_key(|(_, node)| *node);
    scores.into_iter().take(CARD_HOMES).map(|(_, node)| node).collect()
}
