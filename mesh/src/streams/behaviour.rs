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
    Offers, Open, OpenError,
    handler::{CarriesBlobs, Handler, Offer},
};
use crate::{
    Protocol,
    counters::Counters,
    limits::STRANGER_CONNECTIONS_MAX,
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

/// A connection that the other side dialled is for blobs and nothing else.
#[derive(Debug)]
pub(crate) struct ForBlobs {
    pub(crate) node: NodeId,
    pub(crate) connection: ConnectionId,
}

pub(crate) struct Behaviour {
    membership: Membership,
    offers: Offers,
    requests: mpsc::Receiver<Open>,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    strangers: HashSet<ConnectionId>,
    /// Connections for blobs: other streams are opened there only on purpose.
    bulk: HashSet<ConnectionId>,
    news: VecDeque<ForBlobs>,
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
            counters,
        }
    }

    /// Says that a connection, standing or yet to be dialled, is for blobs.
    pub(crate) fn mark_bulk(&mut self, connection: ConnectionId) {
        self.bulk.insert(connection);
    }

    fn forget(&mut self, connection: &ConnectionId) {
        self.strangers.remove(connection);
        self.bulk.remove(connection);
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
            member,
            bulk: self.bulk.contains(&connection),
            bulk_news: false,
            offer: Offer(offered.clone()),
            inboxes: self.offers.inboxes.clone(),
            opens: VecDeque::new(),
            answering: FuturesUnordered::new(),
            counters: self.counters.clone(),
            tokens: self.offers.tokens.clone(),
        })
    }

    /// The connection a request goes to, if there is one and we may speak the protocol there.
    fn destination(&self, open: &Open) -> Option<(PeerId, ConnectionId)> {
        let peer = peer_of(&open.node)?;
        let connections = self.connections.get(&peer)?;
        let usable = |connection: &&ConnectionId| {
            let wanted = match open.connection {
                Some(wanted) => wanted == **connection,
                None => !self.bulk.contains(connection),
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
    type ToSwarm = ForBlobs;

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
            self.news.push_back(ForBlobs { node, connection });
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<ForBlobs, THandlerInEvent<Self>>> {
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
