//! The task that drives the liveness core: it feeds it with the links and the roster of the mesh, carries its frames, and publishes what
//! follows in [`MeshView::members`].
//!
//! *One truth*: a heartbeat is heard once, by the actor, and noted in [`crate::LinkView::heard`]. Whether a link may be used follows from that
//! alone; whether its member is there is asked of others, too. Both wait for the same time ([`crate::limits::SUSPECT_AFTER`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::FutureExt;
use keys::{NodeId, Timestamp, identity::random_bytes, membership::Roster};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{Duration, Instant, MissedTickBehavior},
};

use super::{
    Claim, Liveness, Message, Outgoing, Recovery, Rumour, Standing, State, Tag,
    stream::{self, StreamEnd},
};
use crate::{
    MemberView, MeshView, Protocol, Stream, TaskView,
    counters::Counters,
    limits::{
        COMMAND_QUEUE, LIVENESS_AHEAD_MAX_MS, LIVENESS_FAREWELL, LIVENESS_QUEUE, LIVENESS_REPORT_QUEUE,
        LIVENESS_RESTART, LIVENESS_STREAM_AGAIN, LIVENESS_STREAM_REFUSED, LIVENESS_TICK,
    },
    streams::{OpenError, Opener},
};

/// What the handle asks of the task.
pub(crate) enum Command {
    /// This node is ready for something else.
    Stand(Standing),
    /// This node stops: its neighbours are told, and then whoever asked.
    Leave(oneshot::Sender<()>),
    /// A fault that tests bring about.
    #[cfg(test)]
    Panic,
}

/// What the task needs of the mesh.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) own: NodeId,
    pub(crate) opener: Opener,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    /// Its links are the actor's; its members are published here.
    pub(crate) view: watch::Sender<MeshView>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) recovery: Recovery,
}

/// Everything that wakes the task, besides its own streams; it outlives a panic.
struct Queues {
    commands: mpsc::Receiver<Command>,
    inbound: mpsc::Receiver<(NodeId, Stream)>,
    /// What this node is ready for now, and since when.
    standing: (Standing, Instant),
}

/// How a stream to a neighbour ended.
struct Told {
    node: NodeId,
    number: u64,
    /// Whether the neighbour knows the protocol.
    speaks: bool,
}

/// A neighbour with a link that stands.
struct Neighbour {
    /// Since when its link stands, as far as this task knows.
    since: Instant,
    /// When it was last heard, as far as the core knows.
    heard: Instant,
    /// Tells an old stream from the present one.
    number: u64,
    /// What is to be told; nothing while there is no stream and none is opened.
    queue: Option<mpsc::Sender<Message>>,
    open_at: Instant,
    telling: Option<AbortHandle>,
    hearing: Option<AbortHandle>,
    /// Whether it knows the protocol; the release before does not.
    speaks: bool,
}

impl Neighbour {
    fn new(heard: Instant) -> Self {
        Self {
            since: heard,
            heard,
            number: 0,
            queue: None,
            open_at: heard,
            telling: None,
            hearing: None,
            speaks: true,
        }
    }

    fn end(self) {
        for task in [self.telling, self.hearing].into_iter().flatten() {
            task.abort();
        }
    }
}

struct Driver {
    parts: Parts,
    core: Liveness,
    started: Instant,
    standing: (Standing, Instant),
    rng: StdRng,
    /// The members by what news call them.
    nodes: BTreeMap<Tag, NodeId>,
    neighbours: HashMap<NodeId, Neighbour>,
    telling: JoinSet<Told>,
    hearing: JoinSet<()>,
    report: mpsc::Sender<(NodeId, Message)>,
    next_number: u64,
}

fn tag(node: &NodeId) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&node.0[..size_of::<Tag>()]);
    tag
}

/// Starts the task; it ends with the mesh.
pub(crate) fn spawn(
    parts: Parts,
    inbound: mpsc::Receiver<(NodeId, Stream)>,
) -> (mpsc::Sender<Command>, watch::Receiver<TaskView>) {
    let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
    let (status, seen) = watch::channel(TaskView::default());
    let queues = Queues {
        commands: queue,
        inbound,
        standing: (Standing::Joining, Instant::now()),
    };
    tokio::spawn(run(parts, queues, status));
    (commands, seen)
}

/// Runs the task until the mesh stops. After a panic it begins anew, with the streams and the knowledge of its neighbours.
async fn run(parts: Parts, mut queues: Queues, status: watch::Sender<TaskView>) {
    status.send_modify(|status| status.running = true);
    loop {
        let (report, mut reports) = mpsc::channel(LIVENESS_REPORT_QUEUE);
        let driver = Driver::new(parts.clone(), queues.standing, report);
        match AssertUnwindSafe(driver.run(&mut queues, &mut reports))
            .catch_unwind()
            .await
        {
            Ok(()) => break,
            Err(panic) => {
                let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
                let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
                let words = words.unwrap_or_else(|| "a panic".to_owned());
                tracing::error!(
                    panic = words,
                    "a panic in the liveness of members was caught: it begins anew"
                );
                Counters::increment(&parts.counters.panics_caught);
                status.send_modify(|status| {
                    status.errors += 1;
                    status.last_error = Some(words);
                });
                tokio::time::sleep(LIVENESS_RESTART).await;
            }
        }
    }
    status.send_modify(|status| status.running = false);
}

impl Driver {
    fn new(parts: Parts, standing: (Standing, Instant), report: mpsc::Sender<(NodeId, Message)>) -> Self {
        let mut core = Liveness::new(tag(&parts.own), Timestamp::now().0, parts.recovery, Duration::ZERO);
        // Nobody is linked yet.
        drop(core.set_standing(standing.0));
        Self {
            core,
            started: Instant::now(),
            standing,
            rng: StdRng::from_seed(random_bytes()),
            nodes: BTreeMap::new(),
            neighbours: HashMap::new(),
            telling: JoinSet::new(),
            hearing: JoinSet::new(),
            report,
            next_number: 0,
            parts,
        }
    }

    async fn run(mut self, queues: &mut Queues, reports: &mut mpsc::Receiver<(NodeId, Message)>) {
        let mut tick = tokio::time::interval(LIVENESS_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.handle_roster();
        loop {
            tokio::select! {
                biased;
                // The actor is gone, and with it the mesh.
                () = self.parts.opener.closed() => return,
                Some(command) = queues.commands.recv() => match command {
                    Command::Leave(done) => {
                        self.handle_leave().await;
                        // Whoever asked has perhaps not waited so long.
                        let _ = done.send(());
                        return;
                    }
                    Command::Stand(standing) => {
                        queues.standing = (standing, Instant::now());
                        self.handle_standing(queues.standing);
                    }
                    #[cfg(test)]
                    Command::Panic => panic!("a test wants it"),
                },
                Ok(()) = self.parts.roster.changed() => self.handle_roster(),
                Some((node, stream)) = queues.inbound.recv() => self.handle_stream(node, stream),
                Some(told) = self.telling.join_next() => self.handle_told(told.ok()),
                Some(_) = self.hearing.join_next() => {}
                _ = tick.tick() => self.handle_tick(),
                Some((node, message)) = reports.recv() => self.handle_message(node, message),
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn handle_roster(&mut self) {
        let roster = self.parts.roster.borrow_and_update().clone();
        self.nodes = roster
            .members()
            .map(|member| (tag(&member.node), member.node))
            .collect();
        let tags: BTreeSet<Tag> = self.nodes.keys().copied().collect();
        self.core.set_roster(&tags, self.elapsed());
        self.publish_all();
    }

    fn handle_standing(&mut self, standing: (Standing, Instant)) {
        self.standing = standing;
        let out = self.core.set_standing(standing.0);
        self.send(out);
        self.publish();
    }

    /// Tells the neighbours that this node stops, and waits until that is written, but not for long.
    async fn handle_leave(&mut self) {
        self.handle_standing((Standing::Left, Instant::now()));
        for neighbour in self.neighbours.values_mut() {
            neighbour.queue = None;
        }
        let said = async { while self.telling.join_next().await.is_some() {} };
        if tokio::time::timeout(LIVENESS_FAREWELL, said).await.is_err() {
            tracing::debug!("some neighbours did not take the farewell in time");
        }
    }

    fn handle_message(&mut self, node: NodeId, message: Message) {
        let Some(neighbour) = self.neighbours.get_mut(&node) else {
            return;
        };
        neighbour.speaks = true;
        let now = self.elapsed();
        let latest = Timestamp::now().0.saturating_add(LIVENESS_AHEAD_MAX_MS);
        let message = match message {
            Message::News(mut news) => {
                news.retain(|rumour| rumour.incarnation() <= latest);
                Message::News(news)
            }
            other => other,
        };
        let out = self.core.receive(tag(&node), message, now);
        self.send(out);
    }

    /// A neighbour opened the stream on which it speaks; it replaces the one before.
    fn handle_stream(&mut self, node: NodeId, stream: Stream) {
        if !self.nodes.contains_key(&tag(&node)) {
            return;
        }
        let report = self.report.clone();
        let task = self.hearing.spawn(async move {
            let end = stream::hear(stream, node, report).await;
            tracing::debug!(node = %node.short(), reason = %end, "a neighbour's stream about who is there ended");
        });
        // It may be here before the link is seen.
        let neighbour = self
            .neighbours
            .entry(node)
            .or_insert_with(|| Neighbour::new(Instant::now()));
        if let Some(old) = neighbour.hearing.replace(task) {
            old.abort();
        }
    }

    fn handle_told(&mut self, told: Option<Told>) {
        let Some(Told { node, number, speaks }) = told else {
            return;
        };
        let Some(neighbour) = self.neighbours.get_mut(&node).filter(|one| one.number == number) else {
            return;
        };
        let knew = std::mem::replace(&mut neighbour.speaks, speaks);
        let rest = if speaks {
            LIVENESS_STREAM_AGAIN
        } else {
            LIVENESS_STREAM_REFUSED
        };
        neighbour.queue = None;
        neighbour.telling = None;
        neighbour.open_at = Instant::now() + rest;
        if knew && !speaks {
            self.answer_for(node, Timestamp::now().0);
        }
    }

    /// A member of the release before does not say that it is there: as long as it is heard, its neighbours say so for it.
    fn answer_for(&mut self, node: NodeId, incarnation: u64) {
        let claim = Claim {
            incarnation,
            standing: Standing::Serving,
        };
        let news = Message::News(vec![Rumour::Alive(tag(&node), claim)]);
        let now = self.elapsed();
        // From nobody: that something is said of it does not mean that it was heard.
        let out = self.core.receive(tag(&self.parts.own), news, now);
        self.send(out);
    }

    fn handle_tick(&mut self) {
        let mut out = self.look_at_links();
        let now = self.elapsed();
        out.extend(self.core.tick(now, &mut self.rng));
        self.send(out);
        self.open_streams();
        self.publish();
    }

    /// Tells the core which links stand, and when each was heard.
    fn look_at_links(&mut self) -> Vec<Outgoing> {
        let links: BTreeMap<NodeId, (Instant, Instant)> = {
            let view = self.parts.view.borrow();
            let standing = view.links.iter().filter(|(_, link)| link.connected);
            standing.map(|(node, link)| (*node, (link.since, link.heard))).collect()
        };
        let mut out = Vec::new();
        let now = self.elapsed();
        let lost: Vec<NodeId> = self
            .neighbours
            .keys()
            .filter(|node| !links.contains_key(node))
            .copied()
            .collect();
        for node in lost {
            // One whose stream has come before its link is seen has not been told of yet.
            let is_new = self
                .neighbours
                .get(&node)
                .is_some_and(|one| one.number == 0 && one.heard.elapsed() < LIVENESS_STREAM_AGAIN);
            if !is_new && let Some(neighbour) = self.neighbours.remove(&node) {
                self.core.link_down(tag(&node));
                neighbour.end();
            }
        }
        for (node, (since, heard)) in links {
            let neighbour = self.neighbours.entry(node).or_insert_with(|| Neighbour::new(heard));
            if neighbour.number == 0 || neighbour.since != since {
                (neighbour.since, neighbour.heard) = (since, heard);
                // On another connection, or with another life of the neighbour: it may know nothing of what was told before.
                if let Some(old) = neighbour.telling.take() {
                    old.abort();
                }
                neighbour.queue = None;
                neighbour.open_at = since;
                self.next_number += 1;
                neighbour.number = self.next_number;
                // What it is told first comes with the stream.
                drop(self.core.link_up(tag(&node), now));
            } else if heard > neighbour.heard {
                neighbour.heard = heard;
                let at = heard.saturating_duration_since(self.started);
                out.extend(self.core.heard(tag(&node), at));
            }
        }
        out
    }

    /// Opens the streams that are due, and puts into each first of all what this node knows.
    fn open_streams(&mut self) {
        let now = Instant::now();
        for (node, neighbour) in &mut self.neighbours {
            if neighbour.number == 0 || neighbour.telling.is_some() || neighbour.open_at > now {
                continue;
            }
            self.next_number += 1;
            let number = self.next_number;
            let (queue, queued) = mpsc::channel(LIVENESS_QUEUE);
            for (_, message) in self.core.tell_everything(tag(node)) {
                // A mesh has fewer members than the queue has room for.
                let _ = queue.try_send(message);
            }
            let (node, opener) = (*node, self.parts.opener.clone());
            let task = self.telling.spawn(async move {
                let speaks = match opener.open(node, Protocol::LIVENESS, None).await {
                    Ok(stream) => {
                        let end = stream::tell(stream, queued).await;
                        if !matches!(end, StreamEnd::Said) {
                            tracing::debug!(node = %node.short(), reason = %end, "a stream about who is there ended");
                        }
                        true
                    }
                    Err(error) => !matches!(error, OpenError::Refused(..)),
                };
                Told { node, number, speaks }
            });
            neighbour.number = number;
            neighbour.queue = Some(queue);
            neighbour.telling = Some(task);
        }
    }

    /// Hands frames to the streams, never waiting: news is told several times.
    fn send(&mut self, out: Vec<Outgoing>) {
        let mut wrong_about = Vec::new();
        for (tag, message) in out {
            let Some(node) = self.nodes.get(&tag).copied() else {
                continue;
            };
            let Some(neighbour) = self.neighbours.get(&node) else {
                continue;
            };
            let Some(queue) = &neighbour.queue else {
                // Everything is told when the stream is opened.
                if !neighbour.speaks {
                    wrong_about.extend(thought_lost(tag, &message).map(|known| (node, known)));
                }
                continue;
            };
            if queue.try_send(message).is_err() {
                Counters::increment(&self.parts.counters.liveness_dropped);
            }
        }
        for (node, known) in wrong_about {
            self.answer_for(node, known.saturating_add(1));
        }
    }

    /// What this node thinks of a member of the roster.
    fn seen(&self, tag: Tag) -> Option<(NodeId, MemberView)> {
        let node = *self.nodes.get(&tag)?;
        let (state, since, heard) = if node == self.parts.own {
            (State::from(self.standing.0), self.standing.1, Some(Instant::now()))
        } else {
            let (state, since) = self.core.state(tag, self.elapsed())?;
            let heard = self.core.heard_of(tag).map(|heard| self.started + heard);
            (state, self.started + since, heard)
        };
        Some((node, MemberView { state, since, heard }))
    }

    /// Publishes what this node thinks of each member, and of nobody else.
    fn publish_all(&mut self) {
        drop(self.core.take_noted());
        let members: BTreeMap<NodeId, MemberView> = self.nodes.keys().filter_map(|tag| self.seen(*tag)).collect();
        self.parts.view.send_if_modified(|view| {
            let is_out = |node: &NodeId| !members.contains_key(node);
            let some_left = view.members.keys().any(is_out);
            let known = Arc::make_mut(&mut view.members);
            known.retain(|node, _| !is_out(node));
            some_left | note(known, members)
        });
    }

    /// Publishes what has become different. In a mesh of a thousand that is a few at a time, and this is done ten times a second.
    fn publish(&mut self) {
        let own = tag(&self.parts.own);
        let noted = self.core.take_noted();
        let seen: Vec<_> = noted
            .into_iter()
            .chain([own])
            .filter_map(|tag| self.seen(tag))
            .collect();
        self.parts
            .view
            .send_if_modified(|view| note(Arc::make_mut(&mut view.members), seen));
    }
}

/// Notes what is thought of members; whether a state has become another, which is what wakes those that wait.
fn note(known: &mut BTreeMap<NodeId, MemberView>, seen: impl IntoIterator<Item = (NodeId, MemberView)>) -> bool {
    let mut changed = false;
    for (node, member) in seen {
        let before = known.insert(node, member).map(|known| known.state);
        if before != Some(member.state) {
            changed = true;
            let known = before.map_or("not known", State::word);
            tracing::debug!(node = %node.short(), known, state = member.state.word(), "a member");
        }
    }
    changed
}

/// The incarnation at which a message says that the member itself is suspected or gone.
fn thought_lost(about: Tag, message: &Message) -> Option<u64> {
    let Message::News(news) = message else { return None };
    let of_it = news.iter().filter(|rumour| rumour.about() == about);
    of_it
        .filter(|rumour| !matches!(rumour, Rumour::Alive(..)))
        .map(Rumour::incarnation)
        .max()
}
