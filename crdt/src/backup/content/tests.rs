//! Both files of a backup: what is written is read; what is changed, cut, misplaced or too large is refused.

use proptest::prelude::*;

use super::*;

fn origin() -> Origin {
    Origin {
        mesh: ContentId([1; 32]),
        node: NodeId([2; 32]),
        created: Timestamp(1_780_282_800_000),
    }
}

fn data_key(number: u8) -> DataKey {
    DataKey::from_bytes(&[number; 32])
}

fn secrets<'a>() -> Vec<Part<'a>> {
    vec![
        Part::NodeKey(NodeKey::from_seed(&[3; 32])),
        Part::RootKey(NodeKey::from_seed(&[4; 32])),
        Part::Membership(b"members"),
        Part::Configuration("[mesh]"),
        Part::Statement(b"erased"),
        Part::DataKeys(ContentId([5; 32]), vec![data_key(6), data_key(7)]),
        Part::DataKeys(ContentId([6; 32]), vec![data_key(8)]),
    ]
}

fn memory<'a>() -> Vec<Part<'a>> {
    vec![
        Part::Statement(b"erased"),
        Part::Statement(b"received"),
        Part::Envelope(b"change"),
    ]
}

fn file(kind: ContentKind, parts: &[Part<'_>]) -> Result<(Vec<u8>, Summary), BackupError> {
    let mut writer = ContentWriter::new(Vec::new(), kind, origin())?;
    for part in parts {
        writer.write(part)?;
    }
    writer.finish()
}

fn text(part: &Part<'_>) -> String {
    match part {
        // Their text shows no secret, and no bytes.
        Part::NodeKey(key) => format!("node {:?}", *key.seed()),
        Part::RootKey(key) => format!("root {:?}", *key.seed()),
        Part::DataKeys(account, keys) => {
            let keys: Vec<_> = keys.iter().map(|key| *key.to_bytes()).collect();
            format!("keys of {account} {keys:?}")
        }
        other => format!("{other:?}"),
    }
}

fn texts(bytes: &[u8], kind: ContentKind) -> Result<Vec<String>, BackupError> {
    let mut texts = Vec::new();
    read::<BackupError>(bytes, kind, |part| {
        texts.push(text(&part));
        Ok(())
    })?;
    Ok(texts)
}

#[test]
fn what_is_written_is_read_and_the_bytes_are_golden() {
    let files = [
        (
            ContentKind::Memory,
            memory(),
            "3db18e39af63daac038e10d030255a717b30c8662bb6e4c900544d1de8648586",
        ),
        (
            ContentKind::Secrets,
            secrets(),
            "116265912a2fcdd5f35504a076657c3e106b68b5f5c60ffa137024d0f8827a0c",
        ),
    ];
    for (kind, parts, hash) in files {
        let (bytes, summary) = file(kind, &parts).unwrap();
        assert_eq!(verify(&bytes[..], kind).unwrap(), summary);
        assert_eq!(summary.origin, origin());
        // Computed with Python, too.
        assert_eq!(summary.hash.to_string(), hash);
        assert_eq!(texts(&bytes, kind).unwrap(), parts.iter().map(text).collect::<Vec<_>>());
        assert!(bytes.ends_with(&summary.hash.0));
    }
    let (bytes, summary) = file(ContentKind::Memory, &memory()).unwrap();
    assert_eq!((summary.statements, summary.envelopes, summary.accounts), (2, 1, 0));
    let mut expected = [
        &b"STARCNT1\x01"[..],
        &[1; 32],
        &[2; 32],
        &1_780_282_800_000_u64.to_le_bytes(),
    ]
    .concat();
    expected.extend(b"\x05\x06\0\0\0erased\x05\x08\0\0\0received\x06\x06\0\0\0change\xff\x38\0\0\0");
    expected.extend([2, 1, 0].map(u64::to_le_bytes).concat());
    assert_eq!(bytes[..bytes.len() - 32], expected);
    let (empty, summary) = file(ContentKind::Memory, &[]).unwrap();
    assert_eq!(verify(&empty[..], ContentKind::Memory).unwrap(), summary);
}

#[test]
fn every_flipped_bit_every_cut_and_every_addition_is_refused() {
    for (kind, parts) in [(ContentKind::Memory, memory()), (ContentKind::Secrets, secrets())] {
        let (bytes, _) = file(kind, &parts).unwrap();
        assert!(verify(&bytes[..], kind).is_ok());
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            assert!(verify(&damaged[..], kind).is_err(), "bit {position}");
        }
        for length in 0..bytes.len() {
            assert!(
                matches!(verify(&bytes[..length], kind), Err(BackupError::NotWhole)),
                "cut at {length}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(verify(&longer[..], kind), Err(BackupError::NotWhole)));
    }
}

#[test]
fn the_two_files_are_not_mistaken_for_each_other() {
    let (bytes, _) = file(ContentKind::Secrets, &secrets()).unwrap();
    let refused = verify(&bytes[..], ContentKind::Memory);
    assert!(matches!(
        refused,
        Err(BackupError::OtherKind {
            found: ContentKind::Secrets,
            ..
        })
    ));
    assert!(matches!(
        verify(&[b'x'; 1000][..], ContentKind::Memory),
        Err(BackupError::NotABackup)
    ));
}

/// Bytes of a file with these parts and a right end, whether the rules allow them or not.
fn unruly(kind: ContentKind, parts: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = header(kind, &origin()).to_vec();
    for (part, content) in parts {
        bytes.extend(part_header(*part, content.len()));
        bytes.extend(content);
    }
    bytes.extend(part_header(END, COUNTS_BYTES + HASH_BYTES));
    let counts = [kind::STATEMENT, kind::ENVELOPE, kind::DATA_KEYS].map(|wanted| {
        let number = parts.iter().filter(|(part, _)| *part == wanted).count();
        u64::try_from(number).unwrap().to_le_bytes()
    });
    bytes.extend(counts.concat());
    let hash = blake3::hash(&bytes);
    bytes.extend(hash.as_bytes());
    bytes
}

#[test]
fn a_file_that_breaks_the_rules_is_refused_although_its_hash_is_right() {
    let whole: Vec<(u8, Vec<u8>)> = vec![
        (1, vec![3; 32]),
        (3, b"members".to_vec()),
        (4, b"[mesh]".to_vec()),
        (5, b"erased".to_vec()),
        (7, vec![5; 64]),
    ];
    let verified = |kind, parts: &[(u8, Vec<u8>)]| verify(&unruly(kind, parts)[..], kind);
    assert!(verified(ContentKind::Secrets, &whole).is_ok(), "the control");
    for missing in 0..3 {
        let mut parts = whole.clone();
        let (kind, _) = parts.remove(missing);
        let refused = verified(ContentKind::Secrets, &parts);
        assert!(
            matches!(refused, Err(BackupError::Misplaced(named)) if named == kind),
            "{refused:?}"
        );
    }
    assert!(matches!(
        verified(ContentKind::Secrets, &[]),
        Err(BackupError::Misplaced(1))
    ));
    let mut twice = whole.clone();
    twice.insert(1, whole[0].clone());
    let mut swapped = whole.clone();
    swapped.swap(3, 4);
    let with = |index: usize, part: (u8, Vec<u8>)| {
        let mut parts = whole.clone();
        parts[index] = part;
        parts
    };
    for parts in [
        twice,
        swapped,
        with(4, (6, b"change".to_vec())),
        with(4, (8, b"?".to_vec())),
        with(4, (0, vec![])),
    ] {
        let refused = verified(ContentKind::Secrets, &parts);
        assert!(matches!(refused, Err(BackupError::Misplaced(_))), "{refused:?}");
    }
    for part in [
        (0, (1, vec![3; 31])),
        (4, (7, vec![5; 32])),
        (4, (7, vec![5; 65])),
        (1, (3, vec![])),
        (3, (5, vec![])),
    ] {
        let refused = verified(ContentKind::Secrets, &with(part.0, part.1));
        assert!(matches!(refused, Err(BackupError::WrongSize { .. })), "{refused:?}");
    }
    let not_text = verified(ContentKind::Secrets, &with(2, (4, vec![0xff])));
    assert!(matches!(not_text, Err(BackupError::Malformed(4))));
    let secret = verified(ContentKind::Memory, &[(7, vec![5; 64])]);
    assert!(
        matches!(secret, Err(BackupError::Misplaced(7))),
        "no data key stands in an archive"
    );
}

#[test]
fn a_length_is_checked_before_anything_is_reserved_for_it() {
    for part in [kind::STATEMENT, kind::ENVELOPE] {
        let limit = RECORD_BYTES_MAX;
        let largest = unruly(ContentKind::Memory, &[(part, vec![1; limit])]);
        assert!(verify(&largest[..], ContentKind::Memory).is_ok());
        let mut claim = header(ContentKind::Memory, &origin()).to_vec();
        claim.extend(part_header(part, limit + 1));
        let refused = verify(&claim[..], ContentKind::Memory);
        assert!(matches!(refused, Err(BackupError::WrongSize { length, .. }) if length == limit + 1));
        let body = vec![1; limit + 1];
        let part = if part == kind::STATEMENT {
            Part::Statement(&body)
        } else {
            Part::Envelope(&body)
        };
        assert!(matches!(
            file(ContentKind::Memory, &[part]),
            Err(BackupError::WrongSize { .. })
        ));
    }
}

#[test]
fn what_the_visitor_refuses_ends_the_reading() {
    let (bytes, _) = file(ContentKind::Memory, &memory()).unwrap();
    let mut visits = 0;
    let refused = read(&bytes[..], ContentKind::Memory, |_| {
        visits += 1;
        Err(BackupError::NotABackup)
    });
    assert!(matches!(refused, Err(BackupError::NotABackup)));
    assert_eq!(visits, 1);
}

proptest! {
    #[test]
    fn any_parts_are_refused_by_writer_and_reader_alike(
        is_memory in any::<bool>(),
        parts in proptest::collection::vec((0_u8..9, proptest::sample::select(vec![0_usize, 1, 32, 64, 96])), 0..6)
    ) {
        let kind = if is_memory { ContentKind::Memory } else { ContentKind::Secrets };
        let mut rules = Rules::new(kind);
        let admitted = parts.iter().try_for_each(|(part, length)| rules.admit(*part, *length));
        let admitted = admitted.and_then(|()| rules.check_skipped(END));
        let parts: Vec<_> = parts.into_iter().map(|(part, length)| (part, vec![1; length])).collect();
        let verified = verify(&unruly(kind, &parts)[..], kind);
        prop_assert_eq!(admitted.is_ok(), verified.is_ok());
    }
}
