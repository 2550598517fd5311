//! The schedule against simulated sources: fast, slow, far away, partial, frozen, killed, lying.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_millis(5);

/// What a simulated source does.
#[derive(Clone, Debug)]
struct Plan {
    /// Groups a second.
    rate: f64,
    /// One way.
    latency: Duration,
    holds: Range<u64>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Honest,
    /// Its stream breaks after so many groups, and it never comes back.
    Killed(u64),
    /// It says nothing more after so many groups.
    Frozen(u64),
    /// A wrong byte after so many groups.
    Lies(u64),
    /// It has no room.
    Busy,
}

#[derive(Default)]
struct Actor {
    connected: bool,
    sent: u64,
    budget: f64,
    asks: VecDeque<(u32, Range<u64>, u64)>,
    inbox: VecDeque<(Elapsed, Effect)>,
    outbox: VecDeque<(Elapsed, Event)>,
}

struct Run {
    finished: bool,
    took: Elapsed,
    again: u64,
    by_source: Vec<u64>,
    /// When a source had a wrong byte, how much had come from it.
    effects: usize,
}

fn run(groups: u64, plans: &[Plan]) -> Run {
    let mut schedule = Schedule::new(Groups::none(groups), plans.len(), Duration::ZERO);
    let mut actors: Vec<_> = plans.iter().map(|_| Actor::default()).collect();
    let mut result = Run {
        finished: false,
        took: Duration::ZERO,
        again: 0,
        by_source: vec![0; plans.len()],
        effects: 0,
    };
    let mut now = Duration::ZERO;
    loop {
        let mut events = vec![];
        if now.as_millis().is_multiple_of(100) {
            events.push(Event::Tick);
        }
        for (index, (actor, plan)) in actors.iter_mut().zip(plans).enumerate() {
            act(index, actor, plan, now, groups);
            while actor.outbox.front().is_some_and(|(at, _)| *at <= now) {
                events.extend(actor.outbox.pop_front().map(|(_, event)| event));
            }
        }
        for event in events {
            if let Event::Arrived { source, group } = event {
                result.again += u64::from(schedule.had().contains(group));
                result.by_source[source] += 1;
            }
            for effect in schedule.handle(event, now) {
                result.effects += 1;
                match &effect {
                    Effect::Finished | Effect::GiveUp => {
                        result.finished = effect == Effect::Finished;
                        result.took = now;
                        return result;
                    }
                    Effect::Ask { source, range, .. } => {
                        let here = |group| schedule.had().contains(group);
                        assert!(!here(range.start) && !here(range.end - 1), "asked for what is here");
                        assert!(!range.is_empty() && range.end - range.start <= BLOB_PIECE_GROUPS);
                        assert!(!matches!(schedule.standing(*source), Standing::Bad | Standing::Away));
                    }
                    _ => {}
                }
                let (Effect::Connect(source)
                | Effect::Query(source)
                | Effect::Drop(source)
                | Effect::Ask { source, .. }
                | Effect::Keep { source, .. }) = effect
                else {
                    continue;
                };
                let at = now + plans[source].latency;
                actors[source].inbox.push_back((at, effect));
            }
        }
        now += STEP;
        assert!(now < Duration::from_secs(600), "it neither ends nor gives up");
    }
}

/// What a source does in one step.
fn act(source: usize, actor: &mut Actor, plan: &Plan, now: Elapsed, groups: u64) {
    let at = now + plan.latency;
    while actor.inbox.front().is_some_and(|(at, _)| *at <= now) {
        let Some((_, effect)) = actor.inbox.pop_front() else {
            break;
        };
        let dead = matches!(plan.fate, Fate::Killed(after) if actor.sent >= after);
        match effect {
            Effect::Connect(_) if dead => actor.outbox.push_back((at, Event::Lost { source })),
            Effect::Connect(_) if plan.fate == Fate::Busy => actor.outbox.push_back((at, Event::Busy { source })),
            Effect::Connect(_) | Effect::Query(_) => {
                actor.connected = true;
                let mut held = Groups::none(groups);
                held.insert(plan.holds.clone());
                actor.outbox.push_back((at, Event::Holds { source, groups: held }));
            }
            Effect::Ask { ask, range, .. } => actor.asks.push_back((ask, range.clone(), range.start)),
            Effect::Keep { ask, count, .. } => {
                if let Some(known) = actor.asks.iter_mut().find(|known| known.0 == ask) {
                    known.1.end = known.1.end.min(known.1.start + count);
                }
            }
            Effect::Drop(_) => {
                actor.connected = false;
                actor.asks.clear();
            }
            Effect::Finished | Effect::GiveUp => {}
        }
    }
    if !actor.connected || matches!(plan.fate, Fate::Frozen(after) if actor.sent >= after) {
        return;
    }
    actor.budget = (actor.budget + plan.rate * STEP.as_secs_f64()).min(plan.rate.max(1.0));
    while let Some((ask, range, next)) = actor.asks.front_mut() {
        if *next >= range.end {
            let ended = Event::Ended { source, ask: *ask };
            actor.asks.pop_front();
            actor.outbox.push_back((at, ended));
            continue;
        }
        if actor.budget < 1.0 {
            return;
        }
        let bad = match plan.fate {
            Fate::Killed(after) if actor.sent >= after => Some(Event::Lost { source }),
            Fate::Lies(after) if actor.sent >= after => Some(Event::Bad { source }),
            _ => None,
        };
        if let Some(event) = bad {
            actor.outbox.push_back((at, event));
            actor.connected = false;
            actor.asks.clear();
            return;
        }
        let group = *next;
        *next += 1;
        actor.budget -= 1.0;
        actor.sent += 1;
        actor.outbox.push_back((at, Event::Arrived { source, group }));
    }
    actor.budget = 0.0;
}

fn honest(rate: f64) -> Plan {
    Plan {
        rate,
        latency: Duration::ZERO,
        holds: 0..u64::MAX,
        fate: Fate::Honest,
    }
}

const HUNDRED_MBIT: f64 = 763.0;

#[test]
fn three_sources_are_nearly_three_times_as_fast_as_one() {
    let one = run(4096, &[honest(HUNDRED_MBIT)]);
    let three = run(4096, &vec![honest(HUNDRED_MBIT); 3]);
    let ratio = one.took.as_secs_f64() / three.took.as_secs_f64();
    assert!(one.finished && three.finished && ratio > 2.8, "{ratio}");
    assert_eq!((one.again, three.again), (0, 0));
}

#[test]
fn a_killed_source_costs_nothing_twice_and_a_slow_one_does_not_hold_up_the_end() {
    let killed = Plan {
        fate: Fate::Killed(700),
        ..honest(HUNDRED_MBIT)
    };
    let run_killed = run(4096, &[honest(HUNDRED_MBIT), honest(HUNDRED_MBIT), killed]);
    assert!(run_killed.finished && run_killed.again == 0, "{}", run_killed.again);
    // Alone the fast one needs 5.4 s; a slow one that kept its last piece would need another 10.
    let slow = run(4096, &[honest(HUNDRED_MBIT), honest(6.0)]);
    assert!(slow.took < Duration::from_secs(6), "{:?}", slow.took);
    assert_eq!(slow.again, 0);
}

#[test]
fn a_far_line_stays_full() {
    let far = Plan {
        latency: Duration::from_millis(25),
        ..honest(2560.0)
    };
    // 40 MiB/s across a round trip of 50 ms.
    let run = run(25_600, &[far]);
    assert!(run.took < Duration::from_secs(12), "{:?}", run.took);
}

#[test]
fn a_liar_is_dropped_and_a_frozen_one_loses_its_ranges() {
    let with = |fate| Plan {
        fate,
        ..honest(HUNDRED_MBIT)
    };
    for fate in [Fate::Lies(0), Fate::Lies(500), Fate::Frozen(300), Fate::Busy] {
        let run = run(2048, &[with(fate), honest(HUNDRED_MBIT)]);
        assert!(run.finished, "{fate:?}");
        // Alone the honest one needs 2.7 s; a freeze is noticed in 2 s.
        assert!(run.took < Duration::from_secs(6), "{fate:?} {:?}", run.took);
        assert_eq!(run.again, 0, "{fate:?}");
    }
}

#[test]
fn without_anybody_who_has_the_rest_it_gives_up_in_time() {
    let half = |holds, fate| Plan {
        holds,
        fate,
        ..honest(HUNDRED_MBIT)
    };
    let apart = run(1000, &[half(0..600, Fate::Honest), half(400..1000, Fate::Honest)]);
    assert!(apart.finished && apart.again == 0);
    let hole = run(1000, &[half(0..600, Fate::Honest), half(601..1000, Fate::Honest)]);
    assert!(!hole.finished && hole.took > BLOB_PATIENCE);
    assert!(hole.effects < 200, "it does not ask in a frenzy: {}", hole.effects);
    let liars = run(1000, &[half(0..1000, Fate::Lies(3)), half(0..1000, Fate::Lies(4))]);
    assert!(
        !liars.finished && liars.took < Duration::from_secs(1),
        "nobody is left to wait for"
    );
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let fate = prop_oneof![
        3 => Just(Fate::Honest),
        1 => (0_u64..800).prop_map(Fate::Killed),
        1 => (0_u64..800).prop_map(Fate::Frozen),
        1 => (0_u64..800).prop_map(Fate::Lies),
        1 => Just(Fate::Busy),
    ];
    let plan = (5.0..3000.0_f64, 0_u64..8, 0_u64..1500, 0_u64..1500, fate);
    let plan = plan.prop_map(|(rate, latency, one, other, fate)| Plan {
        rate,
        latency: Duration::from_millis(latency * 5),
        holds: one.min(other)..one.max(other) + 1,
        fate,
    });
    prop::collection::vec(plan, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With one honest source that has everything, whatever the others do, everything arrives; and nothing arrives twice but what
    /// was on its way when it was given to another.
    #[test]
    fn every_group_arrives_and_hardly_any_twice(groups in 1_u64..1500, others in plans(), rate in 200.0..3000.0_f64) {
        let mut all = others.clone();
        all.push(honest(rate));
        let run = run(groups, &all);
        prop_assert!(run.finished, "{:?}", run.by_source);
        prop_assert_eq!(run.by_source.iter().sum::<u64>(), groups + run.again);
        let on_the_way: f64 = others.iter().map(|plan| 1.0 + plan.rate * (2.0 * plan.latency.as_secs_f64() + 0.01)).sum();
        prop_assert!(run.again as f64 <= on_the_way + 2.0, "{} again, {on_the_way} on the way", run.again);
    }

    /// Without one it ends too.
    #[test]
    fn it_always_ends(groups in 1_u64..1500, plans in plans()) {
        run(groups, &plans);
    }
}
