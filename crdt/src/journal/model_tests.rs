//! Random histories of a journal against a model: what was appended and not dropped comes back exactly, or its loss is told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{tests::open_small, *};

const SEGMENT_BYTES: u64 = 1500;

#[derive(Clone, Debug)]
enum Action {
    /// Records of these lengths.
    Append(Vec<usize>),
    /// The segments whose bit is set; every record whose number is divisible is dropped, some others replaced.
    Rewrite {
        segments: u64,
        dropped: u32,
        replaced: u32,
    },
    Reopen,
    /// One step of a scrub.
    Scrub(u64),
    /// Cuts this many bytes off the last segment while nobody has it open.
    Cut(u64),
    /// Flips one bit of a segment while nobody has it open.
    Flip {
        segment: usize,
        bit: usize,
    },
    /// Zeroes a page of a segment while nobody has it open.
    Zero {
        segment: usize,
        page: usize,
    },
}

fn honest() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec(1..400_usize, 1..8).prop_map(Action::Append),
        2 => (any::<u64>(), 1..6_u32, 1..6_u32)
            .prop_map(|(segments, dropped, replaced)| Action::Rewrite { segments, dropped, replaced }),
        1 => Just(Action::Reopen),
        1 => (0..3000_u64).prop_map(Action::Scrub),
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => honest(),
        1 => (1..800_u64).prop_map(Action::Cut),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(segment, bit)| Action::Flip { segment, bit }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(segment, page)| Action::Zero { segment, page }),
    ]
}

struct Model {
    directory: tempfile::TempDir,
    journal: Option<Journal>,
    /// What must come back.
    records: BTreeMap<Position, Vec<u8>>,
    /// Everything that was ever written, by content: nothing else may come back.
    written: BTreeSet<Vec<u8>>,
    next: u32,
    cursor: ScrubCursor,
    /// How many losses were told.
    told: usize,
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            journal: Some(open_small(directory.path(), SEGMENT_BYTES)),
            directory,
            records: BTreeMap::new(),
            written: BTreeSet::new(),
            next: 0,
            cursor: ScrubCursor::default(),
            told: 0,
        }
    }

    fn body(&mut self, length: usize) -> Vec<u8> {
        self.next += 1;
        let body: Vec<u8> = self
            .next
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(length.max(4))
            .collect();
        self.written.insert(body.clone());
        body
    }

    fn path(&self, segment: usize) -> PathBuf {
        let segments = segments(self.directory.path()).unwrap();
        segment_path(self.directory.path(), segments[segment % segments.len()])
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Append(lengths) => {
                let bodies: Vec<Vec<u8>> = lengths.into_iter().map(|length| self.body(length)).collect();
                let borrowed: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
                let positions = self.journal.as_mut().unwrap().append(&borrowed).unwrap();
                self.records.extend(positions.into_iter().zip(bodies));
            }
            Action::Rewrite {
                segments,
                dropped,
                replaced,
            } => self.rewrite(segments, dropped, replaced),
            Action::Reopen => {
                let end = self.journal.take().unwrap().end();
                assert!(Journal::reaches(self.directory.path(), end));
                self.reopen(Some(end));
            }
            Action::Scrub(bytes) => {
                let before = self.cursor.clone();
                let step = self
                    .journal
                    .as_ref()
                    .unwrap()
                    .scrub_step(&mut self.cursor, bytes)
                    .unwrap();
                assert!(step.rotten.is_empty() || self.told > 0, "{before:?} {step:?}");
            }
            Action::Cut(bytes) => {
                let end = self.journal.take().unwrap().end();
                let path = segment_path(self.directory.path(), end.segment);
                let left = end.offset.saturating_sub(bytes).max(FIRST_RECORD);
                fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(left)
                    .unwrap();
                // What ended exactly at the cut is told by this alone.
                assert!(left == end.offset || !Journal::reaches(self.directory.path(), end));
                let cut = Position { offset: left, ..end };
                let gone = self.records.split_off(&cut);
                self.told += gone.len();
                self.reopen(None);
            }
            Action::Flip { segment, bit } => self.damage(segment, |bytes| {
                let bit = FIRST_RECORD as usize * 8 + bit % ((bytes.len() - FIRST_RECORD as usize) * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }),
            Action::Zero { segment, page } => self.damage(segment, |bytes| {
                let start = FIRST_RECORD as usize + page % (bytes.len() - FIRST_RECORD as usize);
                let end = bytes.len().min(start + 200);
                bytes[start..end].fill(0);
            }),
        }
    }

    fn rewrite(&mut self, wanted: u64, dropped: u32, replaced: u32) {
        let mut journal = self.journal.take().unwrap();
        let present = journal.segments().unwrap().into_iter().map(|(segment, _)| segment);
        let wanted: BTreeSet<u32> = present.filter(|segment| wanted >> (segment % 64) & 1 == 1).collect();
        let replacement = self.body(300);
        let result = journal
            .rewrite(&wanted, &mut |position, body| {
                assert_eq!(self.records.get(&position).map(Vec::as_slice), Some(body));
                let number = u32::from_le_bytes(body[..4].try_into().unwrap());
                if number.is_multiple_of(dropped) {
                    Rewrite::Drop
                } else if number.is_multiple_of(replaced) {
                    Rewrite::Replace(replacement.clone())
                } else {
                    Rewrite::Keep
                }
            })
            .unwrap();
        assert!(result.rotten.is_empty() || self.told > 0);
        let mut moved = BTreeMap::new();
        for (old, new) in result.moved {
            let body = self.records.remove(&old).unwrap();
            let number = u32::from_le_bytes(body[..4].try_into().unwrap());
            let body = if number.is_multiple_of(replaced) {
                replacement.clone()
            } else {
                body
            };
            assert_eq!(journal.read(new).unwrap(), body);
            moved.insert(new, body);
        }
        for position in result.dropped {
            assert!(self.records.remove(&position).is_some());
        }
        assert!(self.records.keys().all(|position| !wanted.contains(&position.segment)));
        self.records.extend(moved);
        self.journal = Some(journal);
    }

    /// Damages a segment that holds something, and opens the journal again.
    fn damage(&mut self, segment: usize, change: impl FnOnce(&mut Vec<u8>)) {
        self.journal = None;
        let path = self.path(segment);
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() as u64 > FIRST_RECORD {
            change(&mut bytes);
            fs::write(&path, bytes).unwrap();
        }
        self.reopen(None);
    }

    /// Opens the journal and compares; what is missing must have been told.
    fn reopen(&mut self, from: Option<Position>) {
        let mut found = BTreeMap::new();
        let (journal, report) = Journal::open(self.directory.path(), from, |position, body| {
            assert!(found.insert(position, body.to_vec()).is_none());
        })
        .unwrap();
        for (position, body) in &found {
            assert_eq!(self.records.get(position), Some(body), "at {position:?}");
        }
        let end = journal.end();
        let is_told = |lost: &Position| {
            let in_rotten = report
                .rotten
                .iter()
                .rev()
                .find(|rotten| *rotten <= lost)
                .is_some_and(|rotten| rotten.segment == lost.segment && found.range(*rotten..*lost).next().is_none());
            in_rotten || report.torn_bytes > 0 && *lost >= end
        };
        let scanned = self.records.range(from.unwrap_or(Position { segment: 0, offset: 0 })..);
        let lost: Vec<Position> = scanned
            .map(|(position, _)| *position)
            .filter(|position| !found.contains_key(position))
            .collect();
        for position in &lost {
            assert!(is_told(position), "{position:?} vanished silently: {report:?}");
            assert!(journal.read(*position).is_err());
            self.records.remove(position);
        }
        self.told += report.rotten.len() + usize::from(report.torn_bytes > 0);
        for (position, body) in &self.records {
            assert_eq!(&journal.read(*position).unwrap(), body);
        }
        self.journal = Some(journal);
        self.journal.as_mut().unwrap().segment_bytes = SEGMENT_BYTES;
    }

    fn finish(&mut self) {
        self.journal = None;
        self.reopen(None);
        let end = self.journal.as_ref().unwrap().end();
        let mut found = BTreeMap::new();
        Journal::read_up_to(self.directory.path(), end, |position, body| {
            found.insert(position, body.to_vec());
        })
        .unwrap();
        assert_eq!(found, self.records);
        assert!(found.values().all(|body| self.written.contains(body)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn without_damage_everything_comes_back_and_nothing_is_reported(actions in prop::collection::vec(honest(), 1..40)) {
        let mut model = Model::new();
        for action in actions {
            model.apply(action);
        }
        model.finish();
        prop_assert_eq!(model.told, 0);
    }

    #[test]
    fn with_damage_what_is_lost_is_told_and_the_rest_comes_back(actions in prop::collection::vec(any_action(), 1..40)) {
        let mut model = Model::new();
        for action in actions {
            model.apply(action);
        }
        model.finish();
    }
}

#[test]
fn the_model_notices_a_loss_that_is_not_told() {
    let mut model = Model::new();
    model.apply(Action::Append(vec![100; 5]));
    let (position, _) = model.records.first_key_value().unwrap();
    let invented = Position {
        offset: position.offset + 1,
        ..*position
    };
    model.records.insert(invented, vec![1]);
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| model.finish()));
    assert!(noticed.is_err());
}
