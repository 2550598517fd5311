//! The frames of a talk, and what a frame may hold. Everything is counted while it is read, before it takes memory.
//!
//! A frame is a version byte and postcard. All that a node must know to answer is in it, so nothing is kept between frames.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

use super::{Prefix, ReconcileError, ShardSet, entries::Digest};
use crate::{
    group::{Group, Lane},
    limits::{
        RECONCILE_ENVELOPES_MAX, RECONCILE_FRAME_BYTES_MAX, RECONCILE_LIST_MAX, RECONCILE_NODES_MAX, RECORD_BYTES_MAX,
    },
};

/// A part of a region, with its fingerprint.
pub(super) type Part = (Prefix, [u8; 4]);

/// First byte of every frame.
const VERSION: u8 = 3;

/// Mixed into every fingerprint of a frame, and new in each round: nobody can prepare two sets whose fingerprints agree, and two
/// that agree by chance differ the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Salt(pub [u8; 8]);

impl Salt {
    /// The first bytes of blake3 over salt and digest.
    pub fn fingerprint<const BYTES: usize>(&self, digest: &Digest) -> [u8; BYTES] {
        let mut salted = [0; 40];
        salted[..8].copy_from_slice(&self.0);
        salted[8..].copy_from_slice(digest);
        let hash = blake3::hash(&salted);
        std::array::from_fn(|byte| hash.as_bytes()[byte])
    }

    /// The salt of the next round.
    pub fn next(&self) -> Self {
        Self(self.fingerprint(&[0; 32]))
    }

    /// Where in the set a round begins: nobody knows it beforehand.
    pub const fn pivot(&self) -> Group {
        Group(self.0)
    }
}

/// What one side says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// Both hold the same.
    Same,
    /// How things stand: the beginning of a round.
    Hello(Hello),
    /// A part of the comparison.
    Step(Step),
}

/// Why a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Turn {
    /// The talk begins.
    Opening,
    /// Something moved in a lane; compare it again, in the given breadth.
    Moved(Lane, u16),
    /// Nothing moves in a lane any more, although it may differ: on to the next one.
    Settled(Lane),
}

impl Turn {
    /// Whether what is known to be missing may be handed over: before the last lane is compared for the first time.
    pub fn hands_over(self, lanes: [Lane; 3]) -> bool {
        !matches!(self, Self::Moved(lane, _) if lane == lanes[2])
    }

    /// How many lanes have been dealt with in this talk.
    pub fn lanes_past(self, lanes: [Lane; 3]) -> usize {
        let place = |wanted| lanes.iter().position(|lane| *lane == wanted).unwrap_or(0);
        match self {
            Self::Opening => 0,
            Self::Moved(lane, _) => place(lane),
            Self::Settled(lane) => place(lane) + 1,
        }
    }

    /// How many nodes the frames of the round may hold.
    pub const fn breadth(self) -> u16 {
        match self {
            Self::Opening | Self::Settled(_) => u16::MAX,
            Self::Moved(_, breadth) => breadth,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub turn: Turn,
    pub salt: Salt,
    /// The shards that the root of the placed changes is over.
    pub scope: ShardSet,
    pub roots: Roots,
    pub handoff: Bounded<Handed, RECONCILE_ENVELOPES_MAX>,
}

/// Fingerprints of the roots of all lanes: few bytes, because most talks are no more than these, and enough, because two that agree by
/// chance (once in 2^40 talks) differ the next time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Roots([u8; 16]);

impl Roots {
    const fn place(lane: Lane) -> std::ops::Range<usize> {
        match lane {
            Lane::Statements => 0..5,
            Lane::Common => 5..10,
            Lane::Envelopes => 10..16,
        }
    }

    pub fn set(&mut self, lane: Lane, root: &Digest, salt: Salt) {
        let place = Self::place(lane);
        let fingerprint: [u8; 8] = salt.fingerprint(root);
        let bytes = &fingerprint[..place.len()];
        self.0[place].copy_from_slice(bytes);
    }

    pub fn agree(&self, other: &Self, lane: Lane) -> bool {
        self.0[Self::place(lane)] == other.0[Self::place(lane)]
    }
}

/// What the sender knows that the receiver missed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Handed {
    pub lane: Lane,
    pub bytes: Blob,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    pub salt: Salt,
    /// The shards of the placed changes that both sides want.
    pub scope: ShardSet,
    pub lane: Lane,
    /// How many were taken in so far in this round, on both sides.
    pub moved: u32,
    /// How many nodes a frame may hold, apart from those within a document: fewer when more is missing than fits the frames, as
    /// most of a broad comparison would be done in vain and again in the next round.
    pub breadth: u16,
    /// By region, none within another.
    pub nodes: Bounded<Node, RECONCILE_NODES_MAX>,
    /// By region, none within another.
    pub wants: Bounded<Want, RECONCILE_NODES_MAX>,
    pub envelopes: Bounded<Blob, RECONCILE_ENVELOPES_MAX>,
}

/// Fingerprint of an entry's id.
pub(super) type Leaf = [u8; 6];
pub(super) type Leaves = Bounded<Leaf, RECONCILE_LIST_MAX>;

/// What the sender holds in a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    pub region: Prefix,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Content {
    /// Few entries, or a document of which much differs: each one.
    Leaves(Leaves),
    /// Many: `prefix` is common to all of them (so that a document with many envelopes costs no level for each nibble of its
    /// group), and behind it `parts` says by which next nibbles they go on, one fingerprint for each bit from the lowest on.
    Parts {
        prefix: Prefix,
        parts: [u8; 2],
        fingerprints: Bounded<[u8; 4], 16>,
    },
    /// Many in several shards; the region is the whole set.
    Shards {
        parts: [u8; 32],
        fingerprints: Bounded<[u8; 4], 256>,
    },
}

impl Content {
    /// The content for `parts` of `prefix`, in order.
    pub fn of_parts(prefix: Prefix, parts: &[(Prefix, [u8; 4])]) -> Self {
        let fingerprints = parts.iter().map(|(_, fingerprint)| *fingerprint);
        if prefix == Prefix::ROOT {
            let mut bits = [0; 32];
            parts
                .iter()
                .for_each(|(part, _)| set_bit(&mut bits, usize::from(part.shard_of().unwrap_or_default())));
            return Self::Shards {
                parts: bits,
                fingerprints: fingerprints.collect(),
            };
        }
        let mut bits = [0; 2];
        parts
            .iter()
            .for_each(|(part, _)| set_bit(&mut bits, usize::from(part.last_nibble())));
        Self::Parts {
            prefix,
            parts: bits,
            fingerprints: fingerprints.collect(),
        }
    }

    /// The prefix and its parts with their fingerprints; `None` for leaves.
    pub fn parts(&self) -> Option<(Prefix, Vec<Part>)> {
        let (prefix, parts, fingerprints): (_, Vec<Prefix>, &[[u8; 4]]) = match self {
            Self::Leaves(_) => return None,
            Self::Parts {
                prefix,
                parts,
                fingerprints,
            } => (
                *prefix,
                set_bits(parts).map(|next| prefix.child(next)).collect(),
                &fingerprints.0,
            ),
            Self::Shards { parts, fingerprints } => (
                Prefix::ROOT,
                set_bits(parts).map(Prefix::shard).collect(),
                &fingerprints.0,
            ),
        };
        Some((prefix, parts.into_iter().zip(fingerprints.iter().copied()).collect()))
    }
}

fn set_bit(bits: &mut [u8], bit: usize) {
    if let Some(byte) = bits.get_mut(bit / 8) {
        *byte |= 1 << (bit % 8);
    }
}

fn set_bits(bits: &[u8]) -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|bit| {
        bits.get(usize::from(bit / 8))
            .is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    })
}

impl Node {
    /// Bytes it takes in a frame, or a few more.
    pub fn wire_bytes(&self) -> usize {
        let content = match &self.content {
            Content::Leaves(leaves) => leaves.0.len() * 6,
            Content::Parts { fingerprints, .. } => 44 + fingerprints.0.len() * 4,
            Content::Shards { fingerprints, .. } => 34 + fingerprints.0.len() * 4,
        };
        self.region.packed_bytes() + content + 4
    }

    /// What the type does not say: whether the counts agree and the prefix is one of the region.
    fn is_possible(&self) -> bool {
        let bits = |bits: &[u8]| set_bits(bits).count();
        match &self.content {
            Content::Leaves(_) => true,
            Content::Parts {
                prefix,
                parts,
                fingerprints,
            } => {
                let divisible = prefix.nibbles() > 0 && prefix.nibbles() < Prefix::NIBBLES_MAX;
                divisible && self.region.contains(prefix) && bits(parts) == fingerprints.0.len()
            }
            Content::Shards { parts, fingerprints } => {
                self.region == Prefix::ROOT && bits(parts) == fingerprints.0.len()
            }
        }
    }
}

/// Entries that the sender saw listed for a region and does not have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Want {
    pub region: Prefix,
    pub leaves: Leaves,
}

impl Want {
    /// Bytes it takes in a frame, or a few more.
    pub fn wire_bytes(&self) -> usize {
        self.region.packed_bytes() + self.leaves.0.len() * 6 + 4
    }
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Writing into a growing vector cannot fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads a frame from outside.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReconcileError> {
        if bytes.len() > RECONCILE_FRAME_BYTES_MAX {
            return Err(ReconcileError::TooLarge);
        }
        let Some((&VERSION, body)) = bytes.split_first() else {
            return Err(ReconcileError::Version);
        };
        let Ok((frame, [])) = postcard::take_from_bytes::<Self>(body) else {
            return Err(ReconcileError::Malformed);
        };
        match &frame {
            Self::Step(step) if !step.is_possible() => Err(ReconcileError::Malformed),
            _ => Ok(frame),
        }
    }
}

/// Whether the bytes are [`Frame::Same`].
pub(super) fn is_same(bytes: &[u8]) -> bool {
    bytes == [VERSION, 0]
}

/// Whether the bytes begin a [`Frame::Hello`].
pub(super) fn is_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, 1, ..])
}

/// Whether the bytes begin a [`Frame::Hello`] that follows on a round in which something moved.
pub(super) fn follows_movement(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, 1, 1, ..])
}

impl Step {
    fn is_possible(&self) -> bool {
        let nodes = self.nodes.0.iter();
        are_apart(nodes.clone().map(|node| &node.region))
            && are_apart(self.wants.0.iter().map(|want| &want.region))
            && nodes.into_iter().all(Node::is_possible)
    }
}

/// Whether the regions are in order and none lies within another: otherwise one frame could ask for the same thing a thousand
/// times. A single nibble is no region: it lies between the whole set and its shards, and nobody asks for it.
fn are_apart<'a>(regions: impl Iterator<Item = &'a Prefix>) -> bool {
    let mut before: Option<&Prefix> = None;
    for region in regions {
        if region.nibbles() == 1 || before.is_some_and(|before| before >= region || before.contains(region)) {
            return false;
        }
        before = Some(region);
    }
    true
}

/// A list of at most `MAX` elements; a longer one is an error while it is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bounded<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> FromIterator<T> for Bounded<T, MAX> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(elements.into_iter().take(MAX).collect())
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Bounded<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        self.0
            .iter()
            .try_for_each(|element| sequence.serialize_element(element))?;
        sequence.end()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtMost<T, const MAX: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> de::Visitor<'de> for AtMost<T, MAX> {
            type Value = Vec<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "at most {MAX} elements")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
                // Grows with what is really there, whatever the length claims.
                let mut elements = Vec::new();
                while let Some(element) = sequence.next_element()? {
                    if elements.len() == MAX {
                        return Err(de::Error::invalid_length(MAX + 1, &self));
                    }
                    elements.push(element);
                }
                Ok(elements)
            }
        }
        let elements = deserializer.deserialize_seq(AtMost::<T, MAX>(std::marker::PhantomData))?;
        Ok(Self(elements))
    }
}

/// Bytes of a statement or an envelope: at most those of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "at most {RECORD_BYTES_MAX} bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                if bytes.len() > RECORD_BYTES_MAX {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
