//! Which node answers: pure, in milliseconds, so that the choice can be explained term by term.

use keys::NodeId;
use serde::Serialize;

use super::Offer;
use crate::limits::GENERATIONS_MAX;

/// A node that could answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// What it offers.
    pub offer: Offer,
    /// Round trip to it; zero for this node itself.
    pub round_trip_ms: f64,
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
    /// Until a sequence is free.
    pub queue: f64,
    /// Computing the prompt.
    pub prefill: f64,
    /// Generating the answer, shared with those that run already.
    pub decode: f64,
}

impl Cost {
    /// The sum of the terms.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.round_trip + self.queue + self.prefill + self.decode
    }
}

/// Candidates with their costs, cheapest first. Full nodes and nonsensical speeds are left out.
#[must_use]
pub fn rank(candidates: Vec<Candidate>, work: Work) -> Vec<(Candidate, Cost)> {
    let mut ranked: Vec<_> = candidates
        .into_iter()
        .filter(|candidate| candidate.offer.generations < candidate.offer.slots.max(GENERATIONS_MAX as u32))
        .filter_map(|candidate| cost(&candidate, work).map(|cost| (candidate, cost)))
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

fn cost(candidate: &Candidate, work: Work) -> Option<Cost> {
    let offer = &candidate.offer;
    let usable = |speed: f32| speed.is_finite() && speed > 0.0;
    if offer.slots == 0 || !usable(offer.prefill_tokens_per_second) || !usable(offer.decode_tokens_per_second) {
        return None;
    }
    let prefill = work.prompt_tokens / f64::from(offer.prefill_tokens_per_second) * 1000.0;
    let alone = work.answer_tokens / f64::from(offer.decode_tokens_per_second) * 1000.0;
    let running = offer.generations.min(offer.slots);
    let waiting = offer.generations - running;
    // Sequences share the machine: on few cores batching gives fairness, not speed (8B on AVX2: 4.2 alone, 3.8 for eight).
    let decode = alone * f64::from(running.min(offer.slots - 1) + 1);
    let queue = if running < offer.slots {
        0.0
    } else {
        alone * f64::from(waiting + 1) / f64::from(offer.slots)
    };
    Some(Cost {
        round_trip: candidate.round_trip_ms.max(0.0),
        queue,
        prefill,
        decode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u8, generations: u32, speed: f32, round_trip_ms: f64) -> Candidate {
        let offer = Offer {
            model: "m".into(),
            slots: 4,
            generations,
            prefill_tokens_per_second: speed * 10.0,
            decode_tokens_per_second: speed,
            decode_eight_tokens_per_second: speed * 1.4,
        };
        Candidate {
            node: NodeId([id; 32]),
            offer,
            round_trip_ms,
        }
    }

    const WORK: Work = Work {
        prompt_tokens: 200.0,
        answer_tokens: 100.0,
    };

    fn first(candidates: Vec<Candidate>) -> u8 {
        rank(candidates, WORK)[0].0.node.0[0]
    }

    #[test]
    fn the_faster_the_nearer_and_the_idler_node_is_chosen() {
        assert_eq!(first(vec![candidate(1, 0, 10.0, 0.0), candidate(2, 0, 70.0, 30.0)]), 2);
        assert_eq!(first(vec![candidate(1, 0, 70.0, 80.0), candidate(2, 0, 70.0, 30.0)]), 2);
        assert_eq!(first(vec![candidate(1, 4, 70.0, 0.0), candidate(2, 0, 70.0, 30.0)]), 2);
        assert_eq!(
            first(vec![candidate(2, 0, 70.0, 0.0), candidate(1, 0, 70.0, 0.0)]),
            1,
            "ties go by id"
        );
    }

    #[test]
    fn the_terms_add_up_and_more_load_never_costs_less() {
        let mut last = 0.0;
        for generations in 0..GENERATIONS_MAX as u32 {
            let (_, cost) = rank(vec![candidate(1, generations, 50.0, 5.0)], WORK)[0].clone();
            let sum = cost.round_trip + cost.queue + cost.prefill + cost.decode;
            assert!((cost.total() - sum).abs() < 1e-9);
            assert!(
                cost.total() >= last,
                "{generations} generations cost {} after {last}",
                cost.total()
            );
            last = cost.total();
        }
    }

    #[test]
    fn full_nodes_and_nonsense_are_left_out() {
        let full = candidate(1, GENERATIONS_MAX as u32, 50.0, 5.0);
        let no_slots = Candidate {
            offer: Offer {
                slots: 0,
                ..candidate(2, 0, 50.0, 0.0).offer
            },
            ..candidate(2, 0, 50.0, 0.0)
        };
        let bad = [f32::NAN, f32::INFINITY, 0.0, -3.0].map(|speed| candidate(3, 0, speed, 0.0));
        assert!(rank([vec![full, no_slots], bad.to_vec()].concat(), WORK).is_empty());
    }
}
