//! Regions of the set: what begins with some nibbles, and shards.
//!
//! An entry is 80 nibbles (half bytes, high one first): 16 of its group, 64 of its id. A [`Prefix`] is the first few of them and
//! stands for every entry that begins with them; one that another contains is a region within that region.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeTuple};

use super::Entry;
use crate::group::Group;

/// Bytes of an entry: its group and its id.
pub(super) const ENTRY_BYTES: usize = 40;
/// The first nibbles of an entry; the region of all entries that begin with them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// Zero behind the prefix, so that the derived order is that of regions, each one before those within it.
    bytes: [u8; ENTRY_BYTES],
    nibbles: u8,
}

impl Prefix {
    /// Nibbles of a whole entry.
    pub(super) const NIBBLES_MAX: u8 = 80;

    /// Nibbles of a group.
    pub(super) const GROUP_NIBBLES: u8 = 16;

    /// The whole set.
    pub const ROOT: Self = Self {
        bytes: [0; ENTRY_BYTES],
        nibbles: 0,
    };

    /// One of the 256 shards.
    #[must_use]
    pub const fn shard(shard: u8) -> Self {
        let mut prefix = Self::ROOT;
        prefix.bytes[0] = shard;
        prefix.nibbles = 2;
        prefix
    }

    /// Everything of one group.
    #[must_use]
    pub fn group(group: &Group) -> Self {
        let mut prefix = Self::ROOT;
        prefix.bytes[..8].copy_from_slice(&group.0);
        prefix.nibbles = Self::GROUP_NIBBLES;
        prefix
    }

    /// A region of the upper levels, which are numbered: one to four nibbles, `index` right-aligned.
    pub(super) fn numbered(nibbles: u8, index: u16) -> Self {
        let mut prefix = Self::ROOT;
        let [high, low] = (index << (16 - 4 * nibbles)).to_be_bytes();
        (prefix.bytes[0], prefix.bytes[1], prefix.nibbles) = (high, low, nibbles);
        prefix
    }

    /// The number of a region of one to four nibbles.
    pub(super) fn number(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]]) >> (16 - 4 * self.nibbles)
    }

    /// What two different entries have in common.
    pub(super) fn common(one: &Entry, other: &Entry) -> Self {
        let (one, other) = (one.bytes(), other.bytes());
        let nibbles = (0..Self::NIBBLES_MAX).take_while(|at| nibble(&one, *at) == nibble(&other, *at));
        nibbles.fold(Self::ROOT, |prefix, at| prefix.child(nibble(&one, at)))
    }

    /// How many nibbles.
    #[must_use]
    pub const fn nibbles(&self) -> u8 {
        self.nibbles
    }

    /// The shard it lies in; `None` for the regions that reach over several.
    #[must_use]
    pub const fn shard_of(&self) -> Option<u8> {
        if self.nibbles >= 2 { Some(self.bytes[0]) } else { None }
    }

    /// The part whose next nibble is `next`. A whole entry has no parts: it is its own.
    pub(super) fn child(mut self, next: u8) -> Self {
        if self.nibbles < Self::NIBBLES_MAX {
            let byte = &mut self.bytes[usize::from(self.nibbles / 2)];
            *byte |= if self.nibbles.is_multiple_of(2) {
                next << 4
            } else {
                next & 15
            };
            self.nibbles += 1;
        }
        self
    }

    /// The last nibble as a number.
    pub(super) fn last_nibble(&self) -> u8 {
        self.nibbles.checked_sub(1).map_or(0, |last| nibble(&self.bytes, last))
    }

    /// The first `nibbles` of it.
    fn shortened(&self, nibbles: u8) -> Self {
        (0..nibbles.min(self.nibbles)).fold(Self::ROOT, |prefix, at| prefix.child(nibble(&self.bytes, at)))
    }

    /// Whether `other` lies within this region.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.nibbles >= self.nibbles && other.shortened(self.nibbles) == *self
    }

    /// The sixteen-fold parts of `self` that lie beside the way to `inner`, without any part of `inner`.
    pub(super) fn beside(&self, inner: &Self) -> impl Iterator<Item = Self> {
        let inner = *inner;
        (self.nibbles..inner.nibbles).flat_map(move |at| {
            let parent = inner.shortened(at);
            let way = nibble(&inner.bytes, at);
            (0..16)
                .filter(move |next| *next != way)
                .map(move |next| parent.child(next))
        })
    }

    /// The smallest entry there can be in the region.
    pub(super) fn first(&self) -> Entry {
        Entry::from_bytes(&self.bytes)
    }

    /// The greatest entry there can be in the region.
    pub(super) fn last(&self) -> Entry {
        let mut bytes = self.bytes;
        let half = usize::from(self.nibbles / 2);
        if self.nibbles % 2 == 1 {
            bytes[half] |= 15;
        }
        bytes[half + usize::from(self.nibbles % 2)..].fill(255);
        Entry::from_bytes(&bytes)
    }

    /// Bytes that the nibbles take.
    pub(super) const fn packed_bytes(&self) -> usize {
        self.nibbles.div_ceil(2) as usize
    }
}

fn nibble(bytes: &[u8; ENTRY_BYTES], at: u8) -> u8 {
    let byte = bytes[usize::from(at / 2)];
    if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

impl Entry {
    /// The nibble at `at`, below 80.
    pub(super) fn nibble(&self, at: u8) -> u8 {
        nibble(&self.bytes(), at)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Prefix(")?;
        (0..self.nibbles).try_for_each(|at| write!(formatter, "{:x}", nibble(&self.bytes, at)))?;
        formatter.write_str(")")
    }
}

/// The number of nibbles, then as many bytes as they take, without a length of their own.
impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(1 + self.packed_bytes())?;
        tuple.serialize_element(&self.nibbles)?;
        for byte in &self.bytes[..self.packed_bytes()] {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nibbles;
        impl<'de> de::Visitor<'de> for Nibbles {
            type Value = Prefix;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of nibbles and the nibbles")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Prefix, A::Error> {
                let mut next = || {
                    sequence
                        .next_element::<u8>()?
                        .ok_or_else(|| de::Error::custom("a prefix ends early"))
                };
                let mut prefix = Prefix::ROOT;
                prefix.nibbles = next()?;
                if prefix.nibbles > Prefix::NIBBLES_MAX {
                    return Err(de::Error::custom("a prefix longer than an entry"));
                }
                for at in 0..prefix.packed_bytes() {
                    prefix.bytes[at] = next()?;
                }
                // One region has one form: two that look different are different.
                if prefix.shortened(prefix.nibbles) != prefix {
                    return Err(de::Error::custom("a prefix with something behind it"));
                }
                Ok(prefix)
            }
        }
        deserializer.deserialize_tuple(1 + ENTRY_BYTES, Nibbles)
    }
}

/// Some of the 256 shards; none by default.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "ShardsOnWire", into = "ShardsOnWire")]
pub struct ShardSet {
    bits: [u8; 32],
}

/// One byte while a node holds everything, as up to sixteen nodes do.
#[derive(Serialize, Deserialize)]
enum ShardsOnWire {
    All,
    Some([u8; 32]),
}

impl From<ShardsOnWire> for ShardSet {
    fn from(shards: ShardsOnWire) -> Self {
        match shards {
            ShardsOnWire::All => Self::all(),
            ShardsOnWire::Some(bits) => Self { bits },
        }
    }
}

impl From<ShardSet> for ShardsOnWire {
    fn from(shards: ShardSet) -> Self {
        if shards == ShardSet::all() {
            Self::All
        } else {
            Self::Some(shards.bits)
        }
    }
}

impl ShardSet {
    /// Every shard.
    #[must_use]
    pub const fn all() -> Self {
        Self { bits: [255; 32] }
    }

    /// No shard.
    #[must_use]
    pub const fn none() -> Self {
        Self { bits: [0; 32] }
    }

    /// The set of the shards whose bits are set, from the lowest bit of the first byte on.
    #[must_use]
    pub const fn from_bits(bits: [u8; 32]) -> Self {
        Self { bits }
    }

    /// See [`Self::from_bits`].
    #[must_use]
    pub const fn bits(&self) -> [u8; 32] {
        self.bits
    }

    /// Adds a shard.
    pub const fn insert(&mut self, shard: u8) {
        self.bits[(shard / 8) as usize] |= 1 << (shard % 8);
    }

    /// Whether the shard is in.
    #[must_use]
    pub const fn contains(&self, shard: u8) -> bool {
        self.bits[(shard / 8) as usize] & (1 << (shard % 8)) != 0
    }

    /// The shards that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            bits: std::array::from_fn(|byte| self.bits[byte] & other.bits[byte]),
        }
    }

    /// How many shards are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bits.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether no shard is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::none()
    }

    /// The shards in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u8> {
        let shards = *self;
        (0..=u8::MAX).filter(move |shard| shards.contains(*shard))
    }
}

impl FromIterator<u8> for ShardSet {
    fn from_iter<I: IntoIterator<Item = u8>>(shards: I) -> Self {
        let mut set = Self::none();
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn prefix(nibbles: &[u8]) -> Prefix {
        nibbles.iter().fold(Prefix::ROOT, |prefix, next| prefix.child(*next))
    }

    fn entry() -> impl Strategy<Value = Entry> {
        // Few different nibbles, so that entries share long prefixes.
        prop::collection::vec(prop::sample::select(vec![0x00, 0x01, 0x10, 0xff]), ENTRY_BYTES)
            .prop_map(|bytes| Entry::from_bytes(&bytes.try_into().unwrap()))
    }

    proptest! {
        #[test]
        fn the_common_prefix_contains_both_and_no_longer_one_does(one in entry(), other in entry()) {
            let common = Prefix::common(&one, &other);
            for inside in [&one, &other] {
                prop_assert!(common.first() <= *inside && *inside <= common.last());
            }
            if one != other {
                prop_assert_ne!(one.nibble(common.nibbles()), other.nibble(common.nibbles()));
            }
        }

        #[test]
        fn the_parts_beside_and_the_inner_part_are_the_whole(
            way in prop::collection::vec(0_u8..16, 0..40), length in 0_usize..40, within in entry()
        ) {
            let (outer, inner) = (prefix(&way[..length.min(way.len())]), prefix(&way));
            let parts: Vec<Prefix> = outer.beside(&inner).chain([inner]).collect();
            let holders = parts.iter().filter(|part| part.first() <= within && within <= part.last()).count();
            let inside = outer.first() <= within && within <= outer.last();
            prop_assert_eq!(holders, usize::from(inside));
            prop_assert!(parts.iter().all(|part| outer.contains(part)));
        }

        #[test]
        fn a_prefix_survives_the_wire(way in prop::collection::vec(0_u8..16, 0..=80)) {
            let prefix = prefix(&way);
            let bytes = postcard::to_stdvec(&prefix).unwrap();
            prop_assert_eq!(bytes.len(), 1 + way.len().div_ceil(2));
            prop_assert_eq!(postcard::from_bytes::<Prefix>(&bytes).unwrap(), prefix);
        }
    }

    #[test]
    fn a_prefix_that_cannot_be_is_refused() {
        let mut long = vec![81];
        long.extend([0; 41]);
        for bytes in [&long[..], &[1, 0x11], &[2], &[255], &[]] {
            assert!(postcard::from_bytes::<Prefix>(bytes).is_err(), "{bytes:?}");
        }
        // Control: the same with the nibble behind it cleared.
        assert_eq!(postcard::from_bytes::<Prefix>(&[1, 0x10]).unwrap(), prefix(&[1]));
    }

    #[test]
    fn regions_are_ordered_and_numbered() {
        assert!(prefix(&[1]) < prefix(&[1, 0]) && prefix(&[1, 15]) < prefix(&[2]));
        assert!(prefix(&[1]).contains(&prefix(&[1, 0])) && !prefix(&[1, 0]).contains(&prefix(&[1])));
        assert_eq!(Prefix::numbered(3, 0xabc), prefix(&[10, 11, 12]));
        assert_eq!(Prefix::numbered(2, 7), Prefix::shard(7));
        for (nibbles, index) in [(1, 0xf), (2, 0xab), (3, 0xabc), (4, 0xabcd)] {
            assert_eq!(Prefix::numbered(nibbles, index).number(), index);
        }
        assert_eq!(Prefix::shard(0xab).shard_of(), Some(0xab));
        assert_eq!(prefix(&[1]).shard_of(), None);
        let group = Group([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Prefix::group(&group).nibbles(), 16);
        assert_eq!(Prefix::group(&group).first().group, group);
    }

    #[test]
    fn a_set_of_shards_is_a_set() {
        let (even, low): (ShardSet, ShardSet) = ((0..=254).step_by(2).collect(), (0..10).collect());
        assert_eq!(even.intersection(&low).iter().collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!(
            (even.len(), ShardSet::all().len(), ShardSet::none().len()),
            (128, 256, 0)
        );
        assert_eq!((0..=255).collect::<ShardSet>(), ShardSet::all());
        assert!(ShardSet::none().is_empty() && !low.is_empty());
        for (shards, bytes) in [(ShardSet::all(), 1), (even, 33), (ShardSet::none(), 33)] {
            let wire = postcard::to_stdvec(&shards).unwrap();
            assert_eq!(wire.len(), bytes);
            assert_eq!(postcard::from_bytes::<ShardSet>(&wire).unwrap(), shards);
        }
        let listed: BTreeSet<u8> = ShardSet::all().iter().collect();
        assert_eq!(listed.len(), 256);
    }
}
