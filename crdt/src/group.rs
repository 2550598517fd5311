//! Where a record stands among the others: its group and its lane. Index, sets of ids and reconciliation all sort by them.

use keys::ContentId;
use serde::{Deserialize, Serialize};

use crate::records::RecordKind;

/// The first eight bytes of a document's id: short enough to be part of every key, long enough that honest documents practically
/// never share one (one chance in 37 million among a million documents). Two that do only share a bucket; nothing mixes them up,
/// because every record says its whole document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(pub [u8; 8]);

impl Group {
    /// The group of a document.
    #[must_use]
    pub fn of(document: &ContentId) -> Self {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&document.0[..8]);
        Self(bytes)
    }

    /// Which of the 256 shards the document belongs to: the first byte.
    #[must_use]
    pub const fn shard(&self) -> u8 {
        self.0[0]
    }
}

/// Which of the three sets a record belongs to. The numbers are on disk and on the wire: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Lane {
    /// Signed erasures and receipts.
    Statements = 0,
    /// Signed changes of the documents that are placed by shards: what persons write, and what is bulky.
    Envelopes = 1,
    /// Signed changes of the documents that every member needs in order to work, whatever its role: members, characters, stops of
    /// the service, settings, models.
    Common = 2,
}

impl Lane {
    /// Every lane, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Statements, Self::Envelopes, Self::Common];

    /// The lane of a document's changes. By its kind alone, so that it is known from any one of its envelopes.
    #[must_use]
    pub const fn of(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Member
            | RecordKind::Character
            | RecordKind::Service
            | RecordKind::Settings
            | RecordKind::Model => Self::Common,
            RecordKind::Account
            | RecordKind::Credential
            | RecordKind::Session
            | RecordKind::Claim
            | RecordKind::Outbox
            | RecordKind::Alert
            | RecordKind::Report
            | RecordKind::Audit
            | RecordKind::Complaint => Self::Envelopes,
        }
    }

    /// Whether its documents are placed by shards; those of the others are held by every member.
    #[must_use]
    pub const fn is_sharded(self) -> bool {
        matches!(self, Self::Envelopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_the_beginning_of_the_id_and_lanes_keep_their_numbers() {
        let id = ContentId(std::array::from_fn(|byte| byte as u8));
        assert_eq!(Group::of(&id), Group([0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(Group([9, 1, 2, 3, 4, 5, 6, 7]).shard(), 9);
        assert_eq!(Lane::ALL.map(|lane| lane as u8), [0, 1, 2]);
    }
}
