//! The costs of candidates and the choice between them.

use super::*;

fn candidate(id: u8, generations: u32, speed: f32, round_trip_ms: f64) -> Candidate {
    let offer = Offer {
        model: "m".into(),
        slots: 4,
        generations,
        prefill_tokens_per_second: speed * 10.0,
        decode_tokens_per_second: speed,
        decode_eight_tokens_per_second: speed,
    };
    Candidate::new(NodeId([id; 32]), offer, round_trip_ms)
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
        let mut busy = candidate(1, generations, 50.0, 5.0);
        (busy.slowdown, busy.failing, busy.reload_ms, busy.cached_tokens) = (1.7, 0.1, 12.0, 33.0);
        let (_, cost) = rank(vec![busy], WORK)[0].clone();
        let sum = cost.round_trip
            + cost.reload
            + cost.queue
            + cost.prefill
            + cost.decode
            + cost.displaced
            + cost.slowdown
            + cost.risk;
        assert!((cost.total() - sum).abs() < 1e-6);
        assert!(
            cost.total() >= last,
            "{generations} generations cost {} after {last}",
            cost.total()
        );
        last = cost.total();
    }
}

/// Whoever would be chosen but for one thing is chosen when that thing is taken away.
#[test]
fn the_choice_flips_with_the_named_counterfactual() {
    let better = candidate(1, 0, 50.0, 5.0);
    type Spoil = fn(&mut Candidate);
    let cases: [(&str, Spoil); 7] = [
        ("round_trip", |it| it.round_trip_ms = 900.0),
        ("reload", |it| it.reload_ms = 5000.0),
        ("queue", |it| it.offer.generations = 9),
        ("decode", |it| it.offer.decode_tokens_per_second = 5.0),
        ("prefill", |it| it.offer.prefill_tokens_per_second = 20.0),
        ("slowdown", |it| it.slowdown = 4.0),
        ("risk", |it| it.failing = 0.8),
    ];
    for (term, spoil) in cases {
        let mut spoilt = candidate(0, 0, 51.0, 5.0);
        let unspoilt = rank(vec![spoilt.clone(), better.clone()], WORK);
        assert_eq!(unspoilt[0].0.node, spoilt.node, "a little faster, and so chosen");
        spoil(&mut spoilt);
        let decision = Decision {
            order: rank(vec![spoilt.clone(), better.clone()], WORK),
            close: 1,
        };
        assert_eq!(decision.winner().unwrap().0.node, better.node, "{term}");
        let (because, by) = decision.because().unwrap();
        // More work at once makes both waiting and computing longer.
        assert!(
            because == term || term == "queue" && because == "decode",
            "{term}: {because}"
        );
        let difference = decision.order[1].1.total() - decision.order[0].1.total();
        assert!(by >= difference * 0.5, "{term}: {by} of {difference} ms");
    }
}

#[test]
fn what_was_sent_and_what_was_computed_counts() {
    let mut asked = candidate(1, 0, 50.0, 0.0);
    asked.unannounced = 3;
    assert_eq!(first(vec![asked.clone(), candidate(2, 0, 50.0, 10.0)]), 2);
    asked.unannounced = 0;
    asked.round_trip_ms = 100.0;
    asked.cached_tokens = 150.0;
    assert_eq!(
        first(vec![asked, candidate(2, 0, 50.0, 10.0)]),
        1,
        "150 tokens are 300 ms"
    );
}

/// Ten gateways with the same old news do not all choose one node; with differences that count they do.
#[test]
fn those_that_are_alike_share_the_questions() {
    let alike: Vec<Candidate> = (1..=4).map(|id| candidate(id, 0, 50.0, f64::from(id))).collect();
    let mut chosen = [0; 5];
    for draw in 0..1200 {
        let decision = decide(alike.clone(), WORK, draw);
        assert_eq!((decision.close, decision.order.len()), (4, 4));
        chosen[decision.order[0].0.node.0[0] as usize] += 1;
    }
    // Of two drawn from four the cheapest wins half, the dearest none.
    assert!(
        chosen[1] > 500 && chosen[2] > 300 && chosen[3] > 150 && chosen[4] == 0,
        "{chosen:?}"
    );
    let mut different = alike;
    different[2].offer.decode_tokens_per_second = 90.0;
    assert!((0..100).all(|draw| decide(different.clone(), WORK, draw).order[0].0.node.0[0] == 3));
    let two = vec![candidate(1, 0, 50.0, 0.0), candidate(2, 0, 50.0, 0.0)];
    let ones = (0..100).filter(|draw| decide(two.clone(), WORK, *draw).order[0].0.node.0[0] == 1);
    assert_eq!(ones.count(), 50);
}

#[test]
fn full_nodes_and_nonsense_are_left_out() {
    let full = candidate(1, GENERATIONS_MAX as u32, 50.0, 5.0);
    let mut filled = candidate(4, GENERATIONS_MAX as u32 - 1, 50.0, 5.0);
    filled.unannounced = 1;
    let mut no_slots = candidate(2, 0, 50.0, 0.0);
    no_slots.offer.slots = 0;
    let mut most = candidate(5, u32::MAX, 50.0, 0.0);
    most.unannounced = u32::MAX;
    let mut strange = candidate(6, 0, 50.0, 0.0);
    strange.slowdown = f64::NAN;
    let bad = [f32::NAN, f32::INFINITY, 0.0, -3.0].map(|speed| candidate(3, 0, speed, 0.0));
    let all = [vec![full, filled, no_slots, most, strange], bad.to_vec()].concat();
    assert!(rank(all.clone(), WORK).is_empty());
    assert_eq!(
        decide(all, WORK, 7),
        Decision {
            order: Vec::new(),
            close: 0
        }
    );
}
