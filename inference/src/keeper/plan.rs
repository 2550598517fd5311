//! Which models are in memory: pure; the time and the memory there is are arguments.
//!
//! ## Who comes in
//! A model is loaded when somebody waits for it; the main one of the node also when nobody does and there is room. Models are loaded one
//! after the other, for whoever has waited longest first; a smaller one may go before it only into memory that the first does not need.
//!
//! ## Who goes
//! Where memory is missing, the models go that are worth least: what is expected to be asked of a model times the time in which it is
//! loaded again, for each of its bytes. One that computes never goes: where nothing else is left it takes no further questions, which wait
//! for it to come back, and goes when its last one is over. So whoever waits is never passed over for ever.
//!
//! ## No to and fro
//! What was loaded stays for at least twice the time in which both are loaded ([`Plan::protected_until`]): two models that do not fit
//! together cost at most a third of the time in loading, whatever is asked. A model that nobody has asked for a while goes by itself, unless
//! it is the main one.
//!
//! ## Healthy
//! A loaded model answers a known prompt before anybody else may ask it, now and then while it idles, and after trouble. One that fails is
//! told to nobody, tried again after growing waits, and loaded anew when that does not help.

mod memory;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::limits::{
    LOAD_WAITING_MAX, MODEL_KEPT_LEAST, MODEL_KEPT_MOST, PROBE_AGAIN_FIRST, PROBE_AGAIN_MAX, PROBE_EVERY,
    PROBES_FAILED_MAX,
};

pub use self::view::{Condition, ModelView};

/// A moment, counted from any fixed one.
pub type Moment = Duration;
/// What a model is called.
pub type Name = Arc<str>;

/// What is asked of a model counts half after this long.
const DEMAND_FADES_BY_HALF: Duration = Duration::from_secs(600);
/// What is expected of a model of which nobody has asked anything, in questions; of the main one more.
const DEMAND_LEAST: f64 = 0.1;
const DEMAND_OF_MAIN: f64 = 1.0;
/// Weight of the newest time in which a model was loaded.
const NEWEST: f64 = 0.5;
/// A model is kept idle for at least so many times as long as it takes to load.
const KEPT_LOADS: u32 = 10;

/// Names somebody who waits for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How models are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// For how long an idle model that is not the main one stays in memory.
    pub keep_alive: Duration,
    /// Whether what was just loaded stays for a while. Always, but to compare with.
    pub protects: bool,
}

/// A model that this node can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub name: Name,
    /// Its file, which tells two of one name apart.
    pub file: PathBuf,
    /// Bytes of memory that it needs at least.
    pub bytes: u64,
    /// How long it is expected to take to load, before that was measured.
    pub reload: Duration,
    /// Whether it is the one that this node is configured to work with.
    pub is_main: bool,
    /// Whether it answers the known prompt before anybody may ask it.
    pub is_probed: bool,
}

/// What an engine is seen doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It loads.
    Starting,
    /// It can be asked.
    Ready,
    /// It ended, and will start again by itself.
    Failed(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Load a model into at most so many bytes.
    Load(Name, u64),
    /// End its engine.
    Unload(Name),
    /// Ask it the known prompt.
    Probe(Name),
}

/// What becomes of somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The model is there, and stays until it is given back.
    Come(Name),
    /// Not yet; so long, about.
    Wait(Duration),
    /// Not now.
    Refused(Refusal),
}

/// Why somebody does not get a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This node has no such model.
    Unknown,
    /// So many wait for it already.
    Full(u32),
    /// It failed, and is tried again later.
    Failed(String),
    /// Even alone it does not fit.
    TooLarge {
        /// Bytes that it needs at least.
        needed: u64,
        /// Bytes that models may take here.
        there_are: u64,
    },
}

/// How a model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    OnDisk,
    Loading {
        since: Moment,
    },
    /// Ready, but it has not answered the known prompt yet; with when it began to load, where it was loaded.
    Checking {
        since: Option<Moment>,
    },
    Loaded,
    /// It does not answer the known prompt.
    Sick {
        until: Moment,
    },
    /// Its engine ended and starts again by itself.
    Recovering {
        is_down: bool,
    },
    Unloading,
    Failed {
        until: Moment,
    },
}

impl State {
    const fn is_in_memory(self) -> bool {
        !matches!(self, Self::OnDisk | Self::Failed { .. })
    }

    const fn is_loading(self) -> bool {
        matches!(self, Self::Loading { .. } | Self::Checking { .. })
    }
}

#[derive(Debug)]
struct Slot {
    listed: Listed,
    state: State,
    /// Bytes that are set aside for it while it is in memory.
    reserved: u64,
    /// Bytes that its process has.
    measured: u64,
    /// Those who ask it now.
    uses: u32,
    /// It takes nobody else, so that it can go.
    is_draining: bool,
    loaded_at: Moment,
    used_at: Moment,
    /// Questions of late, and when that was counted.
    demand: (f64, Moment),
    reload: Duration,
    is_probing: bool,
    probe_wanted: bool,
    passed_at: Moment,
    /// Failures since it last passed.
    failures: u32,
    reason: Option<String>,
    /// It is left alone for so long once it is unloaded.
    rests: Option<Duration>,
}

impl Slot {
    fn new(listed: Listed) -> Self {
        Self {
            reload: listed.reload,
            listed,
            state: State::OnDisk,
            reserved: 0,
            measured: 0,
            uses: 0,
            is_draining: false,
            loaded_at: Moment::ZERO,
            used_at: Moment::ZERO,
            demand: (0.0, Moment::ZERO),
            is_probing: false,
            probe_wanted: false,
            passed_at: Moment::ZERO,
            failures: 0,
            reason: None,
            rests: None,
        }
    }

    /// What it takes of the memory, now or soon.
    fn committed(&self) -> u64 {
        if self.state.is_in_memory() {
            self.reserved.max(self.measured)
        } else {
            0
        }
    }

    fn demand(&self, now: Moment) -> f64 {
        let (questions, at) = self.demand;
        let age = now.saturating_sub(at).as_secs_f64();
        questions * (-age / DEMAND_FADES_BY_HALF.as_secs_f64()).exp2()
    }

    /// What is lost for each byte when it goes.
    fn value(&self, now: Moment) -> f64 {
        let least = if self.listed.is_main {
            DEMAND_OF_MAIN
        } else {
            DEMAND_LEAST
        };
        (self.demand(now) + least) * self.reload.as_secs_f64() / self.committed().max(1) as f64
    }

    /// It was loaded in so long.
    fn loaded_in(&mut self, took: Duration) {
        let known = self.reload.as_secs_f64();
        self.reload = Duration::from_secs_f64(known + (took.as_secs_f64() - known) * NEWEST);
    }

    fn failed(&mut self, reason: String) {
        self.failures = self.failures.saturating_add(1);
        self.reason = Some(reason);
    }

    /// How long it is left alone after so many failures.
    fn wait_after_failures(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1).min(16));
        PROBE_AGAIN_FIRST.saturating_mul(doubled).min(PROBE_AGAIN_MAX)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Plan {
    keeping: Keeping,
    listing: BTreeMap<Name, Listed>,
    slots: BTreeMap<Name, Slot>,
    waiters: BTreeMap<Ticket, Name>,
    next_ticket: u64,
    /// Bytes that models may take, as it was last told.
    capacity: u64,
}

impl Plan {
    /// Without a model.
    #[must_use]
    pub fn new(keeping: Keeping) -> Self {
        Self {
            keeping,
            listing: BTreeMap::new(),
            slots: BTreeMap::new(),
            waiters: BTreeMap::new(),
            next_ticket: 0,
            capacity: u64::MAX,
        }
    }

    /// The models that this node can load now. One that is not among them any more goes when nobody asks it.
    pub fn list(&mut self, listing: impl IntoIterator<Item = Listed>) {
        self.listing = listing
            .into_iter()
            .map(|listed| (Name::clone(&listed.name), listed))
            .collect();
        self.take_in_new();
    }

    fn take_in_new(&mut self) {
        for listed in self.listing.values() {
            let name = Name::clone(&listed.name);
            self.slots.entry(name).or_insert_with(|| Slot::new(listed.clone()));
        }
    }

    /// Somebody wants a model.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn want(&mut self, now: Moment, name: &str) -> Result<Ticket, Refusal> {
        let waiting = self.waiters.values().filter(|other| &***other == name).count();
        let slot = self.slots.get_mut(name).ok_or(Refusal::Unknown)?;
        if waiting >= LOAD_WAITING_MAX {
            return Err(Refusal::Full(u32::try_from(waiting).unwrap_or(u32::MAX)));
        }
        slot.demand = (slot.demand(now) + 1.0, now);
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiters.insert(ticket, Name::clone(&slot.listed.name));
        Ok(ticket)
    }

    /// Somebody waits no longer.
    pub fn give_up(&mut self, ticket: Ticket) {
        self.waiters.remove(&ticket);
    }

    /// What becomes of somebody who waits. After anything else than [`Answer::Wait`] the ticket is spent.
    pub fn answer(&mut self, now: Moment, ticket: Ticket) -> Answer {
        let answer = self.judge(now, ticket);
        match &answer {
            Answer::Wait(_) => return answer,
            Answer::Come(name) => {
                if let Some(slot) = self.slots.get_mut(name) {
                    slot.uses += 1;
                    slot.used_at = now;
                }
            }
            Answer::Refused(_) => {}
        }
        self.waiters.remove(&ticket);
        answer
    }

    fn judge(&self, now: Moment, ticket: Ticket) -> Answer {
        let slot = self.waiters.get(&ticket).and_then(|name| self.slots.get(name));
        let Some(slot) = slot.filter(|slot| self.listing.contains_key(&slot.listed.name)) else {
            return Answer::Refused(Refusal::Unknown);
        };
        match slot.state {
            State::Loaded if !slot.is_draining => Answer::Come(Name::clone(&slot.listed.name)),
            State::OnDisk if slot.listed.bytes > self.capacity => Answer::Refused(Refusal::TooLarge {
                needed: slot.listed.bytes,
                there_are: self.capacity,
            }),
            State::Failed { until } if now < until => Answer::Refused(slot.refusal()),
            State::Sick { .. } | State::Recovering { .. } => Answer::Refused(slot.refusal()),
            _ => Answer::Wait(self.expected(now, slot)),
        }
    }

    /// Somebody needs a model no longer.
    pub fn release(&mut self, now: Moment, name: &str) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.uses = slot.uses.saturating_sub(1);
            slot.used_at = now;
        }
    }

    /// Something went wrong with a model: it is asked the known prompt.
    pub fn trouble(&mut self, name: &str) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.probe_wanted = true;
        }
    }

    /// So many bytes are set aside for it, of those into which it was to be loaded.
    pub fn reserve(&mut self, name: &str, bytes: u64) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.reserved = bytes;
        }
    }

    /// Its engine was started without being told to, with so many bytes set aside.
    pub fn began(&mut self, now: Moment, name: &str, bytes: u64) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.reserved = bytes;
            slot.state = State::Loading { since: now };
        }
    }

    /// It cannot even be started.
    pub fn refused(&mut self, now: Moment, name: &str, reason: String) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.failed(reason);
            let until = now + slot.wait_after_failures();
            (slot.state, slot.reserved) = (State::Failed { until }, 0);
            // Nobody is there any more whose answer could end a probe.
            (slot.is_probing, slot.probe_wanted, slot.measured) = (false, false, 0);
        }
    }

    /// What its engine does now.
    pub fn saw(&mut self, now: Moment, name: &str, seen: Seen) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.state = match (slot.state, seen) {
            (state @ (State::OnDisk | State::Failed { .. } | State::Unloading), _) => state,
            (state @ State::Loading { .. }, Seen::Starting) => state,
            (_, Seen::Starting) => State::Recovering { is_down: false },
            (state @ State::Recovering { is_down: true }, Seen::Failed(_)) => state,
            (_, Seen::Failed(reason)) => {
                slot.failed(reason);
                State::Recovering { is_down: true }
            }
            (State::Loading { since }, Seen::Ready) if slot.listed.is_probed => State::Checking { since: Some(since) },
            (State::Recovering { .. }, Seen::Ready) if slot.listed.is_probed => State::Checking { since: None },
            (State::Loading { .. } | State::Recovering { .. }, Seen::Ready) => {
                slot.loaded_at = now;
                slot.used_at = now;
                State::Loaded
            }
            (state, Seen::Ready) => state,
        };
        if !matches!(slot.state, State::Checking { .. } | State::Loaded | State::Sick { .. }) {
            slot.is_probing = false;
        }
    }

    /// Its engine has ended, and its memory is free.
    pub fn unloaded(&mut self, now: Moment, name: &str) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        (slot.reserved, slot.measured) = (0, 0);
        slot.state = match slot.rests.take() {
            Some(rests) => State::Failed { until: now + rests },
            None => State::OnDisk,
        };
    }

    /// It was asked the known prompt.
    pub fn probed(&mut self, now: Moment, name: &str, result: Result<(), String>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        if !std::mem::take(&mut slot.is_probing) {
            // Its engine ended meanwhile.
            return;
        }
        match (result, slot.state) {
            (Ok(()), state) => {
                (slot.failures, slot.reason, slot.passed_at) = (0, None, now);
                if let State::Checking { since } = state {
                    (slot.loaded_at, slot.used_at) = (now, now);
                    if let Some(since) = since {
                        slot.loaded_in(now.saturating_sub(since));
                    }
                }
                slot.state = State::Loaded;
            }
            (Err(reason), _) => {
                slot.failed(reason);
                let until = now + slot.wait_after_failures();
                slot.state = State::Sick { until };
            }
        }
    }

    /// So many bytes does its process have.
    pub fn measured(&mut self, name: &str, bytes: u64) {
        if let Some(slot) = self.slots.get_mut(name).filter(|slot| slot.state.is_in_memory()) {
            slot.measured = bytes;
        }
    }

    /// What is to be done now, with so many bytes for models in all, what they have among them.
    pub fn step(&mut self, now: Moment, capacity: u64) -> Vec<Effect> {
        self.capacity = capacity;
        for slot in self.slots.values_mut() {
            if matches!(slot.state, State::Failed { until } if now >= until) {
                slot.state = State::OnDisk;
            }
        }
        let mut effects = self.follow_listing();
        self.unload_what_fails(&mut effects);
        self.unload_idle(now, &mut effects);
        self.relieve(now, &mut effects);
        self.load(now, &mut effects);
        self.probe(now, &mut effects);
        effects
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Lets go what is no longer there, and takes in what is new.
    fn follow_listing(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let names: Vec<Name> = self.slots.keys().cloned().collect();
        for name in names {
            let (Some(slot), listed) = (self.slots.get_mut(&name), self.listing.get(&name)) else {
                continue;
            };
            match listed {
                Some(listed) if listed.file == slot.listed.file => slot.listed = listed.clone(),
                _ if !slot.state.is_in_memory() => drop(self.slots.remove(&name)),
                _ => {
                    slot.is_draining = true;
                    if slot.uses == 0 && !slot.is_probing && !slot.state.is_loading() {
                        unload(slot, None, &mut effects);
                    }
                }
            }
        }
        self.take_in_new();
        effects
    }

    /// One that failed again and again is loaded anew, after a while. What starts again by itself and is the main one goes on doing so.
    fn unload_what_fails(&mut self, effects: &mut Vec<Effect>) {
        for slot in self.slots.values_mut() {
            let is_hopeless = match slot.state {
                State::Sick { .. } => true,
                State::Recovering { is_down } => is_down && !slot.listed.is_main,
                _ => false,
            };
            if is_hopeless && slot.failures >= PROBES_FAILED_MAX && slot.uses == 0 && !slot.is_probing {
                let rests = slot.wait_after_failures();
                unload(slot, Some(rests), effects);
            }
        }
    }

    /// What nobody has asked for a while goes, unless it is the main one.
    fn unload_idle(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let wanted: BTreeSet<Name> = self.waiters.values().cloned().collect();
        for (name, slot) in &mut self.slots {
            let kept = self.keeping.keep_alive.max(slot.reload * KEPT_LOADS);
            let is_idle = slot.state == State::Loaded && slot.uses == 0 && !slot.is_probing;
            let is_over = now.saturating_sub(slot.used_at) >= kept;
            if is_idle && is_over && !slot.listed.is_main && !wanted.contains(name) {
                unload(slot, None, effects);
            }
        }
    }

    fn probe(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (name, slot) in &mut self.slots {
            let is_due = match slot.state {
                State::Checking { .. } => true,
                State::Sick { until } => now >= until,
                State::Loaded => {
                    slot.probe_wanted || (slot.uses == 0 && now.saturating_sub(slot.passed_at) >= PROBE_EVERY)
                }
                _ => false,
            };
            if is_due && slot.listed.is_probed && !slot.is_probing {
                (slot.is_probing, slot.probe_wanted) = (true, false);
                effects.push(Effect::Probe(Name::clone(name)));
            }
        }
    }

    /// How long a model takes until it can be asked.
    fn expected(&self, now: Moment, slot: &Slot) -> Duration {
        match slot.state {
            State::Loaded if !slot.is_draining => Duration::ZERO,
            State::Checking { .. } => Duration::ZERO,
            State::Loading { since } => slot.reload.saturating_sub(now.saturating_sub(since)),
            _ => {
                // One is loaded after the other.
                let before = self.slots.values().filter(|other| other.state.is_loading());
                let before: Duration = before.map(|other| self.expected(now, other)).sum();
                before + slot.reload
            }
        }
    }

    /// Until when a loaded model stays where another one wants its memory.
    fn protected_until(&self, slot: &Slot, other: &Slot) -> Moment {
        if !self.keeping.protects || slot.state != State::Loaded {
            return Moment::ZERO;
        }
        let kept = ((slot.reload + other.reload) * 2).clamp(MODEL_KEPT_LEAST, MODEL_KEPT_MOST);
        slot.loaded_at + kept
    }
}

/// Ends its engine; afterwards it is left alone for a while, where that is said.
fn unload(slot: &mut Slot, rests: Option<Duration>, effects: &mut Vec<Effect>) {
    debug_assert_eq!(slot.uses, 0, "nothing that computes is ended");
    if slot.state == State::Unloading {
        return;
    }
    (slot.state, slot.rests, slot.is_draining) = (State::Unloading, rests, false);
    (slot.is_probing, slot.probe_wanted) = (false, false);
    effects.push(Effect::Unload(Name::clone(&slot.listed.name)));
}

impl Slot {
    fn refusal(&self) -> Refusal {
        Refusal::Failed(self.reason.clone().unwrap_or_default())
    }
}
