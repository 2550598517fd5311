//! The entries of a CHARX, which is a zip archive: reads `card.json` and a picture, and writes the card back. Every other entry is
//! passed on byte for byte and never unpacked, so that no bomb among them can go off.

use std::{collections::BTreeMap, io::Read, io::Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use super::CardError;
use crate::limits::{CARD_ENTRIES_MAX, CARD_PICTURE_BYTES_MAX, CARD_TEXT_BYTES_MAX};

pub(super) const SIGNATURE: &[u8] = b"PK\x03\x04";
const CARD: &[u8] = b"card.json";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
/// Bytes of a local header, of one in the directory and of the end, without names and comments.
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
/// The end is found in this many bytes from behind: a comment has 65,535 at most.
const COMMENT_MAX: usize = 65_535;
const IS_ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// An entry of the directory.
struct Entry<'a> {
    header: &'a [u8],
    name: &'a [u8],
    /// Extra fields and comment.
    rest: &'a [u8],
}

impl Entry<'_> {
    fn offset(&self) -> usize {
        number32(self.header, 42)
    }
}

/// The directory of an archive.
struct Directory<'a> {
    entries: Vec<Entry<'a>>,
    /// Where it begins, which is where the last entry ends.
    start: usize,
    end: &'a [u8],
}

fn number16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

fn number32(bytes: &[u8], at: usize) -> usize {
    let four = bytes
        .get(at..at + 4)
        .map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    usize::try_from(four).unwrap_or(usize::MAX)
}

fn directory(bytes: &[u8]) -> Result<Directory<'_>, CardError> {
    let damaged = CardError::Archive("it has no directory");
    let from = bytes.len().saturating_sub(END_BYTES + COMMENT_MAX);
    let tail = &bytes[from..];
    let at = tail.windows(END.len()).rposition(|window| window == END);
    let end_at = from + at.ok_or(damaged.clone())?;
    let end = &bytes[end_at..];
    if end.len() < END_BYTES {
        return Err(damaged);
    }
    let (count, start) = (usize::from(number16(end, 10)), number32(end, 16));
    if count > CARD_ENTRIES_MAX {
        return Err(CardError::TooManyEntries);
    }
    let mut rest = bytes.get(start..end_at).ok_or(damaged)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let broken = CardError::Archive("its directory breaks off");
        let (header, behind) = rest.split_at_checked(CENTRAL_BYTES).ok_or(broken.clone())?;
        if !header.starts_with(CENTRAL) {
            return Err(broken);
        }
        let (name, behind) = behind
            .split_at_checked(usize::from(number16(header, 28)))
            .ok_or(broken.clone())?;
        let extra = usize::from(number16(header, 30)) + usize::from(number16(header, 32));
        let (extra, behind) = behind.split_at_checked(extra).ok_or(broken)?;
        entries.push(Entry {
            header,
            name,
            rest: extra,
        });
        rest = behind;
    }
    Ok(Directory { entries, start, end })
}

/// The text of the card.
pub(super) fn card(bytes: &[u8]) -> Result<String, CardError> {
    let directory = directory(bytes)?;
    let entry = directory
        .entries
        .iter()
        .find(|entry| entry.name == CARD)
        .ok_or(CardError::NoCard)?;
    let text = unpacked(bytes, entry, CARD_TEXT_BYTES_MAX)?;
    String::from_utf8(text).map_err(|_| CardError::Archive("the card is not UTF-8"))
}

/// The bytes of another entry, such as a picture.
pub(super) fn entry(bytes: &[u8], path: &str) -> Result<Vec<u8>, CardError> {
    let directory = directory(bytes)?;
    let entry = directory.entries.iter().find(|entry| entry.name == path.as_bytes());
    unpacked(bytes, entry.ok_or(CardError::NoCard)?, CARD_PICTURE_BYTES_MAX)
}

/// Unpacks one entry; what it says of its size is not believed.
fn unpacked(bytes: &[u8], entry: &Entry<'_>, most: usize) -> Result<Vec<u8>, CardError> {
    let broken = CardError::Archive("an entry breaks off");
    if number16(entry.header, 8) & IS_ENCRYPTED != 0 {
        return Err(CardError::Encrypted);
    }
    let local = bytes
        .get(entry.offset()..)
        .filter(|local| local.len() >= LOCAL_BYTES && local.starts_with(SIGNATURE));
    let local = local.ok_or(broken.clone())?;
    let start = LOCAL_BYTES + usize::from(number16(local, 26)) + usize::from(number16(local, 28));
    let packed_bytes = number32(entry.header, 20);
    let packed = start
        .checked_add(packed_bytes)
        .and_then(|end| local.get(start..end))
        .ok_or(broken.clone())?;
    match number16(entry.header, 10) {
        STORED if packed.len() > most => Err(CardError::TextTooLarge),
        STORED => Ok(packed.to_owned()),
        DEFLATED => {
            let mut unpacked = Vec::new();
            let mut limited = DeflateDecoder::new(packed).take(most as u64 + 1);
            limited.read_to_end(&mut unpacked).map_err(|_| broken)?;
            if unpacked.len() > most {
                Err(CardError::TextTooLarge)
            } else {
                Ok(unpacked)
            }
        }
        _ => Err(CardError::Archive("an entry is packed in an unknown way")),
    }
}

/// The archive with another text of the card, and otherwise as it is: entries keep their order, their bytes and what is said of them.
pub(super) fn with_card(bytes: &[u8], text: &[u8]) -> Result<Vec<u8>, CardError> {
    let directory = directory(bytes)?;
    let card = directory
        .entries
        .iter()
        .find(|entry| entry.name == CARD)
        .ok_or(CardError::NoCard)?;
    let record = packed(card, text)?;
    // Each entry reaches to where the next one begins, whatever stands behind its bytes.
    let mut starts: Vec<usize> = directory.entries.iter().map(Entry::offset).collect();
    starts.sort_unstable();
    starts.dedup();
    let first = starts.first().copied().unwrap_or(directory.start);
    let broken = CardError::Archive("an entry lies behind the directory");
    let mut written = bytes.get(..first).ok_or(broken.clone())?.to_vec();
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(directory.start);
        moved.insert(*start, written.len());
        if *start == card.offset() {
            written.extend_from_slice(&record.local);
        } else {
            written.extend_from_slice(bytes.get(*start..end).ok_or(broken.clone())?);
        }
    }
    let start = written.len();
    for entry in &directory.entries {
        let offset = moved.get(&entry.offset()).copied().unwrap_or_default();
        let mut header = if entry.name == CARD {
            record.central.clone()
        } else {
            entry.header.to_vec()
        };
        header[42..46].copy_from_slice(&in_four(offset)?);
        written.extend_from_slice(&header);
        written.extend_from_slice(entry.name);
        written.extend_from_slice(entry.rest);
    }
    let mut end = directory.end.to_vec();
    end[12..16].copy_from_slice(&in_four(written.len() - start)?);
    end[16..20].copy_from_slice(&in_four(start)?);
    written.extend_from_slice(&end);
    Ok(written)
}

/// The card as an entry: its header and bytes, and its header in the directory, which yet lacks the offset.
struct Record {
    local: Vec<u8>,
    central: Vec<u8>,
}

fn packed(card: &Entry<'_>, text: &[u8]) -> Result<Record, CardError> {
    let failed = CardError::Archive("the card cannot be packed");
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).map_err(|_| failed.clone())?;
    let packed = encoder.finish().map_err(|_| failed)?;
    let checksum = crc32fast::hash(text).to_le_bytes();
    // Names in UTF-8 and no trailing sizes; time and permissions stay what they were.
    let mut central = card.header.to_vec();
    central[8..10].copy_from_slice(&[0, 8]);
    central[10..12].copy_from_slice(&DEFLATED.to_le_bytes());
    central[16..20].copy_from_slice(&checksum);
    central[20..24].copy_from_slice(&in_four(packed.len())?);
    central[24..28].copy_from_slice(&in_four(text.len())?);
    let mut local = SIGNATURE.to_vec();
    local.extend_from_slice(&central[6..28]);
    local.extend_from_slice(&in_two(card.name.len()));
    local.extend_from_slice(&[0, 0]);
    local.extend_from_slice(card.name);
    local.extend_from_slice(&packed);
    Ok(Record { local, central })
}

fn in_four(number: usize) -> Result<[u8; 4], CardError> {
    u32::try_from(number)
        .map(u32::to_le_bytes)
        .map_err(|_| CardError::TooLarge)
}

fn in_two(number: usize) -> [u8; 2] {
    // A name that was read has a length of two bytes.
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}
