//! One Step in the making: what this side has to say to what the other side said.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Entry, Prefix, Replica, ShardSet,
    entries::Digest,
    frame::{Blob, Content, Frame, Handed, Leaf, Node, Salt, Step, Want},
    talk::compared,
};
use crate::{
    group::{Group, Lane},
    limits::{
        RECONCILE_BATCH_BYTES, RECONCILE_BREADTH_MIN, RECONCILE_ENVELOPES_MAX, RECONCILE_LACKING_MAX,
        RECONCILE_LEAVES_MAX, RECONCILE_LIST_MAX, RECONCILE_NODES_MAX, RECONCILE_SCAN_MAX, RECONCILE_TREE_BYTES,
        RECONCILE_VISITS_MAX, RECORD_BYTES_MAX,
    },
};

/// Of a document's sixteen parts, how many differ when practically all of it may differ: some forty envelopes.
const DENSE_PARTS: usize = 15;

/// What goes along in one frame.
#[derive(Default)]
pub(super) struct Batch {
    pub pieces: Vec<Handed>,
    bytes: usize,
}

impl Batch {
    /// Adds what the replica holds under an entry; whether there is room for more.
    pub fn add(&mut self, replica: &mut impl Replica, lane: Lane, entry: &Entry) -> bool {
        if self.pieces.len() >= RECONCILE_ENVELOPES_MAX {
            return false;
        }
        let Some(bytes) = replica
            .bytes(lane, entry)
            .filter(|bytes| bytes.len() <= RECORD_BYTES_MAX)
        else {
            return true;
        };
        if self.bytes + bytes.len() > RECONCILE_BATCH_BYTES {
            return false;
        }
        self.bytes += bytes.len();
        self.pieces.push(Handed {
            lane,
            bytes: Blob(bytes),
        });
        true
    }
}

/// A document that is compared part by part.
struct Document {
    group: Group,
    /// Parts of which the other side holds something else than this side.
    differing: Vec<Prefix>,
    /// Parts of which only this side holds anything.
    ours: Vec<Prefix>,
}

/// A Step in the making.
pub(super) struct Round<'a, R> {
    replica: &'a mut R,
    salt: Salt,
    /// The shards of the placed changes that both sides want.
    scope: ShardSet,
    lane: Lane,
    /// The shards of this lane that are compared.
    compared: ShardSet,
    breadth: usize,
    nodes: Vec<Node>,
    wants: Vec<Want>,
    /// Bytes of nodes and wants.
    tree_bytes: usize,
    /// Documents of which parts differ, in the order in which they were met.
    documents: Vec<Document>,
    /// What the other side lacks.
    lacking: Vec<Entry>,
    batch: Batch,
    /// Own entries looked at so far.
    visits: usize,
}

impl<'a, R: Replica> Round<'a, R> {
    pub fn new(replica: &'a mut R, salt: Salt, scope: ShardSet, lane: Lane, breadth: u16) -> Self {
        Self {
            replica,
            salt,
            scope,
            lane,
            compared: compared(lane, &scope),
            breadth: usize::from(breadth).clamp(RECONCILE_BREADTH_MIN, RECONCILE_NODES_MAX),
            nodes: Vec::new(),
            wants: Vec::new(),
            tree_bytes: 0,
            documents: Vec::new(),
            lacking: Vec::new(),
            batch: Batch::default(),
            visits: 0,
        }
    }

    /// The first answer of a round: what this side holds altogether.
    pub fn begin(replica: &'a mut R, salt: Salt, scope: ShardSet, lane: Lane, breadth: u16) -> Self {
        let mut round = Self::new(replica, salt, scope, lane, breadth);
        round.tell(Prefix::ROOT);
        round
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.wants.is_empty() && self.batch.pieces.is_empty()
    }

    /// How many nodes the frames of the next round may hold.
    pub fn breadth(&self) -> u16 {
        u16::try_from(self.breadth).unwrap_or(u16::MAX)
    }

    pub fn into_frame(mut self, moved: u32) -> Frame {
        self.nodes.sort_unstable_by_key(|node| node.region);
        self.wants.sort_unstable_by_key(|want| want.region);
        Frame::Step(Step {
            salt: self.salt,
            scope: self.scope,
            lane: self.lane,
            moved,
            breadth: self.breadth(),
            nodes: self.nodes.into_iter().collect(),
            wants: self.wants.into_iter().collect(),
            envelopes: self.batch.pieces.into_iter().map(|piece| piece.bytes).collect(),
        })
    }

    /// Whether the frame has become as large, or its making as much work, as one may be.
    fn is_full(&self) -> bool {
        self.tree_bytes >= RECONCILE_TREE_BYTES
            || self.nodes.len().max(self.wants.len()) >= RECONCILE_NODES_MAX
            || self.visits >= RECONCILE_VISITS_MAX
    }

    /// Brings what is in order of regions into that of this round, which begins elsewhere each time: what one side refuses must not
    /// stand before the rest for ever. Neighbours stay neighbours, so that what is sent fills up regions, and regions of which a
    /// new node has nothing yet stay empty and cheap to compare.
    fn turn_to_pivot<T>(&self, items: &mut [T], region: impl Fn(&T) -> &Prefix) {
        let pivot = self.salt.pivot();
        let start = items.partition_point(|item| region(item).last().group < pivot);
        items.rotate_left(start);
    }

    /// Whether a region of at least a shard's depth is to be compared.
    fn is_in_scope(&self, region: &Prefix) -> bool {
        region.shard_of().is_some_and(|shard| self.compared.contains(shard))
    }

    fn may_compare(&self, region: &Prefix) -> bool {
        *region == Prefix::ROOT || self.is_in_scope(region)
    }

    /// The shards that make up a region, or the region where it lies within one; only what is to be compared.
    fn spans(&self, region: &Prefix) -> Vec<Prefix> {
        let shards = self.compared.iter().map(Prefix::shard);
        match region.shard_of() {
            Some(_) if self.is_in_scope(region) => vec![*region],
            Some(_) => Vec::new(),
            None => shards.filter(|shard| region.contains(shard)).collect(),
        }
    }

    /// The first `max` entries of a region, where they are to be compared.
    fn first_of(&mut self, region: &Prefix, max: usize) -> Vec<Entry> {
        let spans = self.spans(region);
        let set = self.replica.entries(self.lane);
        let entries = spans.iter().flat_map(|span| set.range(span));
        let first: Vec<Entry> = entries.take(max).copied().collect();
        self.visits += first.len();
        first
    }

    fn last_of(&mut self, region: &Prefix) -> Option<Entry> {
        let spans = self.spans(region);
        let set = self.replica.entries(self.lane);
        spans.iter().rev().find_map(|span| set.range(span).next_back()).copied()
    }

    /// The fingerprints of some entries.
    fn leaves(&self, entries: &[Entry]) -> Content {
        Content::Leaves(entries.iter().map(|entry| leaf(self.salt, entry)).collect())
    }

    /// Says what this side holds in a region.
    fn tell(&mut self, region: Prefix) {
        // A document is compared as a whole or not at all: of a part of it, the beginning may be missing.
        let is_broad = region.nibbles() <= Prefix::GROUP_NIBBLES && self.nodes.len() >= self.breadth;
        if is_broad || self.is_full() {
            return;
        }
        let few = self.first_of(&region, RECONCILE_LEAVES_MAX + 1);
        if few.len() > RECONCILE_LEAVES_MAX {
            self.tell_parts(region);
        } else {
            self.tell_entries(region, &few);
        }
    }

    /// Says one by one what this side holds in a region.
    fn tell_entries(&mut self, region: Prefix, entries: &[Entry]) {
        let content = self.leaves(entries);
        self.push(region, content);
    }

    /// Says what this side holds in the parts of a region; one by one where it is not more than one entry.
    fn tell_parts(&mut self, region: Prefix) {
        let first = self.first_of(&region, 2);
        let (&[first, _], Some(last)) = (&first[..], self.last_of(&region)) else {
            return self.tell_entries(region, &first);
        };
        let prefix = Prefix::common(&first, &last);
        let parts = self.parts(&prefix).into_iter();
        let fingerprints: Vec<_> = parts
            .map(|(part, digest)| (part, self.salt.fingerprint(&digest)))
            .collect();
        self.push(region, Content::of_parts(prefix, &fingerprints));
    }

    fn push(&mut self, region: Prefix, content: Content) {
        let node = Node { region, content };
        self.tree_bytes += node.wire_bytes();
        self.nodes.push(node);
    }

    /// The parts of a region in which this side holds something that is to be compared.
    fn parts(&mut self, region: &Prefix) -> BTreeMap<Prefix, Digest> {
        let (parts, visits) = self.replica.entries(self.lane).parts(region);
        self.visits += visits;
        parts.into_iter().filter(|(part, _)| self.is_in_scope(part)).collect()
    }

    /// Answers what the other side holds in some regions.
    pub fn compare_all(&mut self, nodes: &mut [Node]) {
        self.turn_to_pivot(nodes, |node| &node.region);
        nodes.iter().for_each(|node| self.compare(node));
        self.tell_documents();
    }

    fn compare(&mut self, node: &Node) {
        if self.is_full() || !self.may_compare(&node.region) {
            return;
        }
        let Some((prefix, mut theirs)) = node.content.parts() else {
            return self.compare_leaves(node);
        };
        self.turn_to_pivot(&mut theirs, |(part, _)| part);
        self.lack_beside(&node.region, &prefix);
        let mut ours = self.parts(&prefix);
        theirs.retain(|(part, fingerprint)| {
            let same = ours
                .remove(part)
                .is_some_and(|digest| self.salt.fingerprint(&digest) == *fingerprint);
            !same && self.is_in_scope(part)
        });
        let is_dense = prefix.nibbles() >= Prefix::GROUP_NIBBLES && theirs.len() + ours.len() >= DENSE_PARTS;
        if is_dense && self.list(prefix) {
            return;
        }
        let (differing, ours) = (theirs.iter().map(|(part, _)| *part), ours.into_keys());
        if prefix.nibbles() >= Prefix::GROUP_NIBBLES {
            self.note_document(prefix.last().group, differing, ours);
        } else {
            differing.for_each(|part| self.tell(part));
            self.lack(ours.collect());
        }
    }

    /// Notes which parts of a document differ.
    fn note_document(
        &mut self,
        group: Group,
        differing: impl Iterator<Item = Prefix>,
        ours: impl Iterator<Item = Prefix>,
    ) {
        if self.documents.last().is_none_or(|document| document.group != group) {
            self.documents.push(Document {
                group,
                differing: Vec::new(),
                ours: Vec::new(),
            });
        }
        if let Some(document) = self.documents.last_mut() {
            document.differing.extend(differing);
            document.ours.extend(ours);
        }
    }

    /// Answers in which parts documents differ. The parts of one document are told all alike, so that all that is missing of it is
    /// known in the same frame: what came earlier would come before what it depends on, and be sent twice.
    fn tell_documents(&mut self) {
        for document in std::mem::take(&mut self.documents) {
            if document.differing.is_empty() {
                self.lack(document.ours);
                continue;
            }
            let mut parts = [document.differing, document.ours].concat();
            parts.sort_unstable();
            self.tell_alike(&parts);
        }
    }

    /// Says of each region one by one what this side holds, where it is little on the average, or else of each what is in its
    /// parts.
    fn tell_alike(&mut self, regions: &[Prefix]) {
        let mut room = RECONCILE_LEAVES_MAX * regions.len();
        let mut held = Vec::with_capacity(regions.len());
        for region in regions {
            let max = room.min(RECONCILE_LIST_MAX);
            let entries = self.first_of(region, max + 1);
            if entries.len() > max {
                break;
            }
            room -= entries.len();
            held.push(entries);
        }
        let are_few = held.len() == regions.len();
        for (at, region) in regions.iter().enumerate() {
            if self.is_full() {
                return;
            }
            match held.get(at).filter(|_| are_few) {
                Some(entries) => self.tell_entries(*region, entries),
                None => self.tell_parts(*region),
            }
        }
    }

    /// Says one by one what this side holds in a region; whether there was not too much of it.
    fn list(&mut self, region: Prefix) -> bool {
        let ours = self.first_of(&region, RECONCILE_LIST_MAX + 1);
        let fits = ours.len() <= RECONCILE_LIST_MAX;
        if fits && !self.is_full() {
            self.tell_entries(region, &ours);
        }
        fits
    }

    fn compare_leaves(&mut self, node: &Node) {
        let Content::Leaves(theirs) = &node.content else { return };
        if theirs.0.is_empty() {
            return self.lack(self.spans(&node.region));
        }
        let ours = self.first_of(&node.region, RECONCILE_SCAN_MAX + 1);
        if ours.len() > RECONCILE_SCAN_MAX {
            // Too many to look at each: the other side, which has few, finds out. One level deeper, or it could list them again.
            let parts = match node.region.shard_of() {
                Some(_) => (0..16).map(|next| node.region.child(next)).collect(),
                None => self.spans(&node.region),
            };
            return parts.into_iter().for_each(|part| self.tell(part));
        }
        let mut unknown: BTreeSet<Leaf> = theirs.0.iter().copied().collect();
        let lacking: Vec<Entry> = ours
            .into_iter()
            .filter(|entry| !unknown.remove(&leaf(self.salt, entry)))
            .collect();
        self.note(lacking);
        if !unknown.is_empty() {
            let want = Want {
                region: node.region,
                leaves: unknown.into_iter().collect(),
            };
            self.tree_bytes += want.wire_bytes();
            self.wants.push(want);
        }
    }

    /// Notes everything of a region that lies outside a prefix within it.
    fn lack_beside(&mut self, region: &Prefix, prefix: &Prefix) {
        if region == prefix {
            return;
        }
        let spans = self.spans(region).into_iter().flat_map(|span| {
            if span.contains(prefix) {
                span.beside(prefix).collect()
            } else if prefix.contains(&span) {
                Vec::new()
            } else {
                vec![span]
            }
        });
        self.lack(spans.collect());
    }

    /// Notes everything of some regions as missing on the other side.
    fn lack(&mut self, mut spans: Vec<Prefix>) {
        spans.sort_unstable();
        self.turn_to_pivot(&mut spans, |span| span);
        for span in spans {
            let room = RECONCILE_LACKING_MAX.saturating_sub(self.lacking.len());
            let entries: Vec<Entry> = self
                .replica
                .entries(self.lane)
                .range(&span)
                .take(room)
                .copied()
                .collect();
            self.note(entries);
        }
    }

    fn note(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let room = RECONCILE_LACKING_MAX.saturating_sub(self.lacking.len());
        let before = self.lacking.len();
        self.lacking.extend(entries.into_iter().take(room));
        self.visits += self.lacking.len() - before;
    }

    /// Finds what the other side asks for by its fingerprint.
    pub fn look_up(&mut self, want: &Want) {
        if self.is_full() || !self.may_compare(&want.region) {
            return;
        }
        let wanted: BTreeSet<&Leaf> = want.leaves.0.iter().collect();
        let ours = self.first_of(&want.region, RECONCILE_SCAN_MAX);
        let salt = self.salt;
        self.note(ours.into_iter().filter(|entry| wanted.contains(&leaf(salt, entry))));
    }

    /// Sends of what the other side lacks as much as fits: document by document from the pivot on, each from its beginning on.
    pub fn send(&mut self) {
        let pivot = self.salt.pivot();
        let mut lacking = std::mem::take(&mut self.lacking);
        lacking.sort_unstable_by_key(|entry| (entry.group < pivot, *entry));
        lacking.dedup();
        let mut sent = 0;
        'full: for document in lacking.chunk_by(|one, next| one.group == next.group) {
            let mut entries = document.to_vec();
            self.replica.arrange(self.lane, &mut entries);
            for entry in entries {
                if !self.batch.add(self.replica, self.lane, &entry) {
                    break 'full;
                }
                sent += 1;
            }
        }
        self.adapt(sent, lacking.len());
    }

    /// Sets the breadth to what would have brought up as much as could be sent.
    fn adapt(&mut self, sent: usize, lacking: usize) {
        let fitting = match lacking {
            0 => self.breadth,
            lacking if sent < lacking => self.breadth * sent / lacking,
            _ => self.breadth * 2,
        };
        self.breadth = fitting.clamp(RECONCILE_BREADTH_MIN, RECONCILE_NODES_MAX);
    }

    /// Sends along what the peer is known to have missed.
    pub fn hand_over(&mut self) {
        for entry in self.replica.handoff() {
            let held = self.replica.entries(self.lane).contains(&entry);
            if held && !self.batch.add(self.replica, self.lane, &entry) {
                return;
            }
        }
    }
}

fn leaf(salt: Salt, entry: &Entry) -> Leaf {
    salt.fingerprint(&entry.id.0)
}
