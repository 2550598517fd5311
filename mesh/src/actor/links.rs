//! Links: one connection per pair of members, with the trust stream and then the control stream on it.

use std::time::Duration;

use keys::NodeId;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint},
    swarm::ConnectionId,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{ADDRESSES, Actor, Connection, Event, jitter};
use crate::{
    LinkPath, LinkView, Protocol, Stream,
    control::{self, Heard, LinkEnd},
    limits::{
        ADDRESS_BOOK_MAX, ADDRESSES_PER_NODE_MAX, DIALLED_AT_ONCE, LINK_EVENT_QUEUE, LINK_LAPSE, NEARBY_FOUND_MAX,
        REDIAL_FIRST, REDIAL_REFUSED, TRUST_FIRST, TRUST_STREAMS_MAX,
    },
    lives,
    membership::{node_of, peer_of},
    streams::{OpenError, Opener},
    transport::{self, quic_address},
    trust::{self, Ends, TrustEnd},
};

/// Opens a trust stream and waits until both sides have compared what they hold, but not for ever.
async fn open_trust(opener: &Opener, events: &mpsc::Sender<Event>, node: NodeId, id: ConnectionId) {
    if let Ok(stream) = opener.open(node, Protocol::TRUST, Some(id)).await {
        let (agreed, agreement) = oneshot::channel();
        // A stopped actor needs no news. The agreement ends with an error when its sender is dropped, which says the same.
        let _ = events.send(Event::Trusting(node, id, stream, agreed)).await;
        let _ = tokio::time::timeout(TRUST_FIRST, agreement).await;
    }
}

/// What the address section holds.
type AddressBook = Vec<(NodeId, Vec<std::net::SocketAddr>)>;

impl Actor {
    pub(super) fn handle_connected(&mut self, node: NodeId, id: ConnectionId, endpoint: &ConnectedPoint) {
        // Where both sides dialled at once through their routers, one of them was told to be the server.
        let dialled_by_us = matches!(
            endpoint,
            ConnectedPoint::Dialer {
                role_override: Endpoint::Dialer,
                ..
            }
        );
        let punched = self.reach.was_punch(&id);
        if self.outputs.roster.borrow().get(&node).is_none() {
            // A stranger that dialled us speaks first; one that we dialled must be told who we are.
            if dialled_by_us {
                self.present(node, id);
            }
            return;
        }
        let path = if punched {
            LinkPath::Punched
        } else {
            transport::path(endpoint)
        };
        self.connections.entry(node).or_default().push(Connection {
            id,
            dialled_by_us,
            path,
            since: Instant::now(),
            remote: endpoint.get_remote_address().clone(),
        });
        self.plan.connected(&node, dialled_by_us);
        self.replace_worse(node, endpoint, id);
        self.keep_one_connection(node);
        if dialled_by_us && self.has_connection(&node, id) {
            self.open_control(node, id, Duration::ZERO);
        }
    }

    /// After a simultaneous dial two connections stand; both sides keep the one that the lower id dialled. The other is closed when the
    /// streams on it are done.
    fn keep_one_connection(&mut self, node: NodeId) {
        let we_are_lower = self.key.id() < node;
        let Some(connections) = self.connections.get_mut(&node) else {
            return;
        };
        let preferred = |connection: &Connection| connection.dialled_by_us == we_are_lower;
        let Some(kept) = connections.iter().find(|one| preferred(one)).map(|one| one.id) else {
            return;
        };
        // Only the side that dialled a spare one closes it, so that the two sides never close each other's choice.
        let ours = connections.extract_if(.., |one| one.id != kept && one.dialled_by_us);
        let ours: Vec<Connection> = ours.collect();
        let theirs = connections.iter().filter(|one| !preferred(one));
        for id in theirs.map(|one| one.id).collect::<Vec<_>>() {
            self.retire(node, id, false);
        }
        self.replace(node, ours, |_| true);
    }

    /// Connections that others replace: no stream is opened on them any more, and those that are ours to close are closed when the streams on
    /// them are done. Until then they are spare ones.
    pub(super) fn replace(&mut self, node: NodeId, replaced: Vec<Connection>, close: impl Fn(&Connection) -> bool) {
        for connection in replaced {
            self.retire(node, connection.id, close(&connection));
            self.spare.entry(node).or_default().push(connection);
        }
    }

    /// A connection is gone: whether it was a spare one.
    pub(super) fn was_spare(&mut self, node: NodeId, id: ConnectionId) -> bool {
        let Some(spare) = self.spare.get_mut(&node) else {
            return false;
        };
        let gone = spare.extract_if(.., |one| one.id == id).count();
        if spare.is_empty() {
            self.spare.remove(&node);
        }
        gone > 0
    }

    /// The last connection of a link is gone, and one that it had replaced may stand. So it is when a node dials in two ways at once, takes the
    /// first that answers and drops the other, which is the better one to us: the link must not be lost with it.
    fn take_up_spare(&mut self, node: NodeId) -> bool {
        let best = self.spare.get_mut(&node).and_then(|spare| {
            let best = spare.iter().enumerate().max_by_key(|(_, one)| one.path.rank())?.0;
            Some(spare.swap_remove(best))
        });
        let Some(connection) = best else { return false };
        let (id, path, dialled_by_us) = (connection.id, connection.path, connection.dialled_by_us);
        self.connections.insert(node, vec![connection]);
        self.bring_back(id);
        self.plan_better(node, path, dialled_by_us);
        // A control stream that is on it goes on.
        self.outputs
            .view
            .send_if_modified(|view| match view.links.get_mut(&node) {
                Some(link) => std::mem::replace(&mut link.path, path) != path,
                None => false,
            });
        if dialled_by_us {
            self.open_control(node, id, Duration::ZERO);
        }
        true
    }

    pub(super) fn handle_disconnected(&mut self, node: NodeId, id: ConnectionId) {
        let Some(connections) = self.connections.get_mut(&node) else {
            return;
        };
        let before = connections.len();
        connections.retain(|connection| connection.id != id);
        if connections.len() == before {
            // A spare one that was given up before.
            return;
        }
        match connections.first() {
            // A spare one has gone, and the control stream may well be on the one that stays: to open another would tear it. If it was on
            // the one that is gone it ends in a moment, and is opened anew then.
            Some(remaining) if self.controls.get(&node).is_some_and(|(_, task)| !task.is_finished()) => {
                self.swarm.behaviour_mut().streams.reinstate(remaining.id);
            }
            Some(remaining) if remaining.dialled_by_us => {
                let remaining = remaining.id;
                self.swarm.behaviour_mut().streams.reinstate(remaining);
                self.open_control(node, remaining, Duration::ZERO);
            }
            Some(remaining) => self.swarm.behaviour_mut().streams.reinstate(remaining.id),
            None => {
                self.connections.remove(&node);
                if self.take_up_spare(node) {
                    return;
                }
                self.plan.lost(&node, self.started.elapsed(), jitter());
                self.drop_link(&node);
            }
        }
    }

    /// Ends what runs on the connections with a node.
    pub(super) fn drop_link(&mut self, node: &NodeId) {
        for (_, trust) in self.trusts.remove(node).unwrap_or_default() {
            trust.abort();
        }
        self.drop_reach(node);
        self.drop_control(node);
    }

    /// Members that called themselves out on the local network are dialled there. Anybody can call out anything: a wrong address costs a
    /// dial, at which the other side cannot prove the member's key.
    pub(super) fn handle_nearby(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, multiaddress) in found.into_iter().take(NEARBY_FOUND_MAX) {
            let Some(node) = node_of(&peer).filter(|node| self.outputs.roster.borrow().get(node).is_some()) else {
                continue;
            };
            let address = quic_address(&multiaddress);
            if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
                self.plan.learn_nearby(node, address, self.started.elapsed());
            }
        }
    }

    fn drop_control(&mut self, node: &NodeId) {
        if let Some((_, task)) = self.controls.remove(node) {
            task.abort();
            tracing::info!(node = %self.name(node), "link lost");
        }
        self.outputs
            .view
            .send_if_modified(|view| match view.links.get_mut(node) {
                Some(link) => std::mem::replace(&mut link.connected, false),
                None => false,
            });
    }

    /// What people call a node.
    pub(super) fn name(&self, node: &NodeId) -> String {
        self.outputs
            .roster
            .borrow()
            .get(node)
            .map_or_else(|| node.short(), |member| member.name.clone())
    }

    /// Opens the trust stream, waits until both sides agree who is a member, and opens the control stream. A member of the release
    /// before has no trust stream, and neither has one to whom we are strangers; the control stream tells which.
    fn open_control(&self, node: NodeId, id: ConnectionId, after: Duration) {
        let (opener, events) = (self.opener.clone(), self.events.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            open_trust(&opener, &events, node, id).await;
            let event = match opener.open(node, Protocol::CONTROL, Some(id)).await {
                Ok(stream) => Event::Opened(node, id, stream),
                Err(error) => Event::NotOpened(node, id, error),
            };
            // A stopped actor needs no news.
            let _ = events.send(event).await;
        });
    }

    /// Runs a trust stream, ours or theirs. When both sides have dialled there are two for a moment; the one on the connection that
    /// is closed ends with it.
    pub(super) fn handle_trust_stream(&mut self, node: NodeId, stream: Stream, agreed: Option<oneshot::Sender<()>>) {
        if !self.connections.contains_key(&node) {
            return;
        }
        let events = self.events.clone();
        let (report, mut told) = tokio::sync::mpsc::channel(LINK_EVENT_QUEUE);
        let ends = Ends {
            neighbour: node,
            roster: self.outputs.roster.subscribe(),
            news: self.news.subscribe(),
            report,
            agreed,
        };
        self.next_control += 1;
        let number = self.next_control;
        let task = tokio::spawn(async move {
            let forward = async {
                while let Some(evidence) = told.recv().await {
                    if events.send(Event::Told(node, evidence)).await.is_err() {
                        return;
                    }
                }
            };
            let (end, ()) = tokio::join!(trust::run(stream, ends), forward);
            tracing::debug!(node = %node.short(), reason = %end, "trust stream ended");
            let misused = matches!(end, TrustEnd::Malformed);
            let _ = events.send(Event::TrustEnded(node, number, misused)).await;
        });
        let running = self.trusts.entry(node).or_default();
        if running.len() >= TRUST_STREAMS_MAX {
            running.remove(0).1.abort();
        }
        running.push((number, task.abort_handle()));
    }

    /// A link without a trust stream would not hear of a revocation: the side that dialled opens another.
    fn handle_trust_end(&mut self, node: NodeId, number: u64, misused: bool) {
        let Some(running) = self.trusts.get_mut(&node) else {
            return;
        };
        running.retain(|(other, _)| *other != number);
        let ours = self.connections.get(&node);
        let ours = ours.and_then(|all| all.iter().find(|one| one.dialled_by_us));
        if let (Some(connection), true) = (ours, running.is_empty()) {
            let (opener, events, id) = (self.opener.clone(), self.events.clone(), connection.id);
            let after = if misused { REDIAL_REFUSED } else { REDIAL_FIRST };
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                open_trust(&opener, &events, node, id).await;
            });
        }
    }

    pub(super) fn handle_event(&mut self, event: Event) {
        match event {
            Event::Opened(node, id, stream) => {
                if self.has_connection(&node, id) {
                    self.handle_control_stream(node, stream);
                    self.open_hints(node, id, Duration::ZERO);
                }
            }
            Event::Trusting(node, id, stream, agreed) => {
                if self.has_connection(&node, id) {
                    self.handle_trust_stream(node, stream, Some(agreed));
                }
            }
            Event::TrustEnded(node, number, misused) => self.handle_trust_end(node, number, misused),
            Event::Told(node, evidence) => {
                // Refusals were said in the log.
                let _ = self.take(evidence, Some(node));
            }
            Event::NotOpened(node, id, OpenError::Refused(..)) => self.present(node, id),
            Event::NotOpened(node, id, error) => {
                tracing::debug!(node = %self.name(&node), %error, "no control stream");
                if self.has_connection(&node, id) {
                    self.open_control(node, id, REDIAL_FIRST);
                }
            }
            Event::Heard(node, control, heard) => {
                if self.controls.get(&node).is_some_and(|(present, _)| *present == control) {
                    self.handle_heard(node, heard);
                }
            }
            Event::Lapsed(node, control) => {
                if self.controls.get(&node).is_some_and(|(present, _)| *present == control) {
                    self.drop_control(&node);
                }
            }
            Event::Ended(node, control, end) => self.handle_link_end(node, control, &end),
            Event::Asked(node, asked, reply) => {
                let _ = reply.send(self.judge_join(node, asked));
            }
            Event::Presented(node, id, result) => self.handle_presented(node, id, result),
            Event::Reach(event) => self.handle_reach_event(event),
        }
    }

    pub(super) fn handle_control_stream(&mut self, node: NodeId, stream: Stream) {
        let Some(path) = self
            .connections
            .get(&node)
            .and_then(|all| all.last())
            .map(|one| one.path)
        else {
            return;
        };
        if let Some(id) = stream.on() {
            self.abandon_older(node, id);
        }
        self.next_control += 1;
        let control = self.next_control;
        let task = self.spawn_link(node, control, stream);
        if let Some((_, old)) = self.controls.insert(node, (control, task)) {
            old.abort();
        } else {
            tracing::info!(node = %self.name(&node), ?path, "link stands");
        }
        self.outputs.view.send_modify(|view| {
            let sections = view.links.remove(&node).map(|old| old.sections).unwrap_or_default();
            let link = LinkView {
                connected: true,
                path,
                round_trip: None,
                since: Instant::now(),
                heard: Instant::now(),
                sections,
            };
            view.links.insert(node, link);
        });
        self.publish_sections();
    }

    /// The other side dialled anew and says that its link is there: it has forgotten connections that it dialled before, perhaps with the life
    /// in which it did. Without this they would stand here until QUIC gives them up, and what runs on them would wait for nobody. The same
    /// is true of connections that this side dialled, unless both have dialled at once.
    fn abandon_older(&mut self, node: NodeId, id: ConnectionId) {
        let Some(connections) = self.connections.get_mut(&node) else {
            return;
        };
        let Some(place) = connections.iter().position(|one| one.id == id && !one.dialled_by_us) else {
            return;
        };
        let since = connections[place].since;
        let is_forgotten =
            |one: &mut Connection| !one.dialled_by_us || since.duration_since(one.since) > DIALLED_AT_ONCE;
        let older: Vec<_> = connections.extract_if(..place, is_forgotten).collect();
        if older.is_empty() {
            return;
        }
        for connection in older {
            self.retire(node, connection.id, true);
        }
        self.swarm.behaviour_mut().streams.reinstate(id);
    }

    fn spawn_link(&self, node: NodeId, control: u64, stream: Stream) -> tokio::task::AbortHandle {
        let (sections, stop) = (self.outgoing.subscribe(), self.stopping.subscribe());
        let events = self.events.clone();
        let task = tokio::spawn(async move {
            let (report, mut heard) = tokio::sync::mpsc::channel(LINK_EVENT_QUEUE);
            let forward = async {
                while let Some(heard) = heard.recv().await {
                    if events.send(Event::Heard(node, control, heard)).await.is_err() {
                        return;
                    }
                }
            };
            let (end, ()) = tokio::join!(control::run(stream, sections, stop, report), forward);
            let _ = events.send(Event::Ended(node, control, end)).await;
        });
        task.abort_handle()
    }

    fn handle_heard(&mut self, node: NodeId, heard: Heard) {
        if let Heard::Announce { section, content } = &heard
            && section == ADDRESSES
        {
            self.learn_addresses(content);
            return;
        }
        if let Heard::Announce { section, content } = &heard
            && section == lives::SECTION
        {
            self.handle_life(node, content);
        }
        self.outputs.view.send_modify(|view| {
            let Some(link) = view.links.get_mut(&node) else { return };
            link.heard = Instant::now();
            match heard {
                Heard::Heartbeat { round_trip } => link.round_trip = round_trip.or(link.round_trip),
                Heard::Announce { section, content } => {
                    link.sections.insert(section, content.into());
                }
            }
        });
    }

    fn handle_life(&mut self, node: NodeId, section: &[u8]) {
        let now = Instant::now();
        if self.lives.warns(self.key.id(), section, now) {
            tracing::error!(
                told_by = %self.name(&node),
                "another process runs with this node's key, as when its data directory was copied: stop one of the two; \
                 a second machine joins by an invite, into an empty directory"
            );
        }
        if self.lives.heard(node, section, now) {
            tracing::warn!(
                node = %self.name(&node),
                "two processes run with the key of this member, as when its data directory was copied: one of them must be stopped"
            );
            self.publish_sections();
        }
        self.show_doubled(now);
    }

    /// Forgets what was seen of lives a while ago.
    pub(super) fn age_lives(&mut self) {
        let roster = self.outputs.roster.borrow().clone();
        self.lives.retain(|node| roster.get(node).is_some());
        self.show_doubled(Instant::now());
        self.publish_sections();
    }

    fn show_doubled(&self, now: Instant) {
        let doubled = self.lives.doubled(now);
        self.outputs
            .view
            .send_if_modified(|view| std::mem::replace(&mut view.doubled, doubled.clone()) != doubled);
    }

    fn handle_link_end(&mut self, node: NodeId, control: u64, end: &LinkEnd) {
        if self.controls.get(&node).is_none_or(|(present, _)| *present != control) {
            return;
        }
        tracing::debug!(node = %self.name(&node), reason = %end, "control stream ended");
        let broken = matches!(end, LinkEnd::Silent | LinkEnd::Malformed | LinkEnd::Left);
        let ours = self
            .connections
            .get(&node)
            .and_then(|all| all.iter().find(|one| one.dialled_by_us))
            .map(|one| one.id);
        if broken || !self.connections.contains_key(&node) {
            self.drop_control(&node);
        } else {
            // Mostly one that another has replaced, which is here in a moment: the link is not lost for that.
            let events = self.events.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINK_LAPSE).await;
                let _ = events.send(Event::Lapsed(node, control)).await;
            });
        }
        match (broken, ours, peer_of(&node)) {
            // The stream went with a spare connection, or was reset: the side that dialled opens another.
            (false, Some(id), _) => self.open_control(node, id, REDIAL_FIRST),
            (false, None, _) => {}
            // TCP does not notice a dead peer by itself; a fresh connection is dialled at once.
            (true, _, Some(peer)) => drop(self.swarm.disconnect_peer_id(peer)),
            (true, _, None) => {}
        }
    }

    fn learn_addresses(&mut self, content: &[u8]) {
        let Ok((book, [])) = postcard::take_from_bytes::<AddressBook>(content) else {
            return;
        };
        let roster = self.outputs.roster.borrow().clone();
        let mut news = false;
        for (node, addresses) in book.into_iter().take(ADDRESS_BOOK_MAX) {
            if node == self.key.id() || roster.get(&node).is_none() {
                continue;
            }
            let linked = self.connections.contains_key(&node);
            let addresses = addresses.into_iter().take(ADDRESSES_PER_NODE_MAX);
            news |= self.plan.learn(node, addresses, self.started.elapsed());
            if linked {
                self.plan.still_connected(&node);
            }
        }
        // The neighbours may not know it either; what is known goes no further, so that this ends.
        if news {
            self.publish_sections();
        }
    }

    /// Hands the node's sections and our address book to the links.
    pub(super) fn publish_sections(&mut self) {
        let mut book: AddressBook = vec![(self.key.id(), self.own_addresses.clone())];
        for node in self.controls.keys().take(ADDRESS_BOOK_MAX - 1) {
            book.push((*node, self.plan.addresses(node)));
        }
        book.sort();
        let own = [
            (ADDRESSES, postcard::to_stdvec(&book).unwrap_or_default()),
            (lives::SECTION, self.lives.section(Instant::now())),
        ];
        let mut sections = self.sections.borrow_and_update().clone();
        self.outgoing.send_modify(|outgoing| {
            for (name, content) in own {
                let known = outgoing.get(name);
                let same = known.is_some_and(|(_, old)| **old == *content);
                let version = known.map_or(0, |(version, _)| *version) + u64::from(!same);
                sections.insert(name.to_owned(), (version, content.into()));
            }
            *outgoing = sections;
        });
    }
}
