//! What the router learns.

use super::*;
use crate::swarm::route::{decide, rank};

fn known(id: u8, speed: f32) -> Known {
    Known {
        node: NodeId([id; 32]),
        offer: Offer {
            model: "m".into(),
            slots: 4,
            generations: 0,
            prefill_tokens_per_second: speed * 10.0,
            decode_tokens_per_second: speed,
            decode_eight_tokens_per_second: speed,
            is_main: true,
            reload_ms: 0,
        },
        round_trip_ms: 2.0,
        penalties: Penalties::default(),
    }
}

fn question(session: u8) -> Question {
    Question {
        session: ContentId([session; 32]),
        card: ContentId([1; 32]),
        card_tokens: 200.0,
        work: Work {
            prompt_tokens: 260.0,
            answer_tokens: 64.0,
        },
        operation: Operation::Generate,
    }
}

fn after(start: Instant, milliseconds: u64) -> Instant {
    start + Duration::from_millis(milliseconds)
}

/// Asks a worker and tells how it ended.
fn ask(router: &mut Router, now: Instant, worker: &Known, ended: impl Fn(&Cost) -> Ended) -> Option<BreakerEvent> {
    let question = question(7);
    let candidates = router.candidates(now, &question, vec![worker.clone()]);
    let (candidate, cost) = rank(candidates, question.work).into_iter().next()?;
    let (asked, _) = router.began(now, question, &candidate, cost);
    router.ended(now, asked, ended(&cost))
}

fn answered(cost: &Cost, times: f64) -> Ended {
    Ended::Answered {
        took_ms: cost.round_trip + cost.claimed() * times,
        answer_tokens: 64.0,
    }
}

#[test]
fn a_node_that_overstates_its_speed_loses_what_it_gained() {
    let start = Instant::now();
    let mut router = Router::default();
    let boaster = known(1, 300.0);
    let slowdown = |router: &Router, now| router.candidates(now, &question(9), vec![boaster.clone()])[0].slowdown;
    for number in 0..20 {
        // It has a third of the speed that it claims.
        ask(&mut router, after(start, number * 1000), &boaster, |cost| {
            answered(cost, 3.0)
        });
    }
    let now = after(start, 20_000);
    let excess = 3.0 / slowdown(&router, now) - 1.0;
    assert!(excess < 0.2 * 2.0, "of an excess of 2 times {excess} is left");
    // What is not seen again fades.
    let later = now + FADES_BY_HALF * 10;
    assert!((slowdown(&router, later) - 1.0).abs() < 0.01);
    // One that is as good as its word stays as it is.
    let honest = known(2, 100.0);
    (0..20).for_each(|_| drop(ask(&mut router, now, &honest, |cost| answered(cost, 1.0))));
    let candidate = &router.candidates(now, &question(9), vec![honest])[0];
    assert!((candidate.slowdown - 1.0).abs() < 0.01);
}

#[test]
fn work_that_is_not_announced_yet_is_counted_for_a_moment() {
    let now = Instant::now();
    let mut router = Router::default();
    let worker = known(1, 50.0);
    for session in 0..3 {
        let question = question(session);
        let candidates = router.candidates(now, &question, vec![worker.clone()]);
        assert_eq!(candidates[0].unannounced, u32::from(session));
        let (candidate, cost) = rank(candidates, question.work).remove(0);
        drop(router.began(now, question, &candidate, cost));
    }
    let later = now + ANNOUNCED_AFTER;
    assert_eq!(router.candidates(later, &question(9), vec![worker])[0].unannounced, 0);
}

#[test]
fn a_conversation_returns_to_where_it_was_unless_the_wait_there_is_longer() {
    let now = Instant::now();
    let mut router = Router::default();
    let (mut near, other) = (known(1, 50.0), known(2, 51.0));
    ask(&mut router, now, &near, |cost| answered(cost, 1.0));
    let later = after(now, 1000);
    let chosen = |router: &Router, near: &Known, session| {
        let question = question(session);
        let candidates = router.candidates(later, &question, vec![near.clone(), other.clone()]);
        decide(candidates, question.work, 1).order[0].0.node.0[0]
    };
    assert_eq!(chosen(&router, &near, 7), 1, "its prompt is computed there");
    near.offer.generations = 8;
    assert_eq!(chosen(&router, &near, 7), 2, "waiting would take longer");
    near.offer.generations = 0;
    let candidates = router.candidates(now + STAYS_COMPUTED, &question(7), vec![near]);
    assert!(
        candidates[0].cached_tokens <= 200.0,
        "by then it is gone, but for the card"
    );
}

#[test]
fn cards_have_few_homes_and_keep_most_of_them() {
    let nodes: Vec<Known> = (0..20).map(|id| known(id, if id < 10 { 40.0 } else { 10.0 })).collect();
    let fewer: Vec<Known> = nodes.iter().filter(|known| known.node.0[0] != 3).cloned().collect();
    let (mut fast, mut moved) = (0, 0);
    for card in 0..200_u8 {
        let card = ContentId([card; 32]);
        let (homes, after) = (card_homes(&card, &nodes), card_homes(&card, &fewer));
        assert_eq!(homes.len(), CARD_HOMES);
        fast += homes.iter().filter(|home| home.0[0] < 10).count();
        let lost = homes.iter().filter(|home| home.0[0] == 3).count();
        let left = homes.iter().filter(|home| after.contains(home)).count();
        assert_eq!(left + lost, CARD_HOMES, "only what was on the node that left moves");
        moved += lost;
    }
    assert!((280..360).contains(&fast), "four fifths of 400, by speed: {fast}");
    assert!((20..60).contains(&moved), "{moved}");
}

#[test]
fn a_failing_node_is_left_alone_and_tried_again() {
    let start = Instant::now();
    let mut router = Router::default();
    let worker = known(1, 50.0);
    let opened: Vec<BreakerEvent> = (0..3)
        .filter_map(|_| ask(&mut router, start, &worker, |_| Ended::Failed))
        .collect();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].transition.to, BreakerState::Open);
    assert_eq!(
        router.breaker(worker.node, "m", Operation::Generate),
        BreakerState::Open
    );
    assert!(router.candidates(start, &question(1), vec![worker.clone()]).is_empty());
    // What it cannot do says nothing of what it can: going on with an answer has a breaker of its own.
    let going_on = Question {
        operation: Operation::Continue,
        ..question(1)
    };
    assert_eq!(router.candidates(start, &going_on, vec![worker.clone()]).len(), 1);
    assert_eq!(opened[0].operation, Operation::Generate);
    let later = start + breaker::PAUSE_FIRST;
    assert!(router.candidates(later, &question(1), vec![worker.clone()])[0].failing > 0.4);
    let closed = ask(&mut router, later, &worker, |cost| answered(cost, 1.0)).unwrap();
    assert_eq!(closed.transition.to, BreakerState::Closed);
    // Being busy and being stopped are no failures.
    for ended in [Ended::Busy, Ended::Stopped].into_iter().cycle().take(20) {
        assert_eq!(ask(&mut router, later, &worker, |_| ended), None);
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let start = Instant::now();
    let mut router = Router::default();
    for number in 0..(PROMPTS_MAX + 100) as u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let mut question = question(0);
        (question.session, question.card) = (ContentId(id), ContentId(id));
        let mut worker = known(1, 50.0);
        worker.node = NodeId(id);
        let now = after(start, number);
        let candidates = router.candidates(now, &question, vec![worker]);
        let (candidate, cost) = rank(candidates, question.work).remove(0);
        let (asked, _) = router.began(now, question, &candidate, cost);
        router.ended(now, asked, answered(&cost, 1.0));
    }
    assert!(router.workers.len() <= WORKERS_MAX);
    assert!(router.conversations.len() <= PROMPTS_MAX && router.cards.len() <= PROMPTS_MAX);
    assert!(router.conversations.len() > PROMPTS_MAX / 2);
}
