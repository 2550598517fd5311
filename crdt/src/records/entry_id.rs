//! Names of the entries inside a document: messages, versions, devices, attempts.

use keys::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Names an entry of a document: a ULID (48 bits of milliseconds, then 80 bits that are random or a hash), so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId([u8; 16]);

/// The first bytes of an id's hash half: enough to name one entry among the few thousand of a document.
pub(crate) type ShortId = [u8; 4];

impl EntryId {
    /// An id at a time; of `random` the lower 80 bits are used.
    #[must_use]
    pub fn new(at: Timestamp, random: u128) -> Self {
        Self(Ulid::from_parts(at.0, random).to_bytes())
    }

    /// An id whose second half is the hash of `parts`, so that whoever knows them finds the same id.
    #[must_use]
    pub fn derived(at: Timestamp, context: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut random = [0; 16];
        random.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self::new(at, u128::from_le_bytes(random))
    }

    /// An id from its 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 26 characters that [`std::fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Ulid::from_string(text).ok().map(|ulid| Self(ulid.to_bytes()))
    }

    /// The time inside the id.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp(Ulid::from_bytes(self.0).timestamp_ms())
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The part that does not depend on time.
    #[must_use]
    pub fn hash_half(&self) -> [u8; 10] {
        let mut half = [0; 10];
        half.copy_from_slice(&self.0[6..]);
        half
    }

    /// See [`ShortId`].
    pub(crate) const fn short(&self) -> ShortId {
        [self.0[6], self.0[7], self.0[8], self.0[9]]
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ulid::from_bytes(self.0).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_keep_their_text_and_follow_from_their_parts() {
        let early = EntryId::new(Timestamp(5), u128::MAX);
        let late = EntryId::new(Timestamp(6), 0);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.at(), Timestamp(5));
        assert_eq!(EntryId::parse(&early.to_string()), Some(early));
        assert_eq!(EntryId::parse("not an id"), None);
        let derived = |at, parts: &[&[u8]]| EntryId::derived(Timestamp(at), "test", parts);
        assert_eq!(
            derived(1, &[b"a", b"b"]).hash_half(),
            derived(2, &[b"a", b"b"]).hash_half()
        );
        assert_ne!(derived(1, &[b"a", b"b"]), derived(1, &[b"ab", b""]));
    }
}
