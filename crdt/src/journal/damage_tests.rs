//! What damage costs: never more than the damaged records, and never more than a fixed multiple of the bytes in work.

use std::{cell::Cell, collections::BTreeSet};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    tests::{open_small, scan, take_hashed},
    walk::{ReadAt, Step, Walk},
    *,
};
use crate::limits::{SEARCH_HASH_BYTES_START, SEARCH_HASHED_PER_BYTE};

const GARBAGE_BYTES: usize = 8 * 1024 * 1024;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Small numbers, as in many tables: almost every fourth byte looks like the length of a record, and 64 KiB of body would have to
/// be hashed for each.
fn numbers() -> Vec<u8> {
    let lengths = noise(2, GARBAGE_BYTES / 2);
    lengths.chunks_exact(2).flat_map(|low| [low[0], low[1], 1, 0]).collect()
}

/// Made to be hashed: a possible length and then noise that looks like a hash, again and again.
fn hostile() -> Vec<u8> {
    let hashes = noise(3, GARBAGE_BYTES);
    let mut bytes: Vec<u8> = hashes
        .chunks_exact(32)
        .flat_map(|hash| [&[0, 0, 1, 0], hash].concat())
        .collect();
    bytes.truncate(GARBAGE_BYTES);
    bytes
}

/// Bytes that would be hashed if every possible length were believed.
fn hashed_naively(garbage: &[u8]) -> u64 {
    let header = RECORD_HEADER as usize;
    let sizes = (0..garbage.len() - header).filter_map(|at| {
        let size = u32::from_le_bytes(garbage[at..at + 4].try_into().unwrap()) as usize;
        (size > 0 && size <= RECORD_BYTES_MAX && at + header + size <= garbage.len()).then_some(size as u64)
    });
    sizes.sum()
}

/// Scans a segment with garbage between two times twenty records; returns what was found and the bytes hashed for it.
fn scan_around(garbage: &[u8]) -> (BTreeSet<Vec<u8>>, ScanReport, u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = segment_path(directory.path(), 1);
    let records = |from: u8| (from..from + 20).map(|byte| vec![byte; 300]).collect::<Vec<_>>();
    let write = |records: &[Vec<u8>]| {
        let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        journal
            .append(&records.iter().map(Vec::as_slice).collect::<Vec<_>>())
            .unwrap();
    };
    write(&records(0));
    let before = fs::read(&path).unwrap();
    write(&records(20));
    let after = fs::read(&path).unwrap().split_off(before.len());
    fs::write(&path, [&before, garbage, &after].concat()).unwrap();
    take_hashed();
    let (found, report) = scan(directory.path());
    (found.into_values().collect(), report, take_hashed())
}

#[test]
fn records_behind_garbage_are_found_with_bounded_work() {
    let around = 40 * 300;
    let allowed = SEARCH_HASH_BYTES_START + SEARCH_HASHED_PER_BYTE * GARBAGE_BYTES as u64 + 2 * around;
    let garbage = [vec![0; GARBAGE_BYTES], noise(1, GARBAGE_BYTES), numbers()];
    for (index, garbage) in garbage.iter().enumerate() {
        let (found, report, hashed) = scan_around(garbage);
        assert_eq!(found.len(), 40, "garbage {index}");
        assert_eq!((report.rotten.len(), report.torn_bytes), (1, 0));
        assert!(hashed < allowed / 4, "garbage {index}: {hashed} bytes hashed");
    }
    // Control: believing every possible length would be beyond all bounds.
    assert!(hashed_naively(&garbage[2]) > 100 * allowed);
}

#[test]
fn hostile_garbage_costs_bounded_work_and_hides_no_more_than_a_few_kilobytes() {
    let garbage = hostile();
    let allowed = SEARCH_HASH_BYTES_START + SEARCH_HASHED_PER_BYTE * GARBAGE_BYTES as u64 + 100_000;
    let (found, report, hashed) = scan_around(&garbage);
    assert!(hashed <= allowed, "{hashed} bytes hashed of {allowed}");
    assert!(hashed > allowed / 2, "control: the garbage is worth hashing");
    assert!(
        hashed_naively(&garbage) > 10 * allowed,
        "control: nothing bounds it but the allowance"
    );
    assert!(found.len() >= 38, "{} of 40 found", found.len());
    assert_eq!((report.rotten.len(), report.torn_bytes), (1, 0));
}

/// A disk that counts what is read from it, with bad sectors.
struct Disk {
    bytes: Vec<u8>,
    bad_sectors: Vec<u64>,
    read: Cell<u64>,
}

impl ReadAt for Disk {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.read.set(self.read.get() + bytes.len() as u64);
        if self
            .bad_sectors
            .iter()
            .any(|sector| offset < (sector + 1) * 4096 && end > sector * 4096)
        {
            return Err(io::Error::from_raw_os_error(5));
        }
        let start = usize::try_from(offset).unwrap();
        bytes.copy_from_slice(&self.bytes[start..start + bytes.len()]);
        Ok(())
    }
}

/// What a walk over a disk with these records finds: the records, and the damages.
fn walk_over(disk: &Disk) -> (Vec<Vec<u8>>, Vec<u64>) {
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    let mut walk = Walk::begin(disk, FIRST_RECORD, disk.bytes.len() as u64);
    loop {
        match walk.step().unwrap() {
            Step::Record(_) => records.push(walk.body().to_vec()),
            Step::Damage(offset) => damages.push(offset),
            Step::Searching => {}
            Step::End => return (records, damages),
        }
    }
}

fn disk(records: u32) -> (Disk, Vec<Position>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    let bodies: Vec<Vec<u8>> = (0..records).map(|record| record.to_le_bytes().repeat(75)).collect();
    let positions = journal
        .append(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>())
        .unwrap();
    let disk = Disk {
        bytes: fs::read(segment_path(directory.path(), 1)).unwrap(),
        bad_sectors: Vec::new(),
        read: Cell::new(0),
    };
    (disk, positions)
}

#[test]
fn every_other_record_damaged_is_read_once_and_not_once_per_damage() {
    let (mut disk, positions) = disk(10_000);
    for position in positions.iter().skip(1).step_by(2) {
        disk.bytes[usize::try_from(position.offset).unwrap() + 100] ^= 1;
    }
    take_hashed();
    let (records, damages) = walk_over(&disk);
    assert_eq!((records.len(), damages.len()), (5000, 5000));
    assert!(
        disk.read.get() < 2 * disk.bytes.len() as u64,
        "{} bytes read",
        disk.read.get()
    );
    assert!(take_hashed() < SEARCH_HASH_BYTES_START + (SEARCH_HASHED_PER_BYTE + 2) * disk.bytes.len() as u64);
}

#[test]
fn a_bad_sector_costs_only_the_records_in_it() {
    let (mut disk, positions) = disk(10_000);
    assert_eq!(walk_over(&disk).0.len(), 10_000, "control");
    disk.bad_sectors = vec![0, 100, 101, 500];
    let (records, damages) = walk_over(&disk);
    let is_hit = |position: &&Position| {
        let record = position.offset..position.offset + RECORD_HEADER + 300;
        disk.bad_sectors
            .iter()
            .any(|sector| record.start < (sector + 1) * 4096 && record.end > sector * 4096)
    };
    assert_eq!(records.len(), 10_000 - positions.iter().filter(is_hit).count());
    assert_eq!(damages.len(), 3);
}

#[test]
fn damaged_first_bytes_of_a_segment_cost_nothing_behind_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open_small(directory.path(), 100);
    for byte in 1..=3 {
        journal.append(&[&[byte; 50]]).unwrap();
    }
    assert_eq!(journal.segments().unwrap().len(), 3);
    drop(journal);
    for segment in 1..=3 {
        let path = segment_path(directory.path(), segment);
        let whole = fs::read(&path).unwrap();
        for bit in 0..64 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            // The last byte is the version: what may be another version's is left alone.
            if bit >= 56 {
                let result = Journal::open(directory.path(), None, |_, _| {});
                assert!(matches!(result, Err(JournalError::NotASegment(_))));
                continue;
            }
            let (records, report) = scan(directory.path());
            assert_eq!(records.len(), 3, "bit {bit} of segment {segment}");
            assert_eq!(report.rotten, [Position { segment, offset: 0 }]);
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(scan(directory.path()).1.rotten, []);
}

#[test]
fn a_segment_that_lost_its_end_or_everything_is_told_and_the_others_are_read() {
    for length in [0, 3, 8, 60] {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = open_small(directory.path(), 200);
        for byte in 1..=6 {
            journal.append(&[&[byte; 50]]).unwrap();
        }
        let first = fs::OpenOptions::new()
            .write(true)
            .open(segment_path(directory.path(), 1))
            .unwrap();
        first.set_len(length).unwrap();
        let (records, report) = scan(directory.path());
        assert_eq!(records.len(), 4, "cut to {length}");
        // At a boundary between records nothing shows in the segment itself; that only an index knows.
        assert_eq!(report.rotten.len(), usize::from(length != 8));
        let read = Journal::read_up_to(directory.path(), journal.end(), |_, _| {}).unwrap();
        assert_eq!(read.rotten, report.rotten);
    }
}

#[test]
fn a_tail_cut_under_an_open_journal_is_told_by_scrub_and_reader() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open_small(directory.path(), 1000);
    journal.append(&[&[1; 50], &[2; 50]]).unwrap();
    let path = segment_path(directory.path(), 1);
    let middle = FIRST_RECORD + RECORD_HEADER + 50;
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(middle)
        .unwrap();
    let cut = [Position {
        segment: 1,
        offset: middle,
    }];
    let step = journal.scrub_step(&mut ScrubCursor::default(), u64::MAX).unwrap();
    assert_eq!(
        (step.rotten.as_slice(), step.records, step.finished),
        (&cut[..], 1, true)
    );
    let read = Journal::read_up_to(directory.path(), journal.end(), |_, _| {}).unwrap();
    assert_eq!(read.rotten, cut);
    assert!(matches!(journal.read(cut[0]), Err(JournalError::Rotten(_))));
}

#[test]
fn a_scrub_goes_through_garbage_in_steps_and_tells_it_once() {
    let (mut disk, positions) = disk(20_000);
    let start = usize::try_from(positions[5000].offset).unwrap();
    let noise = noise(4, 2 * 1024 * 1024);
    disk.bytes[start..start + noise.len()].copy_from_slice(&noise);
    let directory = tempfile::tempdir().unwrap();
    fs::write(segment_path(directory.path(), 1), &disk.bytes).unwrap();
    let (journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    let mut cursor = ScrubCursor::default();
    let mut steps = Vec::new();
    loop {
        let step = journal.scrub_step(&mut cursor, 10_000).unwrap();
        assert!(step.bytes < 1024 * 1024, "a step stays short");
        let finished = step.finished;
        steps.push(step);
        if finished {
            break;
        }
    }
    let rotten: Vec<Position> = steps.iter().flat_map(|step| step.rotten.clone()).collect();
    assert_eq!(rotten, [positions[5000]]);
    let first_behind = positions
        .iter()
        .position(|position| position.offset >= (start + noise.len()) as u64)
        .unwrap();
    assert_eq!(
        steps.iter().map(|step| step.records).sum::<u64>(),
        (5000 + 20_000 - first_behind) as u64
    );
}
