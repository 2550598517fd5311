//! What holds of a rewrite.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    tests::{
        SEGMENT_BYTES, all_segments, copied, drop_every_third, filled, holds, hooked, number, numbers, open_small,
        refusing, scan, text,
    },
    *,
};

#[test]
fn records_are_kept_dropped_and_replaced_and_found_where_the_answer_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 30);
    let before = scan(directory.path()).0;
    let rewritten: BTreeSet<u32> = all_segments(&journal)
        .into_iter()
        .filter(|segment| segment % 3 != 0)
        .collect();
    let result = journal
        .rewrite(&rewritten, &mut |_, body| match number(body) % 3 {
            0 => Rewrite::Drop,
            1 => Rewrite::Keep,
            _ => Rewrite::Replace(text(number(body) + 1000)),
        })
        .unwrap();
    assert_eq!(result.rotten, []);
    let (touched, left): (Vec<_>, Vec<_>) = before
        .iter()
        .partition(|(position, _)| rewritten.contains(&position.segment));
    assert!(!touched.is_empty() && !left.is_empty());
    assert_eq!(result.moved.len() + result.dropped.len(), touched.len());
    for (old, new) in &result.moved {
        let was = number(&before[old]);
        let now = number(&journal.read(*new).unwrap());
        assert_eq!(now, if was % 3 == 1 { was } else { was + 1000 });
    }
    for position in &result.dropped {
        assert_eq!(number(&before[position]) % 3, 0);
    }
    for (position, body) in left {
        assert_eq!(&journal.read(*position).unwrap(), body);
    }
    assert!(result.bytes_after < result.bytes_before);
    // Appends go on, the order stays, and a restart sees the same.
    journal.append(&[&text(999)]).unwrap();
    let numbers = numbers(directory.path());
    assert!(numbers.iter().map(|number| number % 1000).is_sorted());
    assert_eq!(numbers.len(), before.len() - result.dropped.len() + 1);
}

#[test]
fn small_segments_are_packed_together_and_empty_ones_vanish() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 60);
    let segments = all_segments(&journal);
    let result = journal
        .rewrite(&segments, &mut |_, body| {
            if number(body) < 50 {
                Rewrite::Drop
            } else {
                Rewrite::Keep
            }
        })
        .unwrap();
    let left = journal.segments().unwrap();
    assert_eq!(numbers(directory.path()), (50..60).collect::<Vec<u32>>());
    assert!(left.len() < 5 && segments.len() > 10, "{left:?}");
    assert!(left.iter().all(|(_, bytes)| *bytes <= SEGMENT_BYTES));
    assert_eq!(result.dropped.len(), 50);
    // An erasure of everything that is left leaves one empty segment, however often it is asked for.
    for _ in 0..3 {
        let segments = all_segments(&journal);
        journal.rewrite(&segments, &mut |_, _| Rewrite::Drop).unwrap();
        let left = journal.segments().unwrap();
        assert_eq!((left.len(), left[0].1), (1, FIRST_RECORD));
    }
    let nothing = journal
        .rewrite(&BTreeSet::from([1, 2]), &mut |_, _| Rewrite::Drop)
        .unwrap();
    assert_eq!(nothing, Rewritten::default());
}

#[test]
fn a_replacement_may_be_longer_and_one_that_is_no_record_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 12);
    let before = scan(directory.path()).0;
    for wrong in [vec![], vec![0; RECORD_BYTES_MAX + 1]] {
        let segments = all_segments(&journal);
        let result = journal.rewrite(&segments, &mut |_, body| {
            if number(body) == 7 {
                Rewrite::Replace(wrong.clone())
            } else {
                Rewrite::Drop
            }
        });
        assert!(matches!(result, Err(JournalError::Empty | JournalError::TooLarge(_))));
        assert_eq!(scan(directory.path()).0, before);
    }
    let segments = all_segments(&journal);
    let long = vec![7; 1000];
    journal
        .rewrite(&segments, &mut |_, _| Rewrite::Replace(long.clone()))
        .unwrap();
    let records = scan(directory.path()).0;
    assert_eq!(records.len(), 12);
    assert!(records.values().all(|record| *record == long));
}

#[test]
fn erased_bytes_are_in_no_file_and_not_in_the_file_that_was_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 30);
    let erased = b"record 0017";
    assert!(holds(directory.path(), erased), "control");
    let old: Vec<File> = files(directory.path())
        .unwrap()
        .iter()
        .map(|path| File::open(path).unwrap())
        .collect();
    let segments = all_segments(&journal);
    journal
        .rewrite(&segments, &mut |_, body| {
            if number(body) == 17 {
                Rewrite::Drop
            } else {
                Rewrite::Keep
            }
        })
        .unwrap();
    assert!(!holds(directory.path(), erased));
    for file in old {
        let mut bytes = vec![1; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_crash_at_any_moment_of_a_rewrite_loses_no_kept_record_and_it_can_be_done_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 40);
    let checkpoint = journal.end();
    let segments: BTreeSet<u32> = all_segments(&journal)
        .into_iter()
        .filter(|segment| segment % 4 != 0)
        .collect();
    let kept: BTreeSet<u32> = {
        let is_kept = |(position, body): &(&Position, &Vec<u8>)| {
            !segments.contains(&position.segment) || !number(body).is_multiple_of(3)
        };
        scan(directory.path())
            .0
            .iter()
            .filter(is_kept)
            .map(|(_, body)| number(body))
            .collect()
    };
    let before = scan(directory.path()).0;
    // What the disk holds before each change is what a crash would leave.
    let crashes = Rc::new(RefCell::new(Vec::new()));
    let (path, seen) = (directory.path().to_owned(), crashes.clone());
    let snapshot = move || {
        seen.borrow_mut().push(copied(&path));
        Ok(())
    };
    hooked(snapshot, || journal.rewrite(&segments, &mut drop_every_third)).unwrap();
    assert!(!Journal::reaches(directory.path(), checkpoint));
    let (mut untouched, mut halfway) = (0, 0);
    for crash in crashes.take() {
        // An index that knows the old positions is told so, at the latest when the first record has moved.
        let has_moved = !stand(crash.path(), &before);
        assert!(!has_moved || !Journal::reaches(crash.path(), checkpoint));
        let found: BTreeSet<u32> = numbers(crash.path()).into_iter().collect();
        assert!(found.is_superset(&kept), "a kept record is missing");
        untouched += usize::from(!has_moved);
        halfway += usize::from(has_moved && found != kept);
        let mut again = open_small(crash.path(), SEGMENT_BYTES);
        assert!(!again.mark.is_rewriting());
        let all = all_segments(&again);
        again
            .rewrite(&all, &mut |_, body| {
                if kept.contains(&number(body)) {
                    Rewrite::Keep
                } else {
                    Rewrite::Drop
                }
            })
            .unwrap();
        let found: BTreeSet<u32> = numbers(crash.path()).into_iter().collect();
        assert_eq!(found, kept);
        assert!(leftovers(crash.path()).is_empty());
    }
    assert!(
        untouched > 3 && halfway > 3,
        "crashes before ({untouched}) and between ({halfway}) the replacements"
    );
}

/// Whether these records stand where they stood, whatever the journal thinks of them.
fn stand(directory: &Path, records: &BTreeMap<Position, Vec<u8>>) -> bool {
    records.iter().all(|(position, body)| {
        let file = fs::read(segment_path(directory, position.segment)).unwrap_or_default();
        let start = usize::try_from(position.offset + RECORD_HEADER).unwrap();
        file.get(start..start + body.len()) == Some(body)
    })
}

fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let mut files = files(directory).unwrap();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "new"));
    files
}

#[test]
fn a_disk_that_refuses_leaves_everything_or_halts_the_journal() {
    let (mut unchanged, mut halted, mut done) = (0, 0, 0);
    for count in [1, usize::MAX] {
        for first in 0..60 {
            let directory = tempfile::tempdir().unwrap();
            let mut journal = filled(directory.path(), 20);
            let before = scan(directory.path()).0;
            let checkpoint = journal.end();
            let segments: BTreeSet<u32> = all_segments(&journal)
                .into_iter()
                .filter(|segment| segment % 3 != 0)
                .collect();
            let result = hooked(refusing(first, count.min(1000)), || {
                journal.rewrite(&segments, &mut drop_every_third)
            });
            match result {
                Ok(result) => {
                    done += 1;
                    for (old, new) in result.moved {
                        assert_eq!(journal.read(new).unwrap(), before[&old]);
                    }
                }
                Err(JournalError::Halted) => {
                    halted += 1;
                    assert!(matches!(journal.append(&[b"more"]), Err(JournalError::Halted)));
                    let refused = journal.rewrite(&segments, &mut drop_every_third);
                    assert!(matches!(refused, Err(JournalError::Halted)));
                    assert!(!Journal::reaches(directory.path(), checkpoint));
                }
                Err(_) => {
                    unchanged += 1;
                    assert_eq!(scan(directory.path()).0, before);
                    assert!(leftovers(directory.path()).is_empty());
                    assert!(stand(directory.path(), &before));
                    journal.append(&[b"more"]).unwrap();
                }
            }
            drop(journal);
            // Whatever happened, a restart finds every record that was to be kept, and goes on.
            let mut journal = open_small(directory.path(), SEGMENT_BYTES);
            journal.append(&[&text(0)]).unwrap();
            let found: BTreeSet<Vec<u8>> = scan(directory.path()).0.into_values().collect();
            assert!(
                before
                    .values()
                    .filter(|body| !number(body).is_multiple_of(3))
                    .all(|body| found.contains(body))
            );
        }
    }
    assert!(unchanged > 10 && halted > 5 && done > 5, "{unchanged} {halted} {done}");
}

#[test]
fn an_index_reaches_again_once_it_knows_of_the_rewrite() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = filled(directory.path(), 10);
    let old = journal.end();
    assert!(Journal::reaches(directory.path(), old));
    journal.rewrite(&BTreeSet::from([1]), &mut drop_every_third).unwrap();
    let new = journal.end();
    assert!(!Journal::reaches(directory.path(), old));
    assert!(Journal::reaches(directory.path(), new));
    // Twice in a row, with nothing appended in between: the first end is no end any more.
    journal.rewrite(&BTreeSet::from([1]), &mut drop_every_third).unwrap();
    assert!(!Journal::reaches(directory.path(), new));
    let newer = journal.end();
    drop(journal);
    // Neither is one behind a lost segment: no number is used twice.
    fs::remove_file(segment_path(directory.path(), newer.segment)).unwrap();
    assert!(!Journal::reaches(directory.path(), newer));
    let (journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    assert_eq!(journal.end(), newer);
    assert!(Journal::reaches(directory.path(), newer));
    drop(journal);
    // A damaged mark reaches nothing, until the journal was opened without an index.
    let mark = directory.path().join("rewritten");
    let mut bytes = fs::read(&mark).unwrap();
    bytes[20] ^= 1;
    fs::write(&mark, bytes).unwrap();
    assert!(!Journal::reaches(directory.path(), newer));
    let (journal, _) = Journal::open(directory.path(), Some(newer), |_, _| {}).unwrap();
    assert!(Journal::reaches(directory.path(), journal.end()));
}
