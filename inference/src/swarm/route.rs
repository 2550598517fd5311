//! Which node answers: pure, in milliseconds, so that the choice can be explained term by term.
//!
//! A question goes to the node that is expected to have answered it first. What a node claims of its speed is corrected by what was
//! seen of it ([`Candidate::slowdown`]), what it announced of its load by what was sent to it since ([`Candidate::unannounced`]), and
//! its prompt by what it has computed already ([`Candidate::cached_tokens`]). News is always a little old: of candidates that it
//! cannot tell apart ([`NEWS_MARGIN`]) two are drawn and the cheaper one is taken, so that many gateways with the same news do not
//! all run to one node (Mitzenmacher, "How useful is old information?", 2000: two choices beat the best of stale news).
//!
//! A conversation returns to the node that has it computed ([`Candidate::holds_conversation`]) unless waiting there is clearly worse
//! ([`STAYS`]) than computing it again elsewhere. What is computed again is not only the asker's time: everybody behind waits for it,
//! too, the longer the busier the nodes are ([`Cost::displaced`]). Without that term each single move looks like a gain while all of
//! them together make everybody slower.

use keys::NodeId;
use serde::Serialize;

use super::Offer;
mod choice;
#[cfg(test)]
mod tests;

pub use choice::{Choice, Counterfactual, How, Scored};

/// Candidates whose cost is at most this many times the least one are equal as far as the news can tell.
pub const NEWS_MARGIN: f64 = 1.1;
/// Milliseconds of difference that the news cannot tell apart either.
pub const NEWS_MARGIN_MS: f64 = 20.0;
/// A conversation stays where it is computed while that costs at most this many times the least: how long a wait will be is known no
/// better, and whoever moves for one answer has moved for all that follow.
pub const STAYS: f64 = 2.0;

/// A node that could answer, with everything that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// What it offers.
    pub offer: Offer,
    /// Round trip to it; zero for this node itself.
    pub round_trip_ms: f64,
    /// Generations that this node sent to it and that its last announcement cannot count yet.
    pub unannounced: u32,
    /// Tokens at the beginning of the prompt that it need not compute again.
    pub cached_tokens: f64,
    /// Whether it answered the conversation last, so that what is computed of it is there and nowhere else.
    pub holds_conversation: bool,
    /// How many times longer it takes than it claims; 1 when it keeps its word.
    pub slowdown: f64,
    /// Milliseconds until it has the model in memory; 0 when it has.
    pub reload_ms: f64,
    /// The part of its last generations that came to nothing.
    pub failing: f64,
    /// What speaks against it beside time.
    pub penalties: Penalties,
}

/// What speaks against a node beside the time that it takes, each in milliseconds that it counts for. Who knows the node sets them: its
/// owner's settings and sensors for the first two, what was seen of it for the third.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Penalties {
    /// It runs on a battery that is not full.
    pub battery: f64,
    /// It is hot and will slow down.
    pub heat: f64,
    /// What it said before turned out wrong.
    pub trust: f64,
}

impl Candidate {
    /// A candidate of which nothing is known but its offer.
    #[must_use]
    pub const fn new(node: NodeId, offer: Offer, round_trip_ms: f64) -> Self {
        Self {
            node,
            offer,
            round_trip_ms,
            unannounced: 0,
            cached_tokens: 0.0,
            holds_conversation: false,
            slowdown: 1.0,
            reload_ms: 0.0,
            failing: 0.0,
            penalties: Penalties {
                battery: 0.0,
                heat: 0.0,
                trust: 0.0,
            },
        }
    }
}

/// How much work the question is, estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Tokens of the prompt.
    pub prompt_tokens: f64,
    /// Tokens of the answer.
    pub answer_tokens: f64,
}

/// The terms of a candidate's cost, in milliseconds. The total is their sum and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Once over the network and back.
    pub round_trip: f64,
    /// Until the model is in memory.
    pub reload: f64,
    /// Until a sequence is free.
    pub queue: f64,
    /// Computing what is new of the prompt.
    pub prefill: f64,
    /// Generating the answer, shared with those that run already.
    pub decode: f64,
    /// What all others together wait longer because so much is computed. With n generations at a node on average, a millisecond
    /// more of work costs everybody together (1 + n)² milliseconds: the derivative of the time in an M/M/1 queue, 1/(1-ρ)², where
    /// n = ρ/(1-ρ). One of them is the asker's own and counted above.
    pub displaced: f64,
    /// What the node takes longer than it claims.
    pub slowdown: f64,
    /// What is lost on average because some of its generations come to nothing.
    pub risk: f64,
    /// See [`Penalties::battery`].
    pub battery: f64,
    /// See [`Penalties::heat`].
    pub heat: f64,
    /// See [`Penalties::trust`].
    pub trust: f64,
}

impl Cost {
    /// The sum of the terms.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.terms().iter().map(|(_, milliseconds)| milliseconds).sum()
    }

    /// What the node itself would take if it kept its word.
    #[must_use]
    pub fn claimed(&self) -> f64 {
        self.reload + self.queue + self.prefill + self.decode
    }

    /// The term in which this cost is most below another one, and by how much.
    fn ahead(&self, other: &Self) -> (&'static str, f64) {
        let pairs = self.terms().into_iter().zip(other.terms());
        let ahead = pairs.map(|((term, own), (_, others))| (term, others - own));
        ahead.fold(("round_trip", f64::NEG_INFINITY), |most, next| {
            if next.1 > most.1 { next } else { most }
        })
    }

    /// The terms by name.
    #[must_use]
    pub const fn terms(&self) -> [(&'static str, f64); 11] {
        [
            ("round_trip", self.round_trip),
            ("reload", self.reload),
            ("queue", self.queue),
            ("prefill", self.prefill),
            ("decode", self.decode),
            ("displaced", self.displaced),
            ("slowdown", self.slowdown),
            ("risk", self.risk),
            ("battery", self.battery),
            ("heat", self.heat),
            ("trust", self.trust),
        ]
    }
}

/// A candidate with its cost.
pub type Priced = (Candidate, Cost);

/// The order in which candidates are asked, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The chosen one first, then the others, cheapest first.
    pub order: Vec<Priced>,
    /// How many were too close to the cheapest one to be told apart.
    pub close: usize,
    /// How the first one came to be the first.
    pub how: How,
}

impl Decision {
    /// From this place on, those with this model first: an answer that was begun with it can go on there.
    pub fn prefer(&mut self, place: usize, model: &str) {
        if let Some(left) = self.order.get_mut(place..) {
            left.sort_by_key(|(candidate, _)| candidate.offer.model != model);
        }
    }

    /// Whoever is making the answer already goes before all others; false where that one cannot be asked.
    pub fn ask_first(&mut self, node: NodeId) -> bool {
        let Some(place) = self.order.iter().position(|(candidate, _)| candidate.node == node) else {
            return false;
        };
        self.order[..=place].rotate_right(1);
        self.how = How::Stayed;
        true
    }

    /// The one that is asked first.
    #[must_use]
    pub fn winner(&self) -> Option<&Priced> {
        self.order.first()
    }

    /// The one that would have been asked instead.
    #[must_use]
    pub fn runner_up(&self) -> Option<&Priced> {
        self.order.get(1)
    }
}

/// Candidates with their costs, cheapest first. Nonsensical speeds are left out.
#[must_use]
pub fn rank(candidates: Vec<Candidate>, work: Work) -> Vec<Priced> {
    let usable: Vec<(Candidate, u32)> = candidates
        .into_iter()
        .filter_map(|candidate| generations(&candidate).map(|generations| (candidate, generations)))
        .collect();
    let crowd = usable
        .iter()
        .map(|(_, generations)| f64::from(*generations))
        .sum::<f64>()
        / usable.len().max(1) as f64;
    let mut ranked: Vec<Priced> = usable
        .into_iter()
        .filter_map(|(candidate, generations)| cost(&candidate, generations, work, crowd).map(|cost| (candidate, cost)))
        .collect();
    // Equal costs are told apart by id, so that the choice is the same everywhere.
    ranked.sort_by(|(left, left_cost), (right, right_cost)| {
        left_cost
            .total()
            .total_cmp(&right_cost.total())
            .then(left.node.cmp(&right.node))
    });
    ranked
}

/// Up to where a cost cannot be told from the least one.
fn margin(least: f64) -> f64 {
    (least * NEWS_MARGIN).max(least + NEWS_MARGIN_MS)
}

/// Decides. `draw` is random: equal news and equal draws give an equal choice.
#[must_use]
pub fn decide(candidates: Vec<Candidate>, work: Work, draw: u64) -> Decision {
    pick(rank(candidates, work), draw)
}

/// Chooses among candidates that stand in the order of their costs.
fn pick(mut order: Vec<Priced>, draw: u64) -> Decision {
    let least = order.first().map_or(0.0, |(_, cost)| cost.total());
    let close = order.partition_point(|(_, cost)| cost.total() <= margin(least));
    let home = order.iter().position(|(candidate, _)| candidate.holds_conversation);
    let home = home.filter(|home| order[*home].1.total() <= least * STAYS);
    let (first, how) = match (home, close) {
        (Some(home), _) => (home, How::Stayed),
        (None, 0 | 1) => (0, How::Cheapest),
        // Of two that cannot be told apart each is as good.
        (None, 2) => ((draw % 2) as usize, How::Drawn),
        (None, close) => {
            // Two different ones; the order is by cost, so the first of them is the cheaper one.
            let close = close as u64;
            let first = draw % close;
            let second = (first + 1 + draw / close % (close - 1)) % close;
            (first.min(second) as usize, How::Drawn)
        }
    };
    if first > 0 {
        let chosen = order.remove(first);
        order.insert(0, chosen);
    }
    Decision { order, close, how }
}

/// Generations at a node as far as is known; `None` when it cannot be asked.
fn generations(candidate: &Candidate) -> Option<u32> {
    let offer = &candidate.offer;
    let usable = |speed: f32| speed.is_finite() && speed > 0.0;
    if offer.slots == 0 || !usable(offer.prefill_tokens_per_second) || !usable(offer.decode_tokens_per_second) {
        return None;
    }
    // However many there are: whether one more may wait, and whose, the node decides.
    Some(offer.generations.saturating_add(candidate.unannounced))
}

/// What a question costs on a node with so many generations, where a node has `crowd` of them on average; `None` when that is no number.
fn cost(candidate: &Candidate, generations: u32, work: Work, crowd: f64) -> Option<Cost> {
    let offer = &candidate.offer;
    let new_tokens = (work.prompt_tokens - candidate.cached_tokens.max(0.0)).max(0.0);
    let prefill = new_tokens / f64::from(offer.prefill_tokens_per_second) * 1000.0;
    let alone = work.answer_tokens / f64::from(offer.decode_tokens_per_second) * 1000.0;
    let running = generations.min(offer.slots);
    let waiting = generations - running;
    let decode = alone * shared(offer, running.min(offer.slots - 1) + 1);
    let queue = if running < offer.slots {
        0.0
    } else {
        // As many end in the time of one answer as run together.
        alone * shared(offer, offer.slots) * f64::from(waiting + 1) / f64::from(offer.slots)
    };
    let mut cost = Cost {
        round_trip: candidate.round_trip_ms.max(0.0),
        reload: candidate.reload_ms.max(0.0),
        queue,
        prefill,
        decode,
        displaced: prefill * ((1.0 + crowd).powi(2) - 1.0),
        slowdown: 0.0,
        risk: 0.0,
        battery: 0.0,
        heat: 0.0,
        trust: 0.0,
    };
    cost.slowdown = (cost.queue + cost.prefill + cost.decode + cost.displaced) * (candidate.slowdown - 1.0);
    // A generation that fails is done again elsewhere, after part of the time is lost: on average as often as p/(1-p).
    let failing = candidate.failing.clamp(0.0, 0.9);
    cost.risk = cost.total() * failing / (1.0 - failing);
    // Of the wrong sign they would be a reward for whoever announces them.
    let Penalties { battery, heat, trust } = candidate.penalties;
    (cost.battery, cost.heat, cost.trust) = (battery.max(0.0), heat.max(0.0), trust.max(0.0));
    cost.total().is_finite().then_some(cost)
}

/// How many times longer a generation takes when so many run together. On few cores batching gives fairness, not speed (8B on AVX2:
/// 4.2 tokens per second alone, 3.8 for eight together); between one and eight the measured rates are joined by a line.
fn shared(offer: &Offer, running: u32) -> f64 {
    let alone = f64::from(offer.decode_tokens_per_second);
    let eight = f64::from(offer.decode_eight_tokens_per_second);
    let eight = if eight.is_finite() && eight > 0.0 { eight } else { alone };
    let part = f64::from(running.clamp(1, 8) - 1) / 7.0;
    let together = alone + (eight - alone) * part;
    f64::from(running) * alone / together
}
