//! Frames of a hostile neighbour: none is answered with more than a frame, none brings out what is held back or twice the same, and
//! afterwards an honest neighbour still reaches the same sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use crdt::{
    Group, Lane,
    limits::{RECONCILE_FRAME_BYTES_MAX, RECONCILE_LACKING_MAX},
    set::{Entry, EntrySet, Replica, ShardSet, start, step},
};
use keys::ContentId;

use crate::script::{Script, piece};

/// Frames of one input; more find nothing that fewer do not.
const FRAMES_MAX: usize = 8;
/// Frames of an honest talk over sets as small as these.
const TALK_FRAMES_MAX: usize = 60;
/// First byte of what a hostile neighbour may not see: its shard is out of scope.
const HELD_BACK: u8 = 0xee;

/// The replica that gets the frames, and the honest neighbour; copied for each input, with the digests that they keep.
static ATTACKED: LazyLock<Memory> = LazyLock::new(|| {
    let mut replica = Memory::holding(0..90);
    replica.add(Lane::Envelopes, content(HELD_BACK, 7, 7));
    replica.hides = true;
    replica.with_digests()
});
static HONEST: LazyLock<Memory> = LazyLock::new(|| Memory::holding(60..150).with_digests());

pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut replica = ATTACKED.clone();
    for _ in 0..FRAMES_MAX {
        if script.is_empty() {
            break;
        }
        replica.asked.clear();
        let frame = script.piece();
        let before = replica.sets[1].len();
        match step(&mut replica, frame) {
            Err(_) => {
                assert!(replica.asked.is_empty(), "a frame that is none was answered");
                assert_eq!(
                    replica.sets[1].len(),
                    before,
                    "something of a frame that is none was taken in"
                );
            }
            Ok(Some(answer)) => check_answer(&answer, &replica),
            Ok(None) => {}
        }
    }
    replica.is_in_order();
    replica.hides = false;
    // An honest talk with what is as before ends as before.
    if !replica.offered.is_empty() {
        let mut honest = HONEST.clone();
        talk(&mut honest, &mut replica);
    }
}

/// An answer is a frame that an honest neighbour understands, whatever it answers, with only what may be seen, once.
fn check_answer(answer: &[u8], replica: &Memory) {
    assert!(
        answer.len() <= RECONCILE_FRAME_BYTES_MAX,
        "an answer of {} bytes",
        answer.len()
    );
    assert!(
        replica.asked.len() <= RECONCILE_LACKING_MAX,
        "{} entries were read",
        replica.asked.len()
    );
    let mut honest = HONEST.clone();
    step(&mut honest, answer).expect("an answer is a frame");
    let mut seen = BTreeSet::new();
    for (lane, bytes) in &honest.offered {
        let entry = entry(bytes).expect("a piece");
        assert_eq!(
            replica.held[*lane as usize].get(&entry),
            Some(bytes),
            "a piece that nobody has"
        );
        assert_ne!(entry.shard(), HELD_BACK, "what the peer may not see");
        assert!(seen.insert((*lane, entry)), "a piece twice in one frame");
    }
}

fn talk(opener: &mut Memory, answerer: &mut Memory) {
    let mut frame = start(opener, 1);
    let mut answerers_turn = true;
    for _ in 0..TALK_FRAMES_MAX {
        let side = if answerers_turn { &mut *answerer } else { &mut *opener };
        match step(side, &frame).expect("an honest frame is understood") {
            Some(answer) => frame = answer,
            None => {
                assert!(opener.held == answerer.held, "they hold the same");
                opener.is_in_order();
                answerer.is_in_order();
                return;
            }
        }
        answerers_turn = !answerers_turn;
    }
    panic!("an honest talk does not end");
}

/// A replica that takes whatever is long enough to say its group.
#[derive(Clone, Default)]
struct Memory {
    sets: [EntrySet; 3],
    held: [BTreeMap<Entry, Vec<u8>>; 3],
    offered: Vec<(Lane, Vec<u8>)>,
    asked: Vec<Entry>,
    /// Whether what is held back is out of scope.
    hides: bool,
}

/// A piece in a shard, of a group and with a number.
fn content(shard: u8, group: u8, number: u32) -> Vec<u8> {
    [&[shard, group, 0, 0, 0, 0, 0, 0][..], &number.to_le_bytes()].concat()
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let group = Group(*bytes.first_chunk()?);
    let id = ContentId::of(bytes);
    Some(Entry { group, id })
}

impl Replica for Memory {
    fn entries(&mut self, lane: Lane) -> &mut EntrySet {
        &mut self.sets[lane as usize]
    }

    fn bytes(&mut self, lane: Lane, entry: &Entry) -> Option<Vec<u8>> {
        self.asked.push(*entry);
        self.held[lane as usize].get(entry).cloned()
    }

    fn take(&mut self, lane: Lane, bytes: Vec<u8>) -> bool {
        self.offered.push((lane, bytes.clone()));
        self.add(lane, bytes)
    }

    fn scope(&self) -> ShardSet {
        let mut scope = ShardSet::none();
        let hidden = |shard: &u8| self.hides && *shard == HELD_BACK;
        (0..=u8::MAX)
            .filter(|shard| !hidden(shard))
            .for_each(|shard| scope.insert(shard));
        scope
    }

    fn handoff(&mut self) -> Vec<Entry> {
        self.held[1].keys().take(2).copied().collect()
    }
}

impl Memory {
    fn add(&mut self, lane: Lane, bytes: Vec<u8>) -> bool {
        let Some(entry) = entry(&bytes) else { return false };
        self.held[lane as usize].insert(entry, bytes);
        self.sets[lane as usize].insert(entry)
    }

    /// Placed envelopes in three shards, most of them of one group, some common ones, and some statements.
    fn holding(numbers: std::ops::Range<u32>) -> Self {
        let mut memory = Self::default();
        for number in numbers {
            let (shard, group) = [(1, 1), (1, 1), (1, 2), (0x80, 3)][number as usize % 4];
            memory.add(Lane::Envelopes, content(shard, group, number));
            if number % 9 == 0 {
                memory.add(Lane::Statements, content(shard, group, number));
                memory.add(Lane::Common, content(shard, group, number));
            }
        }
        memory
    }

    fn with_digests(mut self) -> Self {
        for set in &mut self.sets {
            set.root();
        }
        self
    }

    fn is_in_order(&self) {
        for (set, held) in self.sets.iter().zip(&self.held) {
            assert!(set.iter().eq(held.keys()), "an entry without its bytes");
        }
    }
}

/// Every frame of an honest talk, each as one input, and the talk of each side as a whole.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let (mut opener, mut answerer) = (Memory::holding(80..100), Memory::holding(0..90));
    let mut frames = vec![start(&mut opener, 1)];
    loop {
        let side = if frames.len() % 2 == 1 {
            &mut answerer
        } else {
            &mut opener
        };
        match step(side, &frames[frames.len() - 1]).expect("an honest frame is understood") {
            Some(answer) => frames.push(answer),
            None => break,
        }
    }
    let mut seeds: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(index, frame)| (format!("frame-{index:02}"), piece(frame)))
        .collect();
    for (name, turn) in [("opener", 0), ("answerer", 1)] {
        let talk: Vec<u8> = frames
            .iter()
            .skip(turn)
            .step_by(2)
            .flat_map(|frame| piece(frame))
            .collect();
        seeds.push((format!("talk-{name}"), talk));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_honest_talk_moves_pieces_both_ways() {
        let (mut opener, mut answerer) = (Memory::holding(80..100), Memory::holding(0..90));
        talk(&mut opener, &mut answerer);
        assert!(opener.offered.len() >= 80 && answerer.offered.len() >= 10);
    }

    #[test]
    #[should_panic(expected = "a piece that nobody has")]
    fn an_invented_piece_is_noticed() {
        let (mut opener, mut answerer) = (Memory::holding(80..100), Memory::holding(0..90));
        let mut frame = start(&mut opener, 1);
        loop {
            frame = step(&mut answerer, &frame).unwrap().unwrap();
            // The frame with what the opener lacks is shown with the account of one that holds nothing.
            check_answer(&frame, &Memory::default());
            frame = step(&mut opener, &frame).unwrap().unwrap();
        }
    }
}
