//! The swarm's side of the stream behaviour: decides per connection what is offered, and routes requests to open.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::stream::FuturesUnordered;
use keys::NodeId;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use tokio::sync::mpsc;

use super::{
    Lease, Offers, Open, OpenError,
    handler::{CarriesBlobs, Handler, Offer},
};
use crate::{
    Protocol,
    counters::Counters,
    limits::{MOVES_WAITING_MAX, STRANGER_CONNECTIONS_MAX},
    membership::{Membership, node_of, peer_of},
};

/// Too many strangers, or a key that no member can have.
#[derive(Debug)]
struct Denied(&'static str);

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Denied {}

/// What becomes known about a connection.
#[derive(Debug)]
pub(crate) enum News {
    /// One that the other side dialled is for blobs and nothing else.
    ForBlobs { node: NodeId, connection: ConnectionId },
    /// The other side's packets come from elsewhere now.
    Moved {
        node: NodeId,
        connection: ConnectionId,
        address: Multiaddr,
    },
}

pub(crate) struct Behaviour {
    membership: Membership,
    offers: Offers,
    requests: mpsc::Receiver<Open>,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    strangers: HashSet<ConnectionId>,
    /// Connections for blobs: other streams are opened there only on purpose.
    bulk: HashSet<ConnectionId>,
    news: VecDeque<News>,
    /// Per connection what each stream on it holds that is somebody's work.
    leases: HashMap<ConnectionId, Lease>,
    /// Connections that a better one has replaced: no stream is opened there any more.
    retired: HashSet<ConnectionId>,
    counters: Arc<Counters>,
}

impl Behaviour {
    pub(super) fn new(
        membership: Membership,
        offers: Offers,
        requests: mpsc::Receiver<Open>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            membership,
            offers,
            requests,
            connections: HashMap::new(),
            strangers: HashSet::new(),
            bulk: HashSet::new(),
            news: VecDeque::new(),
            leases: HashMap::new(),
            retired: HashSet::new(),
            counters,
        }
    }

    /// Says that a connection, standing or yet to be dialled, is for blobs.
    pub(crate) fn mark_bulk(&mut self, connection: ConnectionId) {
        self.bulk.insert(connection);
    }

    /// Says that a better connection has replaced this one.
    pub(crate) fn retire(&mut self, connection: ConnectionId) {
        self.retired.insert(connection);
    }

    /// Whether nobody works on a connection.
    pub(crate) fn is_idle(&self, connection: &ConnectionId) -> bool {
        // Held here and by the connection's handler; more is a stream.
        self.leases
            .get(connection)
            .is_none_or(|lease| Arc::strong_count(lease) <= 2)
    }

    fn forget(&mut self, connection: &ConnectionId) {
        self.strangers.remove(connection);
        self.bulk.remove(connection);
        self.leases.remove(connection);
        self.retired.remove(connection);
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        let node = node_of(&peer).ok_or_else(|| ConnectionDenied::new(Denied("the key is not ed25519")))?;
        let member = self.membership.is_member(&peer);
        if !member {
            Counters::increment(&self.counters.strangers_met);
            if self.strangers.len() >= STRANGER_CONNECTIONS_MAX {
                return Err(ConnectionDenied::new(Denied("too many strangers at once")));
            }
            self.strangers.insert(connection);
        }
        let offered = if member {
            &self.offers.for_members
        } else {
            &self.offers.for_strangers
        };
        Ok(Handler {
            node,
            connection,
            member,
            bulk: self.bulk.contains(&connection),
            bulk_news: false,
            offer: Offer(offered.clone()),
            inboxes: self.offers.inboxes.clone(),
            names: self.offers.names.clone(),
            opens: VecDeque::new(),
            answering: FuturesUnordered::new(),
            counters: self.counters.clone(),
            tokens: self.offers.tokens.clone(),
            lease: self.leases.entry(connection).or_default().clone(),
        })
    }

    /// The connection a request goes to, if there is one and we may speak the protocol there.
    fn destination(&self, open: &Open) -> Option<(PeerId, ConnectionId)> {
        let peer = peer_of(&open.node)?;
        let connections = self.connections.get(&peer)?;
        let usable = |connection: &&ConnectionId| {
            let wanted = match open.connection {
                Some(wanted) => wanted == **connection,
                None => !self.bulk.contains(connection) && !self.retired.contains(connection),
            };
            wanted && (open.protocol == Protocol::JOIN || !self.strangers.contains(connection))
        };
        connections
            .iter()
            .rev()
            .find(usable)
            .map(|connection| (peer, *connection))
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = News;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role_override: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.connections
                    .entry(established.peer_id)
                    .or_default()
                    .push(established.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.forget(&closed.connection_id);
                if let Some(connections) = self.connections.get_mut(&closed.peer_id) {
                    connections.retain(|connection| *connection != closed.connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&closed.peer_id);
                    }
                }
            }
            FromSwarm::AddressChange(change) => {
                // A peer moves at most once a second; more than a few that were not taken yet are of the same moment.
                if let Some(node) = node_of(&change.peer_id).filter(|_| self.news.len() < MOVES_WAITING_MAX) {
                    self.news.push_back(News::Moved {
                        node,
                        connection: change.connection_id,
                        address: change.new.get_remote_address().clone(),
                    });
                }
            }
            FromSwarm::DialFailure(failure) => {
                self.forget(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.forget(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        CarriesBlobs: THandlerOutEvent<Self>,
    ) {
        self.bulk.insert(connection);
        if let Some(node) = node_of(&peer) {
            // Once for each connection, so it is bounded by them.
            self.news.push_back(News::ForBlobs { node, connection });
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<News, THandlerInEvent<Self>>> {
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(news));
        }
        while let Poll::Ready(Some(open)) = self.requests.poll_recv(cx) {
            match self.destination(&open) {
                Some((peer_id, connection)) => {
                    let handler = NotifyHandler::One(connection);
                    return Poll::Ready(ToSwarm::NotifyHandler {
                        peer_id,
                        handler,
                        event: open,
                    });
                }
                None => {
                    let node = open.node;
                    let _ = open.reply.send(Err(OpenError::NotConnected(node)));
                }
            }
        }
        Poll::Pending
    }
}
