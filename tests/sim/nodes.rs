//! One simulated node: the product's replica with what `node` keeps around it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use crdt::{
    Received,
    ingress::Right,
    replica::{MemoryKeys, MemoryShelf, Recoveries, Replica, ReplicaSettings, Source},
    set::Pace,
};
use keys::{ContentId, NodeId, NodeKey, Timestamp};

use crate::{
    Micros,
    gossip::{Gossip, Message, MessageId, Outbox, Parameters, Verdict},
};

/// Gossiped changes that wait for what they depend on: `node`'s own bound.
const HELD_MAX: usize = 256;
/// When every run begins, by a clock that is right.
const BEGINNING: u64 = 1_800_000_000_000;

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    pub(crate) keys: MemoryKeys,
    /// Milliseconds by which its clock is wrong.
    pub(crate) skew: i64,
    /// Counts its starts: what was meant for an earlier one is lost.
    pub(crate) start: u32,
    pub(crate) state: State,
}

/// Whether a node runs.
pub(crate) enum State {
    Running(Box<Running>),
    /// What is on its disk.
    Stopped(MemoryShelf),
}

/// What a running node has.
pub(crate) struct Running {
    pub(crate) replica: Replica<MemoryShelf>,
    pub(crate) gossip: Gossip,
    pub(crate) pace: Pace,
    pub(crate) began: Micros,
    pub(crate) reachable: BTreeSet<usize>,
    /// Only the newest of the wake-ups that were asked for counts.
    pub(crate) wakeup: u64,
    held: VecDeque<(ContentId, MessageId, usize)>,
}

/// By which rules nodes are started.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) recoveries: Recoveries,
    pub(crate) parameters: Parameters,
    pub(crate) members: Arc<BTreeSet<NodeId>>,
    /// Whether each start has fresh bytes.
    pub(crate) fresh_boots: bool,
}

impl Rules {
    pub(crate) fn replica(
        &self,
        key: &NodeKey,
        boot: [u8; 16],
        shelf: MemoryShelf,
        keys: &MemoryKeys,
    ) -> Replica<MemoryShelf> {
        let members = Arc::clone(&self.members);
        let settings = ReplicaSettings {
            key: key.clone(),
            right: Arc::new(move |node| match members.contains(node) {
                true => Right::Member,
                false => Right::Unknown,
            }),
            boot,
            recoveries: self.recoveries,
        };
        Replica::new(settings, shelf, Box::new(keys.clone()))
    }
}

impl Node {
    pub(crate) fn id(&self) -> NodeId {
        self.key.id()
    }

    /// The time by the node's own clock.
    pub(crate) fn clock(&self, now: Micros) -> Timestamp {
        Timestamp((BEGINNING + now / 1000).saturating_add_signed(self.skew))
    }

    pub(crate) fn running(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) => Some(running),
            State::Stopped(_) => None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// What is on the node's disk.
    pub(crate) fn shelf(&self) -> &MemoryShelf {
        match &self.state {
            State::Running(running) => running.replica.below(),
            State::Stopped(shelf) => shelf,
        }
    }

    /// Starts from what is on a disk, as a process does: the records are read again.
    pub(crate) fn start(&mut self, shelf: &MemoryShelf, rules: &Rules, now: Micros) {
        self.start += 1;
        let number = if rules.fresh_boots { self.start } else { 0 };
        let mut boot = [0; 16];
        let seed = [self.id().0.as_slice(), &number.to_le_bytes()].concat();
        boot.copy_from_slice(&blake3::hash(&seed).as_bytes()[..16]);
        let shelf = MemoryShelf::from_records(shelf.records().cloned()).expect("memory refuses nothing");
        let running = Running {
            replica: rules.replica(&self.key, boot, shelf, &self.keys),
            gossip: Gossip::new(rules.parameters),
            pace: Pace::new(),
            began: now,
            reachable: BTreeSet::new(),
            wakeup: 0,
            held: VecDeque::new(),
        };
        self.state = State::Running(Box::new(running));
    }

    /// Ends without a word; the disk stays.
    pub(crate) fn crash(&mut self) {
        self.start += 1;
        self.state = State::Stopped(self.shelf().clone());
    }
}

impl Running {
    /// Judges a gossiped message as `node`'s wiring does, and forwards it or holds it back.
    pub(crate) fn judge(&mut self, from: usize, message: &Message, now: Timestamp, out: &mut Outbox) -> Received {
        let received = self.replica.receive(&message.bytes, Source::Gossip, now);
        let verdict = match received {
            Received::New | Received::Elsewhere => Verdict::Forward,
            Received::Parked(envelope) => {
                self.held.push_back((envelope, message.id, from));
                if self.held.len() > HELD_MAX
                    && let Some((_, oldest, source)) = self.held.pop_front()
                {
                    self.gossip.judged(&oldest, source, Verdict::Drop, out);
                }
                return received;
            }
            Received::Ignored | Received::Rejected(_) => Verdict::Drop,
        };
        self.gossip.judged(&message.id, from, verdict, out);
        received
    }

    /// What waited is in: it is forwarded after all.
    pub(crate) fn released(&mut self, envelope: &ContentId, out: &mut Outbox) {
        let place = self.held.iter().position(|(waiting, ..)| waiting == envelope);
        if let Some((_, message, source)) = place.and_then(|place| self.held.remove(place)) {
            self.gossip.judged(&message, source, Verdict::Forward, out);
        }
    }
}
