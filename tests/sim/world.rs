//! The world: one queue of events in virtual time, the nodes, their links, and what happens to both.

mod lines;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crdt::{
    Received,
    envelope::Envelope,
    erasure::Statement,
    records::session::MessageId,
    replica::{Event as Told, MemoryKeys, MemoryShelf, Recoveries},
};
use keys::{ContentId, NodeId, NodeKey};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    Micros, STORE_DELAY,
    gossip::{Message, Outbox, Parameters, Rpc},
    history::History,
    links::{Links, Weather},
    micros,
    nodes::{Node, Rules, State},
    talks::{Frame, Talk},
};

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How links are.
    pub weather: Weather,
    /// What protects the replicas.
    pub recoveries: Recoveries,
    /// How gossip is configured.
    pub parameters: Parameters,
    /// Whether nodes reconcile.
    pub reconciliation: bool,
    /// Whether each start of a process has fresh bytes.
    pub fresh_boots: bool,
    /// A node that does what it likes.
    pub byzantine: Option<usize>,
    /// By how many milliseconds clocks may be wrong, either way.
    pub skew: i64,
}

impl Setup {
    /// A mesh in which everything is as it is in the product.
    #[must_use]
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            weather: Weather::FAIR,
            recoveries: Recoveries::default(),
            parameters: Parameters::PRODUCT,
            reconciliation: true,
            fresh_boots: true,
            byzantine: None,
            skew: 0,
        }
    }
}

/// What happened how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Gossiped messages that nodes received, repetitions included.
    pub copies: u64,
    /// Messages that nodes asked for because they had heard of them.
    pub asked_for: u64,
    /// Messages that were refused for good.
    pub rejected: u64,
    /// Messages that had to wait for others.
    pub parked: u64,
    /// Messages that were left aside: known, erased, over a quota.
    pub ignored: u64,
    /// Reconciliations that were opened.
    pub talks: u64,
    /// Reconciliations that broke off.
    pub talks_failed: u64,
    /// Bytes of their frames.
    pub talk_bytes: u64,
    /// Processes that ended without a word.
    pub crashes: u64,
    /// Links that were closed because nothing was heard.
    pub links_closed: u64,
    /// Messages that a hostile node sent.
    pub hostile: u64,
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Frame {
        from: usize,
        to: usize,
        rpc: Rpc,
    },
    Judge {
        node: usize,
        start: u32,
        from: usize,
        message: Message,
    },
    Publish {
        node: usize,
        start: u32,
        bytes: Vec<u8>,
    },
    Heartbeat {
        node: usize,
        start: u32,
    },
    Pace {
        node: usize,
        start: u32,
        number: u64,
    },
    TalkOpened(u64),
    TalkFrame(Frame),
    TalkRetry(Frame),
    TalkEnded(u64, bool),
    /// A neighbour is heard again.
    Heard {
        at: usize,
        of: usize,
        stamp: u64,
    },
    /// A neighbour was not heard for a while.
    Silent {
        at: usize,
        of: usize,
        stamp: u64,
    },
    /// Nothing was heard for so long that the link is closed.
    Close {
        pair: (usize, usize),
        stamp: u64,
    },
    /// A dial succeeds.
    Open {
        pair: (usize, usize),
        stamp: u64,
    },
}

/// The link of two nodes, the smaller number first.
struct Pair {
    is_open: bool,
    smaller_dials: bool,
    /// Counts what befell the link: what was planned before does not happen.
    stamp: u64,
}

/// See the module.
pub struct World {
    /// What the run is made of.
    pub setup: Setup,
    /// The time.
    pub now: Micros,
    /// Everything random.
    pub rng: ChaCha8Rng,
    /// The links.
    pub links: Links,
    /// What happened how often.
    pub counts: Counts,
    /// Who did what.
    pub history: History,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rules: Rules,
    pub(crate) talks: BTreeMap<u64, Talk>,
    pub(crate) next_talk: u64,
    /// Counts what people said.
    pub(crate) said: u64,
    /// The message that is being written.
    pub(crate) writing: Option<MessageId>,
    indices: BTreeMap<NodeId, usize>,
    pairs: BTreeMap<(usize, usize), Pair>,
    queue: BTreeMap<(Micros, u64), Event>,
    queued: u64,
    trace: blake3::Hasher,
}

impl World {
    /// A mesh of which every node is linked with every other.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(setup.seed);
        let keys = MemoryKeys::default();
        let nodes: Vec<Node> = (0..setup.nodes)
            .map(|number| Node {
                key: NodeKey::from_seed(blake3::hash(&number.to_le_bytes()).as_bytes()),
                keys: keys.clone(),
                skew: match setup.skew {
                    0 => 0,
                    skew => rng.random_range(-skew..=skew),
                },
                start: 0,
                state: State::Stopped(MemoryShelf::default()),
            })
            .collect();
        let members: BTreeSet<NodeId> = nodes.iter().map(Node::id).collect();
        let mut world = Self {
            setup,
            now: 0,
            links: Links::new(setup.seed, setup.weather),
            counts: Counts::default(),
            history: History::default(),
            indices: nodes
                .iter()
                .enumerate()
                .map(|(index, node)| (node.id(), index))
                .collect(),
            nodes,
            rules: Rules {
                recoveries: setup.recoveries,
                parameters: setup.parameters,
                members: Arc::new(members),
                fresh_boots: setup.fresh_boots,
            },
            talks: BTreeMap::new(),
            next_talk: 0,
            said: 0,
            writing: None,
            pairs: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            trace: blake3::Hasher::new(),
            rng,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.start_process(node, &MemoryShelf::default());
        }
        for larger in 0..self.nodes.len() {
            for smaller in 0..larger {
                let pair = Pair {
                    is_open: true,
                    smaller_dials: self.rng.random(),
                    stamp: 0,
                };
                self.pairs.insert((smaller, larger), pair);
            }
        }
        for node in 0..self.nodes.len() {
            let mut peers: Vec<usize> = (0..self.nodes.len()).filter(|peer| *peer != node).collect();
            peers.shuffle(&mut self.rng);
            let mut out = Outbox::new();
            for peer in &peers {
                let dialled_by_us = self.dials(node, *peer);
                if let Some(running) = self.nodes[node].running() {
                    running.gossip.connected(*peer, dialled_by_us, &mut out);
                    running.reachable.insert(*peer);
                }
            }
            self.send(node, out);
            self.wake_pace(node);
        }
    }

    fn dials(&self, node: usize, peer: usize) -> bool {
        let pair = self.pairs.get(&(node.min(peer), node.max(peer)));
        pair.is_some_and(|pair| pair.smaller_dials == (node < peer))
    }

    pub(crate) fn index_of(&self, node: &NodeId) -> usize {
        self.indices[node]
    }

    /// Nodes that keep to the rules.
    pub fn honest(&self) -> impl Iterator<Item = usize> + use<> {
        let byzantine = self.setup.byzantine;
        (0..self.nodes.len()).filter(move |node| Some(*node) != byzantine)
    }

    /// Honest nodes that run.
    #[must_use]
    pub fn up(&self) -> Vec<usize> {
        self.honest().filter(|node| self.nodes[*node].is_running()).collect()
    }

    pub(crate) fn at(&mut self, at: Micros, event: Event) {
        self.queued += 1;
        self.queue.insert((at, self.queued), event);
    }

    pub(crate) fn after(&mut self, delay: Micros, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Micros) {
        let until = self.now + time;
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            let event = entry.remove();
            self.now = at;
            self.trace_event(&event);
            self.happen(event);
        }
        self.now = until;
    }

    /// A hash of everything that happened so far: equal in two runs of one seed.
    #[must_use]
    pub fn trace(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    fn trace_event(&mut self, event: &Event) {
        let trace = &mut self.trace;
        trace.update(&self.now.to_le_bytes());
        match event {
            Event::Frame { from, to, rpc } => {
                trace.update(&[0]).update(&from.to_le_bytes()).update(&to.to_le_bytes());
                match rpc {
                    Rpc::Publish(message) => trace.update(&[0]).update(&message.id),
                    Rpc::IHave(ids) => trace.update(&[1]).update(ids.as_flattened()),
                    Rpc::IWant(ids) => trace.update(&[2]).update(ids.as_flattened()),
                    Rpc::IDontWant(id) => trace.update(&[3]).update(id),
                    Rpc::Graft => trace.update(&[4]),
                    Rpc::Prune => trace.update(&[5]),
                }
            }
            Event::Judge { node, message, .. } => trace.update(&[1]).update(&node.to_le_bytes()).update(&message.id),
            Event::Publish { node, bytes, .. } => trace.update(&[2]).update(&node.to_le_bytes()).update(bytes),
            Event::Heartbeat { node, .. } => trace.update(&[3]).update(&node.to_le_bytes()),
            Event::Pace { node, number, .. } => trace
                .update(&[4])
                .update(&node.to_le_bytes())
                .update(&number.to_le_bytes()),
            Event::TalkOpened(talk) => trace.update(&[5]).update(&talk.to_le_bytes()),
            Event::TalkFrame(frame) => trace
                .update(&[6])
                .update(&frame.talk.to_le_bytes())
                .update(&frame.bytes),
            Event::TalkRetry(frame) => trace.update(&[7]).update(&frame.talk.to_le_bytes()),
            Event::TalkEnded(talk, whole) => trace.update(&[8, u8::from(*whole)]).update(&talk.to_le_bytes()),
            Event::Heard { at, of, .. } => trace.update(&[9]).update(&at.to_le_bytes()).update(&of.to_le_bytes()),
            Event::Silent { at, of, .. } => trace.update(&[10]).update(&at.to_le_bytes()).update(&of.to_le_bytes()),
            Event::Close { stamp, .. } => trace.update(&[11]).update(&stamp.to_le_bytes()),
            Event::Open { stamp, .. } => trace.update(&[12]).update(&stamp.to_le_bytes()),
        };
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Frame { from, to, rpc } => self.frame(from, to, rpc),
            Event::Judge {
                node,
                start,
                from,
                message,
            } => self.judge(node, start, from, &message),
            Event::Publish { node, start, bytes } => self.publish(node, start, bytes),
            Event::Heartbeat { node, start } => self.heartbeat(node, start),
            Event::Pace { node, start, number } => {
                let is_current = |world: &mut Self| {
                    world.nodes[node]
                        .running()
                        .is_some_and(|running| running.wakeup == number)
                };
                if self.nodes[node].start == start && is_current(self) {
                    self.wake_pace(node);
                }
            }
            Event::TalkOpened(talk) => self.talk_opened(talk),
            Event::TalkFrame(frame) => self.talk_frame(&frame),
            Event::TalkRetry(frame) => self.send_frame(frame),
            Event::TalkEnded(talk, whole) => self.end_talk(talk, whole),
            Event::Heard { at, of, stamp } => self.hear(at, of, stamp, true),
            Event::Silent { at, of, stamp } => self.hear(at, of, stamp, false),
            Event::Close { pair, stamp } => self.close(pair, stamp),
            Event::Open { pair, stamp } => self.open(pair, stamp),
        }
    }

    /// Sends frames of gossip.
    pub(crate) fn send(&mut self, from: usize, out: Outbox) {
        for (to, rpc) in out {
            self.counts.asked_for += match &rpc {
                Rpc::IWant(ids) => ids.len() as u64,
                _ => 0,
            };
            let delays = match rpc.is_of_the_link() {
                true => [self.links.stream(from, to, &mut self.rng), None],
                false => self.links.carry(from, to, &mut self.rng),
            };
            for delay in delays.into_iter().flatten() {
                let rpc = rpc.clone();
                self.after(delay, Event::Frame { from, to, rpc });
            }
        }
    }

    fn frame(&mut self, from: usize, to: usize, rpc: Rpc) {
        let (now, start) = (self.now, self.nodes[to].start);
        let rng = &mut self.rng;
        let Some(running) = self.nodes[to].running() else {
            return;
        };
        self.counts.copies += u64::from(matches!(rpc, Rpc::Publish(_)));
        let mut out = Outbox::new();
        let new = running.gossip.received(from, rpc, now, rng, &mut out);
        self.send(to, out);
        if let Some(message) = new {
            let judge = Event::Judge {
                node: to,
                start,
                from,
                message,
            };
            self.after(STORE_DELAY, judge);
        }
    }

    fn judge(&mut self, node: usize, start: u32, from: usize, message: &Message) {
        if self.nodes[node].start != start {
            return;
        }
        let clock = self.nodes[node].clock(self.now);
        let Some(running) = self.nodes[node].running() else {
            return;
        };
        let mut out = Outbox::new();
        match running.judge(from, message, clock, &mut out) {
            Received::New | Received::Elsewhere => {}
            Received::Parked(_) => self.counts.parked += 1,
            Received::Ignored => self.counts.ignored += 1,
            Received::Rejected(_) => self.counts.rejected += 1,
        }
        self.send(node, out);
        self.settle(node);
    }

    /// Commits, and tells the world what the replica wants it told.
    pub(crate) fn settle(&mut self, node: usize) {
        let clock = self.nodes[node].clock(self.now);
        let start = self.nodes[node].start;
        let Some(running) = self.nodes[node].running() else {
            return;
        };
        running.replica.commit(clock).expect("memory refuses nothing");
        let (mut out, mut published) = (Outbox::new(), Vec::new());
        let mut changed = false;
        for told in running.replica.take_events() {
            match told {
                Told::Publish(bytes) => published.push(bytes),
                Told::Released(envelope) => running.released(&envelope, &mut out),
                Told::Changed { document, .. } => {
                    changed = true;
                    let replica = &mut running.replica;
                    let holds = |envelope: &ContentId| replica.proof(&document, envelope).is_some();
                    self.history.arrived(node, &document, self.now, holds);
                }
                Told::Erased(target) => self.history.carried_out(node, target),
                Told::KeyMade(_) | Told::KeyWanted(_) => {}
            }
        }
        self.history.waiting(running.replica.parked());
        self.send(node, out);
        if changed {
            self.stir(node);
        }
        for bytes in published {
            self.note_write(node, &bytes);
            self.after(STORE_DELAY, Event::Publish { node, start, bytes });
        }
    }

    fn publish(&mut self, node: usize, start: u32, bytes: Vec<u8>) {
        if self.nodes[node].start != start {
            return;
        }
        if !Statement::is_one(&bytes)
            && let Ok(envelope) = Envelope::open_own(&bytes)
        {
            self.history.acknowledge(&envelope.id);
        }
        let now = self.now;
        let rng = &mut self.rng;
        let Some(running) = self.nodes[node].running() else {
            return;
        };
        let mut out = Outbox::new();
        running.gossip.publish(Message::new(bytes), now, rng, &mut out);
        self.send(node, out);
    }

    fn heartbeat(&mut self, node: usize, start: u32) {
        if self.nodes[node].start != start {
            return;
        }
        let now = self.now;
        let rng = &mut self.rng;
        let Some(running) = self.nodes[node].running() else {
            return;
        };
        let mut out = Outbox::new();
        running.gossip.heartbeat(now, rng, &mut out);
        self.send(node, out);
        self.after(
            micros(self.setup.parameters.heartbeat),
            Event::Heartbeat { node, start },
        );
    }

    fn start_process(&mut self, node: usize, shelf: &MemoryShelf) {
        let now = self.now;
        self.nodes[node].start(shelf, &self.rules, now);
        let start = self.nodes[node].start;
        let first = self.rng.random_range(0..micros(self.setup.parameters.heartbeat));
        self.after(first, Event::Heartbeat { node, start });
        // Erasures that were due when it stopped.
        self.settle(node);
    }

    /// Ends a process without a word.
    pub fn crash(&mut self, node: usize) {
        self.counts.crashes += 1;
        self.nodes[node].crash();
        self.befall_all(node);
    }

    /// What is on a node's disk now.
    #[must_use]
    pub fn copy_of(&self, node: usize) -> MemoryShelf {
        self.nodes[node].shelf().clone()
    }

    /// Starts a process again on its disk.
    pub fn restart(&mut self, node: usize) {
        let shelf = self.copy_of(node);
        self.restore(node, &shelf);
    }

    /// Starts a process on an older copy of its disk.
    pub fn restore(&mut self, node: usize, shelf: &MemoryShelf) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            let pair = (node.min(peer), node.max(peer));
            self.shut(pair);
        }
        self.start_process(node, shelf);
        self.tell_away(node);
        self.befall_all(node);
    }
}
