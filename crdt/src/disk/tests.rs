//! An erasure leaves the index good, and wherever it is cut short the next start finds everything that was kept.

use std::fs;

use keys::NodeKey;

use super::*;
use crate::{
    envelope::Envelope,
    journal::tests::{hooked, refusing},
};

const COUNT: usize = 40;

/// Chats of one change each.
fn chats() -> Vec<Kept> {
    let key = NodeKey::from_seed(&[1; 32]);
    let chat = |number: usize| {
        let change = format!("change {number}").into_bytes();
        let envelope = Envelope::seal(&key, RecordKind::Session, None, None, change, Vec::new()).unwrap();
        Kept::from_stored(envelope.to_bytes()).unwrap()
    };
    (0..COUNT).map(chat).collect()
}

/// Every third chat.
fn forget(chats: &[Kept]) -> Forget {
    let forgotten = chats.iter().step_by(3);
    Forget {
        drop: forgotten.clone().map(|kept| (kept.lane, kept.entry)).collect(),
        documents: forgotten.map(|kept| kept.document).collect(),
        ..Forget::default()
    }
}

fn filled(directory: &Path) -> (DiskShelf, Vec<Kept>) {
    let (mut shelf, _) = DiskShelf::open(directory).unwrap();
    let chats = chats();
    shelf.keep(&chats).unwrap();
    (shelf, chats)
}

/// Looks for every chat that was not to go; returns how many others are there.
fn look(shelf: &mut DiskShelf, chats: &[Kept]) -> usize {
    let mut left = 0;
    for (number, kept) in chats.iter().enumerate() {
        let known = shelf
            .index
            .position(kept.lane, kept.entry.group, &kept.entry.id)
            .is_some();
        assert_eq!(shelf.document(&kept.document).is_some(), known, "chat {number}");
        if known {
            assert_eq!(
                shelf.read(kept.lane, &kept.entry).as_ref(),
                Some(&kept.bytes),
                "chat {number}"
            );
        }
        match number % 3 {
            0 => left += usize::from(known),
            _ => assert!(known, "chat {number}"),
        }
    }
    left
}

fn was_set_aside(directory: &Path) -> bool {
    directory.join("index.damaged").exists()
}

#[test]
fn an_erasure_leaves_the_index_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (mut shelf, chats) = filled(path);
    shelf.forget(&forget(&chats)).unwrap();
    assert!(!shelf.index.rebuild_needed());
    assert_eq!(look(&mut shelf, &chats), 0);
    shelf.index.verify().unwrap();
    drop(shelf);
    let (mut shelf, report) = DiskShelf::open(path).unwrap();
    assert_eq!(report, DiskReport::default());
    assert_eq!(look(&mut shelf, &chats), 0);
    assert!(!was_set_aside(path));
}

#[test]
fn an_erasure_that_is_cut_short_anywhere_loses_nothing() {
    let mut first = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let (mut shelf, chats) = filled(directory.path());
        let done = hooked(refusing(first, 1000), || shelf.forget(&forget(&chats)));
        drop(shelf);
        let (mut shelf, _) = DiskShelf::open(directory.path()).unwrap();
        look(&mut shelf, &chats);
        // Whoever erases looks at the start whether it was done.
        shelf.forget(&forget(&chats)).unwrap();
        assert_eq!(look(&mut shelf, &chats), 0, "cut at change {first}");
        if done.is_ok() {
            break;
        }
        first += 1;
    }
    assert!(first > 4, "only {first} changes of the disk");
}

/// The index may lose what it was told in the last half second; then it knows the records' old places only.
#[test]
fn an_index_that_missed_an_erasure_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (path, aside) = (directory.path(), directory.path().join("aside"));
    let (shelf, chats) = filled(path);
    drop(shelf);
    copy(&path.join("index"), &aside);
    let (mut shelf, _) = DiskShelf::open(path).unwrap();
    shelf.forget(&forget(&chats)).unwrap();
    drop(shelf);
    fs::remove_dir_all(path.join("index")).unwrap();
    fs::rename(&aside, path.join("index")).unwrap();
    let (mut shelf, report) = DiskShelf::open(path).unwrap();
    assert!(report.index_rebuilt);
    assert_eq!(look(&mut shelf, &chats), 0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
