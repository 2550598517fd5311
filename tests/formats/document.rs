//! `crdt/FORMATS.md` is held against the code: a format that is added, changed or gone must be so in the document, too.

use std::{collections::BTreeSet, fs, path::Path};

use crdt::keyring::{KEY_FRAME_VERSION, KeyFrame};

use super::kept;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The cells of each row: format, version, where, content.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(repository().join("crdt/FORMATS.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        row.trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

fn version_of(format: &str) -> String {
    let row = rows().into_iter().find(|row| row[0] == format);
    row.unwrap_or_else(|| panic!("crdt/FORMATS.md has no row \"{format}\""))[1].clone()
}

/// The eight letters with which files begin, as they stand in `text`.
fn magics(text: &str) -> BTreeSet<String> {
    let begins = text.match_indices("STAR").filter_map(|(at, _)| text.get(at..at + 8));
    let is_magic = |word: &&str| {
        let (letters, number) = word.split_at(7);
        letters.bytes().all(|byte| byte.is_ascii_uppercase()) && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    begins.filter(is_magic).map(str::to_owned).collect()
}

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Backup, its content, journal segment, snapshot, key file and all others that begin with a word.
#[test]
fn every_file_that_begins_with_a_word_is_in_the_table_with_its_version() {
    let mut code = String::new();
    for source in ["crdt/src", "keys/src", "node/src"] {
        sources(&repository().join(source), &mut code);
    }
    let listed: String = rows().into_iter().map(|row| row[1].clone() + "\n").collect();
    let (written, listed) = (magics(&code), magics(&listed));
    assert!(written.len() >= 6, "{written:?}");
    assert_eq!(written, listed, "code on the left, crdt/FORMATS.md on the right");
}

/// What begins with a byte: the kept bytes of the newest version say which.
#[test]
fn every_object_that_begins_with_a_byte_is_in_the_table_with_it() {
    for (format, file) in [
        ("signed object", "signed-genesis-1.bin"),
        ("envelope", "envelope-2.bin"),
        ("envelope of version 1", "envelope-1.bin"),
        ("rebase", "rebase-1.bin"),
        ("base", "base-1.bin"),
    ] {
        assert_eq!(version_of(format), format!("first byte {}", kept(file)[0]), "{format}");
    }
    let (erasure, receipt) = (kept("erase-1.bin")[0], kept("erase-receipt-1.bin")[0]);
    assert_eq!(
        version_of("erasure, receipt"),
        format!("first byte {erasure} or {receipt}")
    );
    let frame = KeyFrame::Refused.encode().unwrap();
    assert_eq!(frame[0], KEY_FRAME_VERSION);
    assert_eq!(version_of("frame of data keys"), format!("first byte {}", frame[0]));
    let sealed = keys::DataKey::from_bytes(&[1; 32]).seal(b"context", b"text");
    assert_eq!(version_of("sealed text"), format!("first byte {}", sealed[0]));
}

/// What has its version in a constant of its own.
#[test]
fn every_format_with_a_constant_is_in_the_table_with_its_value() {
    for (format, source, constant) in [
        ("index", "crdt/src/index/layout.rs", "VERSION"),
        ("membership file", "node/src/data_directory.rs", "MEMBERSHIP_VERSION"),
        ("reconciliation frame", "crdt/src/set/frame.rs", "VERSION"),
        ("fetch frame", "crdt/src/fetch.rs", "FETCH_FRAME_VERSION"),
        ("held shards", "crdt/src/disk/held.rs", "VERSION"),
    ] {
        let code = fs::read_to_string(repository().join(source)).unwrap();
        let after = code.split(&format!("const {constant}: u8 = ")).nth(1);
        let value = after.and_then(|rest| rest.split(';').next());
        let value = value.unwrap_or_else(|| panic!("{source} has no constant {constant} any more"));
        let version = version_of(format);
        assert_eq!(version.split(' ').next_back(), Some(value), "{format}: {version}");
    }
}

#[test]
fn invites_are_in_the_table_with_their_prefixes() {
    for version in 1..=4 {
        let (file, prefix) = (format!("invite-{version}.txt"), format!("starling{version}"));
        assert!(kept(&file).starts_with(prefix.as_bytes()));
        assert!(version_of("invite").contains(&format!("`{prefix}`")));
    }
}
