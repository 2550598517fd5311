//! Data keys between members: a new account's key is given to every member that can be reached, and a key that is missing here is
//! asked of them. They travel over member streams only, never by gossip, and only to members whose role needs them
//! ([`Roles::holds_data_keys`](keys::membership::Roles::holds_data_keys)): a worker answers what it is asked and reads no chat.

use std::{collections::BTreeSet, time::Duration};

use crdt::{
    KeyNotice, Store,
    keyring::{KeyFrame, KeyFrameError},
    limits::{FRAME_TIMEOUT, KEY_FRAME_ACCOUNTS_MAX, KEY_FRAME_BYTES_MAX},
};
use keys::{ContentId, NodeId, membership::Roster};
use mesh::{
    Mesh, Protocol, Stream,
    frame::{FrameError, read_frame, within, write_frame},
};
use tokio::{sync::mpsc, time::Instant};

use crate::tasks::Tasks;

/// What is still missing, or still to be given, is tried again this often.
const AGAIN: Duration = Duration::from_secs(2);

/// An exchange of keys that ended early.
#[derive(Debug, thiserror::Error)]
enum KeyTalkError {
    #[error(transparent)]
    Open(#[from] mesh::OpenError),
    #[error(transparent)]
    Store(#[from] crdt::StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    KeyFrame(#[from] KeyFrameError),
    #[error("the other side ended the stream without an answer")]
    NoAnswer,
    #[error("it has no role that needs data keys, and was given none")]
    NotItsRole,
    #[error("this node has no role that needs data keys, and takes and gives none")]
    NotOurRole,
    #[error("the other side refused: it sees no role that needs data keys")]
    Refused,
}

fn holds_data_keys(roster: &Roster, node: &NodeId) -> bool {
    roster.get(node).is_some_and(|member| member.roles.holds_data_keys())
}

/// Answers what others ask and takes what they give.
pub async fn answer_keys(mesh: Mesh, store: Store, tasks: Tasks, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
    while let Some((node, mut stream)) = streams.recv().await {
        let (mesh, store, tasks) = (mesh.clone(), store.clone(), tasks.clone());
        tokio::spawn(async move {
            let result = match allowed(&mesh.roster(), &mesh.node(), &node) {
                Ok(()) => answer(&store, &mut stream).await,
                Err(reason) => refuse(&mut stream, reason).await,
            };
            if let Err(error) = result {
                tasks.note_error("data key answers", &format!("{}: {error}", node.short()));
            }
        });
    }
}

/// Whether keys may go between this node and another.
fn allowed(roster: &Roster, own: &NodeId, other: &NodeId) -> Result<(), KeyTalkError> {
    if !holds_data_keys(roster, other) {
        return Err(KeyTalkError::NotItsRole);
    }
    if !holds_data_keys(roster, own) {
        return Err(KeyTalkError::NotOurRole);
    }
    Ok(())
}

/// Says so at once, instead of leaving the other side waiting; the reason is for this node's own log.
async fn refuse(stream: &mut Stream, reason: KeyTalkError) -> Result<(), KeyTalkError> {
    // Nothing that it sent is decoded, but reading it keeps an orderly end of the stream.
    let _ = tokio::time::timeout(FRAME_TIMEOUT, read_frame(stream, KEY_FRAME_BYTES_MAX)).await;
    write(stream, &KeyFrame::Refused).await?;
    Err(reason)
}

async fn answer(store: &Store, stream: &mut Stream) -> Result<(), KeyTalkError> {
    let frame = read(stream).await?;
    if let Some(reply) = store.answer_keys(frame).await? {
        write(stream, &reply).await?;
    }
    Ok(())
}

/// Sees to this node's own notices. A key is given until every member that can be reached has it, at least one: an account whose only
/// key dies with this node could never be read again.
pub async fn exchange_keys(mesh: Mesh, store: Store, tasks: Tasks, mut notices: mpsc::Receiver<KeyNotice>) {
    let mut ungiven: BTreeSet<ContentId> = BTreeSet::new();
    let mut next = Instant::now() + AGAIN;
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Some(KeyNotice::Made(account)) => {
                    ungiven.insert(account);
                }
                Some(KeyNotice::Wanted(_)) => {}
                None => return,
            },
            () = tokio::time::sleep_until(next) => {}
        }
        while let Ok(notice) = notices.try_recv() {
            if let KeyNotice::Made(account) = notice {
                ungiven.insert(account);
            }
        }
        next = Instant::now() + AGAIN;
        if let Err(error) = exchange(&mesh, &store, &mut ungiven).await {
            tasks.note_error("data keys", &error);
        }
    }
}

async fn exchange(mesh: &Mesh, store: &Store, ungiven: &mut BTreeSet<ContentId>) -> Result<(), KeyTalkError> {
    let roster = mesh.roster();
    // A worker asks for nothing. It gives what was made here all the same: such a key could be the only one.
    let asks = holds_data_keys(&roster, &mesh.node());
    let wanted = if asks { store.wanted_keys().await? } else { Vec::new() };
    if wanted.is_empty() && ungiven.is_empty() {
        return Ok(());
    }
    let view = mesh.view();
    let reachable = view.borrow().reachable().map(|(node, _)| *node).collect::<Vec<_>>();
    let reachable: Vec<NodeId> = reachable
        .into_iter()
        .filter(|node| holds_data_keys(&roster, node))
        .collect();
    let mut failure = None;
    for node in &reachable {
        if let Err(error) = give(mesh, store, *node, ungiven).await {
            failure = Some(error);
        }
    }
    if !reachable.is_empty() && failure.is_none() {
        ungiven.clear();
    }
    for node in reachable.iter().filter(|_| asks) {
        let wanted = store.wanted_keys().await?;
        if wanted.is_empty() {
            break;
        }
        if let Err(error) = ask(mesh, store, *node, wanted).await {
            failure = Some(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn give(mesh: &Mesh, store: &Store, node: NodeId, accounts: &BTreeSet<ContentId>) -> Result<(), KeyTalkError> {
    let accounts: Vec<ContentId> = accounts.iter().copied().collect();
    for accounts in accounts.chunks(KEY_FRAME_ACCOUNTS_MAX) {
        let ask = KeyFrame::Ask(accounts.to_vec());
        if let Some(frame) = store.answer_keys(ask).await? {
            let mut stream = mesh.open(node, Protocol::KEYS).await?;
            write(&mut stream, &frame).await?;
            if matches!(read(&mut stream).await?, KeyFrame::Refused) {
                return Err(KeyTalkError::Refused);
            }
        }
    }
    Ok(())
}

async fn ask(mesh: &Mesh, store: &Store, node: NodeId, accounts: Vec<ContentId>) -> Result<(), KeyTalkError> {
    for accounts in accounts.chunks(KEY_FRAME_ACCOUNTS_MAX) {
        let mut stream = mesh.open(node, Protocol::KEYS).await?;
        write(&mut stream, &KeyFrame::Ask(accounts.to_vec())).await?;
        let given = read(&mut stream).await?;
        match given {
            KeyFrame::Give(_) => {
                store.answer_keys(given).await?;
            }
            KeyFrame::Refused => return Err(KeyTalkError::Refused),
            KeyFrame::Ask(_) | KeyFrame::Kept(_) => {}
        }
    }
    Ok(())
}

async fn read(stream: &mut Stream) -> Result<KeyFrame, KeyTalkError> {
    let bytes = within(FRAME_TIMEOUT, read_frame(stream, KEY_FRAME_BYTES_MAX)).await?;
    Ok(KeyFrame::decode(&bytes.ok_or(KeyTalkError::NoAnswer)?)?)
}

async fn write(stream: &mut Stream, frame: &KeyFrame) -> Result<(), KeyTalkError> {
    let bytes = frame.encode()?;
    Ok(within(FRAME_TIMEOUT, write_frame(stream, &bytes, KEY_FRAME_BYTES_MAX)).await?)
}
