//! Three times as much as a node can do, for a minute: twelve people, one of whom asks for as much as all can have together.
//!
//! A simulated engine holds each place for as long as its answer takes; who is refused tries again every two seconds, as gateways do, and
//! who has waited for half a minute goes away. A person is told where they stand as [`super::super`] does it, whose rule is repeated here.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::limits::{RETRY_EVERY, WAITING_TOLD_EVERY};

const PLACES: usize = 4;
const PEOPLE: usize = 12;
/// The one who abuses it.
const ABUSER: usize = 0;
const SECONDS: f64 = 60.0;
const STEP: f64 = 0.05;
/// Times what the node can do.
const OFFERED: f64 = 3.0;
const PATIENCE: f64 = 30.0;
const SEEDS: u64 = 4;

enum State {
    /// At its gateway, until it is tried again.
    Away {
        again: f64,
    },
    Waiting(Ticket),
    Running {
        ticket: Ticket,
        left: f64,
    },
}

struct Question {
    person: usize,
    asked: f64,
    /// Seconds of a place.
    work: f64,
    told: f64,
    /// What it was told when it came into the queue.
    promised: Option<(f64, f64)>,
    state: State,
}

struct Run {
    queue: Queue,
    random: ChaCha8Rng,
    questions: BTreeMap<u64, Question>,
    next: u64,
    /// Seconds of places that became answers, of each person.
    served: Vec<f64>,
    silence: f64,
    /// Expected waits by what they became.
    foretold: Vec<f64>,
    told: bool,
}

fn moment(now: f64) -> Moment {
    Duration::from_secs_f64(now)
}

impl Run {
    fn new(fairness: Fairness, seed: u64) -> Self {
        let mut queue = Queue::new(fairness);
        queue.set_places(Duration::ZERO, PLACES);
        Self {
            queue,
            random: ChaCha8Rng::seed_from_u64(seed),
            questions: BTreeMap::new(),
            next: 0,
            served: vec![0.0; PEOPLE],
            silence: 0.0,
            foretold: Vec::new(),
            told: true,
        }
    }

    fn untold(mut self) -> Self {
        self.told = false;
        self
    }

    fn run(mut self) -> Self {
        let mut now = 0.0;
        while now < SECONDS {
            self.arrive(now);
            let numbers: Vec<u64> = self.questions.keys().copied().collect();
            for number in numbers {
                self.go_on(number, now);
            }
            now += STEP;
        }
        self
    }

    /// One person offers as much as the node can do, the others share the rest of what is offered.
    fn arrive(&mut self, now: f64) {
        for person in 0..PEOPLE {
            let share = match person {
                ABUSER => 1.0,
                _ => (OFFERED - 1.0) / (PEOPLE - 1) as f64,
            };
            let mean_work = 2.0;
            let rate = share * PLACES as f64 / mean_work;
            if self.random.random_bool(rate * STEP) {
                let work = self.random.random_range(0.5..3.5);
                let question = Question {
                    person,
                    asked: now,
                    work,
                    told: now,
                    promised: None,
                    state: State::Away { again: now },
                };
                self.next += 1;
                self.questions.insert(self.next, question);
            }
        }
    }

    fn go_on(&mut self, number: u64, now: f64) {
        let Some(question) = self.questions.get_mut(&number) else {
            return;
        };
        let is_impatient = now - question.asked > PATIENCE;
        match &mut question.state {
            State::Away { .. } if is_impatient => drop(self.questions.remove(&number)),
            State::Waiting(ticket) if is_impatient => {
                let ticket = *ticket;
                self.questions.remove(&number);
                let effects = self.queue.leave(moment(now), ticket);
                self.apply(&effects, now);
            }
            State::Away { again } if now >= *again => self.enter(number, now),
            State::Running { ticket, left } => {
                *left -= STEP;
                if *left <= 0.0 {
                    let (ticket, person, work) = (*ticket, question.person, question.work);
                    self.served[person] += work;
                    self.questions.remove(&number);
                    let effects = self.queue.leave(moment(now), ticket);
                    self.apply(&effects, now);
                }
            }
            State::Away { .. } | State::Waiting(_) => {
                if self.told && now - question.told >= WAITING_TOLD_EVERY.as_secs_f64() {
                    question.told = now;
                }
                self.silence = self.silence.max(now - question.told);
            }
        }
    }

    fn enter(&mut self, number: u64, now: f64) {
        let Some(question) = self.questions.get_mut(&number) else {
            return;
        };
        let asked = Asked {
            account: ContentId([question.person as u8 + 1; 32]),
            class: Class::Person,
            at: Timestamp((question.asked * 1000.0) as u64),
        };
        let (ticket, effects) = self.queue.enter(moment(now), asked);
        question.state = State::Waiting(ticket);
        if self.told {
            question.told = now;
        }
        if let Some(standing) = self.queue.standing(moment(now), ticket) {
            question.promised.get_or_insert((now, standing.wait.as_secs_f64()));
        }
        self.apply(&effects, now);
    }

    fn apply(&mut self, effects: &[Effect], now: f64) {
        for effect in effects {
            let (Effect::Admitted(ticket) | Effect::Refused(ticket, _)) = effect else {
                continue;
            };
            let found = self
                .questions
                .values_mut()
                .find(|question| matches!(question.state, State::Waiting(waiting) if waiting == *ticket));
            let question = found.expect("it waits");
            match effect {
                Effect::Admitted(ticket) => {
                    self.silence = self.silence.max(now - question.told);
                    if let Some((from, wait)) = question.promised
                        && now - from > 2.0
                    {
                        self.foretold.push(wait / (now - from));
                    }
                    let left = question.work;
                    question.state = State::Running { ticket: *ticket, left };
                }
                _ => {
                    let again = now + RETRY_EVERY.as_secs_f64();
                    question.state = State::Away { again };
                }
            }
        }
    }

    /// The part of what the node could do that became answers; those that are under way count as far as they have come.
    fn goodput(&self) -> f64 {
        let running = self.questions.values().map(|question| match question.state {
            State::Running { left, .. } => question.work - left,
            _ => 0.0,
        });
        (self.served.iter().sum::<f64>() + running.sum::<f64>()) / (PLACES as f64 * SECONDS)
    }

    /// Jain's index over what each person got: 1 when all got the same, 1/n when one got everything.
    fn fairness(&self) -> f64 {
        let mut got = self.served.clone();
        for question in self.questions.values() {
            if let State::Running { left, .. } = question.state {
                got[question.person] += question.work - left;
            }
        }
        let squares: f64 = got.iter().map(|got| got * got).sum();
        got.iter().sum::<f64>().powi(2) / (PEOPLE as f64 * squares)
    }
}

#[test]
fn in_a_minute_of_three_times_too_much_nothing_is_wasted_nobody_is_silent_and_one_person_takes_nobodys_share() {
    let (mut goodputs, mut indices, mut silence) = (Vec::new(), Vec::new(), 0.0_f64);
    let mut foretold = Vec::new();
    for seed in 1..=SEEDS {
        let run = Run::new(Fairness::PerPerson, seed).run();
        goodputs.push(run.goodput());
        indices.push(run.fairness());
        silence = silence.max(run.silence);
        foretold.extend(run.foretold);
    }
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    foretold.sort_by(f64::total_cmp);
    let median = foretold[foretold.len() / 2];
    println!(
        "of {SEEDS} minutes the worst: goodput {:.3}, Jain {:.3}, silence {silence:.2} s; waits foretold {median:.2} times what they were",
        least(&goodputs),
        least(&indices)
    );
    assert!(least(&goodputs) >= 0.95, "{goodputs:?}");
    assert!(least(&indices) >= 0.95, "{indices:?}");
    assert!(silence <= 2.0, "{silence}");
    assert!((0.5..2.0).contains(&median), "{median}");
}

/// The controls: in the order of arrival one person takes the others' share, and who is told nothing hears nothing for long.
#[test]
fn control_without_fairness_or_without_telling_it_goes_wrong() {
    for seed in 1..=SEEDS {
        let unfair = Run::new(Fairness::Arrival, seed).run();
        assert!(unfair.fairness() < 0.8, "{}", unfair.fairness());
        let untold = Run::new(Fairness::PerPerson, seed).untold().run();
        assert!(untold.silence > 10.0, "{}", untold.silence);
    }
}
