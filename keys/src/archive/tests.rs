//! An encrypted stream is what was written, or an error.

use super::{header::Cost, *};

fn key() -> ArchiveKey {
    ArchiveKey::File(Zeroizing::new([7; 32]))
}

fn header() -> Header {
    Header::new(&key(), [9; 32])
}

/// An archive of `content`, written in pieces of `piece` bytes.
fn archive(content: &[u8], piece: usize) -> Vec<u8> {
    let mut writer = ArchiveWriter::with_header(Vec::new(), &key(), header()).unwrap();
    content.chunks(piece).for_each(|bytes| writer.write_all(bytes).unwrap());
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let mut content = Vec::new();
    let mut reader = ArchiveReader::new(archive, &key())?;
    reader.read_to_end(&mut content).map_err(ArchiveError::from_io)?;
    Ok(content)
}

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|position| u8::try_from(position * 31 % 251).unwrap())
        .collect()
}

#[test]
fn golden_bytes() {
    let bytes = archive(b"murmuration", 4);
    // Computed with Python's cryptography and blake3, too.
    assert_eq!(
        data_encoding::HEXLOWER.encode(&bytes),
        "5354415242414b310100000000000000000009090909090909090909090909090909090909090909090909090909090909099f201dfc1f80fea75134653444e64cdcd60d1394d9ee63492da919014156c082c9e1178fa19ab7d423aa7b"
    );
}

#[test]
fn content_of_any_length_comes_back_whatever_the_pieces() {
    let chunk = ARCHIVE_CHUNK_BYTES;
    for length in [0, 1, 1000, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 7] {
        let content = content(length);
        let whole = archive(&content, length.max(1));
        let chunks = length.div_ceil(chunk).max(1);
        assert_eq!(whole.len(), HEADER_BYTES + length + chunks * TAG_BYTES);
        assert_eq!(read(&whole).unwrap(), content);
        assert_eq!(archive(&content, 10_007), whole, "pieces of another size");
    }
}

#[test]
fn each_archive_has_its_own_salt() {
    let write = || ArchiveWriter::new(Vec::new(), &key()).unwrap().finish().unwrap();
    assert_ne!(write(), write());
    assert_eq!(read(&write()).unwrap(), b"");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let small = archive(b"a small archive", 100);
    assert!(read(&small).is_ok());
    for position in 0..small.len() * 8 {
        let mut damaged = small.clone();
        damaged[position / 8] ^= 1 << (position % 8);
        let error = read(&damaged).unwrap_err();
        let is_expected = match position / 8 {
            0..8 => matches!(error, ArchiveError::NotAnArchive),
            8..HEADER_BYTES => matches!(error, ArchiveError::WrongKey),
            _ => matches!(error, ArchiveError::Damaged { chunk: 0 }),
        };
        assert!(is_expected, "bit {position}: {error}");
    }
    let large = archive(&content(2 * ARCHIVE_CHUNK_BYTES + 100), 5000);
    for position in (HEADER_BYTES..large.len()).step_by(4093) {
        let mut damaged = large.clone();
        damaged[position] ^= 0x10;
        let number = (position - HEADER_BYTES) / SEALED_CHUNK_BYTES;
        let error = read(&damaged).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Damaged { chunk } if chunk == number as u64),
            "byte {position}: {error}"
        );
    }
}

#[test]
fn every_cut_every_addition_and_every_rearrangement_is_noticed() {
    let small = archive(b"a small archive", 100);
    for length in 0..small.len() {
        assert!(read(&small[..length]).is_err(), "cut at {length}");
    }
    assert!(read(&[&small[..], &[0]].concat()).is_err());

    let large = archive(&content(3 * ARCHIVE_CHUNK_BYTES), 5000);
    let (head, body) = large.split_at(HEADER_BYTES);
    let chunks: Vec<&[u8]> = body.chunks(SEALED_CHUNK_BYTES).collect();
    let joined = |order: &[usize]| {
        let chosen = order.iter().flat_map(|number| chunks[*number].iter().copied());
        head.iter().copied().chain(chosen).collect::<Vec<u8>>()
    };
    assert!(read(&joined(&[0, 1, 2])).is_ok(), "the control");
    assert!(matches!(read(&joined(&[0, 1])), Err(ArchiveError::Cut { chunks: 2 })));
    assert!(matches!(read(&joined(&[])), Err(ArchiveError::Cut { chunks: 0 })));
    for order in [
        &[1, 0, 2][..],
        &[0, 2],
        &[0, 0, 1, 2],
        &[0, 1, 2, 2],
        &[2],
        &[1, 2],
        &[0, 1, 2, 0],
    ] {
        let error = read(&joined(order)).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{order:?}: {error}");
    }
    let middle = HEADER_BYTES + SEALED_CHUNK_BYTES + 100;
    assert!(matches!(
        read(&large[..middle]),
        Err(ArchiveError::Damaged { chunk: 1 })
    ));

    // A chunk of another archive of the same key, at the same place.
    let mut other_header = header();
    other_header.salt[0] ^= 1;
    let mut writer = ArchiveWriter::with_header(Vec::new(), &key(), other_header).unwrap();
    writer.write_all(&content(3 * ARCHIVE_CHUNK_BYTES)).unwrap();
    let other = writer.finish().unwrap();
    let mixed = [&joined(&[0]), &other[HEADER_BYTES + SEALED_CHUNK_BYTES..]].concat();
    assert!(matches!(read(&mixed), Err(ArchiveError::Damaged { chunk: 1 })));
}

#[test]
fn other_files_and_other_keys_have_their_own_errors() {
    assert!(matches!(read(b""), Err(ArchiveError::NotAnArchive)));
    assert!(matches!(read(&[b'x'; 1000]), Err(ArchiveError::NotAnArchive)));
    let mut next_version = archive(b"x", 1);
    next_version[7] = b'2';
    assert!(matches!(read(&next_version), Err(ArchiveError::NotAnArchive)));

    let whole = archive(b"x", 1);
    let other = ArchiveKey::File(Zeroizing::new([8; 32]));
    let passphrase = ArchiveKey::passphrase("correct horse battery").unwrap();
    let open = |key: &ArchiveKey| ArchiveReader::new(&whole[..], key).map(|_| ());
    assert!(matches!(open(&other), Err(ArchiveError::WrongKey)));
    assert!(matches!(open(&passphrase), Err(ArchiveError::NeedsKeyFile)));
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let passphrase = ArchiveKey::passphrase("correct horse battery").unwrap();
    let mut writer = ArchiveWriter::new(Vec::new(), &passphrase).unwrap();
    writer.write_all(b"murmuration").unwrap();
    let real = writer.finish().unwrap();
    let mut text = String::new();
    let mut reader = ArchiveReader::new(&real[..], &passphrase).unwrap();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "murmuration");

    // Cheap from here on.
    let cost = Some(Cost {
        memory_kib: 8,
        passes: 1,
    });
    let cheap = Header { cost, salt: [3; 32] };
    let whole = ArchiveWriter::with_header(Vec::new(), &passphrase, cheap)
        .unwrap()
        .finish()
        .unwrap();
    let open = |bytes: &[u8], key: &ArchiveKey| ArchiveReader::new(bytes, key).map(|_| ());
    assert!(open(&whole, &passphrase).is_ok());
    let other = ArchiveKey::passphrase("correct horse batterz").unwrap();
    assert!(matches!(open(&whole, &other), Err(ArchiveError::WrongKey)));
    assert!(matches!(open(&whole, &key()), Err(ArchiveError::NeedsPassphrase)));
    for position in 18 * 8..HEADER_BYTES * 8 {
        let mut damaged = whole.clone();
        damaged[position / 8] ^= 1 << (position % 8);
        assert!(
            matches!(open(&damaged, &passphrase), Err(ArchiveError::WrongKey)),
            "bit {position}"
        );
    }
}

#[test]
fn nothing_that_did_not_verify_is_given_out_and_an_error_stays() {
    let content = content(2 * ARCHIVE_CHUNK_BYTES);
    let mut damaged = archive(&content, 5000);
    damaged[HEADER_BYTES + SEALED_CHUNK_BYTES] ^= 1;
    let mut reader = ArchiveReader::new(&damaged[..], &key()).unwrap();
    let mut given = Vec::new();
    let error = reader.read_to_end(&mut given).unwrap_err();
    assert!(matches!(
        ArchiveError::from_io(error),
        ArchiveError::Damaged { chunk: 1 }
    ));
    assert_eq!(given, content[..ARCHIVE_CHUNK_BYTES]);
    assert!(reader.read(&mut [0; 10]).is_err());
    assert!(reader.chunk.is_empty());
}

/// A disk that becomes full after `room` bytes.
struct Full {
    room: usize,
    written: Vec<u8>,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = bytes.len().min(self.room);
        if size == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room -= size;
        self.written.extend_from_slice(&bytes[..size]);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_archive_that_met_a_full_disk_cannot_be_finished() {
    let content = content(3 * ARCHIVE_CHUNK_BYTES);
    let whole = archive(&content, 5000);
    for room in [
        HEADER_BYTES,
        HEADER_BYTES + 1000,
        HEADER_BYTES + SEALED_CHUNK_BYTES,
        whole.len() - 1,
        whole.len(),
    ] {
        let disk = Full {
            room,
            written: Vec::new(),
        };
        let mut writer = ArchiveWriter::with_header(disk, &key(), header()).unwrap();
        let written = writer.write_all(&content);
        if let Err(error) = written {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(writer.write(&content).is_err(), "it does not go on after a gap");
            assert!(read(&writer.inner.written).is_err());
        }
        let finished = writer.finish();
        assert_eq!(finished.is_ok(), room == whole.len(), "room for {room}");
    }
}
