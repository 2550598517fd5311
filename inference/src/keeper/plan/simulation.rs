//! A machine with models, people who ask them, loads that take their time and fail now and then: driven by a seed, with what must always
//! hold checked at every step.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const MEGABYTE: u64 = 1024 * 1024;
/// Between two looks.
const STEP: Duration = Duration::from_millis(100);
/// An engine takes this long to end.
const ENDS_AFTER: Duration = Duration::from_millis(200);

/// What a machine is like.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// Megabytes and seconds of loading of each model; the first is the main one.
    pub(super) models: Vec<(u64, f64)>,
    /// Megabytes for all of them.
    pub(super) memory: u64,
    /// How likely somebody asks each model, at every step.
    pub(super) asked: f64,
    /// Seconds for which a model is asked, at most.
    pub(super) answers: f64,
    /// How likely an engine ends while it loads, and a probe fails.
    pub(super) fails: f64,
    pub(super) keeping: Keeping,
}

/// What an engine does, and when that changes.
#[derive(Clone, Copy, Debug)]
enum Engine {
    Loads(Moment),
    Down(Moment),
    Runs,
    Ends(Moment),
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) answered: u64,
    pub(super) refused: u64,
    /// Who still waited an hour after nobody came any more.
    pub(super) forgotten: usize,
    /// How long somebody waited, at most.
    pub(super) longest: Duration,
    /// How long engines loaded, all together.
    pub(super) loading: Duration,
    /// Of each model, how many got it.
    pub(super) got: BTreeMap<Name, u64>,
}

struct Run {
    world: World,
    plan: Plan,
    random: ChaCha8Rng,
    engines: BTreeMap<Name, Engine>,
    probes: Vec<(Moment, Name)>,
    waiting: Vec<(Ticket, Name, Moment)>,
    using: Vec<(Moment, Name)>,
    outcome: Outcome,
}

pub(super) fn name(number: usize) -> Name {
    format!("model-{number}").into()
}

pub(super) fn listed(number: usize, megabytes: u64, reload: f64) -> Listed {
    Listed {
        name: name(number),
        file: format!("/models/{number}").into(),
        bytes: megabytes * MEGABYTE,
        reload: Duration::from_secs_f64(reload),
        is_main: number == 0,
        is_probed: true,
    }
}

/// Runs a world for so long. Panics where something does not hold that always must.
pub(super) fn run(world: &World, seed: u64, length: Duration) -> Outcome {
    let mut plan = Plan::new(world.keeping);
    let models = world.models.iter().enumerate();
    plan.list(models.map(|(number, (megabytes, reload))| listed(number, *megabytes, *reload)));
    let mut run = Run {
        world: world.clone(),
        plan,
        random: ChaCha8Rng::seed_from_u64(seed),
        engines: BTreeMap::new(),
        probes: Vec::new(),
        waiting: Vec::new(),
        using: Vec::new(),
        outcome: Outcome::default(),
    };
    let mut now = Duration::ZERO;
    while now < length {
        now += STEP;
        run.step(now, true);
    }
    // Nobody comes any more: whoever waits gets it or is refused, and every model that computes ends.
    let patience = now + Duration::from_secs(3600);
    while !run.waiting.is_empty() && now < patience {
        now += STEP;
        run.step(now, false);
    }
    run.outcome.forgotten = run.waiting.len();
    run.outcome
}

impl Run {
    fn step(&mut self, now: Moment, comes: bool) {
        if comes {
            self.ask(now);
        }
        self.engines_go_on(now);
        for (until, name) in std::mem::take(&mut self.using) {
            if until <= now {
                self.plan.release(now, &name);
            } else {
                self.using.push((until, name));
            }
        }
        for (at, name) in std::mem::take(&mut self.probes) {
            if at > now {
                self.probes.push((at, name));
            } else {
                let fails = self.random.random_bool(self.world.fails);
                let result = if fails { Err("it is silent".to_owned()) } else { Ok(()) };
                self.plan.probed(now, &name, result);
            }
        }
        let capacity = self.world.memory * MEGABYTE;
        let effects = self.plan.step(now, capacity);
        for effect in effects {
            self.obey(now, effect);
        }
        assert!(self.plan.committed() <= capacity, "over the memory: {:?}", self.plan);
        self.hear(now);
    }

    fn ask(&mut self, now: Moment) {
        for number in 0..self.world.models.len() {
            if self.random.random_bool(self.world.asked) {
                match self.plan.want(now, &name(number)) {
                    Ok(ticket) => self.waiting.push((ticket, name(number), now)),
                    Err(_) => self.outcome.refused += 1,
                }
            }
        }
        // Some do not wait to the end.
        if self.waiting.len() > 20 && self.random.random_bool(0.1) {
            let (ticket, ..) = self.waiting.swap_remove(0);
            self.plan.give_up(ticket);
        }
    }

    fn engines_go_on(&mut self, now: Moment) {
        let names: Vec<Name> = self.engines.keys().cloned().collect();
        for name in names {
            match self.engines[&name] {
                Engine::Loads(until) => {
                    self.outcome.loading += STEP;
                    self.plan.saw(now, &name, Seen::Starting);
                    if until <= now && self.random.random_bool(self.world.fails) {
                        self.plan.saw(now, &name, Seen::Failed("it ended".into()));
                        self.engines.insert(name, Engine::Down(now + Duration::from_secs(1)));
                    } else if until <= now {
                        self.plan.saw(now, &name, Seen::Ready);
                        self.engines.insert(name, Engine::Runs);
                    }
                }
                Engine::Down(until) if until <= now => {
                    self.engines.insert(name, Engine::Loads(now + Duration::from_secs(1)));
                }
                Engine::Ends(until) if until <= now => {
                    self.engines.remove(&name);
                    self.plan.unloaded(now, &name);
                }
                Engine::Runs if self.random.random_bool(self.world.fails / 100.0) => {
                    self.plan.saw(now, &name, Seen::Failed("it was killed".into()));
                    self.engines.insert(name, Engine::Down(now + Duration::from_secs(1)));
                }
                Engine::Down(_) | Engine::Ends(_) | Engine::Runs => {}
            }
        }
    }

    fn obey(&mut self, now: Moment, effect: Effect) {
        match effect {
            Effect::Load(name, room) => {
                let least = self.plan.listing[&name].bytes;
                assert!(least <= room, "{name} is loaded into {room} bytes and needs {least}");
                assert!(!self.engines.contains_key(&name), "{name} is loaded twice");
                // Where there is more, it takes more.
                self.plan.reserve(&name, least + (room - least).min(least / 4));
                let reload = self.plan.listing[&name].reload;
                self.engines.insert(name, Engine::Loads(now + reload));
            }
            Effect::Unload(name) => {
                assert!(
                    self.using.iter().all(|(_, used)| *used != name),
                    "{name} computes and is unloaded"
                );
                self.engines.insert(name, Engine::Ends(now + ENDS_AFTER));
            }
            Effect::Probe(name) => {
                let takes = Duration::from_millis(self.random.random_range(20..500));
                self.probes.push((now + takes, name));
            }
        }
    }

    fn hear(&mut self, now: Moment) {
        for (ticket, name, since) in std::mem::take(&mut self.waiting) {
            match self.plan.answer(now, ticket) {
                Answer::Wait(_) => self.waiting.push((ticket, name, since)),
                Answer::Refused(_) => self.outcome.refused += 1,
                Answer::Come(name) => {
                    assert!(matches!(self.engines[&name], Engine::Runs), "{name} is not there");
                    let longest = self.outcome.longest.max(now - since);
                    self.outcome.longest = longest;
                    self.outcome.answered += 1;
                    *self.outcome.got.entry(Name::clone(&name)).or_default() += 1;
                    let takes = self.random.random_range(0.1..self.world.answers);
                    self.using.push((now + Duration::from_secs_f64(takes), name));
                }
            }
        }
    }
}
