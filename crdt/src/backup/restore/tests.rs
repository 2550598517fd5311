//! From encrypted files to journal and key files, or to nothing.

use std::io::Write;

use keys::{
    DataKey, Timestamp,
    archive::{ArchiveKey, ArchiveReader, ArchiveWriter},
};

use super::super::{ContentWriter, write_records};
use super::*;

fn node_key() -> NodeKey {
    NodeKey::from_seed(&[3; 32])
}

fn archive_key() -> ArchiveKey {
    ArchiveKey::File(keys::Zeroizing::new([9; 32]))
}

fn origin(node: NodeId) -> Origin {
    Origin {
        mesh: ContentId([1; 32]),
        node,
        created: Timestamp(3),
    }
}

/// An encrypted file of a backup.
fn encrypted(
    kind: ContentKind,
    node: NodeId,
    fill: impl FnOnce(&mut ContentWriter<ArchiveWriter<Vec<u8>>>),
) -> Vec<u8> {
    let archive = ArchiveWriter::new(Vec::new(), &archive_key()).unwrap();
    let mut writer = ContentWriter::new(archive, kind, origin(node)).unwrap();
    fill(&mut writer);
    let (archive, _) = writer.finish().unwrap();
    archive.finish().unwrap()
}

fn memory_of(journal: &Path, node: NodeId) -> Vec<u8> {
    encrypted(ContentKind::Memory, node, |writer| {
        write_records(writer, journal, |body| body.starts_with(b"S")).unwrap();
    })
}

fn secrets_of(keyring: &Keyring, statements: &[&[u8]]) -> Vec<u8> {
    encrypted(ContentKind::Secrets, node_key().id(), |writer| {
        writer.write(&Part::NodeKey(node_key())).unwrap();
        writer.write(&Part::Membership(b"members")).unwrap();
        writer.write(&Part::Configuration("[mesh]")).unwrap();
        for statement in statements {
            writer.write(&Part::Statement(statement)).unwrap();
        }
        for account in keyring.accounts() {
            let account = account.unwrap();
            writer
                .write(&Part::DataKeys(account, keyring.all(&account).unwrap()))
                .unwrap();
        }
    })
}

fn restored(memory: &[u8], secrets: &[u8], into: &Path) -> Result<Restored, RestoreError> {
    let open = |bytes, file| {
        ArchiveReader::new(bytes, &archive_key()).map_err(|error| RestoreError::Backup {
            file,
            source: error.into(),
        })
    };
    let (memory, secrets) = (open(memory, ContentKind::Memory)?, open(secrets, ContentKind::Secrets)?);
    restore(memory, secrets, &into.join("journal"), &into.join("keys"))
}

fn is_damage_of(error: &RestoreError, wanted: ContentKind) -> bool {
    let RestoreError::Backup { file, source } = error else {
        return false;
    };
    *file == wanted && matches!(source, BackupError::Archive(_))
}

fn records(directory: &Path) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    Journal::open(directory, None, |_, body| records.push(body.to_vec())).unwrap();
    records
}

/// A journal of some size and a keyring.
fn original(base: &Path) -> (std::path::PathBuf, Keyring) {
    let directory = base.join("journal");
    let (mut journal, _) = Journal::open(&directory, None, |_, _| {}).unwrap();
    for number in 0..10_u8 {
        journal.append(&[&[number + 1; 30_000], b"S1", &[number; 100]]).unwrap();
    }
    let keyring = Keyring::open(&base.join("keys")).unwrap();
    for number in 0..3_u8 {
        keyring
            .insert(ContentId::of(&[number]), DataKey::from_bytes(&[number; 32]))
            .unwrap();
    }
    keyring
        .insert(ContentId::of(&[0]), DataKey::from_bytes(&[100; 32]))
        .unwrap();
    (directory, keyring)
}

#[test]
fn what_was_backed_up_comes_back_erasures_first() {
    let base = tempfile::tempdir().unwrap();
    let (journal, keyring) = original(base.path());
    let memory = memory_of(&journal, node_key().id());
    let secrets = secrets_of(&keyring, &[b"S1", b"S2, later than the archive"]);
    let into = base.path().join("restored");
    let restored = restored(&memory, &secrets, &into).unwrap();
    assert_eq!(restored.identity.node_key.id(), node_key().id());
    assert_eq!(restored.identity.membership, b"members");
    assert_eq!(restored.identity.configuration, "[mesh]");
    assert!(restored.identity.root_key.is_none());
    assert_eq!((restored.memory.statements, restored.memory.envelopes), (10, 20));
    assert_eq!((restored.secrets.statements, restored.secrets.accounts), (2, 3));

    let found = records(&into.join("journal"));
    assert_eq!(
        found[..2],
        [b"S1".to_vec(), b"S2, later than the archive".to_vec()],
        "each once"
    );
    let changes = |records: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        records.into_iter().filter(|body| !body.starts_with(b"S")).collect()
    };
    assert_eq!(changes(found), changes(records(&journal)));
    let again = Keyring::open(&into.join("keys")).unwrap();
    assert_eq!(again.accounts().count(), 3);
    for account in keyring.accounts().map(Result::unwrap) {
        assert_eq!(again.all(&account).unwrap(), keyring.all(&account).unwrap());
    }
}

#[test]
fn damage_anywhere_and_files_that_do_not_belong_together_restore_nothing() {
    let base = tempfile::tempdir().unwrap();
    let (journal, keyring) = original(base.path());
    let memory = memory_of(&journal, node_key().id());
    let secrets = secrets_of(&keyring, &[]);
    let mut attempts = 0;
    let mut attempt = |memory: &[u8], secrets: &[u8]| {
        attempts += 1;
        restored(memory, secrets, &base.path().join(attempts.to_string()))
    };
    assert!(attempt(&memory, &secrets).is_ok(), "the control");
    let damaged = |whole: &[u8], position: usize| {
        let mut damaged = whole.to_vec();
        damaged[position] ^= 1;
        damaged
    };
    for position in [20, 100, memory.len() / 2, memory.len() - 1] {
        let error = attempt(&damaged(&memory, position), &secrets).unwrap_err();
        assert!(is_damage_of(&error, ContentKind::Memory), "{error}");
        let error = attempt(&memory[..position], &secrets).unwrap_err();
        assert!(is_damage_of(&error, ContentKind::Memory), "{error}");
    }
    for position in [100, secrets.len() - 1] {
        let error = attempt(&memory, &damaged(&secrets, position)).unwrap_err();
        assert!(is_damage_of(&error, ContentKind::Secrets), "{error}");
    }
    let swapped = attempt(&secrets, &memory).unwrap_err();
    assert!(
        matches!(
            swapped,
            RestoreError::Backup {
                source: BackupError::OtherKind { .. },
                ..
            }
        ),
        "{swapped}"
    );
    let other = memory_of(&journal, NodeKey::from_seed(&[4; 32]).id());
    assert!(matches!(attempt(&other, &secrets), Err(RestoreError::OtherNode { .. })));
    // A node key that is not the one of the node it claims to be.
    let forged = encrypted(ContentKind::Secrets, NodeKey::from_seed(&[4; 32]).id(), |writer| {
        writer.write(&Part::NodeKey(node_key())).unwrap();
        writer.write(&Part::Membership(b"members")).unwrap();
        writer.write(&Part::Configuration("")).unwrap();
    });
    let error = attempt(&other, &forged).unwrap_err();
    assert!(
        matches!(
            error,
            RestoreError::Backup {
                source: BackupError::NotWhole,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn nothing_is_written_over_what_is_there() {
    let base = tempfile::tempdir().unwrap();
    let (journal, keyring) = original(base.path());
    let memory = memory_of(&journal, node_key().id());
    let secrets = secrets_of(&keyring, &[]);
    let into = base.path().join("restored");
    let there = Keyring::open(&into.join("keys")).unwrap();
    there
        .insert(ContentId::of(&[1]), DataKey::from_bytes(&[200; 32]))
        .unwrap();
    assert!(matches!(
        restored(&memory, &secrets, &into),
        Err(RestoreError::Keyring(_))
    ));
    assert_eq!(
        there.newest(&ContentId::of(&[1])).unwrap(),
        Some(DataKey::from_bytes(&[200; 32]))
    );
}

#[test]
fn an_archive_larger_than_one_batch_comes_back_whole() {
    let base = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(&base.path().join("keys")).unwrap();
    let number = RESTORE_BATCH_RECORDS + 7;
    let bodies: Vec<[u8; 4]> = (0..number)
        .map(|number| u32::try_from(number).unwrap().to_le_bytes())
        .collect();
    let memory = encrypted(ContentKind::Memory, node_key().id(), |writer| {
        bodies
            .iter()
            .for_each(|body| writer.write(&Part::Envelope(body)).unwrap());
    });
    let into = base.path().join("restored");
    restored(&memory, &secrets_of(&keyring, &[]), &into).unwrap();
    assert_eq!(
        records(&into.join("journal")),
        bodies.iter().map(|body| body.to_vec()).collect::<Vec<_>>()
    );
}

#[test]
fn an_unfinished_archive_is_refused() {
    let mut archive = ArchiveWriter::new(Vec::new(), &archive_key()).unwrap();
    archive.write_all(b"STARCNT1").unwrap();
    let bytes = archive.finish().unwrap();
    let reader = ArchiveReader::new(&bytes[..], &archive_key()).unwrap();
    assert!(matches!(
        super::super::verify(reader, ContentKind::Memory),
        Err(BackupError::NotWhole)
    ));
}
