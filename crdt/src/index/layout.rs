//! Tables, keys and values of the index, byte by byte. A change here needs another [`VERSION`].

use keys::ContentId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::checksum::Checksum;
use crate::{
    group::{Group, Lane},
    journal::Position,
    records::RecordKind,
};

/// Bumped when the layout changes; an index of another version is rebuilt.
pub(super) const VERSION: u8 = 3;

/// The key under which the summary stands.
pub(super) const SUMMARY: [u8; 1] = [0];
// Tables 1 to 3 hold the entries of the three lanes.
const KINDS: u8 = 4;
const OWNERS: u8 = 5;
const DOCUMENTS: u8 = 6;

/// blake3 over the summary, cut to this.
const SUMMARY_HASH_BYTES: usize = 16;

pub(super) fn entries(lane: Lane) -> u8 {
    1 + lane as u8
}

/// The lane of an entry's key; `None` in every other table.
pub(super) fn lane_of(key: &[u8]) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| key.first() == Some(&entries(*lane)))
}

/// An entry's key. Its value is a [`Position`].
pub(super) fn entry(lane: Lane, group: Group, id: &ContentId) -> Vec<u8> {
    [&group_prefix(lane, group)[..], &id.0].concat()
}

pub(super) fn group_prefix(lane: Lane, group: Group) -> Vec<u8> {
    [&[entries(lane)][..], &group.0].concat()
}

pub(super) fn parse_entry(key: &[u8]) -> Option<(Group, ContentId)> {
    let (group, id) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((Group(*group), ContentId(id.try_into().ok()?)))
}

/// Says that a document is of a kind. The value is empty.
pub(super) fn kind(kind: RecordKind, document: &ContentId) -> Vec<u8> {
    [&kind_prefix(kind)[..], &document.0].concat()
}

pub(super) fn kind_prefix(kind: RecordKind) -> Vec<u8> {
    vec![KINDS, kind as u8]
}

/// Says that a document belongs to an account. The value is empty.
pub(super) fn owned(owner: &ContentId, document: &ContentId) -> Vec<u8> {
    [&owner_prefix(owner)[..], &document.0].concat()
}

pub(super) fn owner_prefix(owner: &ContentId) -> Vec<u8> {
    [&[OWNERS][..], &owner.0].concat()
}

/// A document's key. Its value is a [`Document`].
pub(super) fn document(document: &ContentId) -> Vec<u8> {
    [&[DOCUMENTS][..], &document.0].concat()
}

/// The document of a key of the table of documents; `None` in every other table.
pub(super) fn parse_document(key: &[u8]) -> Option<ContentId> {
    let id = key.strip_prefix(&[DOCUMENTS])?;
    Some(ContentId(id.try_into().ok()?))
}

/// What a document is, and whose.
pub(super) type Document = (RecordKind, Option<ContentId>);

/// The document at the end of a key of the tables of kinds and owners.
pub(super) fn last_document(key: &[u8]) -> Option<ContentId> {
    key.last_chunk::<32>().map(|id| ContentId(*id))
}

/// Whether a key can be of this layout.
pub(super) fn is_key(key: &[u8]) -> bool {
    match key.first() {
        Some(&KINDS) => key.len() == 2 + 32,
        Some(&OWNERS) => key.len() == 1 + 32 + 32,
        Some(&DOCUMENTS) => key.len() == 1 + 32,
        _ => lane_of(key).is_some() && key.len() == 1 + 8 + 32,
    }
}

/// Writes a value. Positions and documents always can be; a summary, too.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}

/// Reads a value that fills its bytes exactly.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

/// What the index says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    /// Up to where the journal has been taken in; `None` before the first time.
    pub(super) checkpoint: Option<Position>,
    /// Over every key and value but the summary's own.
    pub(super) checksum: Checksum,
    /// Entries of each lane.
    pub(super) entries: [u64; 3],
    /// Bytes of all keys and values but the summary's own.
    pub(super) bytes: u64,
}

impl Summary {
    /// Takes a pair into account.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.checksum.add(key, value);
        self.bytes = self.bytes.wrapping_add((key.len() + value.len()) as u64);
        if let Some(lane) = lane_of(key) {
            self.entries[lane as usize] = self.entries[lane as usize].wrapping_add(1);
        }
    }

    /// Undoes [`Summary::add`].
    pub(super) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.checksum.subtract(key, value);
        self.bytes = self.bytes.wrapping_sub((key.len() + value.len()) as u64);
        if let Some(lane) = lane_of(key) {
            self.entries[lane as usize] = self.entries[lane as usize].wrapping_sub(1);
        }
    }

    /// Version, content and hash.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(encode(self));
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(&hash.as_bytes()[..SUMMARY_HASH_BYTES]);
        bytes
    }

    /// `None` when the bytes are damaged or of another version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, hash) = bytes.split_last_chunk::<SUMMARY_HASH_BYTES>()?;
        let is_whole = &blake3::hash(content).as_bytes()[..SUMMARY_HASH_BYTES] == hash;
        let (version, content) = content.split_first()?;
        (is_whole && *version == VERSION).then(|| decode(content))?
    }
}
