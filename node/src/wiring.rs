//! Joins parts that do not know each other: the store and the mesh. Only bytes and ids pass here.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crdt::{
    Change, Received, Store,
    limits::{RECONCILE_FRAME_BYTES_MAX, RECONCILE_FRAMES_MAX},
    records::{RecordKind, member::Member},
};
use keys::{NodeId, membership::Roster};
use mesh::{
    GossipMessage, Mesh, Protocol, Stream, Verdict,
    frame::{FrameError, read_frame, write_frame},
};
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};

use crate::{data_directory::DataDirectory, tasks::Tasks};

/// A neighbour is asked for what is missing this often while something was missing.
const RECONCILE_HOT: Duration = Duration::from_secs(1);
/// The longest pause between two reconciliations while nothing is missing.
const RECONCILE_IDLE: Duration = Duration::from_secs(15);
/// Longest wait for the next frame of a reconciliation.
const RECONCILE_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Changes of this node go out by gossip.
pub async fn publish(mesh: Mesh, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    while let Some(envelope) = outgoing.recv().await {
        mesh.publish(envelope).await;
    }
}

/// Gossip of others goes into the store, which judges it before it is forwarded.
pub async fn receive(mesh: Mesh, store: Store, tasks: Tasks, mut gossip: mpsc::Receiver<GossipMessage>) {
    while let Some(message) = gossip.recv().await {
        let verdict = match store.receive(message.content).await {
            Ok(Received::New) => Verdict::Forward,
            Ok(Received::Ignored) => Verdict::Ignore,
            Ok(Received::Rejected(_)) => Verdict::Reject,
            Err(error) => {
                tasks.note_error("gossip in", &error);
                Verdict::Ignore
            }
        };
        mesh.judge(message.ticket, verdict).await;
    }
}

/// Answers reconciliations that others open.
pub async fn answer_reconciliations(store: Store, tasks: Tasks, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
    while let Some((node, mut stream)) = streams.recv().await {
        let (store, tasks) = (store.clone(), tasks.clone());
        tokio::spawn(async move {
            if let Err(error) = talk(&store, &mut stream, None).await {
                tasks.note_error("reconciliation answers", &format!("{}: {error}", node.short()));
            }
        });
    }
}

/// Opens reconciliations: at once with a new neighbour, then with one at random, less often while nothing is missing.
pub async fn reconcile(mesh: Mesh, store: Store, tasks: Tasks) {
    let mut view = mesh.view();
    let mut known = BTreeSet::new();
    let mut pause = RECONCILE_HOT;
    let mut next = Instant::now();
    loop {
        let connected: BTreeSet<NodeId> = view.borrow_and_update().reachable().map(|(node, _)| *node).collect();
        let new: Vec<_> = connected.difference(&known).copied().collect();
        known.clone_from(&connected);
        let due = Instant::now() >= next;
        let partners = if due {
            new.into_iter().chain(at_random(&connected)).collect()
        } else {
            new
        };
        for node in partners {
            match open_talk(&mesh, &store, node).await {
                Ok(moved) => {
                    pause = if moved {
                        RECONCILE_HOT
                    } else {
                        (pause * 2).min(RECONCILE_IDLE)
                    }
                }
                Err(error) => {
                    // The link may be going down; a new one is reconciled at once again.
                    tasks.note_error("reconciliation", &format!("{}: {error}", node.short()));
                    pause = RECONCILE_HOT;
                }
            }
        }
        if due {
            // A fifth of jitter, so that nodes do not fall into step.
            let jitter = f64::from(keys::identity::random_bytes::<1>()[0]) / 256.0;
            next = Instant::now() + pause.mul_f64(0.8 + 0.4 * jitter);
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}

fn at_random(nodes: &BTreeSet<NodeId>) -> Option<NodeId> {
    let number = u64::from_le_bytes(keys::identity::random_bytes());
    let count = u64::try_from(nodes.len()).ok().filter(|count| *count > 0)?;
    nodes.iter().nth(usize::try_from(number % count).ok()?).copied()
}

/// Whether anything was exchanged.
async fn open_talk(mesh: &Mesh, store: &Store, node: NodeId) -> Result<bool, TalkError> {
    let (before, _) = store.summary().await?;
    let mut stream = mesh.open(node, Protocol::RECONCILE).await?;
    let first = store.reconcile_start().await?;
    let frames = talk(store, &mut stream, Some(first)).await?;
    let (after, _) = store.summary().await?;
    // Two frames say that the sets agree.
    Ok(after != before || frames > 2)
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

/// Carries frames between the stream and the store until one side has nothing more to say; returns how many.
async fn talk(store: &Store, stream: &mut Stream, first: Option<Vec<u8>>) -> Result<usize, TalkError> {
    let mut frames = 0;
    if let Some(frame) = first {
        write_in_time(stream, &frame).await?;
        frames += 1;
    }
    while frames < RECONCILE_FRAMES_MAX {
        let read = tokio::time::timeout(RECONCILE_FRAME_TIMEOUT, read_frame(stream, RECONCILE_FRAME_BYTES_MAX)).await;
        let read = read.unwrap_or(Err(FrameError::Timeout(RECONCILE_FRAME_TIMEOUT)))?;
        let Some(frame) = read else { return Ok(frames) };
        frames += 1;
        let Some(answer) = store.reconcile_step(frame).await? else {
            return Ok(frames);
        };
        write_in_time(stream, &answer).await?;
        frames += 1;
    }
    Err(TalkError::Endless)
}

/// A neighbour that does not read must not stall the reconciliation with the others.
async fn write_in_time(stream: &mut Stream, frame: &[u8]) -> Result<(), FrameError> {
    let written = write_frame(stream, frame, RECONCILE_FRAME_BYTES_MAX);
    tokio::time::timeout(RECONCILE_FRAME_TIMEOUT, written)
        .await
        .map_err(|_| FrameError::Timeout(RECONCILE_FRAME_TIMEOUT))?
}

/// Keeps the roster in three places alike: the mesh's, the replicated member records, and the file that the next start reads.
pub async fn members(mesh: Mesh, store: Store, directory: DataDirectory, tasks: Tasks) {
    let mut rosters = mesh.roster_updates();
    let mut changes = store.changes();
    loop {
        let roster = rosters.borrow_and_update().clone();
        if let Err(error) = share_members(&mesh, &store, &roster).await {
            tasks.note_error("members", &error);
        }
        let saved = {
            let (directory, roster) = (directory.clone(), Arc::clone(&roster));
            tokio::task::spawn_blocking(move || directory.save_roster(&roster)).await
        };
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tasks.note_error("members", &error),
            Err(error) => tasks.note_error("members", &error),
        }
        tokio::select! {
            changed = rosters.changed() => if changed.is_err() { return },
            () = member_changed(&mut changes) => {}
        }
    }
}

async fn member_changed(changes: &mut broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(Change {
                kind: RecordKind::Member,
                ..
            })
            | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // The store has stopped, and with it the node.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Whoever admits a node writes its record (the first node its own); what others wrote goes into the mesh's roster.
async fn share_members(mesh: &Mesh, store: &Store, roster: &Roster) -> Result<(), crdt::StoreError> {
    let recorded: Vec<_> = store
        .list::<Member>()
        .await?
        .into_iter()
        .map(|(_, member)| member.certificate)
        .collect();
    mesh.learn(recorded.clone()).await;
    for member in roster.members() {
        let ours = member.admitted_by.unwrap_or(member.node) == mesh.node();
        let Some(certificate) = roster.certificate(&member.node).filter(|_| ours) else {
            continue;
        };
        if !recorded.contains(certificate) {
            store
                .create(Member {
                    certificate: certificate.clone(),
                })
                .await?;
        }
    }
    Ok(())
}
