//! Files by their content: models, pictures, backups, reports, fetched from whoever has them.
//!
//! A blob is named by the blake3 hash of its bytes ([`BlobId`]). blake3 is a tree of hashes, so each group of 16 KiB can be verified
//! alone, against nothing but the name: a download takes ranges from several nodes at once, a wrong byte is found in the group it is
//! in, and what was verified stays verified after a crash.
//!
//! ## Parts
//! - `tree`: which hashes a range needs, and the check of one group; pure.
//! - `groups`: a set of groups, as bits.
//! - `store`: a directory of whole and partial blobs, bounded in number and bytes.
//! - `wire`: the frames of [`Protocol::BLOB`](crate::Protocol::BLOB); pure.
//! - `pace`: how fast bulk may go, and that it makes room for tokens.
//! - `serve`: uploads.
//! - `schedule`: which range is asked of whom; pure. `fetch` carries it out.
//!
//! ## Journeys
//! *A download*: [`fetch`] asks each source what it holds -> one source proves the size with the last group -> the schedule hands out
//! ranges -> each source's task verifies group by group -> one writer puts them on disk and reports back to the schedule -> the last
//! group makes the blob whole.
//!
//! *A bad source*: a group does not verify -> that source is dropped for good and its ranges go to the others; what it sent before
//! was verified and stays.
//!
//! *A bad disk*: an upload verifies what it reads -> a group that does not match is marked missing -> the next [`fetch`] brings it
//! again.

mod fetch;
mod groups;
mod pace;
mod schedule;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod wire;

use std::{fmt, io, path::PathBuf};

use keys::{ContentId, NodeId};
use serde::{Deserialize, Serialize};

pub(crate) use self::pace::TokenStream;
pub use self::{
    fetch::{Fetched, Progress, SourceProgress, SourceState, fetch},
    pace::{Pace, Rate, TokenStreams},
    serve::serve,
    store::{BlobLimits, BlobStatus, BlobStore, BlobSummary},
    tree::GROUP_BYTES,
};
use crate::limits::BLOB_BYTES_MAX;

/// The name of a blob: the blake3 hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub ContentId);

impl fmt::Display for BlobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl BlobId {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(ContentId::of(bytes))
    }

    /// Reads the 64 hexadecimal digits that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ContentId::parse(text).map(Self)
    }
}

/// Why something with blobs did not work.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob here.
    #[error("blob {0} is not here")]
    Unknown(BlobId),
    /// Only a part of it is here.
    #[error("blob {0} is here only in part")]
    Incomplete(BlobId),
    /// It is being fetched.
    #[error("blob {0} is being fetched")]
    InUse(BlobId),
    /// No room.
    #[error("{needed} bytes do not fit: blobs may take {limit} bytes and take {used}")]
    Full {
        /// Bytes of the blob.
        needed: u64,
        /// Bytes taken.
        used: u64,
        /// Bytes that all blobs may take.
        limit: u64,
    },
    /// No room for another blob, however small.
    #[error("there are {limit} blobs already")]
    TooMany {
        /// Blobs that there may be.
        limit: usize,
    },
    /// Larger than any blob.
    #[error("a blob may have {BLOB_BYTES_MAX} bytes, not {0}")]
    TooLarge(u64),
    /// The file was written while it was read, or since it was added.
    #[error("{0} has changed; add it again")]
    Changed(PathBuf),
    /// What is said to be the blob has other bytes there: these groups of 16 KiB are missing now.
    #[error("blob {blob} was damaged on disk from group {first} on, {count} groups; they count as missing now")]
    Damaged {
        /// The blob.
        blob: BlobId,
        /// First bad group.
        first: u64,
        /// Bad groups.
        count: u64,
    },
    /// Nobody who was asked could give what is missing.
    #[error("{missing} bytes of blob {blob} could not be had: {}", reasons(.tried))]
    NoSource {
        /// The blob.
        blob: BlobId,
        /// What is missing; what came is kept.
        missing: u64,
        /// Whom we asked, and how it ended.
        tried: Vec<(NodeId, SourceState)>,
    },
    /// The process stops, or the code that speaks with the disk failed.
    #[error("reading and writing blobs was cut short")]
    Stopped,
    /// The disk or the system.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn reasons(tried: &[(NodeId, SourceState)]) -> String {
    let one = |(node, state): &(NodeId, SourceState)| format!("node {}: {state}", node.short());
    match tried {
        [] => "there was nobody to ask".to_owned(),
        tried => tried.iter().map(one).collect::<Vec<_>>().join("; "),
    }
}
