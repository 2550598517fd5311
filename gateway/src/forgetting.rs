//! What is kept only for a while: what a complaint copied.
//!
//! Whoever decides needs to read what the person saw. Later the copy only lies there, and what it was copied from may have been deleted
//! long ago. So the texts of a complaint are erased, on every node, so many days after it was decided; who complained of what and why,
//! and what was decided, stay.
//!
//! Every gateway looks; they take turns by a hash, so that one of them does it and the next one only when that one did not.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use crdt::{
    Change, StoreError,
    erasure::EraseTarget,
    records::{EntryId, RecordKind, complaint::Complaint},
};
use keys::{ContentId, NodeId, Timestamp};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    app::App,
    limits::{FORGETTING_LOOK_EVERY, FORGETTING_SETTLES, FORGETTING_TURN_MILLISECONDS},
};

const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// Erases the texts of complaints whose time is over, until the gateway ends.
pub(crate) async fn follow(app: Weak<App>, mut changes: Receiver<Change>) {
    loop {
        tokio::time::sleep(FORGETTING_SETTLES).await;
        let wait = {
            let Some(app) = app.upgrade() else { return };
            forget_due(&app).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the texts of decided complaints are not erased now; it is tried again");
                FORGETTING_LOOK_EVERY
            })
        };
        let changed = async {
            loop {
                match changes.recv().await {
                    Ok(change) if change.kind != RecordKind::Complaint => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        // A time that ran out is as good as a change.
        if !tokio::time::timeout(wait, changed).await.unwrap_or(true) {
            return;
        }
    }
}

/// Erases what is due; how long until there may be more.
async fn forget_due(app: &Arc<App>) -> Result<Duration, StoreError> {
    let now = Timestamp::now();
    // Read anew: what is erased does not come back when the settings turn out to be others.
    let kept_for = app.policies.read().await?.complaint_days() * DAY_MILLISECONDS;
    let own = app.key.id();
    let mut gateways: BTreeSet<NodeId> = app
        .surroundings
        .gateways()
        .into_iter()
        .map(|other| other.node)
        .collect();
    gateways.insert(own);
    let mut wait = FORGETTING_LOOK_EVERY;
    for (id, complaint) in app.store.list::<Complaint>().await? {
        let Some(decided) = last_decision(&complaint) else {
            continue;
        };
        let turn = turn_of(&own, &gateways, &id) * FORGETTING_TURN_MILLISECONDS;
        let due = decided.at().plus(kept_for).plus(turn);
        if now < due {
            wait = wait.min(Duration::from_millis(due.since(now)));
            continue;
        }
        let target = EraseTarget::Message {
            document: id,
            message: decided,
        };
        match app.store.erase(target).await {
            Ok(_) => tracing::info!(complaint = %id, "the texts of a decided complaint are erased"),
            // It went as a whole meanwhile.
            Err(StoreError::NotFound | StoreError::Erased) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wait)
}

/// The last decision about a complaint whose texts are still here.
fn last_decision(complaint: &Complaint) -> Option<EntryId> {
    let texts = [&complaint.words, &complaint.name, &complaint.excerpt];
    let last = complaint.decisions.iter().map(|decided| decided.id).max();
    last.filter(|_| texts.iter().any(|text| text.is_readable()))
}

/// How many gateways go before this one.
fn turn_of(own: &NodeId, gateways: &BTreeSet<NodeId>, complaint: &ContentId) -> u64 {
    let weight = |node: &NodeId| {
        let mut hasher = blake3::Hasher::new_derive_key("starling forgetting order 1");
        hasher.update(&complaint.0).update(&node.0);
        (*hasher.finalize().as_bytes(), *node)
    };
    let own = weight(own);
    gateways.iter().filter(|other| weight(other) < own).count() as u64
}

#[cfg(test)]
mod tests {
    use crdt::records::{
        Sealed,
        complaint::{ComplaintReason, Decided, Decision},
    };

    use super::*;

    #[test]
    fn the_last_decision_counts_while_there_is_a_text() {
        let decided = |at| Decided {
            id: EntryId::new(Timestamp(at), 1),
            decision: Decision::Dismissed,
            by: ContentId([4; 32]),
        };
        let mut complaint = Complaint {
            account: ContentId([1; 32]),
            character: ContentId([2; 32]),
            author: None,
            answer: None,
            reason: ComplaintReason::Other,
            words: "a".into(),
            name: "b".into(),
            excerpt: "c".into(),
            created: Timestamp(5),
            taken: None,
            decisions: Vec::new(),
        };
        assert_eq!(last_decision(&complaint), None, "nobody has decided");
        complaint.decisions = vec![decided(20), decided(10)];
        assert_eq!(last_decision(&complaint), Some(decided(20).id));
        complaint.words = Sealed::Missing;
        complaint.name = Sealed::Erased;
        assert_eq!(last_decision(&complaint), Some(decided(20).id));
        complaint.excerpt = Sealed::Missing;
        assert_eq!(last_decision(&complaint), None, "it is done");
    }

    #[test]
    fn gateways_take_turns() {
        let gateways: BTreeSet<NodeId> = (0..5).map(|number| NodeId([number; 32])).collect();
        for complaint in 0..20 {
            let complaint = ContentId([complaint; 32]);
            let turns: BTreeSet<u64> = gateways.iter().map(|own| turn_of(own, &gateways, &complaint)).collect();
            assert_eq!(turns, (0..5).collect());
        }
    }
}
