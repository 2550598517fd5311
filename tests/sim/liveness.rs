//! Who is there, as many nodes see it: `mesh`'s liveness core on links that lose frames, with deaths, silent links and splits.
//!
//! A frame is lost with the given chance and never sent again. Real links (QUIC, TCP) send again what was lost, so that loss there
//! is delay; the model is harsher than they are. A link of which nothing comes is closed after `LINK_SILENCE_MAX` and stands again
//! at a moment within `REDIAL_MAX` after the line is back.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use mesh::{
    limits::{HEARTBEAT, LINK_SILENCE_MAX, LIVENESS_TICK, REDIAL_MAX},
    liveness::{Liveness, Message, Outgoing, Recovery, Rumour, Standing, State, Tag},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Nodes of the mesh.
    pub nodes: usize,
    /// Links that each node makes; about as many are made to it.
    pub dials: usize,
    /// Chance that a frame is lost.
    pub loss: f64,
    /// What repairs false alarms.
    pub recovery: Recovery,
    /// The run.
    pub seed: u64,
}

enum Event {
    Tick,
    Heartbeat,
    Frame(usize, Message),
    LinkDown(usize),
    LinkUp(usize),
}

struct Node {
    core: Liveness,
    linked: BTreeSet<usize>,
    dead: bool,
}

/// A running mesh.
pub struct Mesh {
    setting: Setting,
    rng: ChaCha8Rng,
    now: Duration,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    /// Links (lower node first) that carry nothing.
    silent: BTreeSet<(usize, usize)>,
    /// Living members that were called gone by somebody.
    pub falsely_gone: BTreeSet<usize>,
    /// Living members that were suspected by somebody.
    pub falsely_suspected: BTreeSet<usize>,
}

fn tag(node: usize) -> Tag {
    (node as u128).to_be_bytes()
}

fn node_of(tag: Tag) -> usize {
    u128::from_be_bytes(tag) as usize
}

const fn pair(one: usize, other: usize) -> (usize, usize) {
    if one < other { (one, other) } else { (other, one) }
}

impl Mesh {
    /// All nodes start at once, and are linked at random, none apart from the rest.
    #[must_use]
    pub fn start(setting: Setting) -> Self {
        let roster: BTreeSet<Tag> = (0..setting.nodes).map(tag).collect();
        let node = |number| {
            let mut core = Liveness::new(tag(number), 1, setting.recovery, Duration::ZERO);
            core.set_roster(&roster, Duration::ZERO);
            Node {
                core,
                linked: BTreeSet::new(),
                dead: false,
            }
        };
        let mut mesh = Self {
            setting,
            rng: ChaCha8Rng::seed_from_u64(setting.seed),
            now: Duration::ZERO,
            nodes: (0..setting.nodes).map(node).collect(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            silent: BTreeSet::new(),
            falsely_gone: BTreeSet::new(),
            falsely_suspected: BTreeSet::new(),
        };
        for number in 0..setting.nodes {
            mesh.link(number, (number + 1) % setting.nodes);
            for _ in 1..setting.dials {
                let other = mesh.below(setting.nodes);
                if other != number {
                    mesh.link(number, other);
                }
            }
            let phases = [LIVENESS_TICK, HEARTBEAT].map(|every| every.mul_f64(mesh.share()));
            mesh.at(phases[0], number, Event::Tick);
            mesh.at(phases[1], number, Event::Heartbeat);
            let out = mesh.nodes[number].core.set_standing(Standing::Serving);
            mesh.send(number, out);
        }
        mesh
    }

    /// Lets time pass, and calls `look` after each tick of a node.
    pub fn run(&mut self, time: Duration, mut look: impl FnMut(&Self, usize)) {
        let end = self.now + time;
        while let Some(Reverse((at, id, node))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            let Some(event) = self.events.remove(&id) else { continue };
            self.now = at;
            if self.nodes[node].dead {
                continue;
            }
            let ticked = matches!(event, Event::Tick);
            self.handle(node, event);
            if ticked {
                look(self, node);
            }
        }
        self.now = end;
    }

    /// What a node thinks of another.
    #[must_use]
    pub fn state(&self, node: usize, of: usize) -> Option<State> {
        self.nodes[node].core.state(tag(of), self.now).map(|(state, _)| state)
    }

    /// Virtual time since the start.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Nodes that live.
    pub fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| !self.nodes[*node].dead)
    }

    /// Whether every living node takes every other one for serving.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.living().all(|one| {
            self.living()
                .all(|other| one == other || self.state(one, other) == Some(State::Serving))
        })
    }

    /// The machine of a node loses its power: nothing is said and no connection closed.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].dead = true;
    }

    /// One link at random carries nothing any more, and both sides keep it for the while.
    pub fn silence_a_link(&mut self) {
        let node = self.below(self.nodes.len());
        if let Some(other) = self.nodes[node].linked.first().copied() {
            self.silent.insert(pair(node, other));
        }
    }

    /// All links carry again what they are given.
    pub fn unsilence(&mut self) {
        self.silent.clear();
    }

    /// The lower half of the nodes cannot reach the upper one.
    pub fn split(&mut self) {
        for (one, other) in self.across() {
            self.silent.insert((one, other));
            self.at(self.now + LINK_SILENCE_MAX, one, Event::LinkDown(other));
            self.at(self.now + LINK_SILENCE_MAX, other, Event::LinkDown(one));
        }
    }

    /// The halves reach each other again, each link when it is dialled the next time.
    pub fn heal(&mut self) {
        for (one, other) in self.across() {
            let at = self.now + REDIAL_MAX.mul_f64(self.share());
            self.at(at, one, Event::LinkUp(other));
            self.at(at, other, Event::LinkUp(one));
        }
    }

    fn across(&self) -> Vec<(usize, usize)> {
        let half = self.nodes.len() / 2;
        let lower = (0..half).flat_map(|one| self.nodes[one].linked.iter().map(move |other| (one, *other)));
        lower.filter(|(_, other)| *other >= half).collect()
    }

    fn link(&mut self, one: usize, other: usize) {
        if self.nodes[one].linked.insert(other) {
            self.nodes[other].linked.insert(one);
            self.at(self.now, one, Event::LinkUp(other));
            self.at(self.now, other, Event::LinkUp(one));
        }
    }

    fn handle(&mut self, node: usize, event: Event) {
        let now = self.now;
        let out = match event {
            Event::Tick => {
                self.at(now + LIVENESS_TICK, node, Event::Tick);
                self.nodes[node].core.tick(now, &mut self.rng)
            }
            Event::Heartbeat => {
                self.at(now + HEARTBEAT, node, Event::Heartbeat);
                return self.beat(node);
            }
            Event::Frame(from, message) => self.nodes[node].core.receive(tag(from), message, now),
            Event::LinkDown(other) => {
                self.nodes[node].core.link_down(tag(other));
                vec![]
            }
            Event::LinkUp(other) => {
                self.silent.remove(&pair(node, other));
                self.nodes[node].core.link_up(tag(other), now)
            }
        };
        self.send(node, out);
    }

    fn beat(&mut self, node: usize) {
        for other in self.nodes[node].linked.clone() {
            if self.carries(node, other) && !self.nodes[other].dead {
                let out = self.nodes[other].core.heard(tag(node), self.now);
                self.send(other, out);
            }
        }
    }

    fn send(&mut self, from: usize, out: Vec<Outgoing>) {
        for (to, message) in out {
            let to = node_of(to);
            self.note(&message);
            if self.carries(from, to) {
                let latency = Duration::from_millis(10).mul_f64(1.0 + 5.0 * self.share());
                self.at(self.now + latency, to, Event::Frame(from, message));
            }
        }
    }

    fn note(&mut self, message: &Message) {
        let Message::News(news) = message else { return };
        for rumour in news {
            let (about, falsely) = match rumour {
                Rumour::Alive(..) => continue,
                Rumour::Suspect { about, .. } => (node_of(*about), &mut self.falsely_suspected),
                Rumour::Gone { about, .. } => (node_of(*about), &mut self.falsely_gone),
            };
            if !self.nodes[about].dead {
                falsely.insert(about);
            }
        }
    }

    fn carries(&mut self, one: usize, other: usize) -> bool {
        !self.silent.contains(&pair(one, other)) && self.share() >= self.setting.loss
    }

    fn at(&mut self, time: Duration, node: usize, event: Event) {
        self.next += 1;
        self.events.insert(self.next, event);
        self.queue.push(Reverse((time, self.next, node)));
    }

    fn share(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u64() as usize % end
    }
}

/// Kills `victims` nodes at once and says, sorted, after how long each living node took each of them for gone.
///
/// # Panics
/// When some node does not within 30 s.
#[must_use]
pub fn deaths(mesh: &mut Mesh, victims: usize) -> Vec<Duration> {
    let first = mesh.living().count() - victims;
    (first..first + victims).for_each(|victim| mesh.kill(victim));
    let died = mesh.now();
    let mut seen: BTreeMap<(usize, usize), Duration> = BTreeMap::new();
    mesh.run(Duration::from_secs(30), |mesh, node| {
        for victim in first..first + victims {
            if mesh.state(node, victim) == Some(State::Gone) {
                seen.entry((node, victim)).or_insert(mesh.now() - died);
            }
        }
    });
    assert_eq!(
        seen.len(),
        first * victims,
        "somebody still takes a dead node for living"
    );
    let mut times: Vec<_> = seen.into_values().collect();
    times.sort();
    times
}

/// Splits the mesh for a minute, heals it, and says how long it took until all agreed again that all are there; `None` when they did
/// not within a minute.
pub fn heals_in(mesh: &mut Mesh) -> Option<Duration> {
    mesh.split();
    mesh.run(Duration::from_secs(60), |_, _| ());
    mesh.heal();
    let healed = mesh.now();
    while mesh.now() < healed + Duration::from_secs(60) {
        mesh.run(LIVENESS_TICK, |_, _| ());
        if mesh.agrees() {
            return Some(mesh.now() - healed);
        }
    }
    None
}
