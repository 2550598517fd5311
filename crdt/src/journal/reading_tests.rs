//! What holds of whoever reads everything: a reader beside the writer, and a scrub, also across rewrites.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    tests::{all_segments, drop_every_third, filled, number, scan, text},
    *,
};

#[test]
fn a_reader_beside_the_writer_sees_exactly_what_was_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 30);
    let end = journal.end();
    let (expected, _) = scan(directory.path());
    let mut seen = BTreeMap::new();
    let report = Journal::read_up_to(directory.path(), end, |position, body| {
        // The writer goes on meanwhile, in the same segment and in new ones.
        journal.append(&[&text(100)]).unwrap();
        seen.insert(position, body.to_vec());
    })
    .unwrap();
    assert_eq!((seen, report.rotten), (expected, vec![]));
    assert!(journal.end().segment > end.segment);
}

#[test]
fn a_reader_is_told_when_the_journal_is_rewritten_under_it() {
    for rewrite_at in [0, 10, 29] {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = filled(directory.path(), 30);
        let end = journal.end();
        let mut visited = 0;
        let result = Journal::read_up_to(directory.path(), end, |_, _| {
            if visited == rewrite_at {
                let segments = all_segments(&journal);
                journal.rewrite(&segments, &mut drop_every_third).unwrap();
            }
            visited += 1;
        });
        assert!(matches!(result, Err(JournalError::Rewritten)), "{result:?}");
        // So is one who comes with an old end.
        let result = Journal::read_up_to(directory.path(), end, |_, _| {});
        assert!(matches!(result, Err(JournalError::Rewritten)));
        let mut visited = 0;
        Journal::read_up_to(directory.path(), journal.end(), |_, _| visited += 1).unwrap();
        assert_eq!(visited, 20);
    }
}

#[test]
fn a_scrub_reads_everything_in_small_steps_and_then_begins_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 30);
    let mut cursor = ScrubCursor::default();
    for _ in 0..2 {
        let (mut records, mut bytes, mut steps) = (0, 0, 0);
        loop {
            let step = journal.scrub_step(&mut cursor, 100).unwrap();
            assert_eq!(step.rotten, []);
            (records, bytes, steps) = (records + step.records, bytes + step.bytes, steps + 1);
            if step.finished {
                break;
            }
        }
        let headers = FIRST_RECORD * journal.segments().unwrap().len() as u64;
        assert_eq!((records, bytes), (30, journal.disk_bytes().unwrap() - headers));
        assert!(steps > 10);
    }
    // Between any two steps the journal may be rewritten.
    for rewrite_at in 0..30 {
        let mut cursor = ScrubCursor::default();
        let mut records = 0;
        for step in 0.. {
            if step == rewrite_at {
                let segments = all_segments(&journal);
                journal
                    .rewrite(&segments, &mut |_, body| {
                        if number(body) == step {
                            Rewrite::Drop
                        } else {
                            Rewrite::Keep
                        }
                    })
                    .unwrap();
                journal.append(&[&text(step)]).unwrap();
            }
            let found = journal.scrub_step(&mut cursor, 100).unwrap();
            assert_eq!(found.rotten, [], "rewritten at step {rewrite_at}");
            records += found.records;
            if found.finished {
                break;
            }
        }
        assert!(records > 10);
    }
}

#[test]
fn a_scrub_tells_each_damage_once_and_a_rewrite_heals_the_segment() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 30);
    let (records, _) = scan(directory.path());
    let damaged: Vec<Position> = records
        .keys()
        .copied()
        .filter(|position| position.segment % 2 == 0)
        .collect();
    for position in &damaged {
        let path = segment_path(directory.path(), position.segment);
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(position.offset + RECORD_HEADER).unwrap()] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let scrub = |journal: &Journal| {
        let (mut cursor, mut rotten, mut found) = (ScrubCursor::default(), Vec::new(), 0);
        loop {
            let step = journal.scrub_step(&mut cursor, 1).unwrap();
            rotten.extend(step.rotten);
            found += step.records;
            if step.finished {
                return (rotten, found);
            }
        }
    };
    let (rotten, found) = scrub(&journal);
    // Neighbours are one damage: where one record is damaged, nothing says where the next began.
    assert!(rotten.iter().all(|position| damaged.contains(position)));
    assert_eq!(
        rotten.len(),
        damaged
            .iter()
            .map(|position| position.segment)
            .collect::<BTreeSet<u32>>()
            .len()
    );
    assert_eq!(found, (records.len() - damaged.len()) as u64);
    let segments = all_segments(&journal);
    let result = journal.rewrite(&segments, &mut |_, _| Rewrite::Keep).unwrap();
    assert_eq!(
        (result.rotten, result.moved.len()),
        (rotten, records.len() - damaged.len())
    );
    assert_eq!(scrub(&journal).0, []);
}
