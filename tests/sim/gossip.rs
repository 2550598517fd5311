//! One node's side of gossipsub, as libp2p-gossipsub 0.50 does it and as `mesh` configures it: eager forwarding along a mesh of few
//! neighbours, after the owner has judged a message; IHAVE and IWANT at heartbeats; GRAFT and PRUNE to keep the mesh; IDONTWANT for
//! large messages. The numbers are `mesh`'s own limits.
//!
//! Left out, because `mesh` does not use it: scores, topics, fanout, explicit peers, peer exchange.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use keys::ContentId;
use mesh::limits;
use rand::seq::{IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{Micros, micros};

/// How gossip is configured.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// Neighbours in the mesh that are aimed at.
    pub mesh: usize,
    /// With fewer, more are looked for.
    pub low: usize,
    /// With so many, some go.
    pub high: usize,
    /// So many that this node dialled are kept.
    pub outbound_min: usize,
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// Neighbours outside of the mesh who are told with each heartbeat.
    pub lazy: usize,
    /// Part of them who are told if that is more.
    pub factor: f64,
    /// Heartbeats for which a message is kept.
    pub history: usize,
    /// Heartbeats for which others are told of it.
    pub history_told: usize,
    /// How long a message that was asked for may take.
    pub patience: Duration,
    /// Whether an author sends to everyone.
    pub flood_publish: bool,
    /// Messages above this are called off.
    pub call_off_bytes: usize,
    /// How long a message is remembered.
    pub known_for: Duration,
}

impl Parameters {
    /// What the product uses.
    pub const PRODUCT: Self = Self {
        mesh: limits::GOSSIP_MESH,
        low: limits::GOSSIP_MESH_LOW,
        high: limits::GOSSIP_MESH_HIGH,
        outbound_min: limits::GOSSIP_OUTBOUND_MIN,
        heartbeat: limits::GOSSIP_HEARTBEAT,
        lazy: limits::GOSSIP_LAZY,
        factor: limits::GOSSIP_FACTOR,
        history: limits::GOSSIP_HISTORY,
        history_told: limits::GOSSIP_HISTORY_TOLD,
        patience: limits::GOSSIP_PATIENCE,
        flood_publish: limits::GOSSIP_FLOOD_PUBLISH,
        call_off_bytes: limits::GOSSIP_CALL_OFF_BYTES,
        known_for: limits::GOSSIP_KNOWN_FOR,
    };
}

/// gossipsub's own: after a PRUNE neither side grafts the other for so long.
const PRUNE_BACKOFF: Micros = 60_000_000;
/// gossipsub's own: how often one neighbour may ask for one message.
const ASKED_MAX: u32 = 3;
/// gossipsub's own: how long a message stays called off.
const CALLED_OFF_FOR: Micros = 3_000_000;

/// As `mesh` names messages: by their content.
pub type MessageId = [u8; 20];

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Its content.
    pub bytes: Arc<[u8]>,
}

impl Message {
    /// Names a content.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut id = [0; 20];
        id.copy_from_slice(&ContentId::of(&bytes).0[..20]);
        Self {
            id,
            bytes: bytes.into(),
        }
    }
}

/// What neighbours say to each other.
#[derive(Clone, Debug)]
pub enum Rpc {
    /// A message.
    Publish(Message),
    /// "I have these."
    IHave(Vec<MessageId>),
    /// "Send me these."
    IWant(Vec<MessageId>),
    /// "I have this one, do not send it."
    IDontWant(MessageId),
    /// "Be in my mesh."
    Graft,
    /// "You are not in my mesh."
    Prune,
}

impl Rpc {
    /// Whether it belongs to the state of the connection, which is repeated until it arrives. Messages and what is said about them
    /// may get lost.
    #[must_use]
    pub const fn is_of_the_link(&self) -> bool {
        matches!(self, Self::Graft | Self::Prune)
    }
}

/// Frames to be sent, with their receivers.
pub type Outbox = Vec<(usize, Rpc)>;

/// What the owner thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good.
    Forward,
    /// Not to be forwarded.
    Drop,
}

struct Neighbour {
    dialled_by_us: bool,
    called_off: BTreeMap<MessageId, Micros>,
}

struct Cached {
    message: Message,
    judged: bool,
    /// Who sent it before it was judged.
    senders: BTreeSet<usize>,
    asked: BTreeMap<usize, u32>,
}

/// See the module.
pub struct Gossip {
    parameters: Parameters,
    neighbours: BTreeMap<usize, Neighbour>,
    mesh: BTreeSet<usize>,
    backoffs: BTreeMap<usize, Micros>,
    known: BTreeMap<MessageId, Micros>,
    cache: BTreeMap<MessageId, Cached>,
    history: VecDeque<Vec<MessageId>>,
    promises: BTreeMap<MessageId, BTreeMap<usize, Micros>>,
}

impl Gossip {
    /// Without neighbours.
    #[must_use]
    pub fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            neighbours: BTreeMap::new(),
            mesh: BTreeSet::new(),
            backoffs: BTreeMap::new(),
            known: BTreeMap::new(),
            cache: BTreeMap::new(),
            history: VecDeque::from([Vec::new()]),
            promises: BTreeMap::new(),
        }
    }

    /// Neighbours in the mesh.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.mesh.len()
    }

    /// A link is there, and the other side takes part.
    pub fn connected(&mut self, peer: usize, dialled_by_us: bool, out: &mut Outbox) {
        let neighbour = Neighbour {
            dialled_by_us,
            called_off: BTreeMap::new(),
        };
        self.neighbours.insert(peer, neighbour);
        if self.mesh.len() < self.parameters.low && !self.backoffs.contains_key(&peer) && self.mesh.insert(peer) {
            out.push((peer, Rpc::Graft));
        }
    }

    /// A link is gone.
    pub fn disconnected(&mut self, peer: usize) {
        self.neighbours.remove(&peer);
        self.mesh.remove(&peer);
    }

    /// Sends a message of this node.
    pub fn publish(&mut self, message: Message, now: Micros, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        if self.known.contains_key(&message.id) {
            return;
        }
        let receivers: BTreeSet<usize> = if self.parameters.flood_publish {
            self.neighbours.keys().copied().collect()
        } else {
            let missing = self.parameters.mesh.saturating_sub(self.mesh.len());
            let others = self.neighbours.keys().filter(|peer| !self.mesh.contains(peer));
            let extra = others.copied().sample(rng, missing);
            self.mesh.iter().copied().chain(extra).collect()
        };
        if receivers.is_empty() {
            return;
        }
        self.known.insert(message.id, now);
        self.keep(&message, true);
        self.promises.remove(&message.id);
        out.extend(receivers.into_iter().map(|peer| (peer, Rpc::Publish(message.clone()))));
    }

    fn keep(&mut self, message: &Message, judged: bool) {
        if self.cache.contains_key(&message.id) {
            return;
        }
        let cached = Cached {
            message: message.clone(),
            judged,
            senders: BTreeSet::new(),
            asked: BTreeMap::new(),
        };
        self.cache.insert(message.id, cached);
        if let Some(newest) = self.history.front_mut() {
            newest.push(message.id);
        }
    }

    /// Takes a frame; a message that is new is returned to be judged.
    pub fn received(
        &mut self,
        from: usize,
        rpc: Rpc,
        now: Micros,
        rng: &mut ChaCha8Rng,
        out: &mut Outbox,
    ) -> Option<Message> {
        if !self.neighbours.contains_key(&from) {
            return None;
        }
        match rpc {
            Rpc::Publish(message) => return self.message(from, message, now, out),
            Rpc::IHave(ids) => self.told(from, ids, now, rng, out),
            Rpc::IWant(ids) => self.asked(from, &ids, out),
            Rpc::IDontWant(id) => {
                if let Some(neighbour) = self.neighbours.get_mut(&from) {
                    neighbour.called_off.insert(id, now);
                }
            }
            Rpc::Graft => self.grafted(from, now, out),
            Rpc::Prune => {
                self.mesh.remove(&from);
                self.backoffs.insert(from, now + PRUNE_BACKOFF);
            }
        }
        None
    }

    fn message(&mut self, from: usize, message: Message, now: Micros, out: &mut Outbox) -> Option<Message> {
        let is_known = self.known.contains_key(&message.id);
        if message.bytes.len() > self.parameters.call_off_bytes && !is_known {
            let promised = self.promises.get(&message.id);
            let mut others: BTreeSet<usize> = promised.into_iter().flatten().map(|(peer, _)| *peer).collect();
            others.extend(&self.mesh);
            others.remove(&from);
            out.extend(others.into_iter().map(|peer| (peer, Rpc::IDontWant(message.id))));
        }
        if is_known {
            if let Some(cached) = self.cache.get_mut(&message.id).filter(|cached| !cached.judged) {
                cached.senders.insert(from);
            }
            return None;
        }
        self.known.insert(message.id, now);
        self.promises.remove(&message.id);
        self.keep(&message, false);
        Some(message)
    }

    /// The owner has judged a message that came from `from`.
    pub fn judged(&mut self, id: &MessageId, from: usize, verdict: Verdict, out: &mut Outbox) {
        if verdict == Verdict::Drop {
            self.cache.remove(id);
            return;
        }
        // Too late: it is kept no longer.
        let Some(cached) = self.cache.get_mut(id) else { return };
        cached.judged = true;
        let senders = std::mem::take(&mut cached.senders);
        let message = cached.message.clone();
        for peer in &self.mesh {
            let called_off = self
                .neighbours
                .get(peer)
                .is_none_or(|neighbour| neighbour.called_off.contains_key(id));
            if *peer != from && !senders.contains(peer) && !called_off {
                out.push((*peer, Rpc::Publish(message.clone())));
            }
        }
    }

    fn told(&mut self, from: usize, ids: Vec<MessageId>, now: Micros, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        let mut wanted: Vec<MessageId> = ids
            .into_iter()
            .filter(|id| !self.known.contains_key(id) && !self.promises.contains_key(id))
            .collect();
        if wanted.is_empty() {
            return;
        }
        wanted.shuffle(rng);
        for id in &wanted {
            let promise = self.promises.entry(*id).or_default();
            promise.entry(from).or_insert(now + micros(self.parameters.patience));
        }
        out.push((from, Rpc::IWant(wanted)));
    }

    fn asked(&mut self, from: usize, ids: &[MessageId], out: &mut Outbox) {
        for id in ids {
            let Some(cached) = self.cache.get_mut(id).filter(|cached| cached.judged) else {
                continue;
            };
            let times = cached.asked.entry(from).or_default();
            *times += 1;
            let called_off = self
                .neighbours
                .get(&from)
                .is_none_or(|neighbour| neighbour.called_off.contains_key(id));
            if *times <= ASKED_MAX && !called_off {
                out.push((from, Rpc::Publish(cached.message.clone())));
            }
        }
    }

    fn grafted(&mut self, from: usize, now: Micros, out: &mut Outbox) {
        if self.mesh.contains(&from) {
            return;
        }
        let backs_off = self.backoffs.get(&from).is_some_and(|until| *until > now);
        let is_full = self.mesh.len() >= self.parameters.high && !self.is_dialled_by_us(from);
        if backs_off || is_full {
            self.backoffs.insert(from, now + PRUNE_BACKOFF);
            out.push((from, Rpc::Prune));
        } else {
            self.mesh.insert(from);
        }
    }

    fn is_dialled_by_us(&self, peer: usize) -> bool {
        self.neighbours
            .get(&peer)
            .is_some_and(|neighbour| neighbour.dialled_by_us)
    }

    /// Keeps the mesh, tells of messages, and forgets.
    pub fn heartbeat(&mut self, now: Micros, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        let slack = micros(self.parameters.heartbeat);
        self.backoffs.retain(|_, until| *until + slack > now);
        self.promises.retain(|_, peers| {
            peers.retain(|_, until| *until >= now);
            !peers.is_empty()
        });
        self.keep_mesh(now, rng, out);
        self.tell(rng, out);
        self.shift();
        let known_for = micros(self.parameters.known_for);
        self.known.retain(|_, since| *since + known_for > now);
        for neighbour in self.neighbours.values_mut() {
            neighbour.called_off.retain(|_, since| *since + CALLED_OFF_FOR >= now);
        }
    }

    fn keep_mesh(&mut self, now: Micros, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        if self.mesh.len() < self.parameters.low {
            self.graft_some(self.parameters.mesh - self.mesh.len(), false, rng, out);
        }
        if self.mesh.len() >= self.parameters.high {
            self.prune_some(now, rng, out);
        }
        if self.mesh.len() >= self.parameters.low {
            let dialled = self.mesh.iter().filter(|peer| self.is_dialled_by_us(**peer)).count();
            let missing = self.parameters.outbound_min.saturating_sub(dialled);
            self.graft_some(missing, true, rng, out);
        }
    }

    fn graft_some(&mut self, count: usize, dialled_by_us: bool, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        if count == 0 {
            return;
        }
        let fits = |(peer, neighbour): &(&usize, &Neighbour)| {
            !self.mesh.contains(peer)
                && !self.backoffs.contains_key(peer)
                && (neighbour.dialled_by_us || !dialled_by_us)
        };
        let candidates = self.neighbours.iter().filter(fits).map(|(peer, _)| *peer);
        for peer in candidates.sample(rng, count) {
            self.mesh.insert(peer);
            out.push((peer, Rpc::Graft));
        }
    }

    fn prune_some(&mut self, now: Micros, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        let excess = self.mesh.len() - self.parameters.mesh;
        let mut shuffled: Vec<usize> = self.mesh.iter().copied().collect();
        shuffled.shuffle(rng);
        let mut dialled = shuffled.iter().filter(|peer| self.is_dialled_by_us(**peer)).count();
        let mut pruned = 0;
        for peer in shuffled {
            if pruned == excess {
                break;
            }
            if self.is_dialled_by_us(peer) {
                if dialled <= self.parameters.outbound_min {
                    continue;
                }
                dialled -= 1;
            }
            self.mesh.remove(&peer);
            self.backoffs.insert(peer, now + PRUNE_BACKOFF);
            out.push((peer, Rpc::Prune));
            pruned += 1;
        }
    }

    fn tell(&self, rng: &mut ChaCha8Rng, out: &mut Outbox) {
        let told = self.history.iter().take(self.parameters.history_told).flatten();
        let judged = told.filter(|id| self.cache.get(*id).is_some_and(|cached| cached.judged));
        let ids: Vec<MessageId> = judged.copied().collect();
        if ids.is_empty() {
            return;
        }
        let others: Vec<usize> = self
            .neighbours
            .keys()
            .filter(|peer| !self.mesh.contains(peer))
            .copied()
            .collect();
        let part = (self.parameters.factor * others.len() as f64) as usize;
        let receivers = others.into_iter().sample(rng, self.parameters.lazy.max(part));
        out.extend(receivers.into_iter().map(|peer| (peer, Rpc::IHave(ids.clone()))));
    }

    fn shift(&mut self) {
        self.history.push_front(Vec::new());
        while self.history.len() > self.parameters.history {
            for id in self.history.pop_back().into_iter().flatten() {
                self.cache.remove(&id);
            }
        }
    }
}
