//! How this node is found and reached: its address hint and those of others, reservations at relays, and links that begin at a relay
//! and become direct.
//!
//! *A home is reached*: it dials public members, hears from them how it is seen, keeps reservations at up to three relays, and says so in its
//! hint. Another home reads the hint, dials a circuit through one of the relays, and is a link like any other: noise between the two ends, the
//! same gate. Then both agree on a moment (`punch`), their routers open for each other, and the direct connection takes the link over. Streams
//! on the relayed one go on until their owners are done; then it is closed.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use keys::{NodeId, Timestamp, membership::Roles};
use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    gossipsub, relay,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

use super::{Actor, Connection, Event, HINTS_TOPIC, jitter};
use crate::{
    LinkPath, MeshSettings, Protocol, ReachView, Stream,
    dial::{Elapsed, Ways},
    dialback,
    hints::{
        AddressHint, HintBook, HintRefused, Shared,
        stream::{self, Ends, Heard, HintsEnd},
    },
    limits::{
        ADDRESSES_PER_NODE_MAX, BETTER_FIRST, DIALBACKS_MAX, HINT_EVERY_MIN, HINT_FRESH_MS, HINT_REFRESH, HINTS_REOPEN,
        JUDGE_EVERY, LINK_EVENT_QUEUE, PUNCH_AGAIN_FIRST, PUNCH_AGAIN_MAX, RELAYS_HELD, RETIRED_MIN,
    },
    membership::peer_of,
    punch::{self, Side, Turn, Way},
    reach::{Observations, Reachability},
    relays::RelayPlan,
    streams::OpenError,
    transport::{self, Medium, Trial},
};

mod doors;
mod relaying;

pub(super) use relaying::{client, server};

/// What tasks report.
pub(super) enum ReachEvent {
    /// We opened a hints stream, or could not.
    HintsOpened(NodeId, ConnectionId, Result<Stream, OpenError>),
    /// A hints stream spoke; the number tells an old stream of the same link from the present one.
    Heard(NodeId, u64, Heard),
    /// A hints stream ended.
    HintsEnded(NodeId, u64, HintsEnd),
    /// Both sides agreed to dial each other now.
    Agreed(NodeId, Side, Vec<SocketAddr>),
}

/// The hints stream of a link.
struct HintsStream {
    number: u64,
    task: AbortHandle,
    /// What the other side is told of where its packets come from.
    seen: watch::Sender<Option<SocketAddr>>,
}

/// When a link is next tried in a better way.
struct NextTry {
    tries: u32,
    at: Elapsed,
}

/// Everything about being found and reached.
pub(super) struct Reach {
    /// Whether relays are used and this node may be one.
    relaying: bool,
    /// Whether where packets come from says anything: in one memory, each connection comes from another made-up place.
    observing: bool,
    /// Whether the operator has named a public address.
    declared: bool,
    websockets: Vec<SocketAddr>,
    book: HintBook,
    /// This node's record as it was last said, and when.
    own: Option<(AddressHint, Elapsed)>,
    /// At least the number of every record of this node that anybody has seen.
    number: u64,
    shared: watch::Sender<Arc<Shared>>,
    expire_at: Elapsed,
    observations: Observations,
    streams: HashMap<NodeId, HintsStream>,
    next_stream: u64,
    relays: RelayPlan,
    listeners: HashMap<ListenerId, NodeId>,
    carries: bool,
    /// Dials through two routers that are under way.
    punches: HashMap<ConnectionId, NodeId>,
    turns: HashMap<NodeId, NextTry>,
    /// The relay of each connection that goes through one.
    through: HashMap<ConnectionId, NodeId>,
    /// Connections that a better one has replaced, with whom and since when.
    retired: HashMap<ConnectionId, (NodeId, Instant)>,
    view: watch::Sender<ReachView>,
    /// One for each node that is dialled back at the moment.
    dialbacks: Arc<Semaphore>,
}

/// Where a WebSocket is taken at the addresses that the operator has named.
fn declared_websockets(settings: &MeshSettings) -> Vec<SocketAddr> {
    let port = settings.websocket.map(|address| address.port());
    let named = settings.public_addresses.iter().map(|address| address.ip());
    port.map_or_else(Vec::new, |port| named.map(|ip| SocketAddr::new(ip, port)).collect())
}

/// Without those by which a machine reaches itself, unless there are no others.
fn worth_saying(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let elsewhere = |address: &&SocketAddr| !address.ip().is_loopback();
    if addresses.iter().any(|address| elsewhere(&address)) {
        addresses.iter().filter(elsewhere).copied().collect()
    } else {
        addresses.to_vec()
    }
}

impl Reach {
    pub(super) fn new(settings: &MeshSettings, medium: Medium, view: watch::Sender<ReachView>) -> Self {
        Self {
            relaying: settings.relaying,
            observing: matches!(medium, Medium::Network),
            declared: !settings.public_addresses.is_empty(),
            websockets: declared_websockets(settings),
            book: HintBook::default(),
            own: None,
            number: 0,
            shared: watch::channel(Arc::default()).0,
            expire_at: Elapsed::ZERO,
            observations: Observations::default(),
            streams: HashMap::new(),
            next_stream: 0,
            relays: RelayPlan::default(),
            listeners: HashMap::new(),
            carries: false,
            punches: HashMap::new(),
            turns: HashMap::new(),
            through: HashMap::new(),
            retired: HashMap::new(),
            view,
            dialbacks: Arc::new(Semaphore::new(DIALBACKS_MAX)),
        }
    }

    /// Whether this is the present hints stream of a link, and not one that it has replaced.
    fn is_present(&self, node: &NodeId, number: u64) -> bool {
        self.streams.get(node).is_some_and(|stream| stream.number == number)
    }

    /// Whether this connection was dialled through two routers; it is no dial under way any more.
    pub(super) fn was_punch(&mut self, id: &ConnectionId) -> bool {
        self.punches.remove(id).is_some()
    }
}

impl Actor {
    /// Looks after everything here; called several times a second.
    pub(super) fn handle_reach_tick(&mut self) {
        let now = self.started.elapsed();
        self.judge_own_reach();
        self.keep_reservations(now);
        self.say_own_hint(now);
        self.try_better_ways(now);
        self.close_retired();
        if self.reach.expire_at <= now {
            self.reach.expire_at = now + JUDGE_EVERY / 2;
            let roster = self.outputs.roster.borrow().clone();
            for node in self.reach.book.expire(&roster, Timestamp::now()) {
                self.plan.hinted(node, Ways::default(), now);
                self.share_hint(&node);
            }
        }
        self.publish_reach();
    }

    fn reachability(&self) -> Reachability {
        self.reach
            .observations
            .verdict(&self.own_addresses, self.reach.declared)
    }

    fn publish_reach(&self) {
        let seen = ReachView {
            relaying: self.reach.relaying,
            reachability: self.reachability(),
            seen_at: self.reach.observations.addresses(),
            relays: self.reach.relays.holders(),
            carries: self.reach.carries,
            hints: self.reach.book.all().count(),
        };
        self.reach.view.send_if_modified(|view| {
            let news = *view != seen;
            *view = seen;
            news
        });
    }

    /// This node's record as it would have to be now.
    fn own_hint(&self, number: u64) -> AddressHint {
        let mut addresses = worth_saying(&self.own_addresses);
        // Where everybody sees the same address a router may let others in there, or will once it is asked to.
        if matches!(self.reachability(), Reachability::PortRestricted | Reachability::Router) {
            addresses.splice(0..0, self.reach.observations.addresses().first().copied());
        }
        addresses.truncate(ADDRESSES_PER_NODE_MAX);
        let mut websockets = worth_saying(&self.reach.websockets);
        websockets.truncate(ADDRESSES_PER_NODE_MAX);
        let mut relays = self.reach.relays.holders();
        relays.truncate(RELAYS_HELD);
        AddressHint {
            mesh: self.outputs.roster.borrow().mesh(),
            addresses,
            websockets,
            relays,
            carries: self.reach.carries,
            number,
            made: Timestamp::now(),
        }
    }

    /// Says where this node is when that has changed, or was said long ago.
    fn say_own_hint(&mut self, now: Elapsed) {
        let hint = self.own_hint(self.reach.number.saturating_add(1).max(Timestamp::now().0));
        let due = match &self.reach.own {
            None => true,
            Some((said, at)) if said.number < self.reach.number => *at + HINT_EVERY_MIN <= now,
            Some((said, at)) if !said.says_the_same(&hint) => *at + HINT_EVERY_MIN <= now,
            Some((_, at)) => *at + HINT_REFRESH <= now,
        };
        if !due || self.outputs.roster.borrow().get(&self.key.id()).is_none() {
            return;
        }
        let bytes = match hint.sign(&self.key) {
            Ok(bytes) => bytes,
            Err(error) => return tracing::warn!(%error, "this node's address hint cannot be signed"),
        };
        self.reach.number = hint.number;
        self.reach.book.keep_own(self.key.id(), hint.clone(), bytes.clone());
        self.reach.own = Some((hint, now));
        self.share_hint(&self.key.id());
        self.gossip_hint(bytes);
    }

    /// Hands the streams the record of a node as it is now. Only that one is touched: in a large mesh one changes several times a second.
    fn share_hint(&self, node: &NodeId) {
        let record = self.reach.book.record(node);
        self.reach.shared.send_modify(|shared| {
            let shared = Arc::make_mut(shared);
            match record {
                Some(record) => drop(shared.insert(*node, record)),
                None => drop(shared.remove(node)),
            }
        });
    }

    fn gossip_hint(&mut self, bytes: Vec<u8>) {
        let topic = gossipsub::IdentTopic::new(HINTS_TOPIC);
        // Nobody subscribed yet, or it is on its way already: the hints streams bring it.
        if let Err(error) = self.swarm.behaviour_mut().gossip.inner_mut().publish(topic, bytes) {
            tracing::trace!(%error, "address hint not gossiped");
        }
    }

    /// A record came by gossip: it goes on only if it is news here.
    pub(super) fn handle_gossiped_hint(&mut self, bytes: &[u8]) -> gossipsub::MessageAcceptance {
        match self.take_hint(bytes) {
            Ok(_) => gossipsub::MessageAcceptance::Accept,
            Err(error) if error.is_misuse() => gossipsub::MessageAcceptance::Reject,
            Err(_) => gossipsub::MessageAcceptance::Ignore,
        }
    }

    fn take_hint(&mut self, bytes: &[u8]) -> Result<NodeId, HintRefused> {
        let roster = self.outputs.roster.borrow().clone();
        let taken = self.reach.book.take(bytes, (self.key.id(), &roster), Timestamp::now());
        match taken {
            Ok(node) => {
                self.share_hint(&node);
                let ways = self.reach.book.get(&node).map(Ways::from).unwrap_or_default();
                let before = self.plan.all_addresses(&node);
                self.plan.hinted(node, ways, self.started.elapsed());
                if self.connections.contains_key(&node) {
                    self.plan.still_connected(&node);
                    if self.is_relayed(&node) && self.plan.all_addresses(&node) != before {
                        // It has said more of itself since the link began.
                        self.dial_again(node, LinkPath::Relayed);
                    }
                }
            }
            // Said before this node was started again, with a clock that went faster.
            Err(HintRefused::Own(number)) => self.reach.number = self.reach.number.max(number),
            Err(error) => tracing::trace!(%error, "an address hint was not taken in"),
        }
        taken
    }

    /// Opens the hints stream of a link that we dialled.
    pub(super) fn open_hints(&self, node: NodeId, id: ConnectionId, after: std::time::Duration) {
        let (opener, events) = (self.opener.clone(), self.events.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let opened = opener.open(node, Protocol::HINTS, Some(id)).await;
            // A stopped actor needs no news.
            let _ = events
                .send(Event::Reach(ReachEvent::HintsOpened(node, id, opened)))
                .await;
        });
    }

    /// Runs a hints stream, ours or theirs; it replaces the one before.
    pub(super) fn handle_hints_stream(&mut self, node: NodeId, stream: Stream) {
        if !self.connections.contains_key(&node) {
            return;
        }
        self.reach.next_stream += 1;
        let number = self.reach.next_stream;
        let (seen, seen_now) = watch::channel(self.seen_of(&node));
        let (report, mut heard) = mpsc::channel(LINK_EVENT_QUEUE);
        let ends = Ends {
            own: self.key.id(),
            seen: seen_now,
            shared: self.reach.shared.subscribe(),
            report,
        };
        let events = self.events.clone();
        let task = tokio::spawn(async move {
            let forward = async {
                while let Some(heard) = heard.recv().await {
                    let event = Event::Reach(ReachEvent::Heard(node, number, heard));
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            };
            let (end, ()) = tokio::join!(stream::run(stream, ends), forward);
            let _ = events
                .send(Event::Reach(ReachEvent::HintsEnded(node, number, end)))
                .await;
        });
        let task = task.abort_handle();
        let old = self.reach.streams.insert(node, HintsStream { number, task, seen });
        if let Some(old) = old {
            old.task.abort();
        }
    }

    /// Where a node that dialled us is seen; a relayed or TCP connection says nothing about that.
    fn seen_of(&self, node: &NodeId) -> Option<SocketAddr> {
        if !self.reach.observing {
            return None;
        }
        let connections = self.connections.get(node)?;
        let theirs = connections
            .iter()
            .rev()
            .find(|one| one.path.is_quic() && !one.dialled_by_us)?;
        transport::quic_address(&theirs.remote)
    }

    /// A member wants to know whether it can be reached from outside: where it says that it is, and where it is seen.
    pub(super) fn handle_dialback_stream(&self, node: NodeId, stream: Stream) {
        let permit = self.reach.dialbacks.clone().try_acquire_owned();
        let (Ok(permit), Some(trial)) = (permit, Trial::of(node)) else {
            // Whether it hears that makes no difference here.
            tokio::spawn(async move { drop(dialback::decline(stream).await) });
            return;
        };
        let hint = self.reach.book.get(&node);
        let said = hint.map_or(&[][..], |hint| &hint.addresses).iter().copied();
        let mut direct: Vec<SocketAddr> = said.chain(self.seen_of(&node)).collect();
        direct.sort_unstable();
        direct.dedup();
        let websockets = hint.map_or(&[][..], |hint| &hint.websockets).iter();
        let direct = direct
            .into_iter()
            .flat_map(|at| [(at, LinkPath::Quic), (at, LinkPath::Tcp)]);
        let targets = direct.chain(websockets.map(|at| (*at, LinkPath::WebSocket))).collect();
        let name = self.name(&node);
        tokio::spawn(async move {
            if let Err(error) = dialback::answer(stream, trial, targets).await {
                tracing::debug!(node = %name, %error, "a member that asked to be dialled back was not told");
            }
            drop(permit);
        });
    }

    /// A neighbour's packets come from elsewhere now.
    pub(super) fn handle_moved(&mut self, node: NodeId, id: ConnectionId, address: Multiaddr) {
        let connection = self.connections.get_mut(&node);
        let connection = connection.and_then(|all| all.iter_mut().find(|one| one.id == id));
        if let Some(connection) = connection {
            connection.remote = address;
            let seen = self.seen_of(&node);
            if let Some(stream) = self.reach.streams.get(&node) {
                stream.seen.send_replace(seen);
            }
        }
    }

    /// A WebSocket is taken at an address of this node.
    pub(super) fn handle_websocket_listens(&mut self, address: SocketAddr) {
        if !self.reach.websockets.contains(&address) {
            self.reach.websockets.push(address);
        }
    }

    /// Ends what belongs to a link that is gone.
    pub(super) fn drop_reach(&mut self, node: &NodeId) {
        if let Some(stream) = self.reach.streams.remove(node) {
            stream.task.abort();
        }
        self.reach.observations.forget(node);
        self.reach.turns.remove(node);
    }

    pub(super) fn handle_reach_event(&mut self, event: ReachEvent) {
        match event {
            ReachEvent::HintsOpened(node, _, Ok(stream)) => self.handle_hints_stream(node, stream),
            // A member of the release before has no hints.
            ReachEvent::HintsOpened(_, _, Err(OpenError::Refused(..))) => {}
            ReachEvent::HintsOpened(node, id, Err(_)) => {
                if self.has_connection(&node, id) {
                    self.open_hints(node, id, HINTS_REOPEN);
                }
            }
            ReachEvent::Heard(node, number, heard) => {
                if self.reach.is_present(&node, number) {
                    self.handle_hints_heard(node, heard);
                }
            }
            ReachEvent::HintsEnded(node, number, end) => {
                if !self.reach.is_present(&node, number) {
                    return;
                }
                tracing::debug!(node = %self.name(&node), reason = %end, "hints stream ended");
                self.reach.streams.remove(&node);
                let ours = self.connections.get(&node);
                let ours = ours.and_then(|all| all.iter().find(|one| one.dialled_by_us));
                if let Some(id) = ours.map(|one| one.id) {
                    self.open_hints(node, id, HINTS_REOPEN);
                }
            }
            ReachEvent::Agreed(node, side, addresses) => self.punch(node, side, &addresses),
        }
    }

    fn handle_hints_heard(&mut self, node: NodeId, heard: Heard) {
        match heard {
            Heard::Seen(address) => {
                // Only over a QUIC connection that we dialled does it say something: there is one socket for all of those.
                let dialled = |connection: &super::Connection| connection.dialled_by_us && connection.path.is_quic();
                if self.connections.get(&node).is_some_and(|all| all.iter().any(dialled)) {
                    let news = self.reach.observations.saw(node, address);
                    if news {
                        tracing::debug!(node = %self.name(&node), %address, "a member sees this node there");
                    }
                }
            }
            Heard::Told(records) => {
                for bytes in records {
                    match self.take_hint(&bytes) {
                        Ok(author) => {
                            // Its author may have had no neighbours for gossip yet. What is older everybody has had the time to hear.
                            let made = self.reach.book.get(&author).map(|hint| hint.made);
                            if made.is_some_and(|made| Timestamp::now().since(made) < HINT_FRESH_MS) {
                                self.gossip_hint(bytes);
                            }
                        }
                        Err(error) if error.is_misuse() => {
                            tracing::warn!(node = %self.name(&node), %error, "a member passes on bad address hints");
                            if let Some(stream) = self.reach.streams.remove(&node) {
                                stream.task.abort();
                            }
                            break;
                        }
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// The direct connection of a link that has one.
    fn direct_connection(&self, node: &NodeId) -> Option<&Connection> {
        let connections = self.connections.get(node)?;
        connections.iter().find(|one| one.path.is_direct())
    }

    /// Whether a link stands, and only through others.
    fn is_relayed(&self, node: &NodeId) -> bool {
        self.connections.contains_key(node) && self.direct_connection(node).is_none()
    }

    pub(super) fn has_connection(&self, node: &NodeId, id: ConnectionId) -> bool {
        let connections = self.connections.get(node);
        connections.is_some_and(|all| all.iter().any(|one| one.id == id))
    }
}
