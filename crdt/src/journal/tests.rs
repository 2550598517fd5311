//! What a journal promises, case by case.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use super::{
    segment::{MAGIC, RECORD_HEADER},
    *,
};

type Hook = Box<dyn FnMut() -> io::Result<()>>;

thread_local! {
    static TRUSTING: Cell<bool> = const { Cell::new(false) };
    static HASHED: Cell<u64> = const { Cell::new(0) };
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Counts the bytes that are hashed; returns whether this test believes them without looking at their hash.
pub(crate) fn hashes(body: &[u8]) -> bool {
    HASHED.set(HASHED.get() + body.len() as u64);
    TRUSTING.get()
}

/// Whether this test believes what it reads.
pub(crate) fn is_trusting() -> bool {
    TRUSTING.get()
}

/// The bytes hashed on this thread since the last call.
pub(super) fn take_hashed() -> u64 {
    HASHED.replace(0)
}

/// Runs `work` with verification switched off on this thread: the negative control of every test about damage.
pub(crate) fn trusting<T>(work: impl FnOnce() -> T) -> T {
    TRUSTING.set(true);
    let result = work();
    TRUSTING.set(false);
    result
}

/// Called before every change of the disk.
pub(super) fn at_change() -> io::Result<()> {
    HOOK.with_borrow_mut(|hook| hook.as_mut().map_or(Ok(()), |hook| hook()))
}

/// Runs `work`, and `hook` before every change of the disk.
pub(crate) fn hooked<T>(hook: impl FnMut() -> io::Result<()> + 'static, work: impl FnOnce() -> T) -> T {
    HOOK.set(Some(Box::new(hook)));
    let result = work();
    HOOK.set(None);
    result
}

/// A disk that refuses from the change with number `first` on, and works again after `count` refusals.
pub(crate) fn refusing(first: usize, count: usize) -> impl FnMut() -> io::Result<()> + 'static {
    let mut changes = 0;
    move || {
        changes += 1;
        let refused = (first..first + count).contains(&(changes - 1));
        if refused {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

/// Every record with its position, and what the scan reported.
pub(super) fn scan(directory: &Path) -> (BTreeMap<Position, Vec<u8>>, ScanReport) {
    let mut records = BTreeMap::new();
    let (_, report) = Journal::open(directory, None, |position, body| {
        assert_eq!(records.insert(position, body.to_vec()), None);
    })
    .unwrap();
    (records, report)
}

/// Opens a journal whose segments are full after `bytes`.
pub(super) fn open_small(directory: &Path, bytes: u64) -> Journal {
    let (mut journal, _) = Journal::open(directory, None, |_, _| {}).unwrap();
    journal.segment_bytes = bytes;
    journal
}

/// A copy of the files of a directory.
pub(super) fn copied(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for path in files(from).unwrap() {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Whether a file of the directory holds these bytes.
pub(super) fn holds(directory: &Path, bytes: &[u8]) -> bool {
    let holds = |path: PathBuf| {
        fs::read(path)
            .unwrap()
            .windows(bytes.len())
            .any(|window| window == bytes)
    };
    files(directory).unwrap().into_iter().any(holds)
}

pub(super) const SEGMENT_BYTES: u64 = 400;

/// The body of record `number`: its length varies, and its number can be read from it.
pub(super) fn text(number: u32) -> Vec<u8> {
    format!("record {number:04} ")
        .repeat(2 + number as usize % 5)
        .into_bytes()
}

pub(super) fn number(body: &[u8]) -> u32 {
    std::str::from_utf8(&body[7..11]).unwrap().parse().unwrap()
}

pub(super) fn filled(directory: &Path, count: u32) -> Journal {
    let mut journal = open_small(directory, SEGMENT_BYTES);
    for number in 0..count {
        journal.append(&[&text(number)]).unwrap();
    }
    journal
}

pub(super) fn numbers(directory: &Path) -> Vec<u32> {
    let (records, report) = scan(directory);
    assert_eq!((report.rotten, report.torn_bytes), (vec![], 0));
    for record in records.values() {
        assert_eq!(record, &text(number(record)));
    }
    records.values().map(|body| number(body)).collect()
}

pub(super) fn all_segments(journal: &Journal) -> BTreeSet<u32> {
    journal
        .segments()
        .unwrap()
        .iter()
        .map(|(segment, _)| *segment)
        .collect()
}

pub(super) fn drop_every_third(_: Position, body: &[u8]) -> Rewrite {
    if number(body).is_multiple_of(3) {
        Rewrite::Drop
    } else {
        Rewrite::Keep
    }
}

fn read_all(directory: &Path) -> (Vec<Vec<u8>>, ScanReport) {
    let mut bodies = Vec::new();
    let (_, report) = Journal::open(directory, None, |_, body| bodies.push(body.to_vec())).unwrap();
    (bodies, report)
}

fn written(directory: &Path) -> Vec<Position> {
    let (mut journal, _) = Journal::open(directory, None, |_, _| {}).unwrap();
    let positions = journal.append(&[b"one", b"two", b"three"]).unwrap();
    assert_eq!(journal.read(positions[1]).unwrap(), b"two");
    positions
}

#[test]
fn records_survive_a_restart_and_a_scan_can_begin_in_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    let positions = written(directory.path());
    assert_eq!(
        read_all(directory.path()).0,
        [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
    );
    let mut bodies = Vec::new();
    Journal::open(directory.path(), Some(positions[2]), |_, body| {
        bodies.push(body.to_vec())
    })
    .unwrap();
    assert_eq!(bodies, [b"three".to_vec()]);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_rest_stays() {
    let whole = {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        fs::read(directory.path().join("00000001.log")).unwrap()
    };
    let second = MAGIC.len() + 2 * RECORD_HEADER as usize + 6;
    for length in second..whole.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("00000001.log"), &whole[..length]).unwrap();
        let (bodies, report) = read_all(directory.path());
        assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()], "cut at {length}");
        assert_eq!(report.torn_bytes, (length - second) as u64);
        // The journal goes on after the cut.
        let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        journal.append(&[b"four"]).unwrap();
        assert_eq!(read_all(directory.path()).0.len(), 3);
    }
}

#[test]
fn every_flipped_bit_of_a_body_is_found_and_never_returned() {
    let directory = tempfile::tempdir().unwrap();
    let positions = written(directory.path());
    let path = directory.path().join("00000001.log");
    let whole = fs::read(&path).unwrap();
    let body = usize::try_from(positions[1].offset + RECORD_HEADER).unwrap();
    for bit in 0..24 {
        let mut damaged = whole.clone();
        damaged[body + bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        let (bodies, report) = read_all(directory.path());
        assert_eq!(bodies, [b"one".to_vec(), b"three".to_vec()]);
        assert_eq!(report.rotten, [positions[1]]);
        let (journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        assert!(matches!(journal.read(positions[1]), Err(JournalError::Rotten(_))));
    }
}

#[test]
fn a_damaged_length_costs_one_record_and_not_all_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let positions = written(directory.path());
    let path = directory.path().join("00000001.log");
    let whole = fs::read(&path).unwrap();
    for bit in 0..32 {
        let mut damaged = whole.clone();
        damaged[usize::try_from(positions[1].offset).unwrap() + bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        let (bodies, report) = read_all(directory.path());
        assert!(
            bodies.contains(&b"one".to_vec()) && bodies.contains(&b"three".to_vec()),
            "bit {bit}: {bodies:?}"
        );
        assert_eq!((report.rotten.len(), report.torn_bytes), (1, 0), "bit {bit}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is cut");
    }
}

#[test]
fn a_journal_says_how_far_it_reaches() {
    let directory = tempfile::tempdir().unwrap();
    let positions = written(directory.path());
    assert!(Journal::reaches(directory.path(), positions[2]));
    assert!(!Journal::reaches(directory.path(), Position { segment: 2, offset: 8 }));
    let path = directory.path().join("00000001.log");
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(20)
        .unwrap();
    assert!(!Journal::reaches(directory.path(), positions[2]));
}

#[test]
fn a_foreign_file_is_left_alone_and_an_oversized_record_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    let long = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(journal.append(&[&long]), Err(JournalError::TooLarge(_))));
    journal.append(&[b"still usable"]).unwrap();
    let path = directory.path().join("00000001.log");
    fs::write(&path, b"something else entirely").unwrap();
    assert!(matches!(
        Journal::open(directory.path(), None, |_, _| {}),
        Err(JournalError::NotASegment(_))
    ));
    assert_eq!(fs::read(&path).unwrap(), b"something else entirely");
}

#[test]
fn a_scan_from_beyond_the_end_visits_everything_and_cuts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let positions = written(directory.path());
    let whole = fs::read(directory.path().join("00000001.log")).unwrap();
    let mut beyond = vec![
        Position { segment: 2, offset: 8 },
        Position {
            segment: 1,
            offset: whole.len() as u64 + 1,
        },
    ];
    for from in beyond.drain(..) {
        let mut bodies = Vec::new();
        let (journal, _) = Journal::open(directory.path(), Some(from), |_, body| bodies.push(body.to_vec())).unwrap();
        assert_eq!(bodies.len(), 3);
        assert_eq!(journal.read(positions[2]).unwrap(), b"three");
        assert_eq!(fs::read(directory.path().join("00000001.log")).unwrap(), whole);
    }
}

#[test]
fn a_batch_goes_on_in_the_next_segment_and_no_segment_is_longer_than_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open_small(directory.path(), 200);
    let bodies: Vec<Vec<u8>> = (1..12_u8).map(|length| vec![length; usize::from(length) * 9]).collect();
    let borrowed: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let positions = journal.append(&borrowed).unwrap();
    let segments = journal.segments().unwrap();
    assert!(segments.len() > 3 && segments.iter().all(|(_, bytes)| *bytes <= 200));
    assert_eq!(
        journal.disk_bytes().unwrap(),
        segments.iter().map(|(_, bytes)| bytes).sum::<u64>()
    );
    for (position, body) in positions.iter().zip(&bodies) {
        assert_eq!(&journal.read(*position).unwrap(), body);
    }
    assert_eq!(read_all(directory.path()).0, bodies);
}

#[test]
fn an_append_that_the_disk_refuses_leaves_nothing_and_the_next_one_succeeds() {
    let mut refused = 0;
    for first in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = open_small(directory.path(), 100);
        journal.append(&[b"kept"]).unwrap();
        let before = (journal.end(), journal.segments().unwrap());
        let bodies: [&[u8]; 3] = [&[1; 60], &[2; 60], &[3; 60]];
        let result = hooked(refusing(first, 1), || journal.append(&bodies));
        let mut expected = vec![b"kept".to_vec()];
        if result.is_err() {
            refused += 1;
            assert_eq!(
                (journal.end(), journal.segments().unwrap()),
                before,
                "refused at {first}"
            );
        } else {
            expected.extend(bodies.map(<[u8]>::to_vec));
        }
        journal.append(&[b"later"]).unwrap();
        expected.push(b"later".to_vec());
        assert_eq!(
            read_all(directory.path()),
            (
                expected,
                ScanReport {
                    records: journal_records(&result),
                    ..ScanReport::default()
                }
            )
        );
    }
    // Three segments were begun and four written to.
    assert_eq!(refused, 6, "the disk refused at every change, and then no more");
}

fn journal_records(result: &Result<Vec<Position>, JournalError>) -> u64 {
    2 + result.as_ref().map_or(0, |positions| positions.len() as u64)
}

#[test]
fn a_record_without_bytes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    assert!(matches!(journal.append(&[b"one", b""]), Err(JournalError::Empty)));
    assert_eq!(read_all(directory.path()).0.len(), 0);
}

#[test]
fn the_copy_of_a_torn_tail_can_be_removed() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let path = directory.path().join("00000001.log");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &[9, 0, 0, 0], &[0xAB; 32], b"marker"].concat()).unwrap();
    let (journal, report) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    assert_eq!(report.torn_bytes, 42);
    assert!(holds(directory.path(), b"marker"), "the copy is there");
    let copy = files(directory.path())
        .unwrap()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("torn"));
    let open_copy = File::open(copy.unwrap()).unwrap();
    assert_eq!(journal.remove_torn_copies().unwrap(), 1);
    assert!(!holds(directory.path(), b"marker"));
    // Not only its name is gone.
    let mut bytes = [1; 42];
    open_copy.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [0; 42]);
    assert_eq!(journal.remove_torn_copies().unwrap(), 0);
    assert_eq!(read_all(directory.path()).0.len(), 3);
}
