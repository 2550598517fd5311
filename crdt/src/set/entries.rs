//! The entries that a node holds, with the digests by which two nodes find out where they differ.
//!
//! A region's digest is blake3 over its entries in order, or over the digests of its parts: plain hashes, because those that can
//! be added up (xor, sums) can be forged by whoever chooses the entries. The upper levels are kept: 256 shards, each in sixteen
//! parts of sixteen buckets; a bucket has 15 entries when there are a million. Below, digests are computed when they are needed.

use std::collections::{BTreeMap, BTreeSet};

use keys::ContentId;

use super::{
    ShardSet,
    prefix::{ENTRY_BYTES, Prefix},
};
use crate::group::Group;

pub(super) type Digest = [u8; 32];

/// The digest of a region that holds nothing.
pub(super) const EMPTY: Digest = [0; 32];
/// The level whose digests are over entries; those above are over digests.
const BUCKET_NIBBLES: u8 = 4;

/// What a node holds: an envelope or a statement, sorted by the group of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Beginning of the id of the document it belongs to.
    pub group: Group,
    /// Hash of its exact bytes.
    pub id: ContentId,
}

impl Entry {
    /// Which of the 256 shards it belongs to.
    #[must_use]
    pub const fn shard(&self) -> u8 {
        self.group.shard()
    }

    pub(super) fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.group.0);
        bytes[8..].copy_from_slice(&self.id.0);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let (mut group, mut id) = ([0; 8], [0; 32]);
        group.copy_from_slice(&bytes[..8]);
        id.copy_from_slice(&bytes[8..]);
        Self {
            group: Group(group),
            id: ContentId(id),
        }
    }
}

/// An ordered set of entries with digests over its regions.
#[derive(Clone, Debug, Default)]
pub struct EntrySet {
    entries: BTreeSet<Entry>,
    /// Digests of the upper levels, by number of nibbles and the nibbles; absent where the region is empty or has changed, so that
    /// a small set stays small.
    digests: BTreeMap<(u8, u16), Digest>,
}

impl EntrySet {
    /// Adds an entry; returns whether it is new.
    pub fn insert(&mut self, entry: Entry) -> bool {
        let new = self.entries.insert(entry);
        if new {
            self.forget_digests(&entry);
        }
        new
    }

    /// Takes an entry out; returns whether it was in.
    pub fn remove(&mut self, entry: &Entry) -> bool {
        let removed = self.entries.remove(entry);
        if removed {
            self.forget_digests(entry);
        }
        removed
    }

    fn forget_digests(&mut self, entry: &Entry) {
        let bucket = u16::from_be_bytes([entry.group.0[0], entry.group.0[1]]);
        for (nibbles, index) in [(2, bucket >> 8), (3, bucket >> 4), (BUCKET_NIBBLES, bucket)] {
            self.digests.remove(&(nibbles, index));
        }
    }

    /// Whether the entry is in.
    #[must_use]
    pub fn contains(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    /// How many entries are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The entries of a region in order.
    pub fn range(&self, region: &Prefix) -> impl DoubleEndedIterator<Item = &Entry> + use<'_> {
        self.entries.range(region.first()..=region.last())
    }

    /// Digest over everything: equal roots mean equal sets.
    pub fn root(&mut self) -> ContentId {
        self.root_of(&ShardSet::all())
    }

    /// Digest over one shard; zero when it is empty.
    pub fn shard_root(&mut self, shard: u8) -> ContentId {
        ContentId(self.digest_numbered(2, u16::from(shard)))
    }

    /// Digest over some shards; the others count as empty.
    pub fn root_of(&mut self, shards: &ShardSet) -> ContentId {
        let mut hasher = over_digests();
        for shard in 0..=u8::MAX {
            let held = shards.contains(shard);
            hasher.update(&if held {
                self.digest_numbered(2, u16::from(shard))
            } else {
                EMPTY
            });
        }
        ContentId(*hasher.finalize().as_bytes())
    }

    /// The parts of a region that hold something, in order, with their digests: the shards of the whole set, else those that the
    /// next nibble makes. Also how many entries had to be looked at, or digests where they are kept.
    pub(super) fn parts(&mut self, region: &Prefix) -> (Vec<(Prefix, Digest)>, usize) {
        if region.nibbles() >= BUCKET_NIBBLES {
            return self.parts_of_entries(region);
        }
        let parts: Vec<Prefix> = if region.nibbles() == 0 {
            (0..=u8::MAX).map(Prefix::shard).collect()
        } else {
            (0..16).map(|next| region.child(next)).collect()
        };
        let visits = parts.len();
        let digests = parts
            .into_iter()
            .map(|part| (part, self.digest_numbered(part.nibbles(), part.number())));
        (digests.filter(|(_, digest)| *digest != EMPTY).collect(), visits)
    }

    fn parts_of_entries(&self, region: &Prefix) -> (Vec<(Prefix, Digest)>, usize) {
        let mut parts: Vec<(Prefix, blake3::Hasher)> = Vec::new();
        let mut visits = 0;
        for entry in self.range(region) {
            visits += 1;
            let part = region.child(entry.nibble(region.nibbles()));
            if parts.last().is_none_or(|(last, _)| *last != part) {
                parts.push((part, over_entries()));
            }
            if let Some((_, hasher)) = parts.last_mut() {
                hasher.update(&entry.bytes());
            }
        }
        let finished = |(part, hasher): (Prefix, blake3::Hasher)| (part, *hasher.finalize().as_bytes());
        (parts.into_iter().map(finished).collect(), visits)
    }

    /// Digest of a region of the upper levels, from memory where nothing has changed.
    fn digest_numbered(&mut self, nibbles: u8, index: u16) -> Digest {
        if let Some(digest) = self.digests.get(&(nibbles, index)) {
            return *digest;
        }
        let region = Prefix::numbered(nibbles, index);
        if self.range(&region).next().is_none() {
            return EMPTY;
        }
        let hasher = if nibbles == BUCKET_NIBBLES {
            let mut hasher = over_entries();
            self.range(&region).for_each(|entry| {
                hasher.update(&entry.bytes());
            });
            hasher
        } else {
            let mut hasher = over_digests();
            for next in 0..16 {
                hasher.update(&self.digest_numbered(nibbles + 1, index << 4 | next));
            }
            hasher
        };
        let digest = *hasher.finalize().as_bytes();
        self.digests.insert((nibbles, index), digest);
        digest
    }
}

impl FromIterator<Entry> for EntrySet {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().collect(),
            digests: BTreeMap::new(),
        }
    }
}

/// The first byte keeps the two kinds of hash apart.
fn over_entries() -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]);
    hasher
}

fn over_digests() -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[1]);
    hasher
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries of which many share a shard, a bucket, or a group.
    fn entry() -> impl Strategy<Value = Entry> {
        let bytes = || prop::sample::select(vec![0_u8, 1, 16, 255]);
        (bytes(), bytes(), bytes(), 0_u8..20).prop_map(|(shard, bucket, group, id)| Entry {
            group: Group([shard, bucket, group, 0, 0, 0, 0, 0]),
            id: ContentId::of(&[id]),
        })
    }

    fn hash(kind: u8, parts: impl IntoIterator<Item = Vec<u8>>) -> Digest {
        let mut bytes = vec![kind];
        parts.into_iter().for_each(|part| bytes.extend(part));
        *blake3::hash(&bytes).as_bytes()
    }

    /// The digest of a region as the module's description has it, computed anew from a plain list.
    fn naive(entries: &[Entry], region: &Prefix) -> Digest {
        let from = entries.partition_point(|entry| *entry < region.first());
        let to = entries.partition_point(|entry| *entry <= region.last());
        let within = &entries[from..to];
        let digests = |parts: Vec<Prefix>| hash(1, parts.iter().map(|part| naive(within, part).to_vec()));
        match region.nibbles() {
            0 => digests((0..=255).map(Prefix::shard).collect()),
            _ if within.is_empty() => EMPTY,
            2 | 3 => digests((0..16).map(|next| region.child(next)).collect()),
            _ => hash(0, within.iter().map(|entry| entry.bytes().to_vec())),
        }
    }

    proptest! {
        #[test]
        fn the_set_is_a_set_and_its_digests_are_those_computed_anew(
            changes in prop::collection::vec((entry(), any::<bool>(), any::<bool>()), 0..60)
        ) {
            let (mut set, mut model) = (EntrySet::default(), BTreeSet::new());
            for (entry, insert, look) in changes {
                if insert {
                    prop_assert_eq!(set.insert(entry), model.insert(entry));
                } else {
                    prop_assert_eq!(set.remove(&entry), model.remove(&entry));
                }
                // Sometimes not, so that several changes fall between two digests.
                if look {
                    prop_assert_eq!(set.root().0, naive(&Vec::from_iter(model.iter().copied()), &Prefix::ROOT));
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.contains(&entry), model.contains(&entry));
            }
            let model: Vec<Entry> = model.into_iter().collect();
            prop_assert_eq!(set.root().0, naive(&model, &Prefix::ROOT));
            prop_assert_eq!(set.shard_root(16).0, naive(&model, &Prefix::shard(16)));
            prop_assert!(set.iter().eq(model.iter()));
            // A set that came to the same in another way has the same digests.
            prop_assert_eq!(model.iter().copied().collect::<EntrySet>().root(), set.root());
            for entry in model.iter().take(3) {
                for nibbles in [0, 2, 3, 4, 5, 16, 17] {
                    let region = (0..nibbles).fold(Prefix::ROOT, |region, at| region.child(entry.nibble(at)));
                    prop_assert!(set.range(&region).all(|inside| region.first() <= *inside && *inside <= region.last()));
                    for (part, digest) in set.parts(&region).0 {
                        prop_assert_eq!(digest, naive(&model, &part), "{:?} of {:?}", part, region);
                    }
                }
            }
        }

        #[test]
        fn a_root_over_some_shards_is_that_of_a_set_with_only_those(
            entries in prop::collection::btree_set(entry(), 0..40), shards in prop::collection::vec(any::<u8>(), 0..8)
        ) {
            let shards: ShardSet = shards.into_iter().chain([1, 16]).collect();
            let mut all: EntrySet = entries.iter().copied().collect();
            let mut some: EntrySet = entries.iter().copied().filter(|entry| shards.contains(entry.shard())).collect();
            prop_assert_eq!(all.root_of(&shards), some.root());
            prop_assert_eq!(all.root() == some.root(), all.len() == some.len());
        }
    }

    #[test]
    fn one_bit_of_an_entry_changes_the_root_and_a_small_set_stays_small() {
        let entry = Entry {
            group: Group([7; 8]),
            id: ContentId([9; 32]),
        };
        let mut roots = BTreeSet::from([EntrySet::default().root().0]);
        for bit in 0..ENTRY_BYTES * 8 {
            let mut bytes = entry.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            roots.insert(EntrySet::from_iter([Entry::from_bytes(&bytes)]).root().0);
        }
        assert_eq!(roots.len(), 1 + ENTRY_BYTES * 8);
        let mut set = EntrySet::from_iter([entry]);
        set.root();
        assert_eq!(set.digests.len(), 3, "one digest a level for one entry");
    }
}
