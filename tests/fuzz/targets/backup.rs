//! Bytes as the two files of a backup: refused with a reason, or whole and in their one form; what restores is what was there.
//!
//! The first byte says which door the rest goes through: the encrypted file as it stands; the content of either file behind the
//! encryption (which nobody without the key gets past), as it stands or with the hash of its end put right, so that the search gets
//! behind that, too; both contents into a restore; or a whole encrypted file with some bytes changed. Passphrases stay out: the
//! header's limits on argon2id are tested where they are, and each try would cost the search a quarter of a second.

use std::{io::Read, path::Path};

use crdt::{
    backup::{ContentKind, ContentWriter, Origin, Part, Summary, read, restore},
    journal::Journal,
};
use keys::{
    ContentId, NodeKey, Timestamp, Zeroizing,
    archive::{ArchiveError, ArchiveKey, ArchiveReader, ArchiveWriter},
};

use super::member;
use crate::script::{Script, piece};

/// The hash at the end of a content.
const HASH_BYTES: usize = 32;

pub fn run(bytes: &[u8]) {
    let Some((door, rest)) = bytes.split_first() else {
        return;
    };
    match door % 6 {
        0 => drop(decrypt(rest)),
        1 => drop(look(rest, ContentKind::Memory)),
        2 => drop(look(rest, ContentKind::Secrets)),
        3 => drop(look(&with_hash(rest), ContentKind::Memory)),
        4 => drop(look(&with_hash(rest), ContentKind::Secrets)),
        _ => both(rest),
    }
}

fn key() -> ArchiveKey {
    ArchiveKey::File(Zeroizing::new([7; 32]))
}

fn decrypt(bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let mut content = Vec::new();
    let mut reader = ArchiveReader::new(bytes, &key())?;
    reader.read_to_end(&mut content).map_err(ArchiveError::from_io)?;
    assert!(content.len() <= bytes.len(), "an archive that grows");
    Ok(content)
}

fn encrypt(content: &[u8]) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new(), &key()).expect("memory takes it");
    std::io::Write::write_all(&mut writer, content).expect("memory takes it");
    writer.finish().expect("memory takes it")
}

/// The content with the hash that belongs behind it.
fn with_hash(content: &[u8]) -> Vec<u8> {
    [content, blake3::hash(content).as_bytes()].concat()
}

/// Reads a content; one that is whole has one form only.
fn look(bytes: &[u8], kind: ContentKind) -> Option<Summary> {
    let summary = read(bytes, kind, |_| Ok::<_, crdt::backup::BackupError>(())).ok()?;
    let mut again = ContentWriter::new(Vec::new(), kind, summary.origin).expect("memory takes it");
    read(bytes, kind, |part| again.write(&part)).expect("what was read is read again and may be written");
    let (written, summary_again) = again.finish().expect("nothing is missing");
    assert_eq!(written, bytes, "a second form");
    assert_eq!(summary_again, summary);
    let hashed = bytes.len() - HASH_BYTES;
    assert_eq!(summary.hash, ContentId::of(&bytes[..hashed]));
    Some(summary)
}

/// Both contents behind each other, the first one's length before them: if they belong together, they restore.
fn both(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let memory = script.piece();
    // Says whether, and where, the encrypted archive is changed.
    let change = script.byte();
    let secrets = script.rest();
    let (memory, secrets) = (with_hash(memory), with_hash(secrets));
    let (memory_summary, secrets_summary) = (look(&memory, ContentKind::Memory), look(&secrets, ContentKind::Secrets));
    let directory = tempfile::tempdir().expect("a directory");
    let (journal, keys) = (directory.path().join("journal"), directory.path().join("keys"));
    let mut archive = encrypt(&memory);
    if change != 0 {
        let place = usize::from(change) * 257 % archive.len();
        archive[place] ^= change;
        assert!(decrypt(&archive).is_err(), "a changed archive");
        return;
    }
    assert_eq!(decrypt(&archive).expect("what was encrypted"), memory);
    let restored = restore(&memory[..], &secrets[..], &journal, &keys);
    let belong = memory_summary.zip(secrets_summary).is_some_and(|(memory, secrets)| {
        (memory.origin.mesh, memory.origin.node) == (secrets.origin.mesh, secrets.origin.node)
    });
    let Ok(restored) = restored else {
        // The keys file may be whole and yet not its node's.
        return;
    };
    assert!(belong, "what does not belong together was restored");
    assert_eq!(records(&journal), distinct(&memory, &secrets));
    assert_eq!(restored.identity.node_key.id(), restored.memory.origin.node);
}

/// How many records a restored journal holds; each is whole.
fn records(journal: &Path) -> usize {
    let mut count = 0;
    let (_, scan) = Journal::open(journal, None, |_, _| count += 1).expect("a restored journal opens");
    assert_eq!((scan.torn_bytes, scan.rotten.len()), (0, 0));
    count
}

/// How many records the two files hold: both have the same statements, which are written once.
fn distinct(memory: &[u8], secrets: &[u8]) -> usize {
    let mut statements = std::collections::BTreeSet::new();
    let mut envelopes = 0;
    for (bytes, kind) in [(memory, ContentKind::Memory), (secrets, ContentKind::Secrets)] {
        let counted = read(bytes, kind, |part| {
            match part {
                Part::Statement(bytes) => {
                    statements.insert(ContentId::of(bytes));
                }
                Part::Envelope(_) => envelopes += 1,
                _ => {}
            }
            Ok::<_, crdt::backup::BackupError>(())
        });
        counted.expect("it was read before");
    }
    statements.len() + envelopes
}

fn origin() -> Origin {
    Origin {
        mesh: ContentId([1; 32]),
        node: member().id(),
        created: Timestamp(1_700_000_000_000),
    }
}

fn content(kind: ContentKind, parts: &[Part<'_>]) -> Vec<u8> {
    let mut writer = ContentWriter::new(Vec::new(), kind, origin()).expect("memory takes it");
    parts
        .iter()
        .for_each(|part| writer.write(part).expect("it may stand there"));
    writer.finish().expect("nothing is missing").0
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let node = || Part::NodeKey(member());
    let data_key = keys::DataKey::from_bytes(&[9; 32]);
    let memory = content(
        ContentKind::Memory,
        &[Part::Statement(b"a statement"), Part::Envelope(b"a change")],
    );
    let secrets = content(
        ContentKind::Secrets,
        &[
            node(),
            Part::RootKey(NodeKey::from_seed(&[3; 32])),
            Part::Membership(b"members"),
            Part::Configuration("[gateway]"),
            Part::Statement(b"a statement"),
            Part::DataKeys(ContentId([4; 32]), vec![data_key]),
        ],
    );
    let bare = |bytes: &[u8]| bytes[..bytes.len() - HASH_BYTES].to_vec();
    let together = |change: u8| [piece(&bare(&memory)), vec![change], bare(&secrets)].concat();
    let seed = |name: &str, door: u8, bytes: &[u8]| (name.to_owned(), [&[door], bytes].concat());
    vec![
        seed("archive", 0, &fixed_archive()),
        seed("memory", 1, &memory),
        seed("secrets", 2, &secrets),
        seed("memory-hashed", 3, &bare(&memory)),
        seed("secrets-hashed", 4, &bare(&secrets)),
        seed("restore", 5, &together(0)),
        seed("changed", 5, &together(33)),
    ]
}

/// A header as an archive has it, with nothing right behind: real ones are salted, and seeds are the same at each call.
fn fixed_archive() -> Vec<u8> {
    let mut bytes = b"STARBAK1".to_vec();
    bytes.push(1);
    bytes.resize(66 + 40, 0);
    bytes
}
