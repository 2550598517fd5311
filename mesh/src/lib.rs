//! Whom can I reach?
//!
//! `mesh` connects the nodes that a [`Roster`] names and lets them exchange named byte
//! streams, gossip and announcements. It knows neither what is replicated nor what is computed: `crdt` and `inference` own the
//! bytes, and `node` joins them.
//!
//! ## Parts
//! - `transport`: QUIC by a transport of our own, so that connections survive a change of address, with TCP + noise + yamux as the
//!   fall-back, raced by libp2p's smart dial, and a WebSocket over TLS where nothing else passes.
//! - `gate` and `streams`: what a connection may speak is decided when it is established, from the roster, after TLS has proven
//!   the other side's key. A stranger is offered [`Protocol::JOIN`] and nothing else: not gossip, not identify, not ping.
//! - `join`: redeeming an invite, and proving a membership that the other side has not heard of.
//! - `trust`: before anything else two members agree on who is a member; whoever was revoked loses its connections at once.
//! - `control`: one stream per link with heartbeats every 250 ms and the newest announcement of each section. Load and offers
//!   travel here, never through gossip, where each message would cost every node CPU time.
//! - [`blobs`]: files by their content, from several nodes at once, verified group by group, paced so that tokens keep flowing.
//! - [`liveness`]: who is there, of members that are linked and of those that are not; a pure state machine, driven by a task of its own.
//! - `lives`: whether somebody runs two nodes with one key.
//! - [`topology`]: who is linked with whom in the whole mesh, and the routes through it.
//! - `dial`: whom to dial and when; a pure state machine.
//! - `dialback`: a member tries to reach another from outside, so that closed ports are known before they are missed.
//! - [`hints`], `relays`, `punch`, `reach`: where members can be found, reservations of nodes behind routers, links through a third
//!   member and how they become direct, and what a node knows of how it is seen.
//! - `actor`: owns the swarm, the roster and the links; everything above is driven by its one `select!`.
//!
//! ## Journeys
//! *A frame of gossip*: [`Mesh::publish`] -> actor -> gossipsub -> the other node's actor -> its gossip queue -> the owner judges
//! it ([`Mesh::judge`]) -> only then is it forwarded.
//!
//! *A stream*: [`Mesh::open`] -> the stream behaviour -> the connection's handler -> negotiated -> the other side answers OK or
//! BUSY -> its owner takes it from the protocol's queue.
//!
//! *A link*: the dialler opens the control stream; heartbeats measure the round trip; silence of ten seconds or a closed
//! connection ends the link; the dial plan dials again for ever.

mod actor;
pub mod blobs;
mod control;
mod counters;
pub mod decoders;
mod dial;
mod dialback;
pub mod frame;
#[cfg(test)]
#[path = "../tests/nodes/free_address.rs"]
mod free_address;
mod gate;
pub mod hints;
mod join;
pub mod limits;
pub mod liveness;
mod lives;
mod membership;
mod protocol;
mod punch;
mod reach;
mod relays;
mod scoring;
mod streams;
pub mod topology;
mod transport;
mod trust;
mod view;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use keys::{
    NodeId, NodeKey,
    membership::{Certificate, Decree, Evidence, MembershipError, Roster},
};
use tokio::sync::{mpsc, oneshot, watch};

pub use counters::CounterValues;
pub use dialback::{Attempt, Dialback, DialbackError, Outcome};
pub use join::{JoinError, Joined, join};
pub use protocol::Protocol;
pub use reach::{Reachability, is_public};
pub use streams::{OpenError, Stream};
pub use transport::{Congestion, TransportError};
pub use view::{LinkPath, LinkView, MemberView, MeshView, ReachView, TaskView};

use crate::{
    actor::Command,
    control::Sections,
    counters::Counters,
    limits::{COMMAND_QUEUE, SECTION_BYTES_MAX, SECTIONS_ANNOUNCED_MAX},
    liveness::{Recovery, Standing},
    streams::Opener,
    topology::Topology,
    transport::Medium,
};

/// How a node takes part in the mesh.
#[derive(Clone, Debug)]
pub struct MeshSettings {
    /// Where to listen, UDP (QUIC) and TCP on the same port.
    pub listen: SocketAddr,
    /// Where to listen for WebSockets over TLS, for members whose network lets nothing else through; usually port 443.
    pub websocket: Option<SocketAddr>,
    /// Members to dial first, with an address each.
    pub bootstrap: Vec<(NodeId, SocketAddr)>,
    /// Addresses under which others can reach this node besides those it listens on (a forwarded port, for example).
    pub public_addresses: Vec<SocketAddr>,
    /// Whether members on the local network are found by themselves (mDNS).
    pub local_discovery: bool,
    /// How fast QUIC sends.
    pub congestion: Congestion,
    /// Whether members that cannot reach each other are linked through a third one, here and for others.
    pub relaying: bool,
}

impl MeshSettings {
    /// Of a node that is reached where it listens, dials nobody by itself and calls out to nobody nearby.
    #[must_use]
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            websocket: None,
            bootstrap: Vec::new(),
            public_addresses: Vec::new(),
            local_discovery: false,
            congestion: Congestion::default(),
            relaying: true,
        }
    }
}

/// A gossip message that waits for its owner's judgement.
#[derive(Debug)]
pub struct GossipMessage {
    /// What was published.
    pub content: Vec<u8>,
    /// The neighbour that forwarded it (not its author).
    pub neighbour: NodeId,
    /// Hand this back with [`Mesh::judge`].
    pub ticket: GossipTicket,
}

/// Names a gossip message that waits for judgement.
#[derive(Debug)]
pub struct GossipTicket {
    pub(crate) message: libp2p::gossipsub::MessageId,
    pub(crate) source: libp2p::PeerId,
}

/// What the owner thinks of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good: forward it.
    Forward,
    /// Not needed or not decidable now: do not forward, blame nobody.
    Ignore,
    /// Bad: do not forward, and let the neighbour's score fall.
    Reject,
}

/// A section is too large or there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an announcement has at most {SECTION_BYTES_MAX} bytes in each of at most {SECTIONS_ANNOUNCED_MAX} sections")]
pub struct AnnounceError;

/// Receivers of what others send; each has one owner.
#[derive(Debug)]
pub struct Inputs {
    /// Gossip of members, at most [`limits::GOSSIP_QUEUE`] waiting; more is dropped and counted.
    pub gossip: mpsc::Receiver<GossipMessage>,
    /// Inbound streams by protocol.
    pub streams: HashMap<Protocol, mpsc::Receiver<(NodeId, Stream)>>,
}

/// Handle to a running mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    node: NodeId,
    commands: mpsc::Sender<Command>,
    opener: Opener,
    sections: Arc<watch::Sender<Sections>>,
    roster: watch::Receiver<Arc<Roster>>,
    view: watch::Receiver<MeshView>,
    topology: watch::Receiver<Arc<Topology>>,
    reach: watch::Receiver<ReachView>,
    liveness: mpsc::Sender<liveness::driver::Command>,
    liveness_status: watch::Receiver<TaskView>,
    counters: Arc<Counters>,
    meters: transport::Meters,
}

impl Mesh {
    /// Starts listening and dialling. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the port is taken or the network cannot be used.
    pub fn start(settings: &MeshSettings, key: &NodeKey, roster: Roster) -> Result<(Self, Inputs), TransportError> {
        Self::start_over(Medium::Network, settings, key, roster, Recovery::ON)
    }

    /// The same; what repairs false alarms about members can be switched off, to show what it is for.
    ///
    /// # Errors
    /// When the port is taken or the network cannot be used.
    pub fn start_with(
        settings: &MeshSettings,
        key: &NodeKey,
        roster: Roster,
        recovery: Recovery,
    ) -> Result<(Self, Inputs), TransportError> {
        Self::start_over(Medium::Network, settings, key, roster, recovery)
    }

    /// The same for a mesh whose nodes are all in this process: no socket is opened, addresses are places in memory, and each node keeps `dials_max`
    /// links by dialling. For tests and measurements with more nodes than a machine has sockets for.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start_in_memory(
        settings: &MeshSettings,
        dials_max: usize,
        key: &NodeKey,
        roster: Roster,
    ) -> Result<(Self, Inputs), TransportError> {
        Self::start_over(Medium::Memory { dials_max }, settings, key, roster, Recovery::ON)
    }

    fn start_over(
        medium: Medium,
        settings: &MeshSettings,
        key: &NodeKey,
        roster: Roster,
        recovery: Recovery,
    ) -> Result<(Self, Inputs), TransportError> {
        let counters = Arc::new(Counters::default());
        let (roster_sender, roster) = watch::channel(Arc::new(roster));
        let (view_sender, view) = watch::channel(MeshView::default());
        let (reach_sender, reach) = watch::channel(ReachView::default());
        let (sections, sections_seen) = watch::channel(Sections::new());
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let outputs = actor::Outputs {
            roster: roster_sender,
            view: view_sender.clone(),
            reach: reach_sender,
            counters: counters.clone(),
        };
        let meters = transport::Meters::default();
        let (opener, mut inputs) = actor::spawn(
            (settings, medium),
            (key, &meters),
            outputs,
            sections_seen,
            command_queue,
        )?;
        let topology = topology::spread::spawn(topology::spread::Parts {
            key: key.clone(),
            opener: opener.clone(),
            roster: roster.clone(),
            view: view.clone(),
            meters: meters.clone(),
            inbound: actor::take(&mut inputs.streams, Protocol::LINKS),
        });
        let members = liveness::driver::Parts {
            own: key.id(),
            opener: opener.clone(),
            roster: roster.clone(),
            view: view_sender,
            counters: counters.clone(),
            recovery,
        };
        let inbound = actor::take(&mut inputs.streams, Protocol::LIVENESS);
        let (liveness, liveness_status) = liveness::driver::spawn(members, inbound);
        let sections = Arc::new(sections);
        Ok((
            Self {
                node: key.id(),
                commands,
                opener,
                sections,
                roster,
                view,
                topology,
                reach,
                liveness,
                liveness_status,
                counters,
                meters,
            },
            inputs,
        ))
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The members as this node knows them now.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.borrow().clone()
    }

    /// Changes of the roster.
    #[must_use]
    pub fn roster_updates(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.clone()
    }

    /// Links, round trips and announcements, always current.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<MeshView> {
        self.view.clone()
    }

    /// Who is linked with whom in the whole mesh, as far as this node has heard.
    #[must_use]
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.clone()
    }

    /// Whether and how others can reach this node, always current.
    #[must_use]
    pub fn reach(&self) -> watch::Receiver<ReachView> {
        self.reach.clone()
    }

    /// The bytes sent and received on the connections with a node that stand now.
    #[must_use]
    pub fn bytes(&self, node: &NodeId) -> Option<(u64, u64)> {
        self.meters.read(node).map(|metered| (metered.sent, metered.received))
    }

    /// Says to every member what this node is ready for from now on; a mesh begins as [`Standing::Joining`].
    pub async fn stand(&self, standing: Standing) {
        // A stopped mesh has nobody to tell.
        let _ = self.liveness.send(liveness::driver::Command::Stand(standing)).await;
    }

    /// How the task does that sees to who is there.
    #[must_use]
    pub fn liveness_task(&self) -> TaskView {
        self.liveness_status.borrow().clone()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.counters.values()
    }

    /// Opens a byte stream to a member and waits until its owner there has room for it, at most [`limits::OPEN_TIMEOUT`].
    ///
    /// # Errors
    /// Why there is no stream.
    pub async fn open(&self, node: NodeId, protocol: Protocol) -> Result<Stream, OpenError> {
        self.opener.open(node, protocol, None).await
    }

    /// Has a member try to reach this node at its addresses as a newcomer would, and reads its clock, within
    /// [`limits::OPEN_TIMEOUT`] and [`limits::DIALBACK_TIMEOUT`].
    ///
    /// # Errors
    /// Why it did not.
    pub async fn dial_back(&self, node: NodeId) -> Result<Dialback, DialbackError> {
        dialback::ask(self.open(node, Protocol::DIALBACK).await?).await
    }

    /// The token streams that are open on this node, in either direction; bulk gives way to them.
    #[must_use]
    pub fn token_streams(&self) -> blobs::TokenStreams {
        self.opener.token_streams().clone()
    }

    /// Opens a stream for blobs: on a connection of its own where one can be had, so that bulk holds up nothing else, otherwise beside
    /// the other streams.
    pub(crate) async fn open_for_blobs(&self, node: NodeId) -> Result<Stream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let asked = self.commands.send(Command::Bulk(node, reply)).await;
        asked.map_err(|_| OpenError::Stopped)?;
        let found = tokio::time::timeout(limits::OPEN_TIMEOUT, answer).await;
        if let Ok(Ok(Some(connection))) = found {
            match self.opener.open(node, Protocol::BULK, Some(connection)).await {
                // It closed in between, or never was one.
                Err(OpenError::NotConnected(_) | OpenError::Refused(..) | OpenError::Broken(..)) => {}
                opened => return opened,
            }
        }
        self.opener.open(node, Protocol::BLOB, None).await
    }

    /// Gossips `content` to every member. Loss is possible; reconciliation repairs it.
    pub async fn publish(&self, content: Vec<u8>) {
        // A stopped mesh has nobody to tell.
        let _ = self.commands.send(Command::Publish(content)).await;
    }

    /// Says whether a gossip message may be forwarded.
    pub async fn judge(&self, ticket: GossipTicket, verdict: Verdict) {
        let _ = self.commands.send(Command::Judge(ticket, verdict)).await;
    }

    /// Takes in certificates that came by another way (the replicated member records).
    pub async fn learn(&self, certificates: Vec<Certificate>) {
        let _ = self.commands.send(Command::Learn(certificates)).await;
    }

    /// Takes in decisions of the root or an operator and tells every neighbour; whoever is put out by them loses its connections.
    ///
    /// # Errors
    /// The first reason for which one of them is refused; the others count.
    pub async fn decide(&self, decrees: Vec<Decree>) -> Result<(), MembershipError> {
        let (reply, answer) = oneshot::channel();
        let evidence = decrees.into_iter().map(Evidence::Decree).collect();
        let _ = self.commands.send(Command::Decide(evidence, reply)).await;
        // A stopped mesh decides nothing, and is not asked again.
        answer.await.unwrap_or(Ok(()))
    }

    /// Announces the newest content of `section` to every neighbour; an older one not yet sent is skipped.
    ///
    /// # Errors
    /// When it is too large or there are too many sections; nothing changes then.
    pub fn announce(&self, section: &str, content: Vec<u8>) -> Result<(), AnnounceError> {
        let mut result = Ok(());
        self.sections.send_if_modified(|sections| {
            let known = sections.get(section);
            let room = known.is_some() || sections.len() < SECTIONS_ANNOUNCED_MAX;
            if content.len() > SECTION_BYTES_MAX || section.len() > limits::SECTION_NAME_BYTES_MAX || !room {
                result = Err(AnnounceError);
                return false;
            }
            if known.is_some_and(|(_, old)| **old == *content) {
                return false;
            }
            let version = known.map_or(0, |(version, _)| *version) + 1;
            sections.insert(section.to_owned(), (version, content.into()));
            true
        });
        result
    }

    /// The addresses this node listens on.
    pub async fn listen_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(Command::Addresses).await
    }

    /// Where linked members can be reached by whoever does not know them yet, one address each, the best first: where this node has
    /// dialled them, or where they listen and are seen.
    pub async fn doors(&self) -> Vec<(NodeId, SocketAddr)> {
        self.addresses(Command::Doors).await
    }

    /// Asks for addresses; a stopped mesh has none.
    async fn addresses<A>(&self, question: fn(oneshot::Sender<Vec<A>>) -> Command) -> Vec<A> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(question(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Says to every member that this node is gone, then goodbye to every neighbour, and closes the connections, within
    /// [`limits::LIVENESS_FAREWELL`] and [`limits::STOP_TIMEOUT`].
    pub async fn stop(&self) {
        let (reply, left) = oneshot::channel();
        let _ = self.liveness.send(liveness::driver::Command::Leave(reply)).await;
        // An error means that the task is gone already.
        let _ = left.await;
        let (reply, done) = oneshot::channel();
        let _ = self.commands.send(Command::Stop(reply)).await;
        // An error means that the actor is gone already.
        let _ = done.await;
    }
}
