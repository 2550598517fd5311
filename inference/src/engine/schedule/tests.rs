//! The schedule against simulated machines: seeded arrivals, costs that wander, cancellations in between.

use rand::RngExt;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::*;

const MS: Duration = Duration::from_millis(1);
const TARGET: Duration = Duration::from_millis(250);
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

fn scheduler(concurrent: usize, prompt_token: Duration, generated_token: Duration) -> Scheduler {
    let speeds = Speeds {
        prompt_token,
        generated_token,
    };
    Scheduler::new(concurrent, TARGET, speeds)
}

fn admit_all(scheduler: &mut Scheduler, now: Moment) {
    for id in scheduler.waiting(now) {
        if scheduler.has_room() {
            let prompt = scheduler.entries[&id].prompt;
            scheduler.admit(id, prompt, 0, 0);
        }
    }
}

#[test]
fn running_sequences_always_get_a_token_and_short_prompts_go_first() {
    let mut scheduler = scheduler(4, 4 * MS, 10 * MS);
    for (id, prompt) in [(1, 1), (2, 400), (3, 30)] {
        scheduler.arrive(id, prompt, Duration::ZERO, FOR_EVER);
    }
    admit_all(&mut scheduler, Duration::ZERO);
    let first = scheduler.plan(Duration::ZERO);
    scheduler.computed(&first, Duration::ZERO);
    scheduler.speeds = Speeds {
        prompt_token: 4 * MS,
        generated_token: 10 * MS,
    };
    let shares = scheduler.plan(MS);
    let tokens = |id| shares.iter().find(|share| share.id == id).map(|share| share.tokens);
    // 1 and 3 fitted the first step, and 31 tokens of the 62 were left to 2; now (250 - 2 * 10) / 4 = 57.
    assert_eq!((tokens(1), tokens(3), tokens(2)), (Some(1), Some(1), Some(57)));
}

#[test]
fn a_card_ends_its_share() {
    let mut scheduler = scheduler(1, MS, MS);
    scheduler.arrive(1, 100, Duration::ZERO, FOR_EVER);
    scheduler.admit(1, 100, 60, 0);
    let mut steps = Vec::new();
    for _ in 0..3 {
        let shares = scheduler.plan(MS);
        steps.push((shares[0].tokens, shares[0].is_prompt));
        scheduler.computed(&shares, MS);
        scheduler.speeds.prompt_token = MS;
    }
    assert_eq!(steps, [(60, true), (40, true), (1, false)]);
}

#[test]
fn the_chunk_follows_the_machine_and_is_never_nothing() {
    let chunk = |prompt_token| scheduler(1, prompt_token, MS).prompt_chunk(0);
    assert_eq!(chunk(Duration::from_micros(50)), PROMPT_CHUNK_MAX);
    assert_eq!(chunk(10 * MS), 25);
    assert_eq!(chunk(1000 * MS), 1);
    assert_eq!(scheduler(1, MS, 1000 * MS).prompt_chunk(8), 1);
}

/// One simulated run; with `ageing` off, waiting counts for nothing.
struct Simulated {
    /// Longest time from arrival to first token, of the long prompt.
    long_prompt: Option<Duration>,
    /// Steps that took three tenths more than they may; speed wanders by a quarter, so now and then one does.
    steps_over_target: usize,
    /// Those that not even a guess from the quickest and a step at the slowest explain.
    steps_unexplained: usize,
    steps: usize,
    started_after_cancel: usize,
}

/// A long prompt among a stream of short ones that would fill every step, on a machine whose speed wanders by a quarter.
fn simulate(seed: u64, ageing: bool) -> Simulated {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let cost = Duration::from_micros(random.random_range(200..8000));
    let mut scheduler = scheduler(8, cost, cost * 2);
    let mut run = Simulated {
        long_prompt: None,
        steps_over_target: 0,
        steps_unexplained: 0,
        steps: 0,
        started_after_cancel: 0,
    };
    let (mut now, mut next) = (Duration::ZERO, 2);
    let mut left: BTreeMap<u64, usize> = BTreeMap::new();
    let mut cancelled = Vec::new();
    scheduler.arrive(1, 600, now, FOR_EVER);
    for _ in 0..400 {
        let chunk = usize::try_from(TARGET.as_nanos() / cost.as_nanos()).unwrap().max(1);
        while scheduler.waiting(now).len() < 4 {
            scheduler.arrive(next, chunk.min(500), now, FOR_EVER);
            next += 1;
        }
        let seen = if ageing { now } else { Duration::ZERO };
        admit_all(&mut scheduler, seen);
        if random.random_bool(0.1) && next > 3 {
            let id = random.random_range(2..next);
            if scheduler.remove(id) {
                cancelled.push(id);
            }
        }
        let shares = scheduler.plan(seen);
        run.started_after_cancel += shares.iter().filter(|share| cancelled.contains(&share.id)).count();
        let prompt: u32 = shares
            .iter()
            .filter(|s| s.is_prompt)
            .map(|s| u32::try_from(s.tokens).unwrap())
            .sum();
        let generating = u32::try_from(shares.iter().filter(|s| !s.is_prompt).count()).unwrap();
        let took = (cost * prompt + cost * 2 * generating).mul_f64(random.random_range(0.75..1.25));
        run.steps += 1;
        // One token of prompt more is allowed: everything must get on.
        run.steps_over_target += usize::from(took > TARGET.mul_f64(1.3) + cost);
        run.steps_unexplained += usize::from(took > TARGET.mul_f64(1.25 / 0.75) + cost * 2);
        now += took;
        scheduler.computed(&shares, took);
        for share in shares {
            let entry = &scheduler.entries[&share.id];
            if entry.phase == Phase::Generating {
                if share.id == 1 {
                    run.long_prompt = Some(now);
                    return run;
                }
                let tokens = left.entry(share.id).or_insert(4);
                *tokens -= 1;
                if *tokens == 0 {
                    scheduler.remove(share.id);
                }
            }
        }
    }
    run
}

#[test]
fn nobody_starves_the_step_keeps_its_time_and_cancelled_work_stops() {
    let (mut starved_without_ageing, mut over, mut steps) = (0, 0, 0);
    for seed in 0..200 {
        let run = simulate(seed, true);
        let took = run.long_prompt.unwrap_or_else(|| panic!("seed {seed}: starved"));
        assert!(took < Duration::from_secs(60), "seed {seed}: {took:?}");
        assert_eq!(run.started_after_cancel, 0, "seed {seed}");
        assert_eq!(run.steps_unexplained, 0, "seed {seed}");
        over += run.steps_over_target;
        steps += run.steps;
        starved_without_ageing += usize::from(simulate(seed, false).long_prompt.is_none());
    }
    assert!(over * 50 <= steps, "{over} of {steps} steps took too long");
    // The control: it is the ageing that saves it.
    assert!(
        starved_without_ageing > 100,
        "only {starved_without_ageing} of 200 starved without ageing"
    );
}

#[test]
fn what_is_overdue_is_named_and_a_removed_one_makes_room() {
    let mut scheduler = scheduler(1, MS, MS);
    scheduler.arrive(1, 10, Duration::ZERO, 5 * MS);
    scheduler.arrive(2, 10, Duration::ZERO, FOR_EVER);
    scheduler.admit(1, 10, 0, 0);
    assert!(scheduler.overdue(4 * MS).is_empty());
    assert_eq!(scheduler.overdue(5 * MS), [1]);
    assert!(!scheduler.has_room());
    assert!(scheduler.remove(1) && !scheduler.remove(1));
    assert!(scheduler.has_room());
    assert_eq!(scheduler.waiting(MS), [2]);
}

#[test]
fn it_believes_what_it_measures() {
    let mut scheduler = scheduler(2, MS, MS);
    let step = [Share {
        id: 1,
        tokens: 50,
        is_prompt: true,
    }];
    for _ in 0..10 {
        scheduler.computed(&step, 500 * MS);
    }
    assert_eq!(scheduler.prompt_chunk(0), 25);
    let nonsense = Speeds::from_rates(f64::NAN, -1.0);
    assert_eq!(nonsense.prompt_token, Duration::from_secs(10));
}
