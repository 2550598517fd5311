//! The store through crashes, damage and its limits.

use std::{fs, os::unix::fs::FileExt};

use super::*;
use crate::blobs::tree::{VerifiedGroup, Walk, groups_of};

const ROOM: BlobLimits = BlobLimits {
    blobs: 4,
    bytes: 4 << 20,
};

fn bytes(size: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

struct Bench {
    directory: tempfile::TempDir,
    store: BlobStore,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&directory.path().join("blobs"), ROOM).unwrap();
        Self { directory, store }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The same directory as a process finds it that starts now.
    fn again(&self) -> BlobStore {
        BlobStore::open(&self.directory.path().join("blobs"), ROOM).unwrap()
    }
}

/// What another node would send of a blob.
fn sent(store: &BlobStore, blob: BlobId, range: std::ops::Range<u64>) -> Vec<VerifiedGroup> {
    let reader = store.reader(blob).unwrap();
    let (frames, error) = reader.next(&mut reader.walk(range.clone()), 4096);
    assert!(error.is_none());
    let mut walk = Walk::new(blob, reader.size, range);
    frames.into_iter().map(|frame| walk.verify(frame).unwrap()).collect()
}

#[test]
fn a_file_is_added_listed_found_again_and_removed() {
    let bench = Bench::new();
    let content = bytes(100_000, 1);
    let file = bench.file("avatar.png", &content);
    let blob = bench.store.add(&file).unwrap();
    assert_eq!(blob, BlobId::of(&content));
    assert_eq!(bench.store.add(&file).unwrap(), blob);
    fs::remove_file(&file).unwrap();
    let summary = BlobSummary {
        blob,
        size: 100_000,
        status: BlobStatus::Whole,
    };
    for store in [&bench.store, &bench.again()] {
        assert_eq!(store.list(), [summary]);
        assert_eq!(store.used(), 100_000);
        assert_eq!(fs::read(store.path(blob).unwrap()).unwrap(), content);
        store.verify(blob).unwrap();
    }
    bench.store.remove(blob).unwrap();
    assert!(matches!(bench.store.remove(blob), Err(BlobError::Unknown(_))));
    assert!(bench.again().list().is_empty());
    assert_eq!(fs::read_dir(bench.directory.path().join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_reference_takes_no_room_and_is_forgotten_when_its_file_changes() {
    let bench = Bench::new();
    let file = bench.file("model.gguf", &bytes(6 << 20, 2));
    assert!(matches!(bench.store.add(&file), Err(BlobError::Full { .. })));
    let blob = bench.store.add_reference(&file).unwrap();
    assert_eq!(bench.store.used(), 0);
    let again = bench.again();
    again.verify(blob).unwrap();
    assert_eq!(again.path(blob).unwrap(), fs::canonicalize(&file).unwrap());
    fs::write(&file, b"another model").unwrap();
    assert!(matches!(again.verify(blob), Err(BlobError::Changed(_))));
    assert_eq!(again.have(blob), None);
    assert_eq!(fs::read(&file).unwrap(), b"another model");
}

#[test]
fn number_and_bytes_are_bounded() {
    let bench = Bench::new();
    for seed in 0..4 {
        bench.store.add(&bench.file("a", &bytes(1000, seed))).unwrap();
    }
    let fifth = bench.store.add(&bench.file("a", &bytes(1000, 9)));
    assert!(matches!(fifth, Err(BlobError::TooMany { limit: 4 })));
    let first = bench.store.list()[0].blob;
    bench.store.remove(first).unwrap();
    let unknown = BlobId::of(b"somewhere else");
    assert!(matches!(
        bench.store.fill(unknown, 5 << 20),
        Err(BlobError::Full { .. })
    ));
    assert!(matches!(
        bench.store.fill(unknown, u64::MAX),
        Err(BlobError::TooLarge(_))
    ));
    // The whole size counts from the beginning, not what has come of it.
    let partial = bench.store.fill(unknown, 3 << 20).unwrap();
    assert_eq!(bench.store.used(), (3 << 20) + 3000);
    drop(partial);
}

#[test]
fn a_part_survives_the_process_with_every_group_that_was_written() {
    let (giver, taker) = (Bench::new(), Bench::new());
    let content = bytes(1_000_000, 3);
    let blob = giver.store.add(&giver.file("a", &content)).unwrap();
    let mut partial = taker.store.fill(blob, 1_000_000).unwrap();
    for group in sent(&giver.store, blob, 10..40) {
        assert!(partial.write(&group).unwrap());
        assert!(!partial.write(&group).unwrap(), "again is not new");
    }
    assert!(matches!(taker.store.fill(blob, 1_000_000), Err(BlobError::InUse(_))));
    // A killed process drops nothing: its files are simply as they are.
    let store = taker.again();
    let part = |bytes| BlobStatus::Partial { bytes };
    assert_eq!(store.have(blob).unwrap().status, part(30 * GROUP_BYTES));
    assert!(matches!(store.path(blob), Err(BlobError::Incomplete(_))));
    let mut again = store.fill(blob, 1_000_000).unwrap();
    assert_eq!(again.groups().next_run(0), Some(10..40));
    assert_eq!(again.groups().held(), 30);
    // Parts are given on, verified like everything else.
    assert_eq!(sent(&store, blob, 12..15).len(), 3);
    let groups = groups_of(1_000_000);
    for group in sent(&giver.store, blob, 0..10)
        .iter()
        .chain(&sent(&giver.store, blob, 40..groups))
    {
        again.write(group).unwrap();
    }
    again.finish().unwrap();
    for store in [&store, &taker.again()] {
        assert_eq!(store.have(blob).unwrap().status, BlobStatus::Whole);
        store.verify(blob).unwrap();
        assert_eq!(fs::read(store.path(blob).unwrap()).unwrap(), content);
    }
}

#[test]
fn what_a_power_cut_left_in_the_bits_and_not_in_the_data_is_found_when_the_download_goes_on() {
    let (giver, taker) = (Bench::new(), Bench::new());
    let blob = giver.store.add(&giver.file("a", &bytes(1_000_000, 4))).unwrap();
    let mut partial = taker.store.fill(blob, 1_000_000).unwrap();
    for group in sent(&giver.store, blob, 0..20) {
        partial.write(&group).unwrap();
    }
    let data = taker.store.file(blob, Part::Data);
    fs::OpenOptions::new()
        .write(true)
        .open(data)
        .unwrap()
        .write_all_at(&[0; 16_384], 7 * GROUP_BYTES)
        .unwrap();
    let again = taker.again().fill(blob, 1_000_000).unwrap();
    assert_eq!(again.groups().runs().collect::<Vec<_>>(), [0..7, 8..20]);
}

#[test]
fn damage_is_found_when_read_and_marked_missing_and_what_is_good_stays() {
    let bench = Bench::new();
    let blob = bench.store.add(&bench.file("a", &bytes(500_000, 5))).unwrap();
    let path = bench.store.path(blob).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"rot", 9 * GROUP_BYTES + 100).unwrap();
    let reader = bench.store.reader(blob).unwrap();
    let (frames, error) = reader.next(&mut reader.walk(5..20), 16);
    assert_eq!(frames.len(), 4, "the groups before the bad one go out");
    assert!(matches!(error, Some(BlobError::Damaged { first: 9, count: 1, .. })));
    for store in [&bench.store, &bench.again()] {
        assert_eq!(
            store.have(blob).unwrap().status,
            BlobStatus::Partial {
                bytes: 500_000 - GROUP_BYTES
            }
        );
        assert!(matches!(store.verify(blob), Err(BlobError::Incomplete(_))));
        assert_eq!(
            store.fill(blob, 500_000).unwrap().groups().runs().collect::<Vec<_>>(),
            [0..9, 10..31]
        );
    }
}

#[test]
fn a_scrub_finds_every_bad_group_and_a_bad_tree() {
    let bench = Bench::new();
    let blob = bench.store.add(&bench.file("a", &bytes(3_000_000, 6))).unwrap();
    let file = |part| {
        fs::OpenOptions::new()
            .write(true)
            .open(bench.store.file(blob, part))
            .unwrap()
    };
    for group in [0, 100, 183] {
        file(Part::Data).write_all_at(b"rot", group * GROUP_BYTES).unwrap();
    }
    let error = bench.store.verify(blob).unwrap_err();
    assert!(
        matches!(error, BlobError::Damaged { first: 0, count: 3, .. }),
        "{error}"
    );
    file(Part::Tree).write_all_at(b"rot", 0).unwrap();
    // Without its root pair nothing can be proven.
    assert_eq!(bench.store.fill(blob, 3_000_000).unwrap().groups().held(), 0);
}

#[test]
fn what_a_crash_leaves_without_a_head_is_swept_up_and_foreign_files_stay() {
    let bench = Bench::new();
    let blob = bench.store.add(&bench.file("a", &bytes(50_000, 7))).unwrap();
    fs::remove_file(bench.store.file(blob, Part::Head)).unwrap();
    let inside = |name: &str| bench.directory.path().join("blobs").join(name);
    fs::write(inside("7.temporary"), b"half a copy").unwrap();
    fs::write(inside("notes.txt"), b"a person's").unwrap();
    fs::write(inside(&format!("{}.head", BlobId::of(b"b"))), b"\x09nonsense").unwrap();
    fs::write(inside(&format!("{}.data", BlobId::of(b"b"))), b"of a later version").unwrap();
    let store = bench.again();
    assert!(store.list().is_empty());
    let mut left: Vec<_> = fs::read_dir(inside(""))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left.len(), 3, "{left:?}");
}
