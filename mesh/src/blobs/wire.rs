//! What is said about blobs, as frames: a version, then postcard. Pure: bytes in, meaning or nothing out.
//!
//! One stream carries one conversation between a node that fetches and one that has. Questions may be sent ahead; they are answered
//! in order, so that a line with a long round trip stays full. `Keep` takes back the end of a range that another node will give.

use serde::{Deserialize, Serialize};

use super::{
    BlobId,
    groups::Groups,
    tree::{GROUP_BYTES, groups_of},
};
use crate::{
    frame,
    limits::{BLOB_ASK_GROUPS_MAX, BLOB_BYTES_MAX, BLOB_RUNS_MAX},
};

/// First byte of every frame.
const VERSION: u8 = 1;

/// What the node says that fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Which groups of it do you have?
    Have { blob: BlobId },
    /// Send these groups. The number names the question.
    Get {
        ask: u32,
        blob: BlobId,
        first: u64,
        count: u64,
    },
    /// Only the first `count` groups of that question are wanted now.
    Keep { ask: u32, count: u64 },
}

/// Why there is no more to come for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// All that was asked for was sent, or all that is still wanted.
    Sent,
    /// The rest is not here.
    Missing,
}

/// What the node says that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer<'a> {
    /// Too many are being served; ask later.
    Busy,
    /// Nothing of it is here.
    Nothing,
    /// The size of the blob as it claims, and first and count of each run of groups that is here, lowest first.
    Holds { size: u64, runs: Vec<(u64, u64)> },
    /// The groups of a question follow.
    Begin { ask: u32, size: u64 },
    /// The next group: the pairs of hashes that were not sent yet, then its bytes.
    Group(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// Nothing more comes for this question.
    End { ask: u32, end: End },
}

/// The same on the wire as a list of bytes, and written at once instead of byte by byte.
fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// A question.
pub(super) fn request(request: &Request) -> Vec<u8> {
    encode(request)
}

/// An answer.
pub(super) fn answer(answer: &Answer<'_>) -> Vec<u8> {
    encode(answer)
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    frame::encode(VERSION, message)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    frame::decode(VERSION, bytes)
}

/// Reads a question; what no honest node asks is nothing.
pub(super) fn read_request(bytes: &[u8]) -> Option<Request> {
    let request = decode(bytes)?;
    match &request {
        Request::Get { first, count, .. } => {
            let end = first.checked_add(*count)?;
            let bounded = (1..=BLOB_ASK_GROUPS_MAX).contains(count) && end <= groups_of(BLOB_BYTES_MAX);
            bounded.then_some(request)
        }
        Request::Have { .. } | Request::Keep { .. } => Some(request),
    }
}

/// Reads an answer; sizes and runs that no blob can have are nothing.
pub(super) fn read_answer(bytes: &[u8]) -> Option<Answer<'_>> {
    let answer = decode(bytes)?;
    let possible = match &answer {
        Answer::Holds { size, runs } => *size <= BLOB_BYTES_MAX && runs_fit(*size, runs),
        Answer::Begin { size, .. } => *size <= BLOB_BYTES_MAX,
        Answer::Group(sent) => sent.len() as u64 <= GROUP_BYTES + 64 * 64,
        Answer::Busy | Answer::Nothing | Answer::End { .. } => true,
    };
    possible.then_some(answer)
}

fn runs_fit(size: u64, runs: &[(u64, u64)]) -> bool {
    let mut at = 0;
    let ordered = runs.iter().all(|(first, count)| {
        let fits = *first >= at && *count > 0;
        at = first.saturating_add(*count);
        fits && at <= groups_of(size)
    });
    ordered && runs.len() <= BLOB_RUNS_MAX
}

/// What a store holds, as an answer. Of a very scattered part only the first runs are told.
pub(super) fn holds(size: u64, groups: Option<&Groups>) -> Answer<'static> {
    let all = groups_of(size);
    let runs = match groups {
        None => vec![(0, all)],
        Some(groups) => {
            let runs = groups.runs().map(|run| (run.start, run.end - run.start));
            runs.take(BLOB_RUNS_MAX).collect()
        }
    };
    Answer::Holds { size, runs }
}

/// For whoever tries bytes: reads a question and writes what was read.
pub(crate) fn request_again(bytes: &[u8]) -> Option<Vec<u8>> {
    read_request(bytes).map(|read| request(&read))
}

/// The same of an answer.
pub(crate) fn answer_again(bytes: &[u8]) -> Option<Vec<u8>> {
    read_answer(bytes).map(|read| answer(&read))
}

/// A question of each kind.
pub(crate) fn request_examples() -> Vec<(String, Vec<u8>)> {
    let blob = BlobId::of(b"example");
    let (ask, first, count) = (1, 2, 3);
    [
        ("have", Request::Have { blob }),
        (
            "get",
            Request::Get {
                ask,
                blob,
                first,
                count,
            },
        ),
        ("keep", Request::Keep { ask, count }),
    ]
    .map(|(name, read)| (name.to_owned(), request(&read)))
    .into()
}

/// An answer of each kind.
pub(crate) fn answer_examples() -> Vec<(String, Vec<u8>)> {
    let (ask, size, runs) = (1, 40_000, vec![(0, 2)]);
    [
        ("busy", Answer::Busy),
        ("nothing", Answer::Nothing),
        ("holds", Answer::Holds { size, runs }),
        ("begin", Answer::Begin { ask, size }),
        ("group", Answer::Group(b"example")),
        ("end", Answer::End { ask, end: End::Sent }),
    ]
    .map(|(name, read)| (name.to_owned(), answer(&read)))
    .into()
}

#[cfg(test)]
mod tests {
    use keys::ContentId;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::BLOB_FRAME_BYTES_MAX;

    const BLOB: BlobId = BlobId(ContentId([7; 32]));

    #[test]
    fn frames_keep_their_bytes() {
        let get = Request::Get {
            ask: 2,
            blob: BLOB,
            first: 300,
            count: 64,
        };
        let golden = [
            (Request::Have { blob: BLOB }, [&[1, 0][..], &[7; 32]].concat()),
            (get, [&[1, 1, 2][..], &[7; 32], &[0xac, 2, 64]].concat()),
            (Request::Keep { ask: 2, count: 9 }, vec![1, 2, 2, 9]),
        ];
        for (message, bytes) in golden {
            assert_eq!(request(&message), bytes);
            assert_eq!(read_request(&bytes), Some(message));
        }
        let runs = vec![(0, 1), (3, 2)];
        let golden = [
            (Answer::Busy, vec![1, 0]),
            (Answer::Nothing, vec![1, 1]),
            (
                Answer::Holds { size: 80_000, runs },
                vec![1, 2, 0x80, 0xf1, 4, 2, 0, 1, 3, 2],
            ),
            (Answer::Begin { ask: 1, size: 5 }, vec![1, 3, 1, 5]),
            (Answer::Group(b"abc"), b"\x01\x04\x03abc".to_vec()),
            (
                Answer::End {
                    ask: 1,
                    end: End::Missing,
                },
                vec![1, 5, 1, 1],
            ),
        ];
        for (message, bytes) in golden {
            assert_eq!(answer(&message), bytes);
            assert_eq!(read_answer(&bytes), Some(message));
        }
    }

    #[test]
    fn what_no_blob_can_be_is_refused() {
        let get = |first, count| {
            read_request(&request(&Request::Get {
                ask: 0,
                blob: BLOB,
                first,
                count,
            }))
        };
        assert!(get(0, BLOB_ASK_GROUPS_MAX).is_some());
        for (first, count) in [(0, 0), (0, BLOB_ASK_GROUPS_MAX + 1), (u64::MAX, 1), (1 << 40, 1)] {
            assert_eq!(get(first, count), None);
        }
        let holds = |size, runs: &[(u64, u64)]| {
            read_answer(&answer(&Answer::Holds {
                size,
                runs: runs.to_vec(),
            }))
            .is_some()
        };
        assert!(holds(100_000, &[(0, 2), (2, 5)]) && holds(0, &[(0, 1)]) && holds(9, &[]));
        for (size, runs) in [
            (BLOB_BYTES_MAX + 1, vec![]),
            (u64::MAX, vec![(0, 1)]),
            (100_000, vec![(0, 8)]),
            (100_000, vec![(0, 0)]),
            (100_000, vec![(3, 1), (2, 1)]),
            (100_000, vec![(1, u64::MAX)]),
            (
                BLOB_BYTES_MAX,
                (0..=BLOB_RUNS_MAX as u64).map(|run| (run * 2, 1)).collect(),
            ),
        ] {
            assert!(!holds(size, &runs), "{size} {runs:?}");
        }
    }

    #[test]
    fn the_largest_frames_fit() {
        let runs = (0..BLOB_RUNS_MAX as u64)
            .map(|run| (groups_of(BLOB_BYTES_MAX) - 2 * run - 1, 1))
            .rev();
        let holds = Answer::Holds {
            size: BLOB_BYTES_MAX,
            runs: runs.collect(),
        };
        let sent = vec![0; GROUP_BYTES as usize + 64 * 64];
        for frame in [answer(&holds), answer(&Answer::Group(&sent))] {
            assert!(frame.len() <= BLOB_FRAME_BYTES_MAX, "{}", frame.len());
            assert!(read_answer(&frame).is_some());
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_means_something_small(mut bytes in prop::collection::vec(any::<u8>(), 0..200), version: bool) {
            if let (true, Some(first)) = (version, bytes.first_mut()) {
                *first = VERSION;
            }
            if let Some(Request::Get { first, count, .. }) = read_request(&bytes) {
                prop_assert!(first + count <= groups_of(BLOB_BYTES_MAX) && count <= BLOB_ASK_GROUPS_MAX);
            }
            if let Some(Answer::Holds { size, runs }) = read_answer(&bytes) {
                prop_assert!(runs.iter().all(|(first, count)| first + count <= groups_of(size)));
            }
        }
    }
}
