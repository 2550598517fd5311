//! Set reconciliation, sans-IO: two nodes find out which envelopes the other is missing and exchange them.
//!
//! Each side holds a set of envelope ids in 256 buckets by first byte; a bucket's digest is blake3 over its sorted ids (plain
//! blake3: xor or sum fingerprints can be forged). The opener sends its root; equal roots end the talk after 33 bytes. Otherwise
//! the answerer sends its bucket digests, the opener lists what it has in those that differ, and both send what the other lacks.
//! A round that does not fit one frame leaves the rest to the next round; every round that moves something is followed by
//! another, so the talk ends with equal roots.

use std::collections::BTreeSet;

use keys::ContentId;
use serde::{Deserialize, Serialize};

use crate::limits::{RECONCILE_BATCH_BYTES, RECONCILE_FRAME_BYTES_MAX, RECONCILE_IDS_MAX};

/// First byte of every frame.
const VERSION: u8 = 1;
const BUCKETS: usize = 256;

/// The ids a node holds, with the digests over them.
#[derive(Debug)]
pub struct IdSet {
    ids: BTreeSet<ContentId>,
    /// Digest of each bucket; `None` where ids came in since it was computed.
    digests: Vec<Option<[u8; 32]>>,
}

impl Default for IdSet {
    fn default() -> Self {
        Self {
            ids: BTreeSet::new(),
            digests: vec![None; BUCKETS],
        }
    }
}

impl IdSet {
    /// Adds an id; returns whether it is new.
    pub fn insert(&mut self, id: ContentId) -> bool {
        let new = self.ids.insert(id);
        if new {
            self.digests[id.0[0] as usize] = None;
        }
        new
    }

    /// Takes an id out: its envelope cannot be read any more.
    pub fn remove(&mut self, id: &ContentId) {
        if self.ids.remove(id) {
            self.digests[id.0[0] as usize] = None;
        }
    }

    /// Whether the id is in.
    #[must_use]
    pub fn contains(&self, id: &ContentId) -> bool {
        self.ids.contains(id)
    }

    /// How many ids are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn bucket(&self, bucket: u8) -> impl Iterator<Item = &ContentId> {
        let mut first = [0; 32];
        let mut last = [255; 32];
        (first[0], last[0]) = (bucket, bucket);
        self.ids.range(ContentId(first)..=ContentId(last))
    }

    fn digest(&mut self, bucket: u8) -> [u8; 32] {
        if let Some(digest) = self.digests[bucket as usize] {
            return digest;
        }
        let mut hasher = blake3::Hasher::new();
        for id in self.bucket(bucket) {
            hasher.update(&id.0);
        }
        let digest = *hasher.finalize().as_bytes();
        self.digests[bucket as usize] = Some(digest);
        digest
    }

    /// blake3 over the bucket digests: equal roots mean equal sets.
    pub fn root(&mut self) -> ContentId {
        let mut hasher = blake3::Hasher::new();
        for bucket in 0..=u8::MAX {
            hasher.update(&self.digest(bucket));
        }
        ContentId(*hasher.finalize().as_bytes())
    }
}

/// A frame of the talk.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// The opener's root.
    Root(ContentId),
    /// The answerer's roots agree: done.
    Same,
    /// The first eight bytes of each of the answerer's bucket digests.
    Digests(Vec<[u8; 8]>),
    /// What the opener has in some of the buckets that differ.
    Have(Vec<(u8, Vec<ContentId>)>),
    /// What the opener lacks, and the ids that the answerer lacks.
    Missing {
        envelopes: Vec<Vec<u8>>,
        wanted: Vec<ContentId>,
    },
    /// What the answerer lacked, and how many the opener has taken in.
    Envelopes { envelopes: Vec<Vec<u8>>, taken: u32 },
    /// How many both took in: the next round follows only when something moved, or two that refuse each other's changes would
    /// talk for ever.
    Taken(u32),
}

/// What a node must be able to do for the talk.
pub trait Replica {
    /// The ids it holds.
    fn ids(&mut self) -> &mut IdSet;
    /// The bytes of an envelope it holds.
    fn envelope(&mut self, id: &ContentId) -> Option<Vec<u8>>;
    /// Judges bytes from the other side; whether they were taken in.
    fn take(&mut self, envelope: Vec<u8>) -> bool;
}

/// A frame that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// Too large, of another version, or malformed.
    #[error("a malformed reconciliation frame")]
    Malformed,
}

/// The opener's first frame.
pub fn start(replica: &mut impl Replica) -> Vec<u8> {
    encode(&Frame::Root(replica.ids().root()))
}

/// Answers a frame; `None` ends the talk.
///
/// # Errors
/// When the frame is malformed; the talk ends.
pub fn step(replica: &mut impl Replica, frame: &[u8]) -> Result<Option<Vec<u8>>, ReconcileError> {
    let answer = match decode(frame)? {
        Frame::Root(root) if replica.ids().root() == root => Frame::Same,
        Frame::Root(_) => Frame::Digests(
            (0..=u8::MAX)
                .map(|bucket| short(&replica.ids().digest(bucket)))
                .collect(),
        ),
        Frame::Same => return Ok(None),
        Frame::Digests(theirs) if theirs.len() == BUCKETS => have(replica, &theirs),
        Frame::Have(buckets) => missing(replica, &buckets),
        Frame::Missing { envelopes, wanted } => {
            let taken = take_all(replica, envelopes);
            let envelopes = batch(replica, wanted.iter());
            Frame::Envelopes { envelopes, taken }
        }
        Frame::Envelopes { envelopes, taken } => Frame::Taken(taken.saturating_add(take_all(replica, envelopes))),
        Frame::Taken(0) => return Ok(None),
        Frame::Taken(_) => Frame::Root(replica.ids().root()),
        Frame::Digests(_) => return Err(ReconcileError::Malformed),
    };
    Ok(Some(encode(&answer)))
}

fn take_all(replica: &mut impl Replica, envelopes: Vec<Vec<u8>>) -> u32 {
    let taken = envelopes
        .into_iter()
        .map(|envelope| replica.take(envelope))
        .filter(|taken| *taken)
        .count();
    u32::try_from(taken).unwrap_or(u32::MAX)
}

fn short(digest: &[u8; 32]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}

fn have(replica: &mut impl Replica, theirs: &[[u8; 8]]) -> Frame {
    let mut listed = 0;
    let mut buckets = Vec::new();
    for (bucket, digest) in (0..=u8::MAX).zip(theirs) {
        if short(&replica.ids().digest(bucket)) == *digest {
            continue;
        }
        let ids: Vec<_> = replica.ids().bucket(bucket).copied().collect();
        listed += ids.len();
        // At least one bucket always goes, or a very full one would never be reconciled.
        if listed > RECONCILE_IDS_MAX && !buckets.is_empty() {
            break;
        }
        buckets.push((bucket, ids));
    }
    Frame::Have(buckets)
}

fn missing(replica: &mut impl Replica, buckets: &[(u8, Vec<ContentId>)]) -> Frame {
    let mut lacking = Vec::new();
    let mut wanted = Vec::new();
    for (bucket, theirs) in buckets {
        let theirs: BTreeSet<&ContentId> = theirs.iter().collect();
        let ids = replica.ids();
        lacking.extend(ids.bucket(*bucket).filter(|id| !theirs.contains(id)).copied());
        wanted.extend(theirs.into_iter().filter(|id| !ids.contains(id)).copied());
    }
    wanted.truncate(RECONCILE_IDS_MAX);
    let envelopes = batch(replica, lacking.iter());
    Frame::Missing { envelopes, wanted }
}

fn batch<'a>(replica: &mut impl Replica, ids: impl Iterator<Item = &'a ContentId>) -> Vec<Vec<u8>> {
    let mut envelopes = Vec::new();
    let mut bytes = 0;
    for id in ids {
        if let Some(envelope) = replica.envelope(id) {
            bytes += envelope.len();
            envelopes.push(envelope);
        }
        if bytes >= RECONCILE_BATCH_BYTES {
            break;
        }
    }
    envelopes
}

fn encode(frame: &Frame) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(frame, vec![VERSION]).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Result<Frame, ReconcileError> {
    if bytes.len() > RECONCILE_FRAME_BYTES_MAX {
        return Err(ReconcileError::Malformed);
    }
    match bytes.split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((frame, [])) => Ok(frame),
            _ => Err(ReconcileError::Malformed),
        },
        _ => Err(ReconcileError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Memory {
        ids: IdSet,
        envelopes: BTreeMap<ContentId, Vec<u8>>,
    }

    impl Replica for Memory {
        fn ids(&mut self) -> &mut IdSet {
            &mut self.ids
        }
        fn envelope(&mut self, id: &ContentId) -> Option<Vec<u8>> {
            self.envelopes.get(id).cloned()
        }
        fn take(&mut self, envelope: Vec<u8>) -> bool {
            let id = ContentId::of(&envelope);
            self.envelopes.insert(id, envelope);
            self.ids.insert(id)
        }
    }

    /// Lets two replicas talk until the end; returns frames and bytes.
    fn talk(opener: &mut Memory, answerer: &mut Memory) -> (usize, usize) {
        let mut frame = start(opener);
        let (mut frames, mut bytes) = (1, frame.len());
        let mut answerers_turn = true;
        loop {
            let side = if answerers_turn { &mut *answerer } else { &mut *opener };
            match step(side, &frame).unwrap() {
                Some(answer) => frame = answer,
                None => return (frames, bytes),
            }
            frames += 1;
            bytes += frame.len();
            answerers_turn = !answerers_turn;
            assert!(frames < 1000, "the talk ends");
        }
    }

    fn replica(names: std::ops::Range<u32>) -> Memory {
        let mut memory = Memory::default();
        names.for_each(|name| {
            memory.take(name.to_le_bytes().repeat(100));
        });
        memory
    }

    #[test]
    fn overlapping_sets_become_their_union_on_both_sides() {
        for (left, right) in [(0..500, 300..900), (0..0, 0..50), (0..50, 0..0), (0..3000, 2999..3001)] {
            let (mut a, mut b) = (replica(left.clone()), replica(right.clone()));
            talk(&mut a, &mut b);
            let union = BTreeSet::from_iter(left.chain(right)).len();
            assert_eq!((a.ids.len(), b.ids.len()), (union, union));
            assert_eq!(a.ids.root(), b.ids.root());
        }
    }

    #[test]
    fn more_than_one_frame_holds_takes_several_rounds_and_arrives() {
        let (mut a, mut b) = (replica(0..6000), Memory::default());
        let (frames, _) = talk(&mut a, &mut b);
        assert!(frames > 8, "6000 envelopes of 400 bytes do not fit one frame");
        assert_eq!(b.ids.len(), 6000);
    }

    #[test]
    fn equal_sets_end_after_two_small_frames() {
        let (mut a, mut b) = (replica(0..1000), replica(0..1000));
        let (frames, bytes) = talk(&mut a, &mut b);
        assert_eq!(frames, 2);
        assert!(bytes <= 64, "{bytes} bytes");
    }

    #[test]
    fn garbage_is_refused_and_a_replica_that_takes_nothing_does_not_loop() {
        let mut memory = replica(0..3);
        for garbage in [&[][..], &[2], &[VERSION, 99], &[VERSION, 2, 1]] {
            assert_eq!(step(&mut memory, garbage), Err(ReconcileError::Malformed));
        }
        struct Refuses(Memory);
        impl Replica for Refuses {
            fn ids(&mut self) -> &mut IdSet {
                &mut self.0.ids
            }
            fn envelope(&mut self, id: &ContentId) -> Option<Vec<u8>> {
                self.0.envelope(id)
            }
            fn take(&mut self, _envelope: Vec<u8>) -> bool {
                false
            }
        }
        let (mut a, mut b) = (replica(0..10), Refuses(Memory::default()));
        let mut frame = start(&mut a);
        let mut rounds = 0;
        while let Some(answer) = step(&mut b, &frame)
            .unwrap()
            .and_then(|answer| step(&mut a, &answer).unwrap())
        {
            frame = answer;
            rounds += 1;
            assert!(rounds < 5, "it goes round for ever");
        }
        assert_eq!(b.0.ids.len(), 0);
    }
}
