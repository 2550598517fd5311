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
        is_main: true,
        reload_ms: 0,
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
    for generations in 0..32_u32 {
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
    let cases: [(&str, Spoil); 10] = [
        ("round_trip", |it| it.round_trip_ms = 900.0),
        ("reload", |it| it.reload_ms = 5000.0),
        ("queue", |it| it.offer.generations = 9),
        ("decode", |it| it.offer.decode_tokens_per_second = 5.0),
        ("prefill", |it| it.offer.prefill_tokens_per_second = 20.0),
        ("slowdown", |it| it.slowdown = 4.0),
        ("risk", |it| it.failing = 0.8),
        ("battery", |it| it.penalties.battery = 300.0),
        ("heat", |it| it.penalties.heat = 300.0),
        ("trust", |it| it.penalties.trust = 300.0),
    ];
    for (term, spoil) in cases {
        let mut spoilt = candidate(0, 0, 51.0, 5.0);
        let unspoilt = rank(vec![spoilt.clone(), better.clone()], WORK);
        assert_eq!(unspoilt[0].0.node, spoilt.node, "a little faster, and so chosen");
        spoil(&mut spoilt);
        let decision = pick(rank(vec![spoilt.clone(), better.clone()], WORK), 0);
        assert_eq!(decision.winner().unwrap().0.node, better.node, "{term}");
        let choice = decision.choice(0).unwrap();
        let counterfactual = choice.counterfactual.unwrap();
        // More work at once makes both waiting and computing longer.
        assert!(
            counterfactual.term == term || term == "queue" && counterfactual.term == "decode",
            "{term}: {counterfactual:?}"
        );
        let runner_up = choice.runner_up.unwrap();
        let difference = runner_up.total - choice.winner.total;
        assert!(
            counterfactual.ahead_ms >= difference * 0.5,
            "{term}: {counterfactual:?} of {difference} ms"
        );
    }
}

/// Makes one term of a cost longer.
fn lengthen(cost: &mut Cost, term: &str, by: f64) {
    let field = match term {
        "round_trip" => &mut cost.round_trip,
        "reload" => &mut cost.reload,
        "queue" => &mut cost.queue,
        "prefill" => &mut cost.prefill,
        "decode" => &mut cost.decode,
        "displaced" => &mut cost.displaced,
        "slowdown" => &mut cost.slowdown,
        "risk" => &mut cost.risk,
        "battery" => &mut cost.battery,
        "heat" => &mut cost.heat,
        "trust" => &mut cost.trust,
        other => panic!("{other}"),
    };
    *field += by;
}

/// What is kept with an answer adds up, and making the named term longer by the named time asks another node, however it was chosen;
/// making it longer by less than a cheapest one was ahead does not.
#[test]
fn what_is_kept_with_an_answer_adds_up_and_its_counterfactual_flips_the_choice() {
    let mut seen = [false; 3];
    for case in 0..600_u64 {
        let candidates: Vec<Candidate> = (0..4)
            .map(|id| {
                let noise = |salt: u64| (case * 7919 + u64::from(id) * 104_729 + salt * 15_485_863) % 97;
                let speed = if case % 3 == 0 { 20.0 + noise(1) as f32 } else { 50.0 };
                let mut candidate = candidate(
                    id,
                    (noise(2) % 6) as u32 * u32::from(case % 2 == 0),
                    speed,
                    noise(3) as f64 / 9.0,
                );
                candidate.holds_conversation = case % 5 == 0 && id == 2;
                candidate.cached_tokens = if candidate.holds_conversation { 150.0 } else { 0.0 };
                candidate.slowdown = 1.0 + noise(4) as f64 / 500.0;
                candidate
            })
            .collect();
        let ranked = rank(candidates, WORK);
        let choice = pick(ranked.clone(), case).choice(0).unwrap();
        for scored in [Some(&choice.winner), choice.runner_up.as_ref()].into_iter().flatten() {
            let kept = serde_json::to_value(scored).unwrap();
            let sum: f64 = kept["terms"]
                .as_object()
                .unwrap()
                .values()
                .map(|term| term.as_f64().unwrap())
                .sum();
            assert!((sum - kept["total"].as_f64().unwrap()).abs() < 1e-6, "{kept}");
        }
        seen[choice.how as usize] = true;
        let counterfactual = choice.counterfactual.unwrap();
        let chosen_with = |by: f64| {
            let mut ranked = ranked.clone();
            let winner = ranked
                .iter_mut()
                .find(|(candidate, _)| candidate.node == choice.winner.node)
                .unwrap();
            lengthen(&mut winner.1, counterfactual.term, by);
            ranked.sort_by(|left, right| left.1.total().total_cmp(&right.1.total()));
            pick(ranked, case).order[0].0.node
        };
        assert_ne!(
            chosen_with(counterfactual.flips_at_ms + 1e-6),
            choice.winner.node,
            "{choice:?}"
        );
        assert_eq!(
            chosen_with(0.0),
            choice.winner.node,
            "the control: nothing else flips it"
        );
    }
    assert_eq!(seen, [true; 3], "cheapest, stayed and drawn all came up");
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
fn nonsense_is_left_out_and_a_node_with_many_questions_only_costs_more() {
    let full = candidate(1, 1000, 50.0, 5.0);
    assert_eq!(first(vec![full, candidate(2, 1, 50.0, 5.0)]), 2);
    let mut no_slots = candidate(2, 0, 50.0, 0.0);
    no_slots.offer.slots = 0;
    let mut most = candidate(5, u32::MAX, 50.0, 0.0);
    most.unannounced = u32::MAX;
    assert!(rank(vec![most], WORK)[0].1.total().is_finite());
    let mut strange = candidate(6, 0, 50.0, 0.0);
    strange.slowdown = f64::NAN;
    let bad = [f32::NAN, f32::INFINITY, 0.0, -3.0].map(|speed| candidate(3, 0, speed, 0.0));
    let all = [vec![no_slots, strange], bad.to_vec()].concat();
    assert!(rank(all.clone(), WORK).is_empty());
    assert!(decide(all, WORK, 7).order.is_empty());
}

/// What stays with the answer says the same as what was decided.
#[test]
fn the_terms_that_are_kept_add_up_to_what_was_decided() {
    use crdt::records::session::{ChoiceHow, ChoiceTerm};
    for draw in 0..50_u32 {
        let some = f64::from(draw) + 0.123_456_789;
        let mut slow = candidate(1, draw % 7, 50.0, some);
        (slow.slowdown, slow.failing, slow.reload_ms, slow.cached_tokens) = (0.7 + some / 50.0, 0.1, some / 3.0, 33.0);
        slow.penalties.heat = some / 7.0;
        let decision = decide(vec![slow, candidate(2, 3, 45.0, 1.0)], WORK, draw.into());
        let choice = decision.choice(0).unwrap();
        let kept = choice.to_record();
        assert_eq!(kept.how == ChoiceHow::Drawn, choice.how == How::Drawn);
        let both = [
            (Some(&choice.winner), Some(&kept.winner)),
            (choice.runner_up.as_ref(), kept.runner_up.as_ref()),
        ];
        for (decided, kept) in both {
            let (decided, kept) = (decided.unwrap(), kept.unwrap());
            let again: f64 = kept.terms().map(|(_, milliseconds)| milliseconds).sum();
            assert!((again - decided.total).abs() < 1e-6, "{again} of {}", decided.total);
            assert!((kept.total() - decided.total).abs() < 1e-6);
            assert_eq!((kept.node, &kept.model), (decided.node, &decided.model));
        }
    }
    // Every term has a name under which it is kept.
    let cost = rank(vec![candidate(1, 0, 50.0, 0.0)], WORK)[0].1;
    assert!(cost.terms().iter().all(|(name, _)| ChoiceTerm::named(name).is_some()));
}
