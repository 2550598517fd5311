//! Who computes next where more is asked of a node than it can do: pure; the time is an argument.
//!
//! ## Fair
//! What is shared out is time on the node's places. Each person has a counter of the time that places were held for them; a place that
//! becomes free goes to the person with the least, and to their oldest question. Who comes anew, or comes back, begins where those stand
//! that wait: nobody saves up what they did not ask for. What runs counts at once, as much as places are usually held and as it is held
//! in fact when that is longer, so that ten questions sent together are not ten times the first one. (The virtual token counters of Sheng
//! et al., "Fairness in Serving Large Language Models", 2024, with time for tokens: it needs no guess of how long an answer will be.)
//!
//! ## Bounded
//! A full queue does not refuse whoever comes last: then the one who asks most would keep the others out. The question goes whose person
//! has most of them waiting, the youngest of those, and is told where it would have stood. Questions that were refused before keep their
//! age, so that trying again loses nothing.
//!
//! ## Background
//! What nobody waits for gets a place when no person wants it, and is asked to give it back when one comes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    time::Duration,
};

use keys::{ContentId, Timestamp};

use crate::limits::{BACKGROUND_WAITING_MAX, PERSONS_REMEMBERED_MAX, PLACE_HELD_GUESS, QUESTIONS_WAITING_MAX};

#[cfg(test)]
mod overload;
#[cfg(test)]
mod tests;

/// A moment, counted from any fixed one.
pub type Moment = Duration;

/// Weight of the newest time for which a place was held; the first ones weigh more.
const NEWEST: f64 = 0.1;
/// What is held longer than usual is expected to be held for this part of the usual time more: nobody knows better.
const STILL: u32 = 4;

/// Names what asked for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Who is waiting for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A person.
    Person,
    /// Nobody: a summary, a check.
    Background,
}

/// A wish for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The person whom it is for.
    pub account: ContentId,
    /// Whether that one waits.
    pub class: Class,
    /// When the question was asked, by the clock of whoever took it.
    pub at: Timestamp,
}

impl Asked {
    /// By a person, at a time in milliseconds.
    #[must_use]
    pub const fn by_person(account: [u8; 32], at: u64) -> Self {
        Self {
            account: ContentId(account),
            class: Class::Person,
            at: Timestamp(at),
        }
    }
}

/// Where something stands in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many go before it, if nobody else comes.
    pub ahead: u32,
    /// How long it is expected to wait.
    pub wait: Duration,
}

impl Standing {
    /// The wait in milliseconds.
    #[must_use]
    pub fn wait_ms(&self) -> u32 {
        u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX)
    }
}

/// What follows from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has a place.
    Admitted(Ticket),
    /// There is no room for it; this is where it would have stood.
    Refused(Ticket, Standing),
    /// It is background, and a person wants its place.
    Yield(Ticket),
}

/// In which order places are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fairness {
    /// To each person alike.
    PerPerson,
    /// To whoever came first, whoever that is, and a full queue refuses the last. To compare with.
    Arrival,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    account: ContentId,
    class: Class,
    since: Moment,
    is_yielding: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Queue {
    fairness: Fairness,
    places: usize,
    next: u64,
    waiting: BTreeMap<Ticket, Asked>,
    held: BTreeMap<Ticket, Held>,
    /// For how long places were held, of persons of whom that says more than of one who comes anew.
    counters: HashMap<ContentId, Duration>,
    /// How long a place is held lately, and how many times that was seen.
    usual: Duration,
    seen: u32,
}

impl Queue {
    /// Without any place yet.
    #[must_use]
    pub fn new(fairness: Fairness) -> Self {
        Self {
            fairness,
            places: 0,
            next: 0,
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            counters: HashMap::new(),
            usual: PLACE_HELD_GUESS,
            seen: 0,
        }
    }

    /// How many places there are. Fewer than are held takes none away.
    pub fn set_places(&mut self, now: Moment, places: usize) -> Vec<Effect> {
        self.places = places;
        self.fill(now)
    }

    /// Somebody wants a place.
    pub fn enter(&mut self, now: Moment, asked: Asked) -> (Ticket, Vec<Effect>) {
        self.next += 1;
        let ticket = Ticket(self.next);
        if asked.class == Class::Person && !self.is_active(&asked.account) {
            let floor = self.floor();
            let counter = self.counters.entry(asked.account).or_default();
            *counter = floor.max(*counter);
        }
        self.waiting.insert(ticket, asked);
        let mut effects = self.fill(now);
        if self.waiting_of(asked.class) > waiting_max(asked.class)
            && let Some(last) = self.last(asked.class)
        {
            let standing = self.standing(now, last).unwrap_or_default();
            self.waiting.remove(&last);
            effects.push(Effect::Refused(last, standing));
        }
        (ticket, effects)
    }

    /// What had a place gives it back, or what waited waits no longer.
    pub fn leave(&mut self, now: Moment, ticket: Ticket) -> Vec<Effect> {
        self.waiting.remove(&ticket);
        if let Some(held) = self.held.remove(&ticket)
            && held.class == Class::Person
        {
            let time = now.saturating_sub(held.since);
            *self.counters.entry(held.account).or_default() += time;
            self.seen = self.seen.saturating_add(1);
            let newest = NEWEST.max(1.0 / f64::from(self.seen.saturating_add(1)));
            self.usual = self.usual.mul_f64(1.0 - newest) + time.mul_f64(newest);
        }
        let effects = self.fill(now);
        self.forget();
        effects
    }

    /// Where something waits; `None` when it does not.
    #[must_use]
    pub fn standing(&self, now: Moment, ticket: Ticket) -> Option<Standing> {
        self.waiting.contains_key(&ticket).then_some(())?;
        let usual = self.usual;
        let left = |held: &Held| match held.class {
            Class::Person => usual.saturating_sub(now.saturating_sub(held.since)).max(usual / STILL),
            Class::Background => Duration::ZERO,
        };
        let mut free: BinaryHeap<Reverse<Duration>> = self.held.values().map(|held| Reverse(left(held))).collect();
        let unheld = self.places.saturating_sub(self.held.len()).min(self.waiting.len());
        free.extend(std::iter::repeat_n(Reverse(Duration::ZERO), unheld));
        let mut standing = Standing::default();
        for next in self.order(now) {
            standing.wait = free.pop().map_or(standing.wait + usual, |Reverse(wait)| wait);
            if next == ticket {
                return Some(standing);
            }
            free.push(Reverse(standing.wait + usual));
            standing.ahead += 1;
        }
        None
    }

    /// Questions of persons that wait.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.waiting_of(Class::Person)
    }

    /// Everything that waits, in the order in which it would get places if nobody else came.
    #[must_use]
    pub fn order(&self, now: Moment) -> Vec<Ticket> {
        let people = self.waiting_in(Class::Person);
        let mut order: Vec<Ticket> = match self.fairness {
            Fairness::PerPerson => self.in_turn(now, people),
            Fairness::Arrival => people.map(|(ticket, _)| ticket).collect(),
        };
        order.extend(self.waiting_in(Class::Background).map(|(ticket, _)| ticket));
        order
    }

    /// Always the person who has had least, with their oldest question.
    fn in_turn(&self, now: Moment, people: impl Iterator<Item = (Ticket, Asked)>) -> Vec<Ticket> {
        let mut counters = self.counters(now);
        let mut questions: HashMap<ContentId, BinaryHeap<Reverse<(Timestamp, Ticket)>>> = HashMap::new();
        for (ticket, asked) in people {
            questions
                .entry(asked.account)
                .or_default()
                .push(Reverse((asked.at, ticket)));
        }
        let mut turns = BinaryHeap::new();
        for (account, questions) in &mut questions {
            let counter = counters.get(account).copied().unwrap_or_default();
            turns.extend(
                questions
                    .pop()
                    .map(|Reverse(first)| Reverse((counter, first, account.0))),
            );
        }
        let mut order = Vec::new();
        while let Some(Reverse((counter, (_, ticket), account))) = turns.pop() {
            order.push(ticket);
            let account = ContentId(account);
            let counter = counter + self.usual;
            counters.insert(account, counter);
            let next = questions.get_mut(&account).and_then(BinaryHeap::pop);
            turns.extend(next.map(|Reverse(next)| Reverse((counter, next, account.0))));
        }
        order
    }

    fn waiting_in(&self, class: Class) -> impl Iterator<Item = (Ticket, Asked)> + Clone + '_ {
        let waiting = self.waiting.iter().filter(move |(_, asked)| asked.class == class);
        waiting.map(|(ticket, asked)| (*ticket, *asked))
    }

    /// Which of a class goes where there are too many.
    fn last(&self, class: Class) -> Option<Ticket> {
        let mut of_class = self.waiting_in(class);
        if self.fairness == Fairness::Arrival || class == Class::Background {
            return of_class.last().map(|(ticket, _)| ticket);
        }
        let mut counts: HashMap<ContentId, usize> = HashMap::new();
        for (_, asked) in of_class.clone() {
            *counts.entry(asked.account).or_default() += 1;
        }
        let last = of_class
            .by_ref()
            .max_by_key(|(ticket, asked)| (counts.get(&asked.account), asked.at, *ticket));
        last.map(|(ticket, _)| ticket)
    }

    /// Gives away what is free.
    fn fill(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.held.len() < self.places {
            let next = match (self.waiting.len(), self.waiting.keys().next()) {
                (0 | 1, only) => only.copied(),
                _ => self.order(now).first().copied(),
            };
            let Some(ticket) = next else { break };
            let Some(asked) = self.waiting.remove(&ticket) else {
                break;
            };
            let held = Held {
                account: asked.account,
                class: asked.class,
                since: now,
                is_yielding: false,
            };
            self.held.insert(ticket, held);
            effects.push(Effect::Admitted(ticket));
        }
        let is_coming = |held: &&Held| held.is_yielding;
        let coming = self.held.values().filter(is_coming).count();
        let wanted = self.questions().saturating_sub(coming);
        let background = self.held.iter_mut().rev();
        let background = background.filter(|(_, held)| held.class == Class::Background && !held.is_yielding);
        for (ticket, held) in background.take(wanted) {
            held.is_yielding = true;
            effects.push(Effect::Yield(*ticket));
        }
        effects
    }

    /// What the persons who wait or have a place had, with what they have now.
    fn counters(&self, now: Moment) -> HashMap<ContentId, Duration> {
        let had = |account| self.counters.get(&account).copied().unwrap_or_default();
        let mut counters: HashMap<ContentId, Duration> = self.active().map(|account| (account, had(account))).collect();
        for held in self.held.values().filter(|held| held.class == Class::Person) {
            *counters.entry(held.account).or_default() += now.saturating_sub(held.since).max(self.usual);
        }
        counters
    }

    fn is_active(&self, account: &ContentId) -> bool {
        self.active().any(|active| active == *account)
    }

    /// Persons who wait or have a place.
    fn active(&self) -> impl Iterator<Item = ContentId> + '_ {
        let waiting = self.waiting.values().map(|asked| (asked.class, asked.account));
        let all = waiting.chain(self.held.values().map(|held| (held.class, held.account)));
        all.filter(|(class, _)| *class == Class::Person)
            .map(|(_, account)| account)
    }

    /// Where whoever comes anew begins: where those stand that wait, or else those that have a place, without what runs: who has
    /// something already lets them go first.
    fn floor(&self) -> Duration {
        let had = |account| self.counters.get(&account).copied().unwrap_or_default();
        let waiting = self
            .waiting_in(Class::Person)
            .map(|(_, asked)| had(asked.account))
            .min();
        waiting.or_else(|| self.active().map(had).min()).unwrap_or_default()
    }

    /// Forgets counters that say nothing, and of too many those that say least.
    fn forget(&mut self) {
        let active: HashSet<ContentId> = self.active().collect();
        if active.is_empty() {
            // Nobody waits for anybody.
            self.counters.clear();
            return;
        }
        let floor = self.floor();
        self.counters
            .retain(|account, counter| active.contains(account) || *counter > floor);
        while self.counters.len() > PERSONS_REMEMBERED_MAX.max(active.len()) {
            let absent = self.counters.iter().filter(|(account, _)| !active.contains(account));
            let Some(least) = absent.min_by_key(|(_, counter)| **counter) else {
                return;
            };
            let least = *least.0;
            self.counters.remove(&least);
        }
    }

    fn waiting_of(&self, class: Class) -> usize {
        self.waiting_in(class).count()
    }
}

const fn waiting_max(class: Class) -> usize {
    match class {
        Class::Person => QUESTIONS_WAITING_MAX,
        Class::Background => BACKGROUND_WAITING_MAX,
    }
}
