//! Backups and restores of data directories on a real disk, without a running node.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

use crdt::journal::Journal;
use keys::{
    DataKey, NodeKey,
    membership::{Certificate, Roster},
};

use super::*;
use crate::{
    commands::restore::{self, Sources},
    data_directory::NewNode,
};

const CONFIG: &str = "[gateway]\nlisten = \"127.0.0.1:8080\"\n[mesh]\nlisten = \"0.0.0.0:4001\"\n";
/// 2026-06-01 03:00 UTC.
const NOW: Timestamp = Timestamp(1_780_282_800_000);

/// A data directory as a node that ran leaves it.
pub(super) fn node(path: &Path) -> DataDirectory {
    let key = NodeKey::from_seed(&[1; 32]);
    let certificate = Certificate::found(&key, key.id(), "home", [0; 16], Timestamp(1)).unwrap();
    let new = NewNode {
        key: &key,
        root: Some(&key),
        roster: &Roster::new(certificate).unwrap(),
        config: CONFIG,
    };
    let directory = DataDirectory::create(path, &new).unwrap();
    let (mut journal, _) = Journal::open(&directory.store_path().join("journal"), None, |_, _| {}).unwrap();
    journal.append(&[b"one", b"two"]).unwrap();
    let keyring = Keyring::open(&directory.keys_path()).unwrap();
    keyring
        .insert(ContentId([7; 32]), DataKey::from_bytes(&[8; 32]))
        .unwrap();
    directory
}

fn mesh(directory: &DataDirectory) -> ContentId {
    directory.roster(&directory.key().unwrap()).unwrap().mesh()
}

fn made(directory: &DataDirectory, at: Timestamp) -> Made {
    let config = BackupConfig::default();
    let key = key(directory, &config).unwrap();
    make(directory, &target(directory, &config), &key, mesh(directory), at).unwrap()
}

fn sources(archive: &Path) -> Sources {
    Sources {
        archive: archive.to_owned(),
        keys: None,
        key_file: None,
        passphrase_file: None,
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_backup_is_made_restored_and_made_again() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let made_once = made(&directory, NOW);
    assert_eq!(
        (
            made_once.memory.envelopes,
            made_once.secrets.accounts,
            made_once.damaged
        ),
        (2, 1, 0)
    );
    assert_eq!(made_once.archive_bytes, fs::metadata(&made_once.archive).unwrap().len());
    let id = directory.key().unwrap().id();
    let archive = format!("starling-{}-20260601T030000Z.backup", id.short());
    let keys = format!("keys-{}.backup", id.short());
    let target = directory.path().join("backups");
    assert_eq!(names(&target), [".lock", &keys, &archive].map(str::to_owned).into());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&target), mode(&made_once.archive), mode(&made_once.keys)),
        (0o700, 0o600, 0o600)
    );
    for (path, secret) in [(&made_once.archive, &b"two"[..]), (&made_once.keys, &[8; 32])] {
        let bytes = fs::read(path).unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret),
            "it is encrypted"
        );
    }

    // Keys file and key are found beside the archive and above it.
    let restored = base.path().join("restored");
    restore::run(&restored, &sources(&made_once.archive)).unwrap();
    for file in [
        "node.key",
        "root.key",
        "membership",
        "starling.toml",
        "backup.key",
        "store/journal/00000001.log",
    ] {
        let read = |base: &Path| fs::read(base.join(file)).unwrap();
        assert_eq!(read(&restored), read(directory.path()), "{file}");
    }
    let restored = DataDirectory::open(&restored).unwrap();
    assert_eq!(
        (mode(restored.path()), mode(&restored.path().join("node.key"))),
        (0o700, 0o600)
    );
    let keyring = Keyring::open(&restored.keys_path()).unwrap();
    assert_eq!(
        keyring.newest(&ContentId([7; 32])).unwrap(),
        Some(DataKey::from_bytes(&[8; 32]))
    );
    let made_again = made(&restored, NOW.plus(time::DAY));
    assert_eq!(made_again.memory.envelopes, 2);
}

#[test]
fn a_destroyed_key_is_gone_from_the_backups_with_the_next_run() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let first = made(&directory, NOW);
    Keyring::open(&directory.keys_path())
        .unwrap()
        .destroy(&ContentId([7; 32]))
        .unwrap();
    let watched = base.path().join("watched");
    fs::hard_link(&first.keys, &watched).unwrap();
    let before = fs::read(&watched).unwrap();
    let second = made(&directory, NOW.plus(time::DAY));
    assert_eq!(second.keys, first.keys);
    assert_eq!((first.secrets.accounts, second.secrets.accounts), (1, 0));
    // The file of before was overwritten, not only unlinked.
    let after = fs::read(&watched).unwrap();
    assert_eq!(after.len(), before.len());
    assert!(
        !after
            .windows(8)
            .zip(before.windows(8))
            .any(|(after, before)| after == before)
    );
    // The old archive is still good, and gives the changes back without the key.
    let restored = base.path().join("restored");
    restore::run(&restored, &sources(&first.archive)).unwrap();
    let restored = DataDirectory::open(&restored).unwrap();
    assert_eq!(Keyring::open(&restored.keys_path()).unwrap().accounts().count(), 0);
}

#[test]
fn what_cannot_be_restored_says_why_and_leaves_nothing() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let made = made(&directory, NOW);
    let elsewhere = base.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let archive = elsewhere.join(made.archive.file_name().unwrap());
    fs::copy(&made.archive, &archive).unwrap();
    let into = base.path().join("restored");
    let before = names(base.path());
    let refused = |sources: &Sources, expected: &str| {
        let said = restore::run(&into, sources).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
        assert_eq!(names(base.path()), before, "nothing is left behind");
    };
    refused(&sources(&archive), "--keys");
    refused(&sources(&base.path().join("node/node.key")), "--keys");
    let with_keys = |key_file: Option<PathBuf>| Sources {
        keys: Some(made.keys.clone()),
        key_file,
        ..sources(&archive)
    };
    refused(&with_keys(None), "--key-file");
    refused(&with_keys(Some(directory.path().join("node.key"))), "does not open");
    refused(&with_keys(Some(elsewhere.join("missing"))), "missing");
    let key_file = Some(directory.backup_key_path());
    let mut damaged = fs::read(&made.archive).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&archive, &damaged).unwrap();
    refused(&with_keys(key_file.clone()), "damaged");
    fs::write(&archive, &damaged[..damaged.len() - 1]).unwrap();
    refused(&with_keys(key_file.clone()), "cut");
    let swapped = Sources {
        archive: made.keys.clone(),
        keys: Some(made.archive.clone()),
        key_file: key_file.clone(),
        passphrase_file: None,
    };
    refused(&swapped, "the keys file is needed");
    fs::copy(&made.archive, &archive).unwrap();
    let taken = restore::run(directory.path(), &with_keys(key_file.clone())).unwrap_err();
    assert!(taken.to_string().contains("already a node"));
    restore::run(&into, &with_keys(key_file)).unwrap();
}

#[test]
fn a_passphrase_closes_and_opens_a_backup() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let passphrase = base.path().join("passphrase");
    secret_file::create(&passphrase, b"correct horse battery").unwrap();
    let config = BackupConfig {
        passphrase_file: Some(passphrase.clone()),
        directory: Some(base.path().join("backups")),
        ..BackupConfig::default()
    };
    let archive_key = key(&directory, &config).unwrap();
    let made = make(
        &directory,
        &target(&directory, &config),
        &archive_key,
        mesh(&directory),
        NOW,
    )
    .unwrap();
    assert!(!directory.backup_key_path().exists(), "no key file is needed");
    let into = base.path().join("restored");
    let mut sources = sources(&made.archive);
    sources.passphrase_file = Some(passphrase);
    restore::run(&into, &sources).unwrap();
    assert!(!into.join("backup.key").exists());
}

#[test]
fn a_failed_backup_leaves_the_ones_before() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let first = made(&directory, NOW);
    let target = directory.path().join("backups");
    let (before, keys) = (names(&target), fs::read(&first.keys).unwrap());
    let key = key(&directory, &BackupConfig::default()).unwrap();
    let again = |at| make(&directory, &target, &key, mesh(&directory), at);
    {
        let _held = lock(&target).unwrap();
        assert!(matches!(again(NOW.plus(1000)), Err(BackupFailure::Busy(_))));
    }
    // Without its membership the keys file cannot be written: the archive is there already, the keys file of before stands.
    let membership = directory.path().join("membership");
    fs::rename(&membership, base.path().join("membership")).unwrap();
    let mesh = ContentId([1; 32]);
    let failed = make(&directory, &target, &key, mesh, NOW.plus(2000));
    assert!(matches!(failed, Err(BackupFailure::DataDirectory(_))));
    assert_eq!(fs::read(&first.keys).unwrap(), keys);
    fs::rename(base.path().join("membership"), &membership).unwrap();
    fs::rename(directory.store_path(), base.path().join("store")).unwrap();
    assert!(matches!(again(NOW.plus(3000)), Err(BackupFailure::Nothing(_))));
    fs::rename(base.path().join("store"), directory.store_path()).unwrap();
    let archive = archive_name(directory.key().unwrap().id(), NOW.plus(2000));
    assert_eq!(names(&target), before.into_iter().chain([archive]).collect());
    assert!(again(NOW.plus(4000)).is_ok(), "the control");
}

#[test]
fn only_what_is_too_old_is_removed() {
    let base = tempfile::tempdir().unwrap();
    let node = NodeKey::from_seed(&[1; 32]).id();
    let other = NodeKey::from_seed(&[2; 32]).id();
    let days: Vec<Timestamp> = (0..60).map(|day| NOW.plus(day * time::DAY)).collect();
    for day in &days {
        fs::write(base.path().join(archive_name(node, *day)), b"").unwrap();
        fs::write(base.path().join(archive_name(other, *day)), b"").unwrap();
    }
    let foreign = [
        "notes.txt",
        "starling-notes.backup",
        &keys_name(node),
        &keys_name(other),
    ]
    .map(str::to_owned);
    foreign
        .iter()
        .for_each(|name| fs::write(base.path().join(name), b"").unwrap());
    let partial = base.path().join(archive_name(node, days[0])).with_extension("partial");
    fs::write(&partial, b"").unwrap();

    let removed = prune(base.path(), node, days[59]).unwrap();
    assert!(removed.contains(&partial) && !partial.exists());
    let left: Vec<_> = list(base.path(), node)
        .unwrap()
        .into_iter()
        .map(|(created, _)| created)
        .collect();
    // 2026-06-01 is a Monday: day 59 is a Thursday; the Sundays before are days 55, 48, 41, 34, 27 and 20.
    let expected = [20, 27, 34, 41, 48, 53, 54, 55, 56, 57, 58, 59].map(|day: usize| days[day]);
    assert_eq!(left, expected);
    assert_eq!(
        list(base.path(), other).unwrap().len(),
        60,
        "another node's are not touched"
    );
    let names = names(base.path());
    assert!(foreign.iter().all(|name| names.contains(name)));
    assert!(prune(base.path(), node, days[59]).unwrap().is_empty());
}

#[test]
fn the_doctor_hears_of_a_backup_that_is_too_old() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let (daily, off) = (
        BackupConfig::default(),
        BackupConfig {
            daily: BackupTime::Off,
            ..BackupConfig::default()
        },
    );
    assert!(describe(&directory, &daily, NOW).unwrap().contains("none yet"));
    assert!(describe(&directory, &off, NOW).unwrap().contains("turned off"));
    made(&directory, NOW);
    let later = NOW.plus(TOO_OLD + 1);
    let words = describe(&directory, &daily, NOW.plus(TOO_OLD)).unwrap();
    assert!(words.contains("2026-06-01 03:00 UTC"), "{words}");
    assert!(describe(&directory, &daily, later).unwrap_err().contains("2026-06-01"));
    assert!(describe(&directory, &off, later).is_ok());
}

#[test]
fn a_journal_that_is_rewritten_meanwhile_is_read_again() {
    let rewritten = || Err(BackupFailure::Backup(JournalError::Rewritten.into()));
    for failures in 0..ATTEMPTS + 2 {
        let mut attempts = 0;
        let result = unless_rewritten(|| {
            attempts += 1;
            if attempts > failures { Ok(()) } else { rewritten() }
        });
        assert_eq!(result.is_ok(), failures < ATTEMPTS, "{failures}");
        assert_eq!(attempts, ATTEMPTS.min(failures + 1));
    }
    let mut attempts = 0;
    let other = unless_rewritten(|| {
        attempts += 1;
        Err::<(), _>(BackupFailure::Busy(PathBuf::new()))
    });
    assert!(other.is_err() && attempts == 1, "other failures are told at once");
}

#[test]
fn names_say_whose_and_of_when() {
    let node = NodeKey::from_seed(&[1; 32]).id();
    let archive = Path::new("/mnt").join(archive_name(node, NOW));
    assert_eq!(keys_beside(&archive), Some(Path::new("/mnt").join(keys_name(node))));
    for name in [
        "notes.txt",
        "starling-abc.backup",
        "starling-abc-20260601.backup",
        "keys-abc.backup",
        "..",
    ] {
        assert_eq!(keys_beside(Path::new(name)), None, "{name}");
    }
}

#[test]
fn two_backups_in_one_second_are_two() {
    let base = tempfile::tempdir().unwrap();
    let directory = node(&base.path().join("node"));
    let (first, second) = (made(&directory, NOW), made(&directory, NOW));
    assert_ne!(first.archive, second.archive);
    let kept = target(&directory, &BackupConfig::default());
    let archives = list(&kept, directory.key().unwrap().id()).unwrap();
    assert_eq!(archives.len(), 2);
    assert_eq!(archives[1], (NOW.plus(1000), second.archive));
}
