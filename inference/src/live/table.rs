//! The table of the answers that are said here, and what of it is announced.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crdt::records::session::MessageId;
use keys::{ContentId, NodeId};
use mesh::{Mesh, MeshView};
use tokio::{sync::Notify, time::Instant};

use super::{Lease, Live};
use crate::{
    limits::{LEASES_MAX, LIVE_KEPT, LIVES_MAX},
    swarm,
};

/// The section under which a node says what it generates.
const LEASES: &str = "answers";

/// Every answer that this node generates, sees to or follows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    table: Arc<Mutex<Table>>,
    /// Woken when what is generated here changes.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<MessageId, Entry>,
    /// What was taken out of work, in the order of time; an entry that has come to work again meanwhile, or has been over once more since,
    /// stands here in vain. So forgetting costs nothing for those that stay.
    over: VecDeque<(Instant, MessageId)>,
}

#[derive(Debug)]
struct Entry {
    live: Live,
    /// Whether it is generated here.
    is_own: bool,
    /// When it was last taken out of work; finished ones are kept for whoever comes back a moment later.
    over: Option<Instant>,
}

impl Entry {
    fn new(lease: Lease) -> Self {
        Self {
            live: Live::new(lease),
            is_own: false,
            over: None,
        }
    }
}

/// What a node says of an answer that it generates: which one, and under which attempt.
type Announced = (Lease, u32);

impl Lives {
    /// The entry of an answer, made when there is none.
    pub(crate) fn open(&self, lease: Lease) -> Live {
        let mut table = self.lock();
        table.prune(Instant::now());
        let entry = table.entries.entry(lease.answer).or_insert_with(|| Entry::new(lease));
        entry.over = None;
        entry.live.clone()
    }

    /// Begins to generate an answer here under that attempt; `Err` with the one that is under way under the same or a later one, or whole
    /// already. One under an earlier attempt is given up.
    pub(crate) fn generate(&self, lease: Lease, epoch: u32) -> Result<Live, Live> {
        let mut table = self.lock();
        table.prune(Instant::now());
        let entry = table.entries.entry(lease.answer).or_insert_with(|| Entry::new(lease));
        if entry.live.is_finished() || (entry.is_own && entry.live.epoch() >= epoch) {
            return Err(entry.live.clone());
        }
        if entry.is_own {
            // Whoever still hears it comes to the new one; what says it has nobody to say it to any more.
            let earlier = std::mem::replace(&mut entry.live, Live::new(lease));
            earlier.give_up();
        }
        (entry.is_own, entry.over) = (true, None);
        entry.live.try_again(epoch);
        let live = entry.live.clone();
        drop(table);
        self.changed.notify_one();
        Ok(live)
    }

    /// Forgets an answer that is over, because it is to be said further.
    pub(crate) fn forget_finished(&self, answer: MessageId) {
        let mut table = self.lock();
        let entry = table.entries.get(&answer);
        if entry.is_some_and(|entry| !entry.is_own && entry.live.is_over()) {
            table.entries.remove(&answer);
        }
    }

    /// An answer is generated here no longer.
    pub(crate) fn generated(&self, live: &Live) {
        let mut table = self.lock();
        let answer = live.lease().answer;
        if let Some(entry) = table.entries.get_mut(&answer)
            && Live::is_same(&entry.live, live)
        {
            entry.is_own = false;
            table.end(answer, Instant::now());
        }
        drop(table);
        self.changed.notify_one();
    }

    /// An answer is seen to, or heard, here no longer.
    pub(crate) fn close(&self, answer: MessageId) {
        let mut table = self.lock();
        if table.entries.get(&answer).is_some_and(|entry| !entry.is_own) {
            table.end(answer, Instant::now());
        }
    }

    /// An answer that is known here.
    pub(crate) fn get(&self, answer: MessageId) -> Option<Live> {
        self.lock().entries.get(&answer).map(|entry| entry.live.clone())
    }

    /// What is being said in a chat.
    pub(crate) fn of_session(&self, session: ContentId) -> Vec<Live> {
        self.matching(|lease| lease.session == session)
    }

    fn matching(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<Live> {
        let table = self.lock();
        let found = table.entries.values().filter(|entry| wanted(entry.live.lease()));
        let mut found: Vec<Live> = found.map(|entry| entry.live.clone()).collect();
        found.sort_by_key(|live| live.lease().answer);
        found
    }

    fn own(&self) -> Vec<Announced> {
        let table = self.lock();
        let own = table.entries.values().filter(|entry| entry.is_own);
        let mut own: Vec<Announced> = own.map(|entry| (*entry.live.lease(), entry.live.epoch())).collect();
        own.sort_by_key(|(lease, _)| lease.answer);
        own.truncate(LEASES_MAX);
        own
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// An entry is taken out of work.
    fn end(&mut self, answer: MessageId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&answer) {
            entry.over = Some(now);
            self.over.push_back((now, answer));
        }
    }

    /// Forgets what has been over for long, and of too many whatever was over first.
    fn prune(&mut self, now: Instant) {
        while let Some((at, answer)) = self.over.front().copied() {
            if now.duration_since(at) < LIVE_KEPT && self.entries.len() < LIVES_MAX {
                return;
            }
            self.over.pop_front();
            if self.entries.get(&answer).is_some_and(|entry| entry.over == Some(at)) {
                self.entries.remove(&answer);
            }
        }
    }
}

/// Tells the others what is generated here, until the mesh is gone.
pub(crate) async fn announce(mesh: Mesh, lives: Lives) {
    let mut view = mesh.view();
    loop {
        if let Err(error) = mesh.announce(LEASES, swarm::encode(&lives.own())) {
            tracing::error!(%error, "leases cannot be announced");
        }
        tokio::select! {
            () = lives.changed.notified() => {}
            // Only to end with the mesh.
            gone = async { while view.changed().await.is_ok() {} } => return gone,
        }
    }
}

/// What others within reach say they generate: the node, the answer, and the number of the attempt. Of several attempts at one answer the
/// latest counts; a node that was given up and does not know it yet says an earlier one.
pub(crate) fn leases(view: &MeshView) -> Vec<(NodeId, Lease, u32)> {
    let sections = view
        .reachable()
        .filter_map(|(node, link)| Some((*node, link.sections.get(LEASES)?)));
    let mut latest: HashMap<MessageId, (NodeId, Lease, u32)> = HashMap::new();
    for (node, section) in sections {
        let announced: Vec<Announced> = swarm::decode(section).unwrap_or_default();
        for (lease, epoch) in announced.into_iter().take(LEASES_MAX) {
            let known = latest.entry(lease.answer).or_insert((node, lease, epoch));
            if known.2 < epoch {
                *known = (node, lease, epoch);
            }
        }
    }
    latest.into_values().collect()
}
