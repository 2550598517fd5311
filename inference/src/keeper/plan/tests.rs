//! What the keeper of models must always do, whatever is asked and whatever fails.

use super::{
    simulation::{World, listed, name, run},
    *,
};

const MEGABYTE: u64 = 1024 * 1024;
const KEEPING: Keeping = Keeping {
    keep_alive: Duration::from_secs(300),
    protects: true,
};
const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

/// Two models, of which one fits at a time, and both are wanted all the time.
fn rivals(keeping: Keeping) -> World {
    World {
        models: vec![(600, 2.0), (600, 3.0)],
        memory: 1000,
        asked: 0.05,
        answers: 2.0,
        fails: 0.0,
        keeping,
    }
}

/// Red when memory is given out twice, when what computes is unloaded, or when somebody waits for ever: the simulation checks each.
#[test]
fn memory_is_never_exceeded_nothing_that_computes_is_unloaded_and_nobody_waits_for_ever() {
    for seed in 0..24 {
        let world = World {
            models: vec![(300, 1.0), (500, 4.0), (200, 0.5), (900, 8.0), (100, 0.2), (2000, 1.0)],
            memory: 1000 + seed * 37 % 600,
            asked: 0.01,
            answers: 4.0,
            fails: if seed % 2 == 0 { 0.0 } else { 0.15 },
            keeping: KEEPING,
        };
        let outcome = run(&world, seed, HOUR / 4);
        assert_eq!(outcome.forgotten, 0, "seed {seed}: {outcome:?}");
        assert!(outcome.answered > 250, "seed {seed}: {outcome:?}");
        // Two gigabytes never fit, and every other model has its turn.
        assert!(!outcome.got.contains_key(&name(5)), "seed {seed}: {outcome:?}");
        assert_eq!(outcome.got.len(), 5, "seed {seed}: {outcome:?}");
    }
}

/// Red when what was just loaded may go at once: then it goes, and most of the time is loading.
#[test]
fn two_models_that_do_not_fit_together_take_turns_that_are_worth_their_loading() {
    for seed in 0..8 {
        let outcome = run(&rivals(KEEPING), seed, HOUR / 2);
        let part = outcome.loading.as_secs_f64() / (HOUR / 2).as_secs_f64();
        assert_eq!(outcome.forgotten, 0, "seed {seed}: {outcome:?}");
        assert!(part < 1.0 / 3.0, "seed {seed}: {part} {outcome:?}");
        // A turn of the other one, its end, and both loads.
        assert!(outcome.longest < at(40.0), "seed {seed}: {outcome:?}");
        let (first, second) = (outcome.got[&name(0)], outcome.got[&name(1)]);
        assert!(
            first.abs_diff(second) < (first + second) / 5,
            "seed {seed}: {outcome:?}"
        );
    }
    let hasty = Keeping {
        protects: false,
        ..KEEPING
    };
    let outcome = run(&rivals(hasty), 1, HOUR / 2);
    let part = outcome.loading.as_secs_f64() / (HOUR / 2).as_secs_f64();
    assert!(
        part > 0.4 && outcome.forgotten > 0,
        "without the rule it flaps: {part} {outcome:?}"
    );
}

/// Models of so many megabytes, the first of them the main one, all of them loaded one after the other as far as they fit.
fn plan(megabytes: &[u64], memory: u64, load: &[usize]) -> (Plan, Moment) {
    let mut plan = Plan::new(KEEPING);
    plan.list(
        megabytes
            .iter()
            .enumerate()
            .map(|(number, size)| listed(number, *size, 1.0)),
    );
    let mut now = at(1.0);
    for number in load {
        get(&mut plan, &mut now, *number, memory);
        plan.release(now, &name(*number));
    }
    (plan, now)
}

/// Does what the plan wants, at once, until nothing more is wanted; says what that was.
fn obey(plan: &mut Plan, now: &mut Moment, memory: u64) -> Vec<Effect> {
    let mut done = Vec::new();
    loop {
        let effects = plan.step(*now, memory * MEGABYTE);
        if effects.is_empty() {
            return done;
        }
        for effect in effects {
            *now += at(0.1);
            match &effect {
                Effect::Load(name, _) => plan.saw(*now, name, Seen::Ready),
                Effect::Probe(name) => plan.probed(*now, name, Ok(())),
                Effect::Unload(name) => plan.unloaded(*now, name),
            }
            done.push(effect);
        }
    }
}

/// Somebody gets a model and keeps it.
fn get(plan: &mut Plan, now: &mut Moment, number: usize, memory: u64) {
    let ticket = plan.want(*now, &name(number)).unwrap();
    for _ in 0..100 {
        obey(plan, now, memory);
        if let Answer::Come(_) = plan.answer(*now, ticket) {
            return;
        }
        *now += at(1.0);
    }
    panic!("{:?}", plan);
}

fn unloads(effects: &[Effect]) -> Vec<Name> {
    let unloaded = effects.iter().filter_map(|effect| match effect {
        Effect::Unload(name) => Some(Name::clone(name)),
        _ => None,
    });
    unloaded.collect()
}

fn condition(plan: &Plan, now: Moment, number: usize) -> Condition {
    let view = plan.view(now);
    view.into_iter()
        .find(|view| view.name == name(number))
        .unwrap()
        .condition
}

#[test]
fn the_main_model_is_loaded_by_itself_and_others_when_they_are_wanted() {
    let (mut plan, mut now) = plan(&[100, 100], 1000, &[]);
    let effects = obey(&mut plan, &mut now, 1000);
    assert_eq!(
        effects,
        [Effect::Load(name(0), 1000 * MEGABYTE), Effect::Probe(name(0))]
    );
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
    assert_eq!(condition(&plan, now, 1), Condition::OnDisk);
    get(&mut plan, &mut now, 1, 1000);
    assert_eq!(condition(&plan, now, 1), Condition::Loaded);
    assert_eq!(plan.want(now, "another").unwrap_err(), Refusal::Unknown);
}

#[test]
fn what_is_worth_least_for_its_bytes_goes_first_and_no_more_than_is_needed() {
    // All three fit; the second is asked for often, the third hardly.
    let (mut plan, mut now) = plan(&[300, 300, 300, 200], 1000, &[0, 1, 2]);
    for _ in 0..5 {
        get(&mut plan, &mut now, 1, 1000);
        plan.release(now, &name(1));
    }
    now += at(10.0);
    obey(&mut plan, &mut now, 1000);
    let ticket = plan.want(now, &name(3)).unwrap();
    let effects = obey(&mut plan, &mut now, 1000);
    assert_eq!(unloads(&effects), [name(2)]);
    assert_eq!(plan.answer(now, ticket), Answer::Come(name(3)));
}

#[test]
fn one_that_computes_stays_to_the_end_and_takes_nobody_else_meanwhile() {
    let (mut plan, mut now) = plan(&[600, 600], 1000, &[]);
    get(&mut plan, &mut now, 0, 1000);
    now += at(10.0);
    let other = plan.want(now, &name(1)).unwrap();
    assert_eq!(obey(&mut plan, &mut now, 1000), []);
    assert!(matches!(plan.answer(now, other), Answer::Wait(_)));
    let late = plan.want(now, &name(0)).unwrap();
    assert!(matches!(plan.answer(now, late), Answer::Wait(_)), "it is to go");
    plan.release(now, &name(0));
    let effects = obey(&mut plan, &mut now, 1000);
    assert_eq!(unloads(&effects), [name(0)]);
    assert_eq!(plan.answer(now, other), Answer::Come(name(1)));
    // Whoever wanted the first one is not forgotten.
    plan.release(now, &name(1));
    now += at(10.0);
    obey(&mut plan, &mut now, 1000);
    assert_eq!(plan.answer(now, late), Answer::Come(name(0)));
    // Nobody wants the other one any more, and then nothing is to go.
    let given_up = plan.want(now, &name(1)).unwrap();
    now += at(10.0);
    obey(&mut plan, &mut now, 1000);
    plan.give_up(given_up);
    obey(&mut plan, &mut now, 1000);
    let again = plan.want(now, &name(0)).unwrap();
    assert_eq!(plan.answer(now, again), Answer::Come(name(0)));
}

#[test]
fn a_small_one_goes_before_a_large_one_only_where_that_keeps_nobody_waiting() {
    let (mut plan, mut now) = plan(&[700, 600, 100, 350], 1000, &[]);
    get(&mut plan, &mut now, 0, 1000);
    now += at(10.0);
    let large = plan.want(now, &name(1)).unwrap();
    let small = plan.want(now, &name(2)).unwrap();
    let effects = obey(&mut plan, &mut now, 1000);
    // 1000 - 600 is what the large one does not need, and 300 of it is free now.
    assert_eq!(effects[0], Effect::Load(name(2), 300 * MEGABYTE));
    assert_eq!(plan.answer(now, small), Answer::Come(name(2)));
    let middle = plan.want(now, &name(3)).unwrap();
    assert_eq!(obey(&mut plan, &mut now, 1000), []);
    assert!(matches!(plan.answer(now, large), Answer::Wait(_)));
    assert!(matches!(plan.answer(now, middle), Answer::Wait(_)));
}

#[test]
fn an_idle_model_goes_after_a_while_and_the_main_one_stays() {
    let (mut plan, mut now) = plan(&[100, 100], 1000, &[0, 1]);
    now += at(299.0);
    assert_eq!(unloads(&obey(&mut plan, &mut now, 1000)), []);
    now += at(2.0);
    assert_eq!(unloads(&obey(&mut plan, &mut now, 1000)), [name(1)]);
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
}

#[test]
fn the_main_model_comes_back_when_there_is_room() {
    let (mut plan, mut now) = plan(&[600, 600], 1000, &[0]);
    now += at(10.0);
    get(&mut plan, &mut now, 1, 1000);
    assert_eq!(condition(&plan, now, 0), Condition::OnDisk);
    plan.release(now, &name(1));
    now += at(301.0);
    let effects = obey(&mut plan, &mut now, 1000);
    assert_eq!(unloads(&effects), [name(1)]);
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
}

#[test]
fn what_does_not_fit_even_alone_is_refused_with_the_numbers_until_it_does() {
    let (mut plan, mut now) = plan(&[100, 2000], 1000, &[0]);
    let ticket = plan.want(now, &name(1)).unwrap();
    let refusal = Refusal::TooLarge {
        needed: 2000 * MEGABYTE,
        there_are: 1000 * MEGABYTE,
    };
    assert_eq!(unloads(&obey(&mut plan, &mut now, 1000)), []);
    assert_eq!(plan.answer(now, ticket), Answer::Refused(refusal));
    assert!(matches!(condition(&plan, now, 1), Condition::TooLarge { .. }));
    get(&mut plan, &mut now, 1, 4000);
}

#[test]
fn one_that_fails_its_probe_is_told_to_nobody_and_comes_back_by_itself() {
    let (mut plan, mut now) = plan(&[100, 100], 1000, &[0]);
    plan.trouble(&name(0));
    assert_eq!(plan.step(now, 1000 * MEGABYTE), [Effect::Probe(name(0))]);
    plan.probed(now, &name(0), Err("silent".into()));
    assert!(matches!(condition(&plan, now, 0), Condition::Failed { .. }));
    let ticket = plan.want(now, &name(0)).unwrap();
    assert_eq!(
        plan.answer(now, ticket),
        Answer::Refused(Refusal::Failed("silent".into()))
    );
    assert_eq!(plan.step(now, 1000 * MEGABYTE), [], "not at once");
    now += PROBE_AGAIN_FIRST;
    assert_eq!(plan.step(now, 1000 * MEGABYTE), [Effect::Probe(name(0))]);
    plan.probed(now, &name(0), Ok(()));
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
}

/// Red when one whose engine ended in the middle of a probe waits for that probe for ever.
#[test]
fn one_whose_engine_is_lost_during_a_probe_comes_back() {
    let (mut plan, mut now) = plan(&[100, 100], 1000, &[0]);
    plan.trouble(&name(0));
    assert_eq!(plan.step(now, 1000 * MEGABYTE), [Effect::Probe(name(0))]);
    plan.refused(now, &name(0), "its engine ended".into());
    plan.probed(now, &name(0), Err("its engine ended".into()));
    assert!(matches!(condition(&plan, now, 0), Condition::Failed { .. }));
    now += HOUR;
    let _ticket = plan.want(now, &name(0)).unwrap();
    obey(&mut plan, &mut now, 1000);
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
}

#[test]
fn one_that_fails_again_and_again_is_loaded_anew_after_growing_waits() {
    let (mut plan, mut now) = plan(&[100], 1000, &[0]);
    plan.trouble(&name(0));
    let fail = |plan: &mut Plan, now: &mut Moment| {
        let since = *now;
        while plan.step(*now, 1000 * MEGABYTE) != [Effect::Probe(name(0))] {
            *now += at(0.5);
        }
        plan.probed(*now, &name(0), Err("silent".into()));
        *now - since
    };
    let waits: Vec<Duration> = (0..PROBES_FAILED_MAX).map(|_| fail(&mut plan, &mut now)).collect();
    assert_eq!(waits, [at(0.0), at(2.0), at(4.0)]);
    // Each time it is loaded anew it is left alone for longer before.
    for rests in [8.0, 16.0] {
        assert_eq!(plan.step(now, 1000 * MEGABYTE), [Effect::Unload(name(0))]);
        plan.unloaded(now, &name(0));
        assert!(matches!(condition(&plan, now, 0), Condition::Failed { .. }));
        let since = now;
        while !matches!(plan.step(now, 1000 * MEGABYTE)[..], [Effect::Load(..)]) {
            now += at(0.5);
        }
        assert_eq!(now - since, at(rests));
        plan.saw(now, &name(0), Seen::Ready);
        fail(&mut plan, &mut now);
    }
}

#[test]
fn one_whose_engine_ends_starts_again_by_itself_and_is_probed_before_anybody_may_ask_it() {
    let (mut plan, mut now) = plan(&[100, 100], 1000, &[0]);
    plan.saw(now, &name(0), Seen::Failed("killed".into()));
    assert!(matches!(
        condition(&plan, now, 0),
        Condition::Failed { again_in: None, .. }
    ));
    assert_eq!(plan.step(now, 1000 * MEGABYTE), []);
    plan.saw(now, &name(0), Seen::Starting);
    plan.saw(now, &name(0), Seen::Ready);
    assert_eq!(condition(&plan, now, 0), Condition::Loading);
    assert_eq!(obey(&mut plan, &mut now, 1000), [Effect::Probe(name(0))]);
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
}

#[test]
fn a_file_that_is_taken_away_or_replaced_goes_when_nobody_asks_it_any_more() {
    let (mut plan, mut now) = plan(&[100, 100], 1000, &[0]);
    get(&mut plan, &mut now, 1, 1000);
    plan.list([listed(0, 100, 1.0)]);
    assert_eq!(unloads(&obey(&mut plan, &mut now, 1000)), []);
    let late = plan.want(now, &name(1)).unwrap();
    assert_eq!(plan.answer(now, late), Answer::Refused(Refusal::Unknown));
    plan.release(now, &name(1));
    assert_eq!(unloads(&obey(&mut plan, &mut now, 1000)), [name(1)]);
    assert_eq!(plan.want(now, &name(1)).unwrap_err(), Refusal::Unknown);
    let replaced = Listed {
        file: "/models/new".into(),
        ..listed(0, 200, 1.0)
    };
    plan.list([replaced]);
    let effects = obey(&mut plan, &mut now, 1000);
    assert_eq!(unloads(&effects), [name(0)]);
    assert_eq!(plan.view(now)[0].estimated_bytes, 200 * MEGABYTE);
}

#[test]
fn where_the_machine_is_short_of_memory_idle_models_go_one_by_one_but_not_the_main_one() {
    let (mut plan, mut now) = plan(&[100, 100, 100], 1000, &[0, 1, 2]);
    now += at(10.0);
    for number in 0..3 {
        plan.measured(&name(number), 100 * MEGABYTE);
    }
    let short = 150 * MEGABYTE;
    assert_eq!(unloads(&plan.step(now, short)).len(), 1);
    assert_eq!(unloads(&plan.step(now, short)), [], "the first has not gone yet");
    // What it still has comes back: to whoever it makes room for that is memory.
    assert_eq!(plan.going(), 100 * MEGABYTE);
    let view = plan.view(now);
    let going = view.iter().find(|view| view.condition == Condition::OnDisk).unwrap();
    plan.unloaded(now, &going.name.clone());
    assert_eq!(unloads(&plan.step(now, short)).len(), 1);
    assert_eq!(condition(&plan, now, 0), Condition::Loaded);
}

#[test]
fn clearly_more_memory_than_was_set_aside_is_an_overrun() {
    let (mut plan, now) = plan(&[1000], 4000, &[0]);
    let is_overrun = |plan: &mut Plan, megabytes: u64| {
        plan.measured(&name(0), megabytes * MEGABYTE);
        plan.view(now)[0].is_overrun()
    };
    assert!(!is_overrun(&mut plan, 1160));
    assert!(is_overrun(&mut plan, 1170));
}
