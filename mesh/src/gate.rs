//! The gate: a behaviour of libp2p exists only on connections of members.
//!
//! libp2p asks every behaviour for a handler when a connection is established, after TLS has proven the other side's key. For a
//! stranger [`Gated`] answers with a handler that offers no protocol at all and hides the connection from the inner behaviour,
//! so that no byte of a stranger reaches it.

use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
    },
};

use crate::membership::Membership;

/// `B` on connections of members, nothing on those of strangers.
pub(crate) struct Gated<B> {
    inner: B,
    membership: Membership,
    admitted: HashMap<PeerId, HashSet<ConnectionId>>,
}

impl<B: NetworkBehaviour> Gated<B> {
    pub(crate) fn new(inner: B, membership: Membership) -> Self {
        Self {
            inner,
            membership,
            admitted: HashMap::new(),
        }
    }

    pub(crate) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    fn admit(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        let member = self.membership.is_member(&peer);
        if member {
            self.admitted.entry(peer).or_default().insert(connection);
        }
        member
    }

    fn is_admitted(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.admitted
            .get(peer)
            .is_some_and(|connections| connections.contains(&connection))
    }

    fn forget(&mut self, peer: &PeerId, connection: ConnectionId) -> usize {
        let Some(connections) = self.admitted.get_mut(peer) else {
            return 0;
        };
        connections.remove(&connection);
        let remaining = connections.len();
        if remaining == 0 {
            self.admitted.remove(peer);
        }
        remaining
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gated<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admit(peer, connection) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner
            .handle_established_inbound_connection(connection, peer, local, remote)
            .map(Either::Left)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admit(peer, connection) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner
            .handle_established_outbound_connection(connection, peer, address, role_override, port_use)
            .map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // The counts that libp2p gives include connections of the time before the peer was admitted; the inner behaviour must
        // see only those that it was asked about.
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                if self.is_admitted(&established.peer_id, established.connection_id) {
                    let other_established = self.admitted[&established.peer_id].len() - 1;
                    let seen = ConnectionEstablished {
                        other_established,
                        ..established
                    };
                    self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(seen));
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                if self.is_admitted(&closed.peer_id, closed.connection_id) {
                    let remaining_established = self.forget(&closed.peer_id, closed.connection_id);
                    let seen = ConnectionClosed {
                        remaining_established,
                        ..closed
                    };
                    self.inner.on_swarm_event(FromSwarm::ConnectionClosed(seen));
                }
            }
            FromSwarm::AddressChange(change) => {
                if self.is_admitted(&change.peer_id, change.connection_id) {
                    self.inner.on_swarm_event(FromSwarm::AddressChange(change));
                }
            }
            // Failures belong to no established connection; a connection refused by another behaviour after this one admitted it
            // is forgotten here.
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.forget(&peer, failure.connection_id);
                }
                self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
            }
            FromSwarm::ListenFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.forget(&peer, failure.connection_id);
                }
                self.inner.on_swarm_event(FromSwarm::ListenFailure(failure));
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, connection, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx).map(|event| event.map_in(Either::Left))
    }
}
