//! Frames that are damaged, or made to cost more than they should.

use super::*;
use crate::{
    limits::{RECONCILE_LACKING_MAX, RECONCILE_LIST_MAX, RECONCILE_NODES_MAX},
    set::frame::{Blob, Bounded, Content, Hello, Node, Roots, Salt, Step, Turn, Want},
};

/// Lets `to` answer a damaged frame, and the talk go on: no panic, no growth beyond what a frame may cause, nothing lost.
fn endure(from: &Memory, to: &Memory, frame: &[u8]) -> bool {
    let (mut from, mut to) = (from.clone(), to.clone());
    let before = LANES.map(|lane| to.within(lane, &ShardSet::all()));
    let answer = step(&mut to, frame);
    for (lane, before) in LANES.into_iter().zip(before) {
        assert!(
            to.within(lane, &ShardSet::all()).is_superset(&before),
            "nothing is lost"
        );
    }
    match answer {
        Ok(Some(answer)) => {
            go_on(LANES, &mut to, &mut from, answer);
            true
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Every frame of a talk with the two sides as they were when it was sent: the sender first.
fn talk_in_pieces(mut pair: [Memory; 2], salt: u64) -> Vec<(Memory, Memory, Vec<u8>)> {
    let mut frame = start(&mut pair[0], salt);
    let mut moments = Vec::new();
    loop {
        moments.push((pair[0].clone(), pair[1].clone(), frame.clone()));
        let Some(answer) = step(&mut pair[1], &frame).unwrap() else {
            return moments;
        };
        frame = answer;
        pair.swap(0, 1);
    }
}

/// Two sides with leaves, parts and shards between them, statements, something handed over, and a scope.
fn various() -> [Memory; 2] {
    let mut pair = [Memory::default(), Memory::default()];
    for number in 0..90_u64 {
        for (at, side) in pair.iter_mut().enumerate() {
            if number % 40 != at as u64 {
                side.envelope(group(number), 0);
                side.envelope(group(1000), number);
            }
        }
    }
    pair[0].add(Lane::Statements, group(1), 0, 40);
    let entry = pair[0].envelope(group(2000), 0);
    pair[0].missed = vec![entry];
    pair[0].scope = Some((0..=250).collect());
    pair
}

/// What there is in a frame.
fn parts_of_frame(frame: &[u8]) -> Vec<&'static str> {
    match Frame::decode(frame).unwrap() {
        Frame::Same => vec!["same"],
        Frame::Hello(hello) => hello.handoff.0.iter().map(|_| "hand-over").collect(),
        Frame::Step(step) => {
            let nodes = step.nodes.0.iter().map(|node| match node.content {
                Content::Leaves(_) => "leaves",
                Content::Parts { .. } => "parts",
                Content::Shards { .. } => "shards",
            });
            let wants = step.wants.0.iter().map(|_| "want");
            nodes
                .chain(wants)
                .chain(step.envelopes.0.iter().map(|_| "envelope"))
                .collect()
        }
    }
}

#[test]
fn a_damaged_frame_is_refused_or_harmless() {
    let (mut refused, mut harmless, mut kinds) = (0, 0, BTreeSet::new());
    for (from, to, frame) in talk_in_pieces(various(), 7) {
        kinds.extend(parts_of_frame(&frame));
        for at in 0..frame.len() {
            for flip in [0x01, 0x80] {
                let mut damaged = frame.clone();
                damaged[at] ^= flip;
                *(if endure(&from, &to, &damaged) {
                    &mut harmless
                } else {
                    &mut refused
                }) += 1;
            }
            // A frame that ends early is never taken for a whole one.
            assert!(!endure(&from, &to, &frame[..at]));
        }
        let mut longer = frame.clone();
        longer.push(0);
        assert!(!endure(&from, &to, &longer));
    }
    let expected = ["envelope", "hand-over", "leaves", "parts", "same", "shards", "want"];
    assert_eq!(Vec::from_iter(kinds), expected, "the talk has something of every kind");
    assert!(refused > 100 && harmless > 100, "{refused} {harmless}");
}

#[test]
fn garbage_is_refused_with_the_right_error() {
    let mut memory = Memory::default();
    let huge = vec![3; RECONCILE_FRAME_BYTES_MAX + 1];
    let cases: [(&[u8], ReconcileError); 7] = [
        (&[], ReconcileError::Version),
        (&[1, 0], ReconcileError::Version),
        (&[2, 0], ReconcileError::Version),
        (&[3], ReconcileError::Malformed),
        (&[3, 99], ReconcileError::Malformed),
        (&[3, 0, 0], ReconcileError::Malformed),
        (&huge, ReconcileError::TooLarge),
    ];
    for (frame, error) in cases {
        assert_eq!(step(&mut memory, frame), Err(error));
    }
    assert_eq!(step(&mut memory, &[3, 0]), Ok(None));
}

#[test]
fn what_frames_say_can_be_read_off_them() {
    let said = |frame: &Frame| (says_same(&frame.encode()), says_moved(&frame.encode()));
    assert_eq!(said(&Frame::Same), (true, false));
    for (turn, moved) in [
        (Turn::Opening, false),
        (Turn::Moved(Lane::Statements, 7), true),
        (Turn::Settled(Lane::Common), false),
        (Turn::Moved(Lane::Envelopes, 7), true),
    ] {
        let hello = Hello {
            turn,
            salt: Salt([0; 8]),
            scope: ShardSet::all(),
            roots: Roots::default(),
            handoff: Bounded(Vec::new()),
        };
        assert_eq!(said(&Frame::Hello(hello)), (false, moved));
    }
    assert_eq!(said(&Frame::Step(question(Vec::new(), Vec::new()))), (false, false));
}

fn question(nodes: Vec<Node>, wants: Vec<Want>) -> Step {
    Step {
        salt: Salt([1; 8]),
        scope: ShardSet::all(),
        lane: Lane::Envelopes,
        moved: u32::MAX,
        breadth: u16::MAX,
        nodes: Bounded(nodes),
        wants: Bounded(wants),
        envelopes: Bounded(Vec::new()),
    }
}

fn empty(region: Prefix) -> Node {
    Node {
        region,
        content: Content::Leaves(Bounded(Vec::new())),
    }
}

fn want(region: Prefix) -> Want {
    Want {
        region,
        leaves: Bounded(vec![[0; 6]]),
    }
}

fn parts(prefix: Prefix, fingerprints: usize) -> Content {
    Content::Parts {
        prefix,
        parts: [1, 0],
        fingerprints: Bounded(vec![[0; 4]; fingerprints]),
    }
}

fn deepest() -> Prefix {
    (0..80).fold(Prefix::ROOT, |prefix, _| prefix.child(1))
}

#[test]
fn regions_that_overlap_and_counts_that_disagree_are_refused() {
    let (shard, within) = (Prefix::shard(1), Prefix::shard(1).child(2));
    let node = |region, content| Node { region, content };
    let shards = |fingerprints| Content::Shards {
        parts: [0; 32],
        fingerprints: Bounded(vec![[0; 4]; fingerprints]),
    };
    let impossible = [
        question(vec![empty(shard), empty(shard)], vec![]),
        question(vec![empty(shard), empty(within)], vec![]),
        question(vec![empty(Prefix::ROOT), empty(within)], vec![]),
        question(vec![empty(Prefix::shard(2)), empty(shard)], vec![]),
        question(vec![empty(Prefix::ROOT.child(1))], vec![]),
        question(vec![], vec![want(shard), want(shard)]),
        question(vec![], vec![want(shard), want(within)]),
        question(vec![node(shard, parts(Prefix::shard(2), 1))], vec![]),
        question(vec![node(within, parts(shard, 1))], vec![]),
        question(vec![node(shard, parts(shard, 2))], vec![]),
        question(vec![node(shard, parts(deepest(), 1))], vec![]),
        question(vec![node(Prefix::ROOT, parts(Prefix::ROOT, 1))], vec![]),
        question(vec![node(shard, shards(0))], vec![]),
        question(vec![node(Prefix::ROOT, shards(1))], vec![]),
        question(
            (0..=255)
                .flat_map(|shard| (0..17).map(move |_| empty(Prefix::shard(shard))))
                .collect(),
            vec![],
        ),
    ];
    let mut memory = Memory::default();
    for step_frame in impossible {
        let frame = Frame::Step(step_frame).encode();
        assert_eq!(step(&mut memory, &frame), Err(ReconcileError::Malformed));
    }
    // Control: the same kinds of frame without the fault.
    let possible = [
        question(vec![empty(shard), empty(Prefix::shard(2))], vec![want(shard)]),
        question(vec![node(shard, parts(within, 1))], vec![]),
        question(vec![node(Prefix::ROOT, shards(0))], vec![]),
        question(vec![node(deepest(), parts(shard, 1))], vec![]),
    ];
    let refused: Vec<bool> = possible
        .into_iter()
        .map(|frame| step(&mut memory, &Frame::Step(frame).encode()).is_err())
        .collect();
    assert_eq!(refused, [false, false, false, true], "a whole entry has no parts");
}

#[test]
fn lists_that_are_too_long_are_refused_while_they_are_read() {
    let leaves = |count| {
        let node = Node {
            region: Prefix::ROOT,
            content: Content::Leaves(Bounded(vec![[0; 6]; count])),
        };
        Frame::Step(question(vec![node], vec![])).encode()
    };
    let nodes = |count: usize| {
        let regions = (0..=u16::MAX).map(|number| Prefix::numbered(4, number));
        Frame::Step(question(regions.take(count).map(empty).collect(), vec![])).encode()
    };
    let envelopes = |length: usize, count: usize| {
        let mut frame = question(vec![], vec![]);
        frame.envelopes = Bounded(vec![Blob(vec![0; length]); count]);
        Frame::Step(frame).encode()
    };
    let mut memory = Memory::default();
    for (least, more) in [
        (leaves(RECONCILE_LIST_MAX), leaves(RECONCILE_LIST_MAX + 1)),
        (nodes(RECONCILE_NODES_MAX), nodes(RECONCILE_NODES_MAX + 1)),
        (envelopes(1, 4096), envelopes(1, 4097)),
        (envelopes(128 * 1024, 1), envelopes(128 * 1024 + 1, 1)),
    ] {
        assert!(step(&mut memory, &least).is_ok());
        assert_eq!(step(&mut memory, &more), Err(ReconcileError::Malformed));
    }
    // A count of four thousand million with nothing behind it.
    let mut frame = Frame::Step(question(vec![], vec![])).encode();
    let length = frame.len();
    frame.truncate(length - 3);
    frame.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(step(&mut memory, &frame), Err(ReconcileError::Malformed));
}

/// A replica that counts what it is asked for.
struct Counting {
    memory: Memory,
    reads: usize,
    arranged: usize,
}

impl Replica for Counting {
    fn entries(&mut self, lane: Lane) -> &mut EntrySet {
        self.memory.entries(lane)
    }
    fn bytes(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>> {
        self.reads += 1;
        self.memory.bytes(lane, entry)
    }
    fn take(&mut self, lane: Lane, bytes: Vec<u8>) -> bool {
        self.memory.take(lane, bytes)
    }
    fn scope(&self) -> ShardSet {
        self.memory.scope()
    }
    fn handoff(&mut self) -> Vec<Entry> {
        self.memory.handoff()
    }
    fn arrange(&mut self, _lane: Lane, entries: &mut Vec<Entry>) {
        self.arranged += entries.len();
    }
}

#[test]
fn a_frame_that_asks_for_everything_gets_a_frame() {
    let mut counting = Counting {
        memory: Memory::default(),
        reads: 0,
        arranged: 0,
    };
    for number in 0..60_000 {
        counting.memory.envelope(group(number), 0);
    }
    let mut ask = |frame: Step| {
        (counting.reads, counting.arranged) = (0, 0);
        let answer = step(&mut counting, &Frame::Step(frame).encode()).unwrap().unwrap();
        assert!(answer.len() <= RECONCILE_FRAME_BYTES_MAX);
        (answer.len(), counting.reads, counting.arranged)
    };
    let all_shards = || (0..=255).map(Prefix::shard);
    // Everything is missing: one frame of it is read, a bounded part is thought of.
    let (bytes, reads, arranged) = ask(question(all_shards().map(empty).collect(), vec![]));
    assert!(
        bytes > 100_000 && reads <= 4097 && arranged <= RECONCILE_LACKING_MAX,
        "{bytes} {reads} {arranged}"
    );
    let (_, reads, _) = ask(question(vec![empty(Prefix::ROOT)], vec![]));
    assert!(reads <= 4097);
    // Every part is said to differ: as many nodes as a frame may have.
    let wrong = |region: Prefix| Node {
        region,
        content: Content::Parts {
            prefix: region,
            parts: [255; 2],
            fingerprints: Bounded(vec![[0; 4]; 16]),
        },
    };
    let (bytes, reads, _) = ask(question(all_shards().map(wrong).collect(), vec![]));
    assert!(bytes > 100_000 && reads == 0);
    // The whole set is wanted, by a fingerprint of which there is one in 2^48: nothing is sent, and the talk goes on with a Hello.
    let (bytes, reads, _) = ask(question(vec![], vec![want(Prefix::ROOT)]));
    assert!(bytes < 100 && reads == 0);
}

#[test]
fn what_is_out_of_scope_is_neither_shown_nor_sent() {
    let mut memory = Memory::default();
    for number in 0..5000 {
        memory.envelope(group(number), 0);
    }
    memory.scope = Some((0..128).collect());
    let all = || (0..=255).map(Prefix::shard);
    let mut sent =
        |step_frame: Step| match Frame::decode(&step(&mut memory, &Frame::Step(step_frame).encode()).unwrap().unwrap())
        {
            Ok(Frame::Step(step)) => {
                let shards = step.envelopes.0.iter().map(|piece| piece.0[1]);
                let told = step.nodes.0.iter().filter_map(|node| node.region.shard_of());
                shards.chain(told).collect::<BTreeSet<u8>>()
            }
            other => panic!("{other:?}"),
        };
    let inside: BTreeSet<u8> = (0..128).collect();
    assert_eq!(sent(question(all().map(empty).collect(), vec![])), inside);
    assert_eq!(sent(question(vec![empty(Prefix::ROOT)], vec![])), inside);
    let shards = Content::Shards {
        parts: [255; 32],
        fingerprints: Bounded(vec![[0; 4]; 256]),
    };
    let top = Node {
        region: Prefix::ROOT,
        content: shards,
    };
    assert_eq!(sent(question(vec![top], vec![])), inside);
}
