//! A replica in a reconciliation with one peer.

use std::collections::{BTreeSet, HashMap};

use keys::{ContentId, NodeId, Timestamp};

use super::{Kept, Received, Replica, Shelf, Source};
use crate::{
    group::Lane,
    keyring::KeyFrame,
    set::{self, Entry, EntrySet, ReconcileError, ShardSet},
};

/// The side of a reconciliation that this replica takes towards one peer.
pub struct Talker<'a, S> {
    replica: &'a mut Replica<S>,
    peer: NodeId,
    opens: bool,
    now: Timestamp,
}

impl<S: Shelf> set::Replica for Talker<'_, S> {
    fn entries(&mut self, lane: Lane) -> &mut EntrySet {
        self.replica.sets.of(lane)
    }

    fn bytes(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>> {
        self.replica.read_entry(lane, entry)
    }

    fn take(&mut self, _lane: Lane, bytes: Vec<u8>) -> bool {
        // Refusals are logged where they are judged; the talk goes on with the rest.
        self.replica.receive(&bytes, Source::Talk(self.peer), self.now) == Received::New
    }

    /// By operation counters: a change's are higher than those of everything it depends on. Where an envelope stands in the journal
    /// would not do, because one that was lost and came back stands at the end.
    fn arrange(&mut self, lane: Lane, entries: &mut Vec<Entry>) {
        let Some(first) = entries
            .first()
            .filter(|_| lane != Lane::Statements && entries.len() > 1)
        else {
            return;
        };
        let opened = self.replica.read_entry(lane, first).and_then(Kept::from_stored);
        let Some(document) = opened.map(|kept| kept.document) else {
            return;
        };
        let Some(view) = self.replica.take_view(document) else {
            return;
        };
        let order: HashMap<ContentId, u64> = view
            .facts
            .changes
            .values()
            .flat_map(|change| {
                let envelopes = std::iter::once(&change.envelope).chain(&change.twins);
                envelopes.map(|envelope| (*envelope, change.highest_operation))
            })
            .collect();
        let bases = view.facts.bases.clone();
        self.replica.cache(document, view);
        // A document on a base: what certifies it, the base, the covered envelopes that stay, and then what stands on the base.
        entries.sort_by_key(|entry| match order.get(&entry.id) {
            Some(highest) => (3, *highest),
            None if entry.id == document => (0, 0),
            None if bases.contains(&entry.id) => (1, 0),
            None => (2, 0),
        });
    }

    fn scope(&self) -> ShardSet {
        self.replica.scope_for(&self.peer, self.opens)
    }

    fn handoff(&mut self) -> Vec<Entry> {
        let mut missed = self
            .replica
            .dirty
            .hand_over(&self.peer, crate::limits::DIRTY_HAND_OVER_MAX);
        missed.extend(self.replica.own_for(&self.peer));
        missed
    }
}

impl<S: Shelf> Replica<S> {
    /// Opens a reconciliation with a peer: the first frame, with what was written while the peer was away.
    pub fn talk_start(&mut self, peer: NodeId, now: Timestamp) -> Vec<u8> {
        let salt = self.salt();
        let hello = set::start(&mut self.talker(peer, true, now), salt);
        self.asked(peer, &hello);
        hello
    }

    /// Answers a frame of a reconciliation; `None` when the talk is over. What it brought counts after the next commit.
    ///
    /// # Errors
    /// When the frame is malformed; the talk ends.
    pub fn talk_step(&mut self, peer: NodeId, frame: &[u8], now: Timestamp) -> Result<Option<Vec<u8>>, ReconcileError> {
        let answer = set::step(&mut self.talker(peer, false, now), frame)?;
        self.heed(peer, frame, answer.as_deref());
        Ok(answer)
    }

    pub(super) fn talker(&mut self, peer: NodeId, opens: bool, now: Timestamp) -> Talker<'_, S> {
        Talker {
            replica: self,
            peer,
            opens,
            now,
        }
    }

    /// Different in each talk, and not to be guessed by others.
    fn salt(&mut self) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("starling reconciliation salt 1");
        hasher.update(&self.settings.boot).update(&self.fresh().to_le_bytes());
        let mut salt = [0; 8];
        hasher.finalize_xof().fill(&mut salt);
        u64::from_le_bytes(salt)
    }

    /// Answers a frame about data keys from a member that may have them. Those of erased accounts are neither given nor taken.
    pub fn answer_keys(&mut self, frame: KeyFrame) -> Option<KeyFrame> {
        let answer = self
            .keys
            .answer(frame, &|account| !self.erasures.covers_account(account));
        for (account, error) in answer.failed {
            tracing::error!(%error, ?account, "something is wrong with an account's data keys");
        }
        if let Some(KeyFrame::Kept(kept)) = &answer.reply {
            let accounts: BTreeSet<ContentId> = kept.iter().map(|(account, _)| *account).collect();
            for account in accounts {
                self.unlocked(account);
            }
        }
        answer.reply
    }

    /// Whoever watches an account's documents must read them again: there is more to read now.
    fn unlocked(&mut self, account: ContentId) {
        if !self.wanted_keys.remove(&account) {
            return;
        }
        for document in self.documents_owned_by(&account).into_iter().chain([account]) {
            if let Some((kind, _)) = self.begun(&document) {
                self.tell(super::Event::Changed { document, kind });
            }
        }
    }

    /// Accounts whose keys are asked for and have not come.
    pub fn wanted_keys(&self) -> Vec<ContentId> {
        self.wanted_keys.iter().copied().collect()
    }
}

impl<S: Shelf> Replica<S> {
    /// How many changes wait for what they depend on, and their bytes.
    #[must_use]
    pub fn parked(&self) -> (usize, usize) {
        self.parked.load()
    }
}
