//! Reconciliations with other members: who talks with whom and when is decided by `crdt`; here the frames are carried.

use std::{collections::BTreeSet, time::Duration};

use crdt::{
    Store,
    limits::{FRAME_TIMEOUT, RECONCILE_FRAME_BYTES_MAX, RECONCILE_FRAMES_MAX},
    set::{Ended, Pace, says_moved},
};
use keys::NodeId;
use mesh::{
    Mesh, Protocol, Stream,
    frame::{FrameError, read_frame, within, write_frame},
};
use rand::SeedableRng;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::Instant,
};

use crate::tasks::Tasks;

/// A node that starts waits this long for the first other member before it serves people alone.
const FIRST_LINK: Duration = Duration::from_secs(2);
/// And this long for the first reconciliation to end.
const FIRST_TALK: Duration = Duration::from_secs(20);

/// Answers reconciliations that others open.
pub async fn answer_reconciliations(store: Store, tasks: Tasks, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
    while let Some((node, mut stream)) = streams.recv().await {
        let (store, tasks) = (store.clone(), tasks.clone());
        tokio::spawn(async move {
            if let Err(error) = talk(&store, node, &mut stream, None).await {
                tasks.note_error("reconciliation answers", &format!("{}: {error}", node.short()));
            }
        });
    }
}

/// Opens reconciliations when their time has come: at once with a member that can be reached again, then with one at random, less
/// often while nothing is accepted and nothing missing.
pub async fn reconcile(mesh: Mesh, store: Store, tasks: Tasks) {
    let mut view = mesh.view();
    let mut changes = store.changes();
    let mut pace = Pace::new();
    // Seeded once, because the thread's own generator must not cross an await.
    let mut rng = rand::rngs::StdRng::from_seed(keys::identity::random_bytes());
    let began = Instant::now();
    let mut talks = JoinSet::new();
    let mut known_away = None;
    loop {
        let reachable: BTreeSet<NodeId> = view.borrow_and_update().reachable().map(|(node, _)| *node).collect();
        let away = others(&mesh).difference(&reachable).copied().collect::<BTreeSet<_>>();
        if known_away.as_ref() != Some(&away) {
            if let Err(error) = store.set_away(away.clone()).await {
                tasks.note_error("reconciliation", &error);
            }
            known_away = Some(away);
        }
        let (due, wake) = pace.next(began.elapsed(), &reachable, &mut rng);
        for node in due {
            let (mesh, store) = (mesh.clone(), store.clone());
            talks.spawn(async move { (node, open_talk(&mesh, &store, node).await) });
        }
        tokio::select! {
            Some(ended) = talks.join_next() => {
                let Ok((node, result)) = ended else { continue };
                let ended = match result {
                    Ok(true) => Ended::Moved,
                    Ok(false) => Ended::Quiet,
                    Err(error) => {
                        // The link may be going down; a new one is reconciled at once again.
                        tasks.note_error("reconciliation", &format!("{}: {error}", node.short()));
                        Ended::Failed
                    }
                };
                pace.finished(&node, ended, began.elapsed());
            }
            () = tokio::time::sleep_until(began + wake) => {}
            // What was accepted here others may lack: gossip may have passed somebody by.
            changed = changes.recv() => match changed {
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => pace.stir(began.elapsed()),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}

fn others(mesh: &Mesh) -> BTreeSet<NodeId> {
    let roster = mesh.roster();
    let members = roster.members().map(|member| member.node);
    members.filter(|node| *node != mesh.node()).collect()
}

/// Before a node serves people it learns what was erased while it was away: it waits for one reconciliation with any member. When no
/// other can be reached it goes on alone, because a split must stop nobody; what was erased meanwhile goes when they meet.
pub async fn catch_up(mesh: &Mesh, store: &Store) {
    if others(mesh).is_empty() {
        return;
    }
    let mut view = mesh.view();
    let linked = async {
        loop {
            let first = view.borrow_and_update().reachable().map(|(node, _)| *node).next();
            if first.is_some() || view.changed().await.is_err() {
                return first;
            }
        }
    };
    let Ok(Some(node)) = tokio::time::timeout(FIRST_LINK, linked).await else {
        tracing::info!("no other member can be reached yet; this node serves people alone");
        return;
    };
    match tokio::time::timeout(FIRST_TALK, open_talk(mesh, store, node)).await {
        Ok(Ok(_)) => tracing::info!(with = %node.short(), "caught up"),
        Ok(Err(error)) => tracing::warn!(with = %node.short(), %error, "could not catch up before serving people"),
        Err(_) => tracing::warn!(with = %node.short(), "catching up takes long; people are served meanwhile"),
    }
}

/// Whether anything was exchanged.
async fn open_talk(mesh: &Mesh, store: &Store, node: NodeId) -> Result<bool, TalkError> {
    let mut stream = mesh.open(node, Protocol::RECONCILE).await?;
    let first = store.reconcile_start(node).await?;
    talk(store, node, &mut stream, Some(first)).await
}

/// A reconciliation that ended early.
#[derive(Debug, thiserror::Error)]
enum TalkError {
    #[error(transparent)]
    Open(#[from] mesh::OpenError),
    #[error(transparent)]
    Store(#[from] crdt::StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the other side talks for ever")]
    Endless,
}

/// Carries frames between the stream and the store until one side has nothing more to say; whether anything was exchanged.
async fn talk(store: &Store, node: NodeId, stream: &mut Stream, first: Option<Vec<u8>>) -> Result<bool, TalkError> {
    let mut moved = false;
    if let Some(frame) = first {
        write_in_time(stream, &frame).await?;
    }
    for _ in 0..RECONCILE_FRAMES_MAX {
        let read = within(FRAME_TIMEOUT, read_frame(stream, RECONCILE_FRAME_BYTES_MAX));
        let Some(frame) = read.await? else { return Ok(moved) };
        moved |= says_moved(&frame);
        let Some(answer) = store.reconcile_step(node, frame).await? else {
            return Ok(moved);
        };
        moved |= says_moved(&answer);
        write_in_time(stream, &answer).await?;
    }
    Err(TalkError::Endless)
}

/// A neighbour that does not read must not stall the reconciliation with the others.
async fn write_in_time(stream: &mut Stream, frame: &[u8]) -> Result<(), FrameError> {
    within(FRAME_TIMEOUT, write_frame(stream, frame, RECONCILE_FRAME_BYTES_MAX)).await
}
