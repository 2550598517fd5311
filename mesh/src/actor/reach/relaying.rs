//! Relays and direct connections: reservations, circuits, both routers opened at once, and the relayed connection's end.

use std::num::NonZeroU32;

use libp2p::{core::ConnectedPoint, swarm::behaviour::toggle::Toggle};

use super::*;
use crate::{
    limits::{
        RELAY_ASK_EVERY, RELAY_ASKS_BURST, RELAY_CIRCUIT_LIVES, RELAY_CIRCUITS_MAX, RELAY_CIRCUITS_PER_MEMBER,
        RELAY_RESERVATIONS_MAX, RELAY_RESERVATIONS_PER_MEMBER,
    },
    membership::node_of,
};

/// What carries circuits for others, on a node that may: its certificate has the role. It begins when the node is found to be public.
pub(in crate::actor) fn server(peer: PeerId, may: bool) -> Toggle<relay::Behaviour> {
    let empty = relay::Config {
        max_reservations: RELAY_RESERVATIONS_MAX,
        max_reservations_per_peer: RELAY_RESERVATIONS_PER_MEMBER,
        reservation_rate_limiters: vec![],
        max_circuits: RELAY_CIRCUITS_MAX,
        max_circuits_per_peer: RELAY_CIRCUITS_PER_MEMBER,
        max_circuit_duration: RELAY_CIRCUIT_LIVES,
        // Not limited: a circuit carries answers and, where there is no other way, files.
        max_circuit_bytes: 0,
        circuit_src_rate_limiters: vec![],
        ..relay::Config::default()
    };
    let burst = NonZeroU32::new(RELAY_ASKS_BURST).unwrap_or(NonZeroU32::MIN);
    let config = empty
        .reservation_rate_per_peer(burst, RELAY_ASK_EVERY)
        .circuit_src_per_peer(burst, RELAY_ASK_EVERY);
    let mut server = relay::Behaviour::new(peer, config);
    server.set_status(Some(relay::Status::Disable));
    may.then_some(server).into()
}

/// What asks relays for circuits.
pub(in crate::actor) fn client(client: relay::client::Behaviour, uses: bool) -> Toggle<relay::client::Behaviour> {
    uses.then_some(client).into()
}

impl Actor {
    /// A node that is public and may carry circuits begins to, and one that is public no longer ends.
    pub(super) fn judge_own_reach(&mut self) {
        let may = self.has_role(&self.key.id(), Roles::RELAY) && self.reach.relaying;
        let carries = may && self.reachability() == Reachability::Public;
        if std::mem::replace(&mut self.reach.carries, carries) == carries {
            return;
        }
        for address in &self.own_addresses {
            // A relay that names no address of its own gives no reservation.
            self.swarm.add_external_address(transport::quic_multiaddress(address));
        }
        let status = if carries {
            relay::Status::Enable
        } else {
            relay::Status::Disable
        };
        if let Some(server) = self.swarm.behaviour_mut().relay.inner_mut().as_mut() {
            server.set_status(Some(status));
        }
        tracing::info!(carries, "circuits of members that cannot reach each other");
    }

    fn has_role(&self, node: &NodeId, role: Roles) -> bool {
        let roster = self.outputs.roster.borrow();
        roster.get(node).is_some_and(|member| member.roles.contains(role))
    }

    fn is_relay(&self, node: &NodeId) -> bool {
        self.has_role(node, Roles::RELAY) && self.reach.book.get(node).is_some_and(|hint| hint.carries)
    }

    /// Where a relay is: at the other end of a direct link, or where it says it is.
    fn relay_address(&self, relay: &NodeId) -> Option<Multiaddr> {
        let said = || {
            self.reach
                .book
                .get(relay)?
                .addresses
                .first()
                .map(transport::quic_multiaddress)
        };
        self.direct_connection(relay)
            .map(|one| one.remote.clone())
            .or_else(said)
    }

    /// Keeps reservations at relays while this node is not public.
    pub(super) fn keep_reservations(&mut self, now: Elapsed) {
        if !self.reach.relaying || self.reachability() == Reachability::Public {
            return;
        }
        let linked = self
            .controls
            .keys()
            .filter(|node| self.direct_connection(node).is_some());
        let mut candidates: Vec<NodeId> = linked.filter(|node| self.is_relay(node)).copied().collect();
        // Each node has its own order, so that homes spread over the relays.
        let own = self.key.id();
        candidates.sort_by_cached_key(|relay| *blake3::hash(&[own.0, relay.0].concat()).as_bytes());
        for node in self.reach.relays.due(&candidates, now, jitter()) {
            let (Some(address), Some(peer)) = (self.relay_address(&node), peer_of(&node)) else {
                continue;
            };
            match self.swarm.listen_on(transport::circuit(&address, peer, None)) {
                Ok(listener) => drop(self.reach.listeners.insert(listener, node)),
                Err(error) => {
                    tracing::debug!(relay = %self.name(&node), %error, "a relay could not be asked");
                    self.reach.relays.lost(node, now, jitter());
                }
            }
        }
    }

    /// A relay holds a reservation for this node.
    pub(in crate::actor) fn handle_reserved(&mut self, listener: ListenerId) {
        if let Some(relay) = self.reach.listeners.get(&listener).copied()
            && self.reach.relays.held(relay)
        {
            tracing::info!(relay = %self.name(&relay), "reachable through a relay");
        }
    }

    /// A reservation ended or was refused; another is asked for.
    pub(in crate::actor) fn handle_unreserved(&mut self, listener: ListenerId) {
        if let Some(relay) = self.reach.listeners.remove(&listener)
            && self.reach.relays.lost(relay, self.started.elapsed(), jitter())
        {
            tracing::info!(relay = %self.name(&relay), "reachable through a relay no longer");
        }
    }

    /// Dials the further ways to a node, beside its direct ones. Says whether a dial is under way.
    pub(in crate::actor) fn dial_further(&mut self, node: NodeId, ways: &Ways) -> bool {
        let Some(peer) = peer_of(&node) else { return false };
        let mut addresses: Vec<Multiaddr> = ways.websockets.iter().map(transport::over_websocket).collect();
        let mut relays: Vec<&NodeId> = ways.relays.iter().filter(|relay| self.is_relay(relay)).collect();
        // Where a link stands already nothing must be dialled first.
        relays.sort_by_key(|relay| !self.controls.contains_key(relay));
        if self.reach.relaying {
            for relay in relays.into_iter().take(RELAYS_HELD) {
                if let (Some(at), Some(relay)) = (self.relay_address(relay), peer_of(relay)) {
                    addresses.push(transport::circuit(&at, relay, Some(peer)));
                }
            }
        }
        if addresses.is_empty() {
            return false;
        }
        // The direct dial goes on beside it.
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(addresses)
            .build();
        self.swarm.dial(dial).is_ok()
    }

    /// A connection stands: the best ones replace those that are worse.
    pub(in crate::actor) fn replace_worse(&mut self, node: NodeId, endpoint: &ConnectedPoint, id: ConnectionId) {
        if let Some(relay) = transport::relay_of(endpoint).as_ref().and_then(node_of) {
            self.reach.through.insert(id, relay);
        }
        let Some(connections) = self.connections.get_mut(&node) else {
            return;
        };
        let Some(best) = connections.iter().max_by_key(|one| one.path.rank()).map(|one| one.path) else {
            return;
        };
        let worse: Vec<_> = connections
            .extract_if(.., |one| one.path.rank() < best.rank())
            .collect();
        let dialled = connections.iter().all(|one| one.dialled_by_us);
        // A relay does not know what its circuits are for: whoever dialled it closes the worse connection when no circuit is on it.
        self.replace(node, worse, |one| one.dialled_by_us || !one.path.is_direct());
        self.plan_better(node, best, dialled);
    }

    /// What is not the best way to a node is to become better.
    pub(in crate::actor) fn plan_better(&mut self, node: NodeId, best: LinkPath, dialled: bool) {
        let now = self.started.elapsed();
        let at = match (best, dialled) {
            (LinkPath::Quic | LinkPath::Punched, _) => None,
            // The side to which the circuit came begins at once; the other waits and dials the direct ways once more.
            (LinkPath::Relayed, false) => Some(now),
            (LinkPath::Relayed, true) => Some(now + PUNCH_AGAIN_FIRST),
            (LinkPath::Tcp | LinkPath::WebSocket, true) => Some(now + BETTER_FIRST),
            (LinkPath::Tcp | LinkPath::WebSocket, false) => None,
        };
        match at {
            Some(at) => drop(self.reach.turns.insert(node, NextTry { tries: 0, at })),
            None => drop(self.reach.turns.remove(&node)),
        }
    }

    /// Tries links in a better way, again and again, but seldom.
    pub(super) fn try_better_ways(&mut self, now: Elapsed) {
        let due: Vec<NodeId> = self
            .reach
            .turns
            .iter()
            .filter(|(_, turn)| turn.at <= now)
            .map(|(node, _)| *node)
            .collect();
        for node in due {
            let Some(connection) = self.connections.get(&node).and_then(|all| all.first()) else {
                self.reach.turns.remove(&node);
                continue;
            };
            let (dialled_by_us, id, path) = (connection.dialled_by_us, connection.id, connection.path);
            if !dialled_by_us && self.reach.observations.addresses().is_empty() {
                // Nobody has said yet how this node is seen; it will be told in a moment.
                continue;
            }
            if let Some(turn) = self.reach.turns.get_mut(&node) {
                let wait = (PUNCH_AGAIN_FIRST * 4_u32.saturating_pow(turn.tries.min(6))).min(PUNCH_AGAIN_MAX);
                turn.tries = turn.tries.saturating_add(1);
                turn.at = now + wait.mul_f64(0.75 + jitter() / 2.0);
            }
            if dialled_by_us {
                self.dial_again(node, path);
            } else if path == LinkPath::Relayed {
                self.begin_punch(node, id);
            }
        }
    }

    /// Dials the ways to a node that are better than the present one.
    pub(super) fn dial_again(&mut self, node: NodeId, present: LinkPath) {
        let known = self.plan.all_addresses(&node);
        let addresses = match present {
            LinkPath::Tcp => known.iter().map(transport::quic_multiaddress).collect(),
            _ => transport::multiaddresses(&known),
        };
        let (Some(peer), false) = (peer_of(&node), addresses.is_empty()) else {
            return;
        };
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses)
            .build();
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(node = %self.name(&node), %error, "not dialled in a better way");
        }
    }

    fn begin_punch(&self, node: NodeId, id: ConnectionId) {
        let (opener, events, own) = (self.opener.clone(), self.events.clone(), self.own_way());
        tokio::spawn(async move {
            // A member of the release before has no such protocol; the link stays relayed.
            let Ok(stream) = opener.open(node, Protocol::PUNCH, Some(id)).await else {
                return;
            };
            agree(node, stream, (Turn::Begins, own), events).await;
        });
    }

    /// How the other side of a relayed link could come to this node directly.
    fn own_way(&self) -> Way {
        Way {
            addresses: self.reach.observations.addresses(),
            symmetric: self.reachability() == Reachability::Symmetric,
        }
    }

    /// The other side of a relayed link wants to go the direct way.
    pub(in crate::actor) fn handle_punch_stream(&self, node: NodeId, stream: Stream) {
        if self.is_relayed(&node) {
            tokio::spawn(agree(
                node,
                stream,
                (Turn::Answers, self.own_way()),
                self.events.clone(),
            ));
        }
    }

    /// Both sides agreed: they dial now, or wait as a server and open the router.
    pub(super) fn punch(&mut self, node: NodeId, side: Side, addresses: &[SocketAddr]) {
        let addresses: Vec<_> = addresses.iter().map(transport::quic_multiaddress).collect();
        let (Some(peer), true, false) = (peer_of(&node), self.is_relayed(&node), addresses.is_empty()) else {
            return;
        };
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses);
        let dial = match side {
            Side::Opens => dial.override_role().allocate_new_port().build(),
            Side::Dials => dial.build(),
        };
        let id = dial.connection_id();
        if self.swarm.dial(dial).is_ok() {
            self.reach.punches.insert(id, node);
        }
    }

    /// No stream is opened on a connection any more, because there is a better one; it is closed, if that is up to us, when the streams
    /// on it are done.
    pub(in crate::actor) fn retire(&mut self, node: NodeId, id: ConnectionId, close: bool) {
        self.swarm.behaviour_mut().streams.retire(id);
        if close {
            self.reach.retired.insert(id, (node, Instant::now()));
        }
    }

    /// A connection that had been replaced is the one to use again.
    pub(in crate::actor) fn bring_back(&mut self, id: ConnectionId) {
        self.swarm.behaviour_mut().streams.reinstate(id);
        self.reach.retired.remove(&id);
    }

    /// Closes connections that were replaced and that nobody works on any more, neither by streams nor by circuits.
    pub(super) fn close_retired(&mut self) {
        let streams = &self.swarm.behaviour().streams;
        let through = &self.reach.through;
        let done = |id: &ConnectionId, (node, since): &(NodeId, Instant)| {
            let carries = !through.contains_key(id) && through.values().any(|relay| relay == node);
            since.elapsed() >= RETIRED_MIN && streams.is_idle(id) && !carries
        };
        let retired = self.reach.retired.iter();
        let done: Vec<ConnectionId> = retired.filter(|(id, one)| done(id, one)).map(|(id, _)| *id).collect();
        for id in done {
            self.reach.retired.remove(&id);
            self.swarm.close_connection(id);
        }
    }

    /// A connection is gone: whether it was one that had been replaced.
    pub(in crate::actor) fn was_retired(&mut self, id: &ConnectionId) -> bool {
        self.reach.through.remove(id);
        self.reach.retired.remove(id).is_some()
    }
}

async fn agree(node: NodeId, stream: Stream, (turn, own): (Turn, Way), events: mpsc::Sender<Event>) {
    match punch::agree(stream, turn, own).await {
        Ok((side, addresses)) => {
            // A stopped actor needs no news.
            let agreed = ReachEvent::Agreed(node, side, addresses);
            let _ = events.send(Event::Reach(agreed)).await;
        }
        Err(error) => tracing::debug!(node = %node.short(), %error, "no agreement to dial each other directly"),
    }
}
