//! What a replica keeps of the placed documents: the shards that are its own, those that it has not let go of yet, and beside them
//! single documents that somebody uses or writes here although others hold them ([`Followed`]).
//!
//! Up to sixteen storage members every replica holds everything and nothing of this shows. Beyond that:
//! - what comes from outside for a document that is neither held nor followed is not kept, only passed on;
//! - what is *written* here is kept wherever it belongs, offered to its holders and not given up before enough of them have said that
//!   they have it;
//! - a shard that is no longer this node's own goes on being offered until enough holders were seen to hold the same (a talk that
//!   ended in agreement over it since the last change here), and is dropped then, with views and snapshots.

mod followed;

use std::collections::{BTreeMap, BTreeSet};

use keys::{ContentId, NodeId, Timestamp};

pub(super) use self::followed::Followed;
use super::{Forget, Kept, Replica, Shelf};
use crate::{
    StoreError,
    envelope::Envelope,
    fetch::Ask,
    group::{Group, Lane},
    limits::{DIRTY_HAND_OVER_MAX, PLACEMENT_DROP_EVERY, PLACEMENT_OWN_OFFERED_MAX},
    placement::{Drop, Holding, Placement},
    records::RecordKind,
    set::{self, Entry, EntrySet, Prefix, ShardSet},
};

/// A change that was written here and belongs to others.
#[derive(Default)]
struct Own {
    /// To whom it was handed over by this process, so that it is not sent with every talk.
    offered: BTreeSet<NodeId>,
    /// Who has said that it holds it.
    confirmed: BTreeSet<NodeId>,
}

/// What this replica last asked a peer about.
#[derive(Clone, Copy)]
struct Asked {
    scope: ShardSet,
    /// The state of [`Placed::clock`] then.
    at: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Placed {
    /// Who holds what; `None` until the node has said it: then everything is held.
    placement: Option<Placement>,
    holding: Holding,
    /// Own shards and leaving ones; kept, because it is asked for with each change.
    held: ShardSet,
    /// Shards that have become this node's own and may not be whole yet, with the holders that hold the same.
    filling: BTreeMap<u8, BTreeSet<NodeId>>,
    pub(super) followed: Followed,
    own: BTreeMap<Entry, Own>,
    asked: BTreeMap<NodeId, Asked>,
    /// Lists that others were asked for, and when.
    pub(super) lists: BTreeMap<Ask, Timestamp>,
    /// Counts changes of the sets.
    clock: u64,
    /// When something last came into a shard, by that clock.
    inserted: BTreeMap<u8, u64>,
    /// When it was last asked what may be dropped.
    looked: Timestamp,
    /// The time of the last commit.
    pub(super) now: Timestamp,
}

/// How much of the placed documents a replica holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Shards that are this node's own.
    pub own: usize,
    /// Of these, how many may not be whole yet.
    pub filling: usize,
    /// Shards that it has to let go of and still offers.
    pub leaving: usize,
    /// Documents that are held by others and kept here because they are used.
    pub followed: usize,
    /// Changes that were written here and not yet confirmed by enough of their holders.
    pub unconfirmed: usize,
}

impl Placed {
    pub(super) fn of(held: ShardSet) -> Self {
        Self {
            holding: Holding::of(held),
            held,
            ..Self::default()
        }
    }

    fn holds(&self, shard: u8) -> bool {
        self.placement.is_none() || self.held.contains(shard)
    }

    /// Whether what is not here of a document is nowhere: this node holds its shard, whole.
    pub(super) fn answers_for(&self, document: &ContentId) -> bool {
        let Some(placement) = &self.placement else { return true };
        let shard = Group::of(document).shard();
        let is_whole = placement.is_everywhere() || !self.filling.contains_key(&shard);
        self.holding.scope().contains(shard) && is_whole
    }

    /// Whether a change from outside is to be kept.
    fn wants(&self, document: &ContentId) -> bool {
        self.holds(Group::of(document).shard()) || self.followed.contains(document)
    }

    /// Something new is in a placed document.
    pub(super) fn inserted(&mut self, entry: Entry, document: ContentId, bytes: usize, ours: bool) {
        let shard = entry.shard();
        self.clock += 1;
        self.inserted.insert(shard, self.clock);
        self.holding.inserted(shard);
        if !self.holds(shard) {
            self.followed.add(document, entry, bytes, self.now);
        }
        if ours && self.placement.is_some() && !self.holding.scope().contains(shard) {
            self.own.entry(entry).or_default();
        }
    }

    /// The disk refused: what is not in the set was never written.
    pub(super) fn forget_unkept(&mut self, set: &EntrySet) {
        self.own.retain(|entry, _| set.contains(entry));
    }

    /// An entry is gone.
    pub(super) fn removed(&mut self, entry: &Entry) {
        self.own.remove(entry);
    }

    /// A peer holds the same as this node in some shards, as of a moment of the clock.
    fn agreed(&mut self, peer: NodeId, shards: &ShardSet, at: u64) {
        let unchanged = shards
            .iter()
            .filter(|shard| self.inserted.get(shard).is_none_or(|inserted| *inserted <= at));
        let unchanged: ShardSet = unchanged.collect();
        self.holding.agreed(peer, &unchanged);
        let Some(placement) = &self.placement else { return };
        let needed = placement.needed();
        self.filling.retain(|shard, with| {
            if unchanged.contains(*shard) && placement.holders(*shard).contains(&peer) {
                with.insert(peer);
            }
            // Two that have just begun agree about nothing; so one other is not enough.
            with.len() < needed.saturating_sub(1).min(2)
        });
    }
}

impl<S: Shelf> Replica<S> {
    /// Who holds what from now on. Shards that become this node's own are asked of their holders, those that cease to be are offered
    /// until they may be dropped.
    pub fn place(&mut self, placement: Placement, now: Timestamp) {
        let scope = placement.scope_of(&self.node());
        let is_first = self.placed.placement.is_none();
        let placed = &mut self.placed;
        placed.holding.place(scope, now);
        // Whoever is alone has nobody to get anything from.
        let is_new = |shard: &u8| !placed.held.contains(*shard) && placement.needed() > 1;
        for shard in scope.iter().filter(is_new) {
            placed.filling.entry(shard).or_default();
        }
        placed.filling.retain(|shard, _| scope.contains(*shard));
        placed.placement = Some(placement);
        placed.now = placed.now.max(now);
        self.hold(is_first);
        // What had been followed in a shard that is this node's own now is held like the rest of it.
        let held = self.placed.held;
        self.placed
            .followed
            .release(|document| held.contains(Group::of(document).shard()));
        self.placed.own.retain(|entry, _| !scope.contains(entry.shard()));
    }

    /// Brings what is held up to the placement, durably before anything relies on it.
    fn hold(&mut self, is_first: bool) {
        let node = self.node();
        let placement = self.placed.placement.as_ref();
        if placement.is_some_and(|placement| !placement.is_storage(&node)) {
            return self.hand_everything_over(is_first);
        }
        let held = self.placed.holding.held();
        if held != self.placed.held {
            self.shelf.keep_held(&held);
            self.placed.held = held;
        }
        if is_first && held != ShardSet::all() {
            self.take_up_followed(&ShardSet::none());
        }
    }

    /// A node that keeps no documents, perhaps not any more: nobody talks with it about them, so that whatever it has it offers as if it
    /// had written it. What the disk says of it stays until all is confirmed, for a restart in between.
    fn hand_everything_over(&mut self, is_first: bool) {
        let had = std::mem::take(&mut self.placed.held);
        self.placed.holding = Holding::of(ShardSet::none());
        if is_first || !had.is_empty() {
            self.take_up_followed(&had);
        }
        if self.placed.own.is_empty() && self.shelf.held() != Some(ShardSet::none()) {
            self.shelf.keep_held(&ShardSet::none());
        }
    }

    /// After a start: what lies in shards that are not held is what somebody used here, and perhaps what was written here and not
    /// handed over. Of the shards in `offered` all of it is.
    fn take_up_followed(&mut self, offered: &ShardSet) {
        let (held, node, now) = (self.placed.held, self.node(), self.placed.now);
        let entries = self.sets.of(Lane::Envelopes).iter();
        let outside: Vec<Entry> = entries.filter(|entry| !held.contains(entry.shard())).copied().collect();
        for entry in outside {
            let bytes = self.read_entry(Lane::Envelopes, &entry);
            let Some(kept) = bytes.and_then(Kept::from_stored) else {
                continue;
            };
            self.placed.followed.add(kept.document, entry, kept.bytes.len(), now);
            let is_own = Envelope::open_own(&kept.bytes).is_ok_and(|envelope| envelope.author == node);
            if is_own || offered.contains(entry.shard()) {
                self.placed.own.entry(entry).or_default();
            }
        }
    }

    /// Whether a change from outside is not this node's to keep.
    pub(super) fn is_elsewhere(&self, kind: RecordKind, document: &ContentId) -> bool {
        Lane::of(kind).is_sharded() && !self.placed.wants(document)
    }

    /// What to say of a document that is not here.
    pub(super) fn missing(&self, document: ContentId) -> StoreError {
        if self.placed.answers_for(&document) {
            StoreError::NotFound
        } else {
            StoreError::Elsewhere(document)
        }
    }

    /// The shards of which this node may not have everything, so that others must be asked.
    #[must_use]
    pub fn unanswered(&self) -> ShardSet {
        let answered = |shard: &u8| self.placed.answers_for(&ContentId([*shard; 32]));
        (0..=u8::MAX).filter(|shard| !answered(shard)).collect()
    }

    /// How much of the placed documents is held here.
    #[must_use]
    pub fn held(&self) -> Held {
        let placed = &self.placed;
        Held {
            own: placed.holding.scope().len(),
            filling: placed.filling.len(),
            leaving: placed.holding.leaving().len(),
            followed: placed.followed.len(),
            unconfirmed: placed.own.len(),
        }
    }

    /// The shards held as a whole: this node's own and those that leave.
    #[must_use]
    pub fn held_shards(&self) -> ShardSet {
        self.placed.held
    }

    /// The shards to talk about: everything held, but to a member that keeps no documents nothing is shown; and whoever opens a talk
    /// narrows it to what the other holds.
    pub(super) fn scope_for(&self, peer: &NodeId, opens: bool) -> ShardSet {
        match &self.placed.placement {
            None => ShardSet::all(),
            Some(placement) if !placement.is_storage(peer) => ShardSet::none(),
            Some(placement) if opens => self.placed.held.intersection(&placement.scope_of(peer)),
            Some(_) => self.placed.held,
        }
    }

    /// Who of those that are away misses a change.
    pub(super) fn missed_by(&self, lane: Lane, entry: &Entry) -> Vec<NodeId> {
        let holders = self
            .placed
            .placement
            .as_ref()
            .map(|placement| placement.holders(entry.shard()));
        let misses = |peer: &&NodeId| !lane.is_sharded() || holders.is_none_or(|holders| holders.contains(peer));
        self.away.iter().filter(misses).copied().collect()
    }

    /// What was written here and belongs to a peer, once in a process to each.
    pub(super) fn own_for(&mut self, peer: &NodeId) -> Vec<Entry> {
        let Some(placement) = &self.placed.placement else {
            return Vec::new();
        };
        let mut due = Vec::new();
        for (entry, own) in &mut self.placed.own {
            if due.len() == DIRTY_HAND_OVER_MAX {
                break;
            }
            if placement.holders(entry.shard()).contains(peer) && own.offered.insert(*peer) {
                due.push(*entry);
            }
        }
        due
    }

    /// What was written here and is not confirmed by a peer that holds it, with its bytes: to be offered to it.
    pub fn unconfirmed_for(&mut self, peer: &NodeId) -> Vec<(ContentId, Vec<u8>)> {
        let Some(placement) = &self.placed.placement else {
            return Vec::new();
        };
        let own = self.placed.own.iter();
        let due =
            own.filter(|(entry, own)| placement.holders(entry.shard()).contains(peer) && !own.confirmed.contains(peer));
        let due: Vec<Entry> = due.map(|(entry, _)| *entry).take(PLACEMENT_OWN_OFFERED_MAX).collect();
        let bytes = |entry: Entry| Some((entry.id, self.read_entry(Lane::Envelopes, &entry)?));
        due.into_iter().filter_map(bytes).collect()
    }

    /// The holders that must still be offered something that was written here.
    #[must_use]
    pub fn unconfirmed_holders(&self) -> BTreeSet<NodeId> {
        let Some(placement) = &self.placed.placement else {
            return BTreeSet::new();
        };
        let own = self.placed.own.iter();
        own.flat_map(|(entry, own)| {
            let holders = placement.holders(entry.shard()).iter();
            holders.filter(|holder| !own.confirmed.contains(holder)).copied()
        })
        .collect()
    }

    /// A holder has said that it holds some changes durably. What enough have confirmed is theirs, and only followed here.
    pub fn confirmed(&mut self, peer: NodeId, held: &BTreeSet<ContentId>) {
        let Some(placement) = &self.placed.placement else {
            return;
        };
        self.placed.own.retain(|entry, own| {
            if held.contains(&entry.id) {
                own.confirmed.insert(peer);
            }
            let holders = placement.holders(entry.shard()).iter();
            holders.filter(|holder| own.confirmed.contains(holder)).count() < placement.needed()
        });
    }

    /// Which of some changes this node holds, when asked by whoever wrote them.
    pub fn holds_all_of(&mut self, entries: &[Entry]) -> BTreeSet<ContentId> {
        let held = self.placed.held;
        let set = self.sets.of(Lane::Envelopes);
        let holds = |entry: &&Entry| held.contains(entry.shard()) && set.contains(entry);
        entries.iter().filter(holds).map(|entry| entry.id).collect()
    }

    /// This node has sent a Hello.
    pub(super) fn asked(&mut self, peer: NodeId, frame: &[u8]) {
        if let Some(scope) = set::scope_of_hello(frame) {
            let at = self.placed.clock;
            self.placed.asked.insert(peer, Asked { scope, at });
        }
    }

    /// What a frame and the answer to it say about who holds the same.
    pub(super) fn heed(&mut self, peer: NodeId, frame: &[u8], answer: Option<&[u8]>) {
        if set::says_same(frame)
            && let Some(Asked { scope, at }) = self.placed.asked.remove(&peer)
        {
            self.placed.agreed(peer, &scope, at);
        }
        let Some(answer) = answer else { return };
        if set::says_same(answer) {
            let clock = self.placed.clock;
            if let Some(scope) = set::scope_of_hello(frame) {
                self.placed.agreed(peer, &scope, clock);
            }
        }
        self.asked(peer, answer);
    }

    /// Lets go of what may be dropped, some time after the last time: it rewrites much of the journal.
    pub(super) fn let_go(&mut self, now: Timestamp) {
        self.placed.now = self.placed.now.max(now);
        if now.0.saturating_sub(self.placed.looked.0) < PLACEMENT_DROP_EVERY.as_millis() as u64 {
            return;
        }
        self.placed.looked = now;
        if self.placed.held.is_empty() && self.placed.own.is_empty() {
            self.hold(false);
        }
        let shards = self.droppable(now);
        let is_safe = |entry: &Entry| !self.placed.own.contains_key(entry);
        let unused = self.placed.followed.unused(now, is_safe);
        if shards.is_empty() && unused.is_empty() {
            return;
        }
        let mut forget = self.all_of(&shards);
        for (document, entries) in unused {
            forget
                .drop
                .extend(entries.into_iter().map(|entry| (Lane::Envelopes, entry)));
            forget.documents.push(document);
        }
        if let Err(error) = self.shelf.forget(&forget) {
            tracing::error!(%error, "what others hold could not be dropped; it is tried again");
            return;
        }
        for (lane, entry) in &forget.drop {
            self.sets.of(*lane).remove(entry);
        }
        for document in &forget.documents {
            self.views.remove(document);
            self.placed.followed.remove(document);
        }
        for shard in shards.iter() {
            self.placed.holding.dropped(shard);
        }
        if !shards.is_empty() {
            tracing::info!(
                shards = shards.len(),
                changes = forget.drop.len(),
                "shards were dropped: others hold them"
            );
        }
        self.hold(false);
    }

    fn droppable(&self, now: Timestamp) -> ShardSet {
        let placed = &self.placed;
        let Some(placement) = &placed.placement else {
            return ShardSet::none();
        };
        let may_drop = |shard: &u8| {
            let (holders, needed) = (placement.holders(*shard), placement.needed());
            let verdict = placed.holding.may_drop(*shard, holders, needed, now);
            verdict == Drop::Now || (verdict != Drop::Stays && !self.settings.recoveries.confirmed_drops)
        };
        placed.holding.leaving().iter().filter(may_drop).collect()
    }

    /// Everything of some shards.
    fn all_of(&mut self, shards: &ShardSet) -> Forget {
        let mut forget = Forget::default();
        if shards.is_empty() {
            return forget;
        }
        let set = self.sets.of(Lane::Envelopes);
        for shard in shards.iter() {
            let entries = set.range(&Prefix::shard(shard));
            forget.drop.extend(entries.map(|entry| (Lane::Envelopes, *entry)));
        }
        for kind in RecordKind::ALL.into_iter().filter(|kind| Lane::of(*kind).is_sharded()) {
            let documents = self.shelf.documents_of(kind).into_iter();
            forget
                .documents
                .extend(documents.filter(|document| shards.contains(Group::of(document).shard())));
        }
        forget
    }
}
