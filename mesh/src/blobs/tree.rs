//! The tree of hashes over a blob: which hashes a range of groups needs, and whether a group is what it claims to be.
//!
//! Both sides walk the same steps. The sender puts the pairs of hashes that a group needs, and that were not sent before, in front of
//! the group's bytes; the receiver checks each against the one above it, up to the blob's name. The wire form is that of bao with
//! groups of 16 KiB, cut into one piece per group.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges, TreeNode,
    blake3::{
        self, Hash, Hasher,
        hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
    },
    io::{outboard::PreOrderOutboard, sync::truncate_ranges},
    iter::BaoChunk,
};
use keys::ContentId;

use super::BlobId;

/// Bytes of one group, the smallest part that is verified alone. Its hashes take 1/256 of the blob.
pub const GROUP_BYTES: u64 = 16 * 1024;
const GROUP: BlockSize = BlockSize::from_chunk_log(4);
/// blake3's own chunks of 1 KiB in a group.
const CHUNKS: u64 = 16;
/// Bytes of the hashes of both halves.
const PAIR_BYTES: usize = 64;

/// How many groups a blob of this size has; even an empty one has one.
pub(super) fn groups_of(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES).max(1)
}

/// Bytes of all pairs of hashes of a blob of this size.
pub(super) fn tree_bytes(size: u64) -> u64 {
    BaoTree::new(size, GROUP).outboard_size()
}

/// Hashes what `data` gives, which must be exactly `size` bytes, and writes the tree.
pub(super) fn hash(data: impl io::Read, size: u64, tree: &mut File) -> io::Result<BlobId> {
    let shape = BaoTree::new(size, GROUP);
    let outboard = PreOrderOutboard {
        root: Hash::from_bytes([0; 32]),
        tree: shape,
        data: tree,
    };
    let root = bao_tree::io::sync::outboard(data, shape, outboard)?;
    Ok(BlobId(ContentId(*root.as_bytes())))
}

enum Step {
    Pair {
        node: TreeNode,
        is_root: bool,
        left: bool,
        right: bool,
    },
    Group {
        group: u64,
        bytes: usize,
        is_root: bool,
    },
}

/// A group whose bytes are proven to be the blob's.
#[derive(Debug)]
pub(super) struct VerifiedGroup {
    pub(super) group: u64,
    /// Pairs of hashes with their places in the tree file.
    pub(super) pairs: Vec<(u64, [u8; PAIR_BYTES])>,
    sent: Vec<u8>,
    data_from: usize,
}

impl VerifiedGroup {
    pub(super) fn data(&self) -> &[u8] {
        &self.sent[self.data_from..]
    }
}

/// What came is not the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not those of the blob")]
pub(super) struct Mismatch;

/// Why a group could not be read from disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// These groups are not what they should be, or cannot be proven to be.
    #[error("groups {0:?} are damaged")]
    Damaged(Range<u64>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The walk over a range of groups, on either side.
pub(super) struct Walk {
    shape: BaoTree,
    steps: std::vec::IntoIter<Step>,
    /// Hashes that the next steps must have, the next one last.
    expected: Vec<Hash>,
    /// Switched off only by tests that show what the check is good for.
    checks: bool,
}

impl Walk {
    /// The walk over `range`, which must not be empty nor go over the end.
    pub(super) fn new(blob: BlobId, size: u64, range: Range<u64>) -> Self {
        let shape = BaoTree::new(size, GROUP);
        let chunks = ChunkNum(range.start * CHUNKS)..ChunkNum(range.end * CHUNKS);
        let chunks = ChunkRanges::from(chunks);
        let chunks = truncate_ranges(&chunks, size);
        let steps: Vec<_> = shape.ranges_pre_order_chunks_iter_ref(chunks, 0).map(step).collect();
        Self {
            shape,
            steps: steps.into_iter(),
            expected: vec![Hash::from_bytes(blob.0.0)],
            checks: true,
        }
    }

    /// A control for tests: takes anything.
    #[cfg(test)]
    pub(super) fn without_checks(mut self) -> Self {
        self.checks = false;
        self
    }

    /// Whether every group of the range was taken.
    pub(super) fn is_over(&self) -> bool {
        self.steps.as_slice().is_empty()
    }

    /// Checks the next group as it came over the wire.
    pub(super) fn verify(&mut self, sent: Vec<u8>) -> Result<VerifiedGroup, Mismatch> {
        let mut pairs = Vec::new();
        let mut at = 0;
        loop {
            match self.steps.next().ok_or(Mismatch)? {
                Step::Pair {
                    node,
                    is_root,
                    left,
                    right,
                } => {
                    let pair = sent.get(at..at + PAIR_BYTES).ok_or(Mismatch)?;
                    let pair: [u8; PAIR_BYTES] = pair.try_into().map_err(|_| Mismatch)?;
                    at += PAIR_BYTES;
                    self.descend(&pair, is_root, (left, right))?;
                    pairs.extend(self.shape.pre_order_offset(node).map(|place| (place * 64, pair)));
                }
                Step::Group { group, bytes, is_root } => {
                    let data = &sent[at..];
                    self.check(hash_group(group, data, is_root))?;
                    if data.len() != bytes {
                        return Err(Mismatch);
                    }
                    return Ok(VerifiedGroup {
                        group,
                        pairs,
                        sent,
                        data_from: at,
                    });
                }
            }
        }
    }

    /// Reads and checks the next group, and gives it as it goes over the wire.
    pub(super) fn read(&mut self, data: &File, tree: &File) -> Result<(u64, Vec<u8>), ReadError> {
        let mut pairs = Vec::new();
        loop {
            match self.steps.next().ok_or(ReadError::Damaged(0..0))? {
                Step::Pair {
                    node,
                    is_root,
                    left,
                    right,
                } => {
                    let chunks = node.chunk_range();
                    let end = groups_of(self.shape.size()).min(chunks.end.0.div_ceil(CHUNKS));
                    let under = chunks.start.0 / CHUNKS..end;
                    let mut pair = [0; PAIR_BYTES];
                    let place = self.shape.pre_order_offset(node).unwrap_or_default() * 64;
                    read_all(tree, &mut pair, place, &under)?;
                    self.descend(&pair, is_root, (left, right))
                        .map_err(|Mismatch| ReadError::Damaged(under))?;
                    pairs.extend_from_slice(&pair);
                }
                Step::Group { group, bytes, is_root } => {
                    let at = pairs.len();
                    let mut sent = vec![0; at + bytes];
                    sent[..at].copy_from_slice(&pairs);
                    let under = group..group + 1;
                    read_all(data, &mut sent[at..], group * GROUP_BYTES, &under)?;
                    self.check(hash_group(group, &sent[at..], is_root))
                        .map_err(|Mismatch| ReadError::Damaged(under))?;
                    return Ok((group, sent));
                }
            }
        }
    }

    fn check(&mut self, actual: Hash) -> Result<(), Mismatch> {
        let expected = self.expected.pop().ok_or(Mismatch)?;
        if expected == actual || !self.checks {
            Ok(())
        } else {
            Err(Mismatch)
        }
    }

    fn descend(&mut self, pair: &[u8; PAIR_BYTES], is_root: bool, (left, right): (bool, bool)) -> Result<(), Mismatch> {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        first.copy_from_slice(&pair[..32]);
        second.copy_from_slice(&pair[32..]);
        let above = if is_root {
            merge_subtrees_root(&first, &second, Mode::Hash)
        } else {
            Hash::from_bytes(merge_subtrees_non_root(&first, &second, Mode::Hash))
        };
        self.check(above)?;
        if right {
            self.expected.push(Hash::from_bytes(second));
        }
        if left {
            self.expected.push(Hash::from_bytes(first));
        }
        Ok(())
    }
}

fn step<R>(chunk: BaoChunk<R>) -> Step {
    match chunk {
        BaoChunk::Parent {
            node,
            is_root,
            left,
            right,
            ..
        } => Step::Pair {
            node,
            is_root,
            left,
            right,
        },
        BaoChunk::Leaf {
            start_chunk,
            size,
            is_root,
            ..
        } => Step::Group {
            group: start_chunk.0 / CHUNKS,
            bytes: size,
            is_root,
        },
    }
}

/// The place in the blob is part of the hash, so a group cannot stand for another one, and the last one proves the size.
fn hash_group(group: u64, data: &[u8], is_root: bool) -> Hash {
    // An empty one that is not the root, or one that is too long, is no group: it hashes to nothing that anybody expects.
    if is_root {
        return blake3::hash(data);
    }
    if data.is_empty() || data.len() as u64 > GROUP_BYTES {
        return Hash::from_bytes([0; 32]);
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(group * GROUP_BYTES);
    hasher.update(data);
    Hash::from_bytes(hasher.finalize_non_root())
}

/// A file that ends too early is damaged; what else goes wrong is an error of the disk, which some groups may still be free of.
fn read_all(file: &File, into: &mut [u8], place: u64, under: &Range<u64>) -> Result<(), ReadError> {
    file.read_exact_at(into, place).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Damaged(under.clone()),
        _ => ReadError::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn blob(size: u64) -> (BlobId, File, File) {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        let (mut data, mut tree) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        data.write_all(&bytes).unwrap();
        let id = hash(bytes.as_slice(), size, &mut tree).unwrap();
        assert_eq!(id, BlobId::of(&bytes));
        assert_eq!(tree.metadata().unwrap().len(), tree_bytes(size));
        (id, data, tree)
    }

    const SIZES: [u64; 9] = [0, 1, 64, 16_384, 16_385, 40_000, 65_536, 500_000, 1_048_577];

    #[test]
    fn every_range_of_every_shape_is_read_verified_and_rebuilds_data_and_tree() {
        for size in SIZES {
            let (id, data, tree) = blob(size);
            let groups = groups_of(size);
            let (again, again_tree) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            for start in 0..groups {
                for end in [start + 1, groups.min(start + 5), groups] {
                    let (mut sender, mut receiver) = (Walk::new(id, size, start..end), Walk::new(id, size, start..end));
                    for group in start..end {
                        let (read, sent) = sender.read(&data, &tree).unwrap();
                        let verified = receiver.verify(sent).unwrap();
                        assert_eq!((read, verified.group), (group, group));
                        again.write_all_at(verified.data(), group * GROUP_BYTES).unwrap();
                        for (place, pair) in &verified.pairs {
                            again_tree.write_all_at(pair, *place).unwrap();
                        }
                    }
                    assert!(sender.is_over() && receiver.is_over());
                }
            }
            let whole = |file: &File| {
                let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                bytes
            };
            assert_eq!(whole(&data), whole(&again));
            assert_eq!(whole(&tree), whole(&again_tree));
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_found_in_its_group_and_only_without_checks_taken() {
        let size = 300_000;
        let (id, data, tree) = blob(size);
        let range = 3..9;
        let mut sender = Walk::new(id, size, range.clone());
        let sent: Vec<_> = range.clone().map(|_| sender.read(&data, &tree).unwrap().1).collect();
        for (bad, frame) in sent.iter().enumerate() {
            for at in [0, 63, frame.len() / 2, frame.len() - 1] {
                let mut receiver = Walk::new(id, size, range.clone());
                let mut careless = Walk::new(id, size, range.clone()).without_checks();
                for (group, frame) in sent.iter().enumerate().take(bad + 1) {
                    let mut frame = frame.clone();
                    if group == bad {
                        frame[at] ^= 4;
                    }
                    assert_eq!(receiver.verify(frame.clone()).is_err(), group == bad, "{bad} {at}");
                    assert!(careless.verify(frame).is_ok());
                }
            }
        }
    }

    #[test]
    fn cut_long_and_surplus_groups_are_refused() {
        let (id, data, tree) = blob(100_000);
        let sent = Walk::new(id, 100_000, 6..7).read(&data, &tree).unwrap().1;
        let mut receiver = Walk::new(id, 100_000, 6..7);
        assert!(receiver.verify(sent.clone()).is_ok());
        assert!(receiver.is_over() && receiver.verify(sent.clone()).is_err());
        for length in 0..sent.len() {
            assert!(Walk::new(id, 100_000, 6..7).verify(sent[..length].to_vec()).is_err());
        }
        let long = [sent, vec![0; 40_000]].concat();
        assert!(Walk::new(id, 100_000, 6..7).verify(long).is_err());
    }

    #[test]
    fn the_last_group_proves_the_size() {
        for size in SIZES {
            let (id, data, tree) = blob(size);
            let last = groups_of(size) - 1;
            let sent = Walk::new(id, size, last..last + 1).read(&data, &tree).unwrap().1;
            for claim in [
                0,
                1,
                16_384,
                30_000,
                65_535,
                65_537,
                1 << 20,
                1 << 40,
                size + 1,
                size + 16_384,
            ] {
                let end = groups_of(claim);
                let verified = Walk::new(id, claim, end - 1..end).verify(sent.clone());
                assert_eq!(verified.is_ok(), claim == size, "{claim} for {size}");
            }
        }
    }

    #[test]
    fn damage_on_disk_is_found_where_it_is() {
        let size = 200_000;
        let (id, data, tree) = blob(size);
        data.write_all_at(b"!", 5 * GROUP_BYTES + 7).unwrap();
        let mut walk = Walk::new(id, size, 0..groups_of(size));
        for _ in 0..5 {
            walk.read(&data, &tree).unwrap();
        }
        assert!(matches!(walk.read(&data, &tree), Err(ReadError::Damaged(range)) if range == (5..6)));
        tree.write_all_at(b"!", 0).unwrap();
        let mut walk = Walk::new(id, size, 1..2);
        assert!(matches!(walk.read(&data, &tree), Err(ReadError::Damaged(range)) if range == (0..groups_of(size))));
        data.set_len(10).unwrap();
        let (id, data, tree) = blob(20);
        data.set_len(10).unwrap();
        let mut walk = Walk::new(id, 20, 0..1);
        assert!(matches!(walk.read(&data, &tree), Err(ReadError::Damaged(range)) if range == (0..1)));
    }
}
