//! What the index promises, case by case, over both databases.

use std::{cell::Cell, fs};

pub(crate) use super::store::IndexStore;
use super::store::Pair;
use super::*;
use crate::journal::tests::trusting;

/// Runs a test over each database.
macro_rules! over_both {
    ($($name:ident)*) => {
        mod over_sled {
            $(#[test] fn $name() { super::$name::<super::SledStore>(); })*
        }
        mod over_redb {
            $(#[test] fn $name() { super::$name::<super::RedbStore>(); })*
        }
    };
}

over_both! {
    what_was_put_is_found_also_after_a_restart
    documents_are_found_by_kind_and_owner_until_they_are_forgotten
    a_change_that_comes_twice_counts_once
    every_key_lost_changed_or_invented_is_noticed_at_open
    an_index_of_another_version_is_begun_anew
    a_condemned_index_is_begun_anew_and_so_is_one_that_ended_its_process
    an_index_can_be_cleared
    a_database_that_fails_condemns_the_index
    verification_notices_what_vanished_since_it_was_opened
    compaction_keeps_everything
    an_interrupted_compaction_is_tidied_up
    an_index_open_elsewhere_is_left_alone
}

pub(crate) type SledStore = Packed<super::sled::SledStore>;
pub(crate) type RedbStore = Packed<super::redb::RedbStore>;

pub(crate) fn id(number: u32) -> ContentId {
    ContentId::of(&number.to_le_bytes())
}

pub(crate) fn at(number: u32) -> Position {
    Position {
        segment: 1 + number / 1000,
        offset: 8 + u64::from(number) * 336,
    }
}

/// Record `number` in the group of every tenth.
pub(crate) fn put(lane: Lane, number: u32) -> IndexChange {
    IndexChange::Put {
        lane,
        group: group(number),
        id: id(number),
        position: at(number),
    }
}

fn group(number: u32) -> Group {
    Group::of(&id(number / 10 * 10))
}

fn document(number: u32, kind: RecordKind, owner: Option<u32>) -> IndexChange {
    IndexChange::Document {
        document: id(number),
        kind,
        owner: owner.map(id),
    }
}

fn forget(number: u32) -> IndexChange {
    IndexChange::ForgetDocument { document: id(number) }
}

fn open<S: IndexStore>(path: &Path) -> IndexOver<S> {
    let (index, was_damaged) = IndexOver::open(path).unwrap();
    assert!(!was_damaged);
    index
}

/// An index with 100 records and 12 documents, closed.
fn filled<S: IndexStore>(path: &Path) -> Summary {
    let mut index = open::<S>(path);
    let mut changes: Vec<IndexChange> = (0..100).map(|number| put(Lane::Envelopes, number)).collect();
    changes.extend((0..10).map(|number| put(Lane::Statements, number)));
    changes.extend((0..12).map(|number| document(number, RecordKind::Session, Some(50 + number % 2))));
    index.apply(&changes, at(99)).unwrap();
    index.summary.clone()
}

fn sorted(mut ids: Vec<ContentId>) -> Vec<ContentId> {
    ids.sort_unstable();
    ids
}

fn what_was_put_is_found_also_after_a_restart<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let mut index = open::<S>(&path);
    assert_eq!((index.checkpoint(), index.len(Lane::Envelopes)), (None, 0));
    index.apply(&[], at(0)).unwrap();
    drop(index);
    filled::<S>(&path);
    let mut index = open::<S>(&path);
    assert_eq!(index.checkpoint(), Some(at(99)));
    assert_eq!((index.len(Lane::Envelopes), index.len(Lane::Statements)), (100, 10));
    for number in 0..110 {
        let expected = (number < 100).then(|| at(number));
        assert_eq!(index.position(Lane::Envelopes, group(number), &id(number)), expected);
        let expected = (number < 10).then(|| at(number));
        assert_eq!(index.position(Lane::Statements, group(number), &id(number)), expected);
    }
    let mut found = index.ids_of(Lane::Envelopes, group(30));
    found.sort_unstable_by_key(|(_, position)| *position);
    assert_eq!(
        found,
        (30..40).map(|number| (id(number), at(number))).collect::<Vec<_>>()
    );
    assert_eq!(index.ids_of(Lane::Envelopes, group(500)), []);
    // Removed, moved, and both at once.
    let remove = |number| IndexChange::Remove {
        lane: Lane::Envelopes,
        group: group(number),
        id: id(number),
    };
    let moved = IndexChange::Put {
        lane: Lane::Envelopes,
        group: group(31),
        id: id(31),
        position: at(900),
    };
    index
        .apply(
            &[remove(30), moved, remove(32), put(Lane::Envelopes, 32), remove(777)],
            at(901),
        )
        .unwrap();
    drop(index);
    let index = open::<S>(&path);
    let mut found = index.ids_of(Lane::Envelopes, group(30));
    found.sort_unstable_by_key(|(_, position)| *position);
    let mut expected: Vec<_> = (32..40).map(|number| (id(number), at(number))).collect();
    expected.push((id(31), at(900)));
    assert_eq!(
        (found, index.len(Lane::Envelopes), index.checkpoint()),
        (expected, 99, Some(at(901)))
    );
    let mut visited = Vec::new();
    index
        .for_each(Lane::Statements, &mut |group, id, position| {
            visited.push((group, id, position))
        })
        .unwrap();
    let mut expected: Vec<_> = (0..10).map(|number| (group(number), id(number), at(number))).collect();
    expected.sort_unstable();
    assert_eq!(visited, expected);
}

fn documents_are_found_by_kind_and_owner_until_they_are_forgotten<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let mut index = open::<S>(&path);
    let changes = [
        document(1, RecordKind::Session, Some(50)),
        document(2, RecordKind::Session, Some(51)),
        document(3, RecordKind::Character, Some(50)),
        document(4, RecordKind::Member, None),
    ];
    index.apply(&changes, at(1)).unwrap();
    let ids = |numbers: &[u32]| sorted(numbers.iter().map(|number| id(*number)).collect());
    assert_eq!(index.documents_of(RecordKind::Session), ids(&[1, 2]));
    assert_eq!(index.documents_of(RecordKind::Account), []);
    assert_eq!(index.documents_owned_by(&id(50)), ids(&[1, 3]));
    assert_eq!(index.document(&id(4)), Some((RecordKind::Member, None)));
    assert_eq!(index.document(&id(5)), None);
    // Another owner and another kind leave nothing of the ones before, also within one apply.
    let changes = [
        document(1, RecordKind::Session, Some(51)),
        document(3, RecordKind::Account, None),
        document(5, RecordKind::Account, Some(50)),
        document(5, RecordKind::Character, Some(51)),
        forget(2),
        forget(9),
    ];
    index.apply(&changes, at(2)).unwrap();
    drop(index);
    let index = open::<S>(&path);
    assert_eq!(index.documents_owned_by(&id(50)), []);
    assert_eq!(index.documents_owned_by(&id(51)), ids(&[1, 5]));
    assert_eq!(index.documents_of(RecordKind::Session), ids(&[1]));
    assert_eq!(index.documents_of(RecordKind::Account), ids(&[3]));
    assert_eq!(index.documents_of(RecordKind::Character), ids(&[5]));
    assert_eq!(index.document(&id(2)), None);
    assert_eq!(index.document(&id(5)), Some((RecordKind::Character, Some(id(51)))));
}

fn a_change_that_comes_twice_counts_once<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let (once, twice) = (directory.path().join("once"), directory.path().join("twice"));
    assert_eq!(filled::<S>(&once), filled::<S>(&twice));
    let before = open::<S>(&twice).summary;
    assert_eq!(filled::<S>(&twice), before);
}

/// Every key and value of a closed database.
fn pairs<S: IndexStore>(path: &Path) -> Vec<Pair> {
    let mut pairs = Vec::new();
    S::open(path)
        .unwrap()
        .scan(&[], &mut |key, value| pairs.push((key.to_vec(), value.to_vec())))
        .unwrap();
    pairs
}

fn every_key_lost_changed_or_invented_is_noticed_at_open<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let pairs = pairs::<S>(&path);
    assert_eq!(pairs.len(), 100 + 10 + 3 * 12 + 1);
    let mut damages = Vec::new();
    for (key, value) in pairs.iter().step_by(7).chain(pairs.last()) {
        damages.push(vec![Operation::Remove(key.clone())]);
        let mut other = value.clone();
        match other.last_mut() {
            Some(byte) => *byte ^= 1,
            None => other.push(0),
        }
        damages.push(vec![Operation::Put(key.clone(), other)]);
        let mut other = key.clone();
        if let Some(byte) = other.last_mut() {
            *byte ^= 1;
        }
        damages.push(vec![Operation::Put(other.clone(), value.clone())]);
        damages.push(vec![
            Operation::Remove(key.clone()),
            Operation::Put(other, value.clone()),
        ]);
    }
    // Two that are exchanged.
    damages.push(vec![
        Operation::Put(pairs[20].0.clone(), pairs[21].1.clone()),
        Operation::Put(pairs[21].0.clone(), pairs[20].1.clone()),
    ]);
    for damage in damages {
        let mut store = S::open(&path).unwrap();
        store.write(damage.clone()).unwrap();
        drop(store);
        let (index, was_noticed) = trusting(|| IndexOver::<S>::open(&path)).unwrap();
        assert!(!was_noticed, "control: only the checksum notices it");
        drop(index);
        let (index, was_damaged) = IndexOver::<S>::open(&path).unwrap();
        assert!(was_damaged, "{damage:?}");
        assert_eq!((index.checkpoint(), index.len(Lane::Envelopes)), (None, 0));
        drop(index);
        assert!(path.with_extension("damaged").exists());
        // As it was before: then nothing is reported.
        fs::remove_dir_all(&path).unwrap();
        let mut store = S::open(&path).unwrap();
        store
            .write(
                pairs
                    .iter()
                    .map(|(key, value)| Operation::Put(key.clone(), value.clone()))
                    .collect(),
            )
            .unwrap();
        drop(store);
        assert_eq!(open::<S>(&path).len(Lane::Envelopes), 100);
    }
}

fn an_index_of_another_version_is_begun_anew<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let mut store = S::open(&path).unwrap();
    let mut summary = store.get(&layout::SUMMARY).unwrap().unwrap();
    let content = summary.len() - 16;
    summary[0] += 1;
    let hash = blake3::hash(&summary[..content]);
    summary[content..].copy_from_slice(&hash.as_bytes()[..16]);
    store
        .write(vec![Operation::Put(layout::SUMMARY.to_vec(), summary)])
        .unwrap();
    drop(store);
    assert!(IndexOver::<S>::open(&path).unwrap().1);
}

fn a_condemned_index_is_begun_anew_and_so_is_one_that_ended_its_process<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let mut index = open::<S>(&path);
    assert!(!index.rebuild_needed());
    index.condemn().unwrap();
    assert_eq!((index.checkpoint(), index.rebuild_needed()), (None, true));
    // What is applied afterwards does not redeem it.
    index.apply(&[put(Lane::Envelopes, 200)], at(200)).unwrap();
    assert_eq!(index.checkpoint(), None);
    drop(index);
    assert!(IndexOver::<S>::open(&path).unwrap().1);
    filled::<S>(&path);
    fs::write(path.join("opening"), []).unwrap();
    assert!(IndexOver::<S>::open(&path).unwrap().1);
    filled::<S>(&path);
    open::<S>(&path);
}

fn an_index_can_be_cleared<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let mut index = open::<S>(&path);
    index.condemn().unwrap();
    index.clear().unwrap();
    assert_eq!(
        (index.checkpoint(), index.len(Lane::Envelopes), index.rebuild_needed()),
        (None, 0, false)
    );
    index.apply(&[put(Lane::Envelopes, 1)], at(1)).unwrap();
    drop(index);
    let index = open::<S>(&path);
    assert_eq!((index.checkpoint(), index.len(Lane::Envelopes)), (Some(at(1)), 1));
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Every call is refused.
    Refusing,
    /// Writes are refused.
    ReadOnly,
    /// The keys of one group are not there.
    Losing,
}

thread_local! {
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

/// A database that fails when it is told to.
struct Faulty<S> {
    store: S,
}

fn refused_if(is_refused: bool) -> Result<(), IndexStoreError> {
    if is_refused {
        Err(IndexStoreError::Failed("refused".into()))
    } else {
        Ok(())
    }
}

impl<S: IndexStore> IndexStore for Faulty<S> {
    fn open(directory: &Path) -> Result<Self, IndexStoreError> {
        Ok(Self {
            store: S::open(directory)?,
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        refused_if(FAULT.get() == Fault::Refusing)?;
        self.store.get(key)
    }

    fn at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, IndexStoreError> {
        refused_if(FAULT.get() == Fault::Refusing)?;
        self.store.at_or_before(key)
    }

    fn after(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexStoreError> {
        refused_if(FAULT.get() == Fault::Refusing)?;
        self.store.after(key)
    }

    fn write(&mut self, operations: Vec<Operation>) -> Result<(), IndexStoreError> {
        refused_if(matches!(FAULT.get(), Fault::Refusing | Fault::ReadOnly))?;
        self.store.write(operations)
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexStoreError> {
        refused_if(FAULT.get() == Fault::Refusing)?;
        let lost = layout::group_prefix(Lane::Envelopes, group(20));
        self.store.scan(prefix, &mut |key, value| {
            if FAULT.get() != Fault::Losing || !key.starts_with(&lost) {
                visit(key, value);
            }
        })
    }
}

fn a_database_that_fails_condemns_the_index<S: IndexStore>() {
    type Use<S> = fn(&mut IndexOver<Faulty<S>>);
    let uses: [(Fault, Use<S>); 6] = [
        (Fault::Refusing, |index| {
            assert_eq!(index.position(Lane::Envelopes, group(1), &id(1)), None)
        }),
        (Fault::Refusing, |index| {
            assert_eq!(index.ids_of(Lane::Envelopes, group(1)), [])
        }),
        (Fault::Refusing, |index| {
            assert_eq!(index.documents_of(RecordKind::Session), [])
        }),
        (Fault::Refusing, |index| {
            assert!(index.for_each(Lane::Envelopes, &mut |_, _, _| {}).is_err())
        }),
        (Fault::Refusing, |index| {
            assert!(index.apply(&[put(Lane::Envelopes, 1)], at(1)).is_err())
        }),
        (Fault::ReadOnly, |index| {
            assert!(index.apply(&[put(Lane::Envelopes, 1)], at(1)).is_err())
        }),
    ];
    for (fault, use_it) in uses {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        filled::<S>(&path);
        let mut index = open::<Faulty<S>>(&path);
        assert!(index.position(Lane::Envelopes, group(1), &id(1)).is_some() && !index.rebuild_needed());
        FAULT.set(fault);
        use_it(&mut index);
        FAULT.set(Fault::None);
        assert!(index.rebuild_needed());
        drop(index);
        assert!(IndexOver::<S>::open(&path).unwrap().1);
    }
}

fn verification_notices_what_vanished_since_it_was_opened<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let mut index = open::<Faulty<S>>(&path);
    index.apply(&[put(Lane::Envelopes, 200), forget(3)], at(200)).unwrap();
    index.verify().unwrap();
    assert!(!index.rebuild_needed());
    FAULT.set(Fault::Losing);
    let verified = index.verify();
    // Nor is it copied as if it were whole.
    let compacted = index.compact_now();
    FAULT.set(Fault::None);
    assert!(matches!(verified, Err(IndexError::Damaged { .. })));
    assert!(matches!(compacted, Err(IndexError::Damaged { .. })));
    assert!(index.rebuild_needed());
}

fn compaction_keeps_everything<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let mut index = open::<S>(&path);
    let before = index.summary.clone();
    assert!(!index.compact().unwrap(), "too small to be worth it");
    index.compact_now().unwrap();
    index.verify().unwrap();
    assert_eq!(index.summary, before);
    index.apply(&[put(Lane::Envelopes, 300)], at(300)).unwrap();
    drop(index);
    let index = open::<S>(&path);
    assert_eq!((index.len(Lane::Envelopes), index.checkpoint()), (101, Some(at(300))));
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

fn an_interrupted_compaction_is_tidied_up<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    // While the new one is written.
    filled::<S>(&path.with_extension("compacting"));
    assert_eq!(open::<S>(&path).len(Lane::Envelopes), 100);
    assert!(!path.with_extension("compacting").exists());
    // Between the two renames.
    fs::rename(&path, path.with_extension("replaced")).unwrap();
    assert_eq!(open::<S>(&path).len(Lane::Envelopes), 100);
    // Before the old one was removed.
    filled::<S>(&path.with_extension("replaced"));
    assert_eq!(open::<S>(&path).len(Lane::Envelopes), 100);
    assert!(!path.with_extension("replaced").exists());
}

fn an_index_open_elsewhere_is_left_alone<S: IndexStore>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    filled::<S>(&path);
    let index = open::<S>(&path);
    assert!(matches!(IndexOver::<S>::open(&path), Err(IndexError::Busy(_))));
    assert!(!path.with_extension("damaged").exists());
    drop(index);
    assert_eq!(open::<S>(&path).len(Lane::Envelopes), 100);
}

#[test]
fn sled_takes_less_room_after_a_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let mut index = open::<SledStore>(&path);
    for batch in 0..100 {
        let changes: Vec<IndexChange> = (0..200)
            .map(|number| put(Lane::Envelopes, batch * 200 + number))
            .collect();
        index.apply(&changes, at(batch)).unwrap();
    }
    let gone: Vec<IndexChange> = (100..20_000)
        .map(|number| IndexChange::Remove {
            lane: Lane::Envelopes,
            group: group(number),
            id: id(number),
        })
        .collect();
    index.apply(&gone, at(1)).unwrap();
    let before = index.disk_bytes();
    index.compact_now().unwrap();
    assert!(index.disk_bytes() < before / 2, "{} of {before}", index.disk_bytes());
    assert_eq!(index.len(Lane::Envelopes), 100);
}
