//! Joins parts that do not know each other: the store and the mesh. Only bytes and ids pass here.

mod data_keys;
mod fetch;
mod placement;
mod reconciliation;

pub use self::{
    data_keys::{answer_keys, exchange_keys},
    fetch::{answer_fetches, fetch, hand_over},
    placement::Placer,
    reconciliation::{answer_reconciliations, catch_up, reconcile},
};

use std::{collections::VecDeque, sync::Arc};

use crdt::{
    Change, Received, Store,
    records::{RecordKind, member::Member},
};
use keys::{ContentId, Timestamp, membership::Roster};
use mesh::{GossipMessage, GossipTicket, Mesh, Verdict};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{data_directory::DataDirectory, standing, tasks::Tasks};

/// Gossiped changes that wait for what they depend on; the oldest are not forwarded when there are more.
const HELD_MAX: usize = 256;

/// Changes of this node go out by gossip.
pub async fn publish(mesh: Mesh, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    while let Some(envelope) = outgoing.recv().await {
        mesh.publish(envelope).await;
    }
}

/// Gossip of others goes into the store, which judges it before it is forwarded. What the store has parked is held back for a while:
/// when what it waited for comes, it is forwarded after all, and the neighbours need not wait for a reconciliation.
pub async fn receive(
    mesh: Mesh,
    store: Store,
    tasks: Tasks,
    mut gossip: mpsc::Receiver<GossipMessage>,
    mut released: mpsc::Receiver<ContentId>,
) {
    let mut held: VecDeque<(ContentId, GossipTicket)> = VecDeque::new();
    loop {
        let message = tokio::select! {
            message = gossip.recv() => match message {
                Some(message) => message,
                None => return,
            },
            envelope = released.recv() => {
                let place = held.iter().position(|(waiting, _)| Some(*waiting) == envelope);
                if let Some((_, ticket)) = place.and_then(|place| held.remove(place)) {
                    mesh.judge(ticket, Verdict::Forward).await;
                }
                continue;
            }
        };
        let verdict = match store.receive(message.content).await {
            Ok(Received::New | Received::Elsewhere) => Verdict::Forward,
            Ok(Received::Parked(envelope)) => {
                held.push_back((envelope, message.ticket));
                if held.len() > HELD_MAX
                    && let Some((_, oldest)) = held.pop_front()
                {
                    mesh.judge(oldest, Verdict::Ignore).await;
                }
                continue;
            }
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

/// Keeps the roster in three places alike: the mesh's, the replicated member records, and the file that the next start reads, which
/// comes first: what was revoked must stay so. `saved` is the digest of the roster in the file.
pub async fn members(
    mesh: Mesh,
    store: Store,
    directory: DataDirectory,
    tasks: Tasks,
    saved: watch::Sender<ContentId>,
) {
    let mut rosters = mesh.roster_updates();
    let mut changes = store.changes();
    let mut was_out = false;
    loop {
        let roster = rosters.borrow_and_update().clone();
        let end = roster.former(&mesh.node());
        if let (Some(former), false) = (end, was_out) {
            let why = standing::why(&roster, former, Timestamp::now());
            tracing::error!(why, "this node is a member of its mesh no longer");
        }
        was_out = end.is_some();
        if *saved.borrow() != roster.digest() {
            let (directory, roster) = (directory.clone(), Arc::clone(&roster));
            let digest = roster.digest();
            match tokio::task::spawn_blocking(move || directory.save_roster(&roster)).await {
                Ok(Ok(())) => drop(saved.send_replace(digest)),
                Ok(Err(error)) => tasks.note_error("members", &error),
                Err(error) => tasks.note_error("members", &error),
            }
        }
        if let Err(error) = share_members(&mesh, &store, &roster).await {
            tasks.note_error("members", &error);
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
