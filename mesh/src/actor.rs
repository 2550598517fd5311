//! The mesh actor: owns the swarm, the roster, the dial plan and the links. One biased `select!` whose arms only call `handle_*`.

mod bulk;
mod links;
mod members;
mod panics;
mod reach;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use keys::{
    ContentId, NodeId, NodeKey,
    membership::{Certificate, Evidence, MembershipError, Roster},
};
use libp2p::{
    Multiaddr, Swarm, gossipsub, mdns, relay,
    swarm::{ConnectionId, NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle, dial_opts::DialOpts},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    GossipMessage, GossipTicket, Inputs, LinkPath, MeshSettings, MeshView, Protocol, ReachView, Stream, TransportError,
    Verdict,
    control::{Heard, LinkEnd, Sections},
    counters::Counters,
    dial::DialPlan,
    gate::Gated,
    join::{Answer, Asked, Presented},
    limits::{
        self, GOSSIP_BYTES_MAX, GOSSIP_QUEUE, JUDGE_EVERY, LINK_EVENT_QUEUE, REACH_TICK, STOP_TIMEOUT, TRUST_NEWS,
    },
    lives::Lives,
    membership::{Membership, node_of, peer_of},
    scoring,
    streams::{self, News, Opener},
    transport::{self, Medium},
    trust::News as TrustNews,
};

/// The one gossip topic: signed changes. Its name carries the version of what travels in it.
const TOPIC: &str = "starling/changes/1";
/// The gossip topic of address hints, which this crate judges itself.
const HINTS_TOPIC: &str = "starling/hints/1";
/// The section in which nodes tell each other addresses.
const ADDRESSES: &str = "addresses";

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: Gated<gossipsub::Behaviour>,
    streams: streams::Behaviour,
    /// Calls this node out on the local network and hears the others; it speaks on no connection, so there is nothing to gate.
    nearby: Toggle<mdns::tokio::Behaviour>,
    /// Carries circuits of members that cannot reach each other, where this node may and can.
    relay: Gated<Toggle<relay::Behaviour>>,
    /// Asks relays for circuits, and takes those that they bring.
    circuits: Gated<Toggle<relay::client::Behaviour>>,
}

/// What the handle asks of the actor.
pub(crate) enum Command {
    Publish(Vec<u8>),
    Judge(GossipTicket, Verdict),
    Learn(Vec<Certificate>),
    Decide(Vec<Evidence>, oneshot::Sender<Result<(), MembershipError>>),
    Addresses(oneshot::Sender<Vec<SocketAddr>>),
    Doors(oneshot::Sender<Vec<(NodeId, SocketAddr)>>),
    Bulk(NodeId, bulk::Waiter),
    Stop(oneshot::Sender<()>),
    /// A fault that tests bring about.
    #[cfg(test)]
    Panic(tests::Fault),
}

/// What tasks of the mesh report to the actor.
enum Event {
    /// A trust stream was opened by us; whoever waits for it opens the control stream then.
    Trusting(NodeId, ConnectionId, Stream, oneshot::Sender<()>),
    /// A trust stream ended, and whether the other side had misused it.
    TrustEnded(NodeId, u64, bool),
    /// A neighbour told us who is a member, or is no longer.
    Told(NodeId, Vec<Evidence>),
    /// A control stream was opened by us.
    Opened(NodeId, ConnectionId, Stream),
    /// A control stream could not be opened.
    NotOpened(NodeId, ConnectionId, streams::OpenError),
    /// A control stream spoke; the number tells an old stream of the same link from the present one.
    Heard(NodeId, u64, Heard),
    /// A control stream ended.
    Ended(NodeId, u64, LinkEnd),
    /// A control stream ended a while ago, and perhaps no other has come instead.
    Lapsed(NodeId, u64),
    /// Someone asks for membership or proves it.
    Asked(NodeId, Asked, oneshot::Sender<Answer>),
    /// We presented our membership.
    Presented(NodeId, ConnectionId, Presented),
    /// About hints, relays and direct connections.
    Reach(reach::ReachEvent),
}

/// Where the actor publishes what it knows.
pub(crate) struct Outputs {
    pub(crate) roster: watch::Sender<Arc<Roster>>,
    /// Of it the links; the members are those of the task that drives the liveness core.
    pub(crate) view: watch::Sender<MeshView>,
    pub(crate) reach: watch::Sender<ReachView>,
    pub(crate) counters: Arc<Counters>,
}

/// A connection with a node that was a member when it was established.
struct Connection {
    id: ConnectionId,
    dialled_by_us: bool,
    path: LinkPath,
    /// Since when it stands.
    since: Instant,
    /// Where its packets come from now.
    remote: Multiaddr,
}

struct Actor {
    key: NodeKey,
    swarm: Swarm<Behaviour>,
    outputs: Outputs,
    started: Instant,
    plan: DialPlan,
    own_addresses: Vec<SocketAddr>,
    connections: HashMap<NodeId, Vec<Connection>>,
    /// Connections that better ones have replaced and that stand all the same.
    spare: HashMap<NodeId, Vec<Connection>>,
    /// Connections for blobs, which are no links.
    bulk: bulk::Bulk,
    /// How this node is found and reached.
    reach: reach::Reach,
    /// The present control stream of each link.
    controls: HashMap<NodeId, (u64, tokio::task::AbortHandle)>,
    next_control: u64,
    /// The trust streams of each link: two for a moment, when both sides have dialled.
    trusts: HashMap<NodeId, Vec<(u64, tokio::task::AbortHandle)>>,
    /// What the trust streams tell the neighbours.
    news: broadcast::Sender<TrustNews>,
    /// Evidence that cannot be judged before other evidence comes.
    waiting: BTreeMap<ContentId, Evidence>,
    opener: Opener,
    /// Whether two processes use the key of a neighbour, or of this node.
    lives: Lives,
    sections: watch::Receiver<Sections>,
    /// What the links write: the node's sections and our own address book.
    outgoing: watch::Sender<Sections>,
    stopping: watch::Sender<bool>,
    events: mpsc::Sender<Event>,
    gossip: mpsc::Sender<GossipMessage>,
}

/// Whom to dial at first.
fn plan(settings: &MeshSettings, own: NodeId, medium: Medium) -> DialPlan {
    let mut plan = match medium {
        Medium::Network => DialPlan::default(),
        Medium::Memory { dials_max } => DialPlan::few(own, dials_max),
    };
    for (node, address) in &settings.bootstrap {
        plan.learn(*node, [*address], Duration::ZERO);
    }
    plan
}

/// Starts the actor.
pub(crate) fn spawn(
    (settings, medium): (&MeshSettings, Medium),
    (key, meters): (&NodeKey, &transport::Meters),
    outputs: Outputs,
    sections: watch::Receiver<Sections>,
    commands: mpsc::Receiver<Command>,
) -> Result<(Opener, Inputs), TransportError> {
    let membership = Membership::Members(outputs.roster.subscribe());
    let (streams, opener, mut inbound) = streams::new(membership.clone(), &Protocol::ALL, outputs.counters.clone());
    let gossip = gossip()?;
    let peer = peer_of(&key.id()).ok_or_else(|| TransportError::Setup("the node's key is no key".to_owned()))?;
    let behaviour = |circuits| Behaviour {
        gossip: Gated::new(gossip, membership.clone()),
        streams,
        nearby: nearby(settings, key).into(),
        relay: Gated::new(reach::server(peer, settings.relaying), membership.clone()),
        circuits: Gated::new(reach::client(circuits, settings.relaying), membership),
    };
    let mut swarm = match medium {
        Medium::Network => transport::swarm_with(key, settings.congestion, behaviour, meters)?,
        Medium::Memory { .. } => transport::swarm_in_memory(key, behaviour, meters)?,
    };
    medium.listen(&mut swarm, settings)?;
    let (events, event_queue) = mpsc::channel(LINK_EVENT_QUEUE);
    let (gossip, gossip_queue) = mpsc::channel(GOSSIP_QUEUE);
    let queues = Queues {
        commands,
        events: event_queue,
        trusts: take(&mut inbound, Protocol::TRUST),
        controls: take(&mut inbound, Protocol::CONTROL),
        joins: take(&mut inbound, Protocol::JOIN),
        hints: take(&mut inbound, Protocol::HINTS),
        punches: take(&mut inbound, Protocol::PUNCH),
        dialbacks: take(&mut inbound, Protocol::DIALBACK),
    };
    let actor = Actor {
        key: key.clone(),
        swarm,
        reach: reach::Reach::new(settings, medium, outputs.reach.clone()),
        outputs,
        started: Instant::now(),
        plan: plan(settings, key.id(), medium),
        own_addresses: settings.public_addresses.clone(),
        connections: HashMap::new(),
        spare: HashMap::new(),
        bulk: bulk::Bulk::default(),
        controls: HashMap::new(),
        next_control: 0,
        trusts: HashMap::new(),
        news: broadcast::channel(TRUST_NEWS).0,
        waiting: BTreeMap::new(),
        opener: opener.clone(),
        lives: Lives::new(),
        sections,
        outgoing: watch::channel(BTreeMap::new()).0,
        stopping: watch::channel(false).0,
        events,
        gossip,
    };
    tokio::spawn(actor.run(queues));
    Ok((
        opener,
        Inputs {
            gossip: gossip_queue,
            streams: inbound,
        },
    ))
}

pub(crate) fn take(inbound: &mut streams::Inbound, protocol: Protocol) -> mpsc::Receiver<(NodeId, Stream)> {
    // A protocol that is not in the list has no streams: a closed queue says the same.
    inbound.remove(&protocol).unwrap_or_else(|| mpsc::channel(1).1)
}

/// What finds members on the local network; without it a node works as well, so that its failure is only told.
fn nearby(settings: &MeshSettings, key: &NodeKey) -> Option<mdns::tokio::Behaviour> {
    let peer = peer_of(&key.id()).filter(|_| settings.local_discovery)?;
    let behaviour = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
    behaviour
        .inspect_err(|error| tracing::warn!(%error, "members on the local network cannot be found by themselves"))
        .ok()
}

fn gossip() -> Result<gossipsub::Behaviour, TransportError> {
    let setup = |error: &dyn std::fmt::Display| TransportError::Setup(error.to_string());
    // Anonymous with content-hash ids: our own signature inside is verified once, after duplicates are gone. gossipsub's own
    // signatures are verified for every duplicate, which cost 2.7 times the CPU (measured).
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::new(&keys::ContentId::of(&message.data).0[..20]))
        .max_transmit_size(GOSSIP_BYTES_MAX)
        .validate_messages()
        .mesh_n(limits::GOSSIP_MESH)
        .mesh_n_low(limits::GOSSIP_MESH_LOW)
        .mesh_n_high(limits::GOSSIP_MESH_HIGH)
        .mesh_outbound_min(limits::GOSSIP_OUTBOUND_MIN)
        .heartbeat_initial_delay(limits::GOSSIP_HEARTBEAT)
        .heartbeat_interval(limits::GOSSIP_HEARTBEAT)
        .gossip_lazy(limits::GOSSIP_LAZY)
        .gossip_factor(limits::GOSSIP_FACTOR)
        .history_length(limits::GOSSIP_HISTORY)
        .history_gossip(limits::GOSSIP_HISTORY_TOLD)
        .iwant_followup_time(limits::GOSSIP_PATIENCE)
        .flood_publish(limits::GOSSIP_FLOOD_PUBLISH)
        .idontwant_message_size_threshold(limits::GOSSIP_CALL_OFF_BYTES)
        .duplicate_cache_time(limits::GOSSIP_KNOWN_FOR)
        .build()
        .map_err(|error| setup(&error))?;
    let mut gossip: gossipsub::Behaviour =
        gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).map_err(|error| setup(&error))?;
    let (params, thresholds) = scoring::parameters(gossipsub::IdentTopic::new(TOPIC).hash());
    gossip
        .with_peer_score(params, thresholds)
        .map_err(|error| setup(&error))?;
    for topic in [TOPIC, HINTS_TOPIC] {
        let subscribed = gossip.subscribe(&gossipsub::IdentTopic::new(topic));
        subscribed.map_err(|error| setup(&error))?;
    }
    Ok(gossip)
}

/// Everything that wakes the actor, besides the swarm.
struct Queues {
    commands: mpsc::Receiver<Command>,
    events: mpsc::Receiver<Event>,
    trusts: mpsc::Receiver<(NodeId, Stream)>,
    controls: mpsc::Receiver<(NodeId, Stream)>,
    joins: mpsc::Receiver<(NodeId, Stream)>,
    hints: mpsc::Receiver<(NodeId, Stream)>,
    punches: mpsc::Receiver<(NodeId, Stream)>,
    dialbacks: mpsc::Receiver<(NodeId, Stream)>,
}

impl Actor {
    /// Turns until the mesh stops. A panic on the way ends no mesh: it is told, every connection is closed, since nobody knows what
    /// was left half done, and all begins anew with the members, the commands and the queues that there are.
    async fn run(mut self, mut queues: Queues) {
        let done = loop {
            match AssertUnwindSafe(self.turn(&mut queues)).catch_unwind().await {
                Ok(done) => break done,
                Err(panic) => self.handle_panic(panic),
            }
        };
        self.handle_stop(done).await;
    }

    /// Runs until somebody wants the mesh to stop, and returns whom to tell.
    async fn turn(&mut self, queues: &mut Queues) -> oneshot::Sender<()> {
        self.publish_sections();
        // The first tick is at once: what ended while this node was off has ended.
        let mut time = tokio::time::interval(JUDGE_EVERY);
        let mut reach = tokio::time::interval(REACH_TICK);
        reach.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next_dial = self.plan.next().map(|elapsed| self.started + elapsed);
            tokio::select! {
                biased;
                command = queues.commands.recv() => match command {
                    Some(Command::Stop(done)) => return done,
                    Some(command) => self.handle_command(command),
                    // Every handle is gone: nobody needs this mesh any more.
                    None => return oneshot::channel().0,
                },
                Some(event) = queues.events.recv() => self.handle_event(event),
                Some((node, stream)) = queues.trusts.recv() => self.handle_trust_stream(node, stream, None),
                Some((node, stream)) = queues.controls.recv() => self.handle_control_stream(node, stream),
                Some((node, stream)) = queues.joins.recv() => self.handle_join_stream(node, stream),
                Some((node, stream)) = queues.hints.recv() => self.handle_hints_stream(node, stream),
                Some((node, stream)) = queues.punches.recv() => self.handle_punch_stream(node, stream),
                Some((node, stream)) = queues.dialbacks.recv() => self.handle_dialback_stream(node, stream),
                _ = time.tick() => self.handle_time(),
                _ = reach.tick() => self.handle_reach_tick(),
                Ok(()) = self.sections.changed() => self.publish_sections(),
                () = sleep_until(next_dial.unwrap_or_else(Instant::now)), if next_dial.is_some() => self.handle_dials_due(),
                event = self.swarm.select_next_some() => self.handle_swarm(event),
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Publish(content) => {
                let topic = gossipsub::IdentTopic::new(TOPIC);
                // Nobody subscribed, or full queues: reconciliation brings the change to the others.
                if let Err(error) = self.swarm.behaviour_mut().gossip.inner_mut().publish(topic, content) {
                    tracing::trace!(%error, "gossip not published");
                }
            }
            Command::Judge(ticket, verdict) => {
                let verdict = match verdict {
                    Verdict::Forward => gossipsub::MessageAcceptance::Accept,
                    Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
                    Verdict::Reject => gossipsub::MessageAcceptance::Reject,
                };
                let gossip = self.swarm.behaviour_mut().gossip.inner_mut();
                gossip.report_message_validation_result(&ticket.message, &ticket.source, verdict);
            }
            Command::Learn(certificates) => self.learn(certificates),
            Command::Decide(evidence, reply) => {
                let _ = reply.send(self.take(evidence, None));
            }
            Command::Addresses(reply) => {
                let _ = reply.send(self.own_addresses.clone());
            }
            Command::Doors(reply) => drop(reply.send(self.doors())),
            Command::Bulk(node, waiter) => self.handle_bulk_wanted(node, waiter),
            #[cfg(test)]
            Command::Panic(what) => std::panic::panic_any(what),
            // Handled by the caller, because it ends the loop.
            Command::Stop(done) => drop(done),
        }
    }

    fn handle_dials_due(&mut self) {
        for (node, addresses) in self.plan.due(self.started.elapsed()) {
            let Some(peer) = peer_of(&node) else { continue };
            let dial = DialOpts::peer_id(peer)
                .addresses(transport::multiaddresses(&addresses))
                .build();
            if let Err(error) = self.swarm.dial(dial) {
                tracing::debug!(node = %node.short(), %error, "dial not started");
                self.plan.failed(&node, self.started.elapsed(), jitter());
            }
        }
        for (node, ways) in self.plan.due_further(self.started.elapsed()) {
            if !self.dial_further(node, &ways) {
                self.plan.failed(&node, self.started.elapsed(), jitter());
            }
        }
    }

    fn handle_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.handle_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Streams(News::ForBlobs { node, connection })) => {
                self.handle_their_bulk(node, connection);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Streams(News::Moved {
                node,
                connection,
                address,
            })) => self.handle_moved(node, connection, address),
            SwarmEvent::Behaviour(BehaviourEvent::Nearby(mdns::Event::Discovered(found))) => self.handle_nearby(found),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                if let Some(node) = node_of(&peer_id).filter(|_| !self.is_bulk(connection_id)) {
                    self.handle_connected(node, connection_id, &endpoint);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, ..
            } => {
                let other = self.was_bulk(connection_id) || self.was_retired(&connection_id);
                let node = node_of(&peer_id);
                let spare = node.is_some_and(|node| self.was_spare(node, connection_id));
                if let Some(node) = node.filter(|_| !other && !spare) {
                    self.handle_disconnected(node, connection_id);
                }
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                connection_id,
            } => {
                let other = self.was_bulk(connection_id) || self.reach.was_punch(&connection_id);
                if let Some(node) = node_of(&peer).filter(|_| !other) {
                    tracing::debug!(node = %node.short(), error = %transport::why(&error), "dial failed");
                    self.plan.failed(&node, self.started.elapsed(), jitter());
                }
            }
            SwarmEvent::NewListenAddr { address, listener_id } => {
                self.handle_reserved(listener_id);
                if let Some(address) = transport::websocket_address(&address) {
                    self.handle_websocket_listens(address);
                }
                if let Some(address) = transport::quic_address(&address) {
                    if !self.own_addresses.contains(&address) {
                        self.own_addresses.push(address);
                    }
                    self.publish_sections();
                }
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => self.handle_unreserved(listener_id),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            _ => {}
        }
    }

    fn handle_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message {
            propagation_source,
            message_id,
            message,
        } = event
        else {
            return;
        };
        let Some(neighbour) = node_of(&propagation_source) else {
            return;
        };
        if message.topic == gossipsub::IdentTopic::new(HINTS_TOPIC).hash() {
            let verdict = self.handle_gossiped_hint(&message.data);
            let gossip = self.swarm.behaviour_mut().gossip.inner_mut();
            gossip.report_message_validation_result(&message_id, &propagation_source, verdict);
            return;
        }
        Counters::increment(&self.outputs.counters.gossip_received);
        let ticket = GossipTicket {
            message: message_id,
            source: propagation_source,
        };
        // Sideways to the node: never wait. What is dropped here comes again by reconciliation.
        if self
            .gossip
            .try_send(GossipMessage {
                content: message.data,
                neighbour,
                ticket,
            })
            .is_err()
        {
            Counters::increment(&self.outputs.counters.gossip_dropped);
        }
    }

    async fn handle_stop(mut self, done: oneshot::Sender<()>) {
        self.stopping.send_replace(true);
        let goodbye = async {
            // The link tasks write their goodbye; then every connection is closed with a close frame, so that no peer has to wait
            // for a timeout.
            let ended = async {
                let mut look = tokio::time::interval(Duration::from_millis(5));
                while self.controls.values().any(|(_, task)| !task.is_finished()) {
                    tokio::select! {
                        _ = self.swarm.select_next_some() => {}
                        _ = look.tick() => {}
                    }
                }
            };
            let _ = tokio::time::timeout(STOP_TIMEOUT / 2, ended).await;
            let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
            for peer in peers {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        let _ = done.send(());
    }
}

/// A random number in 0..1 that keeps nodes from redialling in step.
fn jitter() -> f64 {
    f64::from(u16::from_le_bytes(keys::identity::random_bytes())) / 65536.0
}
