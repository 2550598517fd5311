//! The task that owns the graph: it tells of this node's links, takes in what others tell, and runs a stream with every neighbour.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use keys::{NodeId, NodeKey, Signed, Timestamp, membership::Roster};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Held, LinkState, Stamp, Topology,
    exchange::{self, Asked, Ends},
    own::{Measured, OwnLinks},
};
use crate::{
    MeshView, Protocol, Stream,
    limits::{LINK_STATE_PUBLISH, LINK_STATE_QUEUE, LINK_STREAM_AGAIN, LINK_STREAM_REFUSED, LINKS_LOOK},
    streams::{OpenError, Opener},
    transport::Meters,
};

/// What the task needs of the mesh.
pub(crate) struct Parts {
    pub(crate) key: NodeKey,
    pub(crate) opener: Opener,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) view: watch::Receiver<MeshView>,
    pub(crate) meters: Meters,
    pub(crate) inbound: mpsc::Receiver<(NodeId, Stream)>,
}

/// How a neighbour's stream ended.
struct Ended {
    node: NodeId,
    number: u64,
    again_at: Instant,
}

struct Spread {
    parts: Parts,
    topology: Topology,
    publish: watch::Sender<Arc<Topology>>,
    own: OwnLinks,
    stamp: Stamp,
    started: Instant,
    report: mpsc::Sender<Held>,
    asked: Asked,
    streams: JoinSet<Ended>,
    /// The stream of each neighbour, and until when none is opened to whom.
    running: HashMap<NodeId, (u64, tokio::task::AbortHandle)>,
    resting: HashMap<NodeId, Instant>,
    next_number: u64,
    /// Whether the graph has become another one since it was published.
    changed: bool,
}

/// Starts the task; it ends with the mesh.
pub(crate) fn spawn(parts: Parts) -> watch::Receiver<Arc<Topology>> {
    let (publish, published) = watch::channel(Arc::default());
    let (report, reports) = mpsc::channel(LINK_STATE_QUEUE);
    let spread = Spread {
        parts,
        topology: Topology::default(),
        publish,
        own: OwnLinks::default(),
        stamp: Stamp {
            started: Timestamp::now(),
            sequence: 0,
        },
        started: Instant::now(),
        report,
        asked: Asked::default(),
        streams: JoinSet::new(),
        running: HashMap::new(),
        resting: HashMap::new(),
        next_number: 0,
        changed: false,
    };
    tokio::spawn(spread.run(reports));
    published
}

impl Spread {
    async fn run(mut self, mut reports: mpsc::Receiver<Held>) {
        let mut look = tokio::time::interval(LINKS_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut publish = tokio::time::interval(LINK_STATE_PUBLISH);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.handle_roster();
        loop {
            tokio::select! {
                biased;
                // The actor is gone, and with it the mesh.
                () = self.parts.opener.closed() => return,
                Ok(()) = self.parts.roster.changed() => self.handle_roster(),
                Some((node, stream)) = self.parts.inbound.recv() => self.handle_stream(node, stream),
                Some(ended) = self.streams.join_next() => self.handle_ended(ended.ok()),
                _ = publish.tick(), if self.changed => self.publish(),
                Some(held) = reports.recv() => self.handle_told(held),
                _ = look.tick() => self.handle_look(),
            }
        }
    }

    fn handle_roster(&mut self) {
        let roster = self.parts.roster.borrow_and_update().clone();
        self.changed |= self.topology.follow(&roster);
    }

    fn publish(&mut self) {
        self.changed = false;
        self.publish.send_replace(Arc::new(self.topology.clone()));
    }

    fn handle_told(&mut self, held: Held) {
        if held.signed.author() == self.parts.key.id() {
            // Said before this node started anew, or by a copy of it: what it says now shall count.
            if held.state.stamp >= self.stamp {
                self.stamp = Stamp {
                    started: held.state.stamp.started.plus(1),
                    sequence: 0,
                };
                self.own = OwnLinks::default();
            }
            return;
        }
        self.changed |= self.topology.take(held);
    }

    fn handle_look(&mut self) {
        let links = self.measured();
        self.open_streams(links.keys().copied().collect());
        self.changed |= self.topology.expire(Instant::now());
        let members = self.topology.members();
        if let Some(links) = self.own.look(&links, members, self.started.elapsed()) {
            self.stamp.sequence += 1;
            let state = LinkState {
                mesh: self.parts.roster.borrow().mesh(),
                stamp: self.stamp,
                links,
            };
            match Signed::sign(&self.parts.key, &state) {
                Ok(signed) => {
                    let made = Instant::now();
                    self.changed |= self.topology.take(Held { state, signed, made });
                }
                Err(error) => tracing::warn!(%error, "this node's links were not signed"),
            }
        }
    }

    fn measured(&self) -> BTreeMap<NodeId, Measured> {
        let view = self.parts.view.borrow();
        let standing = view.links.iter().filter(|(_, link)| link.connected);
        standing
            .map(|(node, link)| {
                let metered = self.parts.meters.read(node);
                let measured = Measured {
                    path: link.path,
                    round_trip: link.round_trip,
                    loss: metered.and_then(|metered| metered.loss),
                    bytes: metered.map(|metered| (metered.sent, metered.received)),
                };
                (*node, measured)
            })
            .collect()
    }

    /// The lower id opens the stream of a link; where both do for a moment, both serve.
    fn open_streams(&mut self, linked: Vec<NodeId>) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        for node in linked {
            let opens = self.parts.key.id() < node;
            if opens && !self.running.contains_key(&node) && !self.resting.contains_key(&node) {
                let (opener, ends) = (self.parts.opener.clone(), self.ends());
                self.spawn(node, async move {
                    match opener.open(node, Protocol::LINKS, None).await {
                        Ok(stream) => {
                            let end = exchange::run(stream, ends).await;
                            tracing::debug!(node = %node.short(), reason = %end, "a stream about links ended");
                            LINK_STREAM_AGAIN
                        }
                        Err(OpenError::Refused(..)) => LINK_STREAM_REFUSED,
                        Err(_) => LINK_STREAM_AGAIN,
                    }
                });
            }
        }
    }

    fn handle_stream(&mut self, node: NodeId, stream: Stream) {
        let ends = self.ends();
        self.spawn(node, async move {
            let end = exchange::run(stream, ends).await;
            tracing::debug!(node = %node.short(), reason = %end, "a stream about links ended");
            LINK_STREAM_AGAIN
        });
    }

    /// Runs a neighbour's stream instead of the one before.
    fn spawn(&mut self, node: NodeId, running: impl Future<Output = std::time::Duration> + Send + 'static) {
        self.next_number += 1;
        let number = self.next_number;
        let task = self.streams.spawn(async move {
            let rest = running.await;
            Ended {
                node,
                number,
                again_at: Instant::now() + rest,
            }
        });
        if let Some((_, old)) = self.running.insert(node, (number, task)) {
            old.abort();
        }
    }

    fn handle_ended(&mut self, ended: Option<Ended>) {
        let Some(Ended { node, number, again_at }) = ended else {
            return;
        };
        if self.running.get(&node).is_some_and(|(present, _)| *present == number) {
            self.running.remove(&node);
            self.resting.insert(node, again_at);
        }
    }

    fn ends(&self) -> Ends {
        Ends {
            mesh: self.parts.roster.borrow().mesh(),
            topology: self.publish.subscribe(),
            asked: self.asked.clone(),
            report: self.report.clone(),
        }
    }
}
