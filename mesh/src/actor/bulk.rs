//! A second connection with a member, for blobs and nothing else: what waits in it does not hold up tokens and control, neither in
//! a window that both would share nor in a TCP stream.
//!
//! The side that fetches dials it when it first needs it, to where the link's packets come from, so that home routers let it through; it closes
//! by itself when nothing has used it for a while. The first stream on it has the name of
//! [`Protocol::BULK`](crate::Protocol::BULK), by which the other side knows what it is for. Until then the other side takes it for a
//! link; where it could then close the real one, as after a simultaneous dial, none is dialled and blobs go over the link.

use std::collections::{HashMap, HashSet};

use keys::NodeId;
use libp2p::swarm::{
    ConnectionId,
    dial_opts::{DialOpts, PeerCondition},
};
use tokio::sync::oneshot;

use super::Actor;
use crate::{LinkPath, counters::Counters, limits::BULK_WAITERS_MAX, membership::peer_of};

/// Who wants to know of a connection for blobs; nothing when there can be none.
pub(crate) type Waiter = oneshot::Sender<Option<ConnectionId>>;

/// The connections for blobs.
#[derive(Default)]
pub(super) struct Bulk {
    /// Those that we dialled, with who waits for them until they stand.
    ours: HashMap<NodeId, (ConnectionId, Option<Vec<Waiter>>)>,
    /// Those that others dialled.
    theirs: HashSet<ConnectionId>,
}

impl Bulk {
    /// Takes note that a connection stands. Says whether it is one of these.
    fn stands(&mut self, id: ConnectionId) -> bool {
        let Some((_, waiters)) = self.ours.values_mut().find(|(known, _)| *known == id) else {
            return false;
        };
        for waiter in waiters.take().into_iter().flatten() {
            // Whoever gave up meanwhile needs no answer.
            let _ = waiter.send(Some(id));
        }
        true
    }

    /// Takes note that a connection is closed or could not be dialled. Says whether it was one of these.
    fn gone(&mut self, id: ConnectionId, counters: &Counters) -> bool {
        let node = self.ours.iter().find(|(_, (known, _))| *known == id);
        let node = node.map(|(node, _)| *node);
        // Dropping those who wait tells them that there is none.
        let ours = node.and_then(|node| self.ours.remove(&node)).is_some();
        if ours {
            Counters::increment(&counters.bulk_closed);
        }
        self.theirs.remove(&id) || ours
    }
}

impl Actor {
    /// Finds or dials the connection for blobs with a node.
    pub(super) fn handle_bulk_wanted(&mut self, node: NodeId, waiter: Waiter) {
        match self.bulk.ours.get_mut(&node) {
            Some((id, None)) => drop(waiter.send(Some(*id))),
            // One too many is told that there is none by being dropped.
            Some((_, Some(waiters))) if waiters.len() < BULK_WAITERS_MAX => waiters.push(waiter),
            Some(_) => {}
            None => {
                if let Some(dial) = self.bulk_dial(&node) {
                    let id = dial.connection_id();
                    self.swarm.behaviour_mut().streams.mark_bulk(id);
                    if self.swarm.dial(dial).is_ok() {
                        Counters::increment(&self.outputs.counters.bulk_dialled);
                        self.bulk.ours.insert(node, (id, Some(vec![waiter])));
                    }
                }
            }
        }
    }

    /// How to dial it, if the other side cannot mistake it for a simultaneous dial.
    fn bulk_dial(&self, node: &NodeId) -> Option<DialOpts> {
        let link = self.connections.get(node)?.first()?;
        let safe = link.dialled_by_us || self.key.id() > *node;
        // Nothing listens where an inbound TCP connection comes from; QUIC has one socket for both directions.
        // And a second circuit would carry no more than the first.
        let reaches = match link.path {
            LinkPath::Quic | LinkPath::Punched => true,
            LinkPath::Tcp | LinkPath::WebSocket => link.dialled_by_us,
            LinkPath::Relayed => false,
        };
        let dial = DialOpts::peer_id(peer_of(node)?)
            .condition(PeerCondition::Always)
            .addresses(vec![link.remote.clone()])
            .build();
        (safe && reaches).then_some(dial)
    }

    /// Whether this connection, which now stands, is for blobs.
    pub(super) fn is_bulk(&mut self, id: ConnectionId) -> bool {
        self.bulk.stands(id)
    }

    /// Whether this connection, which is gone, was for blobs.
    pub(super) fn was_bulk(&mut self, id: ConnectionId) -> bool {
        self.bulk.gone(id, &self.outputs.counters)
    }

    /// The other side said what a connection that it dialled is for: it is no link.
    pub(super) fn handle_their_bulk(&mut self, node: NodeId, id: ConnectionId) {
        self.bulk.theirs.insert(id);
        let links = self.connections.get(&node);
        if links.is_some_and(|links| links.iter().all(|link| link.id == id)) {
            self.handle_disconnected(node, id);
        } else if let Some(links) = self.connections.get_mut(&node) {
            links.retain(|link| link.id != id);
        }
    }
}
