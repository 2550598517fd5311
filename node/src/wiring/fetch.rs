//! Reading through: what the store wants and others hold is asked of them; what they ask is answered; what was written here and belongs
//! to others is offered to them until they have confirmed it.

use std::{collections::BTreeSet, time::Duration};

use crdt::{
    FetchRequest, Store,
    fetch::{Ask, FetchFrame, FetchFrameError},
    limits::{FETCH_FRAME_BYTES_MAX, FRAME_TIMEOUT, RECONCILE_FRAMES_MAX},
    placement::Placement,
    replica::Cursor,
    set::ShardSet,
};
use keys::{NodeId, membership::Roles};
use mesh::{
    Mesh, Protocol, Stream,
    frame::{FrameError, read_frame, within, write_frame},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::tasks::Tasks;

/// Questions of the store that are seen to at the same time.
const REQUESTS_AT_ONCE: usize = 32;
/// Holders asked at the same time for one question: a list of a large mesh lies with many.
const HOLDERS_AT_ONCE: usize = 16;
/// What was written here and is not confirmed by its holders is offered this often.
const OFFER_EVERY: Duration = Duration::from_secs(2);

/// A question or an offer that ended early.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Open(#[from] mesh::OpenError),
    #[error(transparent)]
    Store(#[from] crdt::StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    FetchFrame(#[from] FetchFrameError),
    #[error("the other side ended the stream without an answer")]
    NoAnswer,
    #[error("the other side said something else than an answer")]
    WrongAnswer,
    #[error("a node that neither serves people nor keeps documents asked for some")]
    MayNotAsk,
    #[error("the other side talks for ever")]
    Endless,
}

/// Asks holders for what the store wants.
pub async fn fetch(
    mesh: Mesh,
    store: Store,
    tasks: Tasks,
    placements: watch::Receiver<Option<Placement>>,
    mut requests: mpsc::Receiver<FetchRequest>,
) {
    let mut running = JoinSet::new();
    while let Some(request) = requests.recv().await {
        if running.len() >= REQUESTS_AT_ONCE {
            running.join_next().await;
        }
        while running.try_join_next().is_some() {}
        let (mesh, store, tasks) = (mesh.clone(), store.clone(), tasks.clone());
        let placement = placements.borrow().clone();
        running.spawn(async move {
            let unanswered = match placement {
                Some(placement) => see_to(&mesh, &store, &tasks, &placement, &request).await,
                None => request.shards,
            };
            // Whoever asked may have given up.
            let _ = request.reply.send(unanswered);
        });
    }
}

/// Asks the fewest holders that together hold the shards, then others for what is still open; what nobody answered for remains.
async fn see_to(mesh: &Mesh, store: &Store, tasks: &Tasks, placement: &Placement, request: &FetchRequest) -> ShardSet {
    let mut open = request.shards;
    let mut asked = BTreeSet::new();
    if !may_ask(mesh, &mesh.node()) {
        return open;
    }
    while !open.is_empty() {
        let mut near = reachable_by_distance(mesh);
        near.retain(|node| !asked.contains(node));
        let cover = placement.cover(&open, &near);
        if cover.is_empty() {
            break;
        }
        asked.extend(cover.iter().map(|(node, _)| *node));
        for some in cover.chunks(HOLDERS_AT_ONCE) {
            let mut answers = JoinSet::new();
            for (node, shards) in some.iter().copied() {
                let (mesh, store, what) = (mesh.clone(), store.clone(), request.what.clone());
                answers.spawn(async move { (node, ask(&mesh, &store, node, what, shards).await) });
            }
            while let Some(answer) = answers.join_next().await {
                match answer {
                    Ok((_, Ok(answered))) => open = open.iter().filter(|shard| !answered.contains(*shard)).collect(),
                    Ok((node, Err(error))) => {
                        tasks.note_error("reading through", &format!("{}: {error}", node.short()));
                    }
                    Err(error) => tasks.note_error("reading through", &error),
                }
            }
        }
    }
    open
}

fn reachable_by_distance(mesh: &Mesh) -> Vec<NodeId> {
    let view = mesh.view();
    let view = view.borrow();
    let mut near: Vec<_> = view.reachable().map(|(node, link)| (link.round_trip, *node)).collect();
    // One whose distance is not known yet comes last.
    near.sort_unstable_by_key(|(round_trip, node)| (round_trip.unwrap_or(Duration::MAX), *node));
    near.into_iter().map(|(_, node)| node).collect()
}

/// Only nodes that serve people or keep documents read what others hold.
fn may_ask(mesh: &Mesh, node: &NodeId) -> bool {
    let roster = mesh.roster();
    let member = roster.get(node);
    member.is_some_and(|member| member.roles.contains(Roles::GATEWAY) || member.roles.contains(Roles::STORAGE))
}

/// The shards that a holder has answered for; what it gave is in the store.
async fn ask(mesh: &Mesh, store: &Store, node: NodeId, what: Ask, shards: ShardSet) -> Result<ShardSet, FetchError> {
    let mut stream = mesh.open(node, Protocol::FETCH).await?;
    write(&mut stream, &FetchFrame::Ask { what, shards }).await?;
    for _ in 0..RECONCILE_FRAMES_MAX {
        let FetchFrame::Give { envelopes, answered } = read(&mut stream).await? else {
            return Err(FetchError::WrongAnswer);
        };
        store.take_fetched(node, envelopes).await?;
        if let Some(answered) = answered {
            return Ok(answered.intersection(&shards));
        }
    }
    Err(FetchError::Endless)
}

/// Answers what others ask and takes what they offer.
pub async fn answer_fetches(mesh: Mesh, store: Store, tasks: Tasks, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
    while let Some((node, mut stream)) = streams.recv().await {
        let (mesh, store, tasks) = (mesh.clone(), store.clone(), tasks.clone());
        tokio::spawn(async move {
            if let Err(error) = answer(&mesh, &store, node, &mut stream).await {
                tasks.note_error("fetch answers", &format!("{}: {error}", node.short()));
            }
        });
    }
}

async fn answer(mesh: &Mesh, store: &Store, node: NodeId, stream: &mut Stream) -> Result<(), FetchError> {
    match read(stream).await? {
        FetchFrame::Ask { what, shards } => {
            if !may_ask(mesh, &node) {
                return Err(FetchError::MayNotAsk);
            }
            let mut from = Cursor::default();
            loop {
                let (batch, answered) = store.give(what.clone(), shards, from).await?;
                let give = FetchFrame::Give {
                    envelopes: batch.envelopes,
                    answered: batch.next.is_none().then_some(answered),
                };
                write(stream, &give).await?;
                match batch.next {
                    Some(next) => from = next,
                    None => return Ok(()),
                }
            }
        }
        FetchFrame::Offer(envelopes) => {
            let held = store.take_offered(node, envelopes).await?;
            write(stream, &FetchFrame::Held(held)).await
        }
        FetchFrame::Give { .. } | FetchFrame::Held(_) => Err(FetchError::WrongAnswer),
    }
}

/// Offers what was written here to those who hold it, until enough of them have it on disk.
pub async fn hand_over(mesh: Mesh, store: Store, tasks: Tasks) {
    loop {
        tokio::time::sleep(OFFER_EVERY).await;
        let holders = match store.unconfirmed_holders().await {
            Ok(holders) => holders,
            Err(error) => {
                tasks.note_error("hand-over", &error);
                continue;
            }
        };
        let reachable: BTreeSet<NodeId> = reachable_by_distance(&mesh).into_iter().collect();
        for holder in holders.intersection(&reachable) {
            if let Err(error) = offer(&mesh, &store, *holder).await {
                tasks.note_error("hand-over", &format!("{}: {error}", holder.short()));
            }
        }
    }
}

async fn offer(mesh: &Mesh, store: &Store, holder: NodeId) -> Result<(), FetchError> {
    let envelopes = store.unconfirmed_for(holder).await?;
    if envelopes.is_empty() {
        return Ok(());
    }
    let mut stream = mesh.open(holder, Protocol::FETCH).await?;
    write(&mut stream, &FetchFrame::Offer(envelopes)).await?;
    let FetchFrame::Held(held) = read(&mut stream).await? else {
        return Err(FetchError::WrongAnswer);
    };
    Ok(store.confirmed(holder, held.into_iter().collect()).await?)
}

async fn read(stream: &mut Stream) -> Result<FetchFrame, FetchError> {
    let bytes = within(FRAME_TIMEOUT, read_frame(stream, FETCH_FRAME_BYTES_MAX)).await?;
    Ok(FetchFrame::decode(&bytes.ok_or(FetchError::NoAnswer)?)?)
}

async fn write(stream: &mut Stream, frame: &FetchFrame) -> Result<(), FetchError> {
    let bytes = frame.encode();
    Ok(within(FRAME_TIMEOUT, write_frame(stream, &bytes, FETCH_FRAME_BYTES_MAX)).await?)
}
