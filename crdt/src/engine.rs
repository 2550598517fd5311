//! The store's one thread: it owns the replica and runs what the handles ask for.
//!
//! Jobs run one after the other; what they write is collected and made durable together (group commit), and only then is
//! anyone answered, notified or sent anything. If the disk refuses, the views are thrown away, so that memory never shows what
//! the journal does not hold.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keys::{ContentId, Timestamp};
use tokio::sync::{broadcast, mpsc};

use crate::{
    Change, KeyNotice,
    disk::DiskShelf,
    erasure::EraseTarget,
    journal::JournalError,
    limits::{GROUP_COMMIT_MAX, GROUP_COMMIT_WINDOW},
    replica::{Event, Replica},
};

/// The replica on this node's disk.
pub(crate) type Engine = Replica<DiskShelf>;
/// What runs on the store's thread; it returns how to answer once everything is on disk (or not).
pub(crate) type Job = Box<dyn FnOnce(&mut Engine) -> Answer + Send>;
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Arc<JournalError>>) + Send>;

/// Where the thread tells what happened.
pub(crate) struct Ears {
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) erased: broadcast::Sender<EraseTarget>,
    pub(crate) outgoing: mpsc::Sender<Vec<u8>>,
    pub(crate) released: mpsc::Sender<ContentId>,
    pub(crate) keys: mpsc::Sender<KeyNotice>,
}

/// Runs jobs until every handle is gone.
pub(crate) fn run(mut engine: Engine, mut queue: mpsc::Receiver<Job>, ears: &Ears) {
    // Erasures that were due when the node stopped are carried out before anybody is served.
    commit(&mut engine, ears).ok();
    while let Some(job) = queue.blocking_recv() {
        let began = Instant::now();
        let mut answers = vec![job(&mut engine)];
        while answers.len() < GROUP_COMMIT_MAX && within(began, GROUP_COMMIT_WINDOW) {
            let Ok(job) = queue.try_recv() else { break };
            answers.push(job(&mut engine));
        }
        let committed = commit(&mut engine, ears);
        for answer in answers {
            answer(committed.clone());
        }
    }
    engine.save_views();
}

fn within(began: Instant, window: Duration) -> bool {
    began.elapsed() < window
}

fn commit(engine: &mut Engine, ears: &Ears) -> Result<(), Arc<JournalError>> {
    let committed = engine.commit(Timestamp::now());
    if let Err(error) = &committed {
        tracing::error!(%error, "the disk refused a write; nothing of it was kept");
    }
    for event in engine.take_events() {
        tell(ears, event);
    }
    committed
}

/// Nobody listening is no fault; whoever is too slow reads again or is repaired by reconciliation.
fn tell(ears: &Ears, event: Event) {
    match event {
        Event::Changed { document, kind } => {
            let _ = ears.changes.send(Change { document, kind });
        }
        Event::Publish(bytes) => {
            if ears.outgoing.try_send(bytes).is_err() {
                tracing::debug!("a change is not gossiped; reconciliation brings it to the others");
            }
        }
        Event::Released(envelope) => {
            if ears.released.try_send(envelope).is_err() {
                tracing::debug!("a change that had waited is not forwarded; reconciliation brings it to the others");
            }
        }
        Event::Erased(target) => {
            let _ = ears.erased.send(target);
        }
        Event::KeyMade(account) => notice(ears, KeyNotice::Made(account)),
        Event::KeyWanted(account) => notice(ears, KeyNotice::Wanted(account)),
    }
}

fn notice(ears: &Ears, notice: KeyNotice) {
    if ears.keys.try_send(notice).is_err() {
        tracing::debug!("a notice about a data key waits for the next round of asking");
    }
}
