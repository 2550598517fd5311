//! Reading what others hold: the frames between a node that needs documents and one that holds them, and the offer of what was
//! written far from its holders.
//!
//! *Ask*: documents by id, all of an account, or all of a kind, in some shards. The answer is any number of *Give*, each with a
//! batch of envelopes in an order in which they can be taken in; the last one says for which shards it speaks: what a holder does not
//! have of those is nowhere. The envelopes go through ordinary ingress.
//!
//! *Offer*: envelopes that the sender wrote and does not hold. The answer *Held* names those that the holder now has on disk.
//!
//! A frame is a version byte and postcard; everything is counted while it is read.

use keys::ContentId;
use serde::{Deserialize, Serialize};

use crate::{
    limits::{FETCH_DOCUMENTS_MAX, FETCH_FRAME_BYTES_MAX, PLACEMENT_OWN_OFFERED_MAX, RECONCILE_ENVELOPES_MAX},
    records::RecordKind,
    set::{Blob, Bounded, ShardSet},
};

/// First byte of a frame.
pub const FETCH_FRAME_VERSION: u8 = 1;

/// Digest over the envelopes that the asking node has of a document; zero where it has none.
pub type Known = [u8; 8];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ask {
    /// Documents by id, each with what is known of it already: one that is the same there is not sent.
    Documents(Vec<(ContentId, Known)>),
    /// Every document that is a person's data.
    OwnedBy(ContentId),
    /// Every document of a kind.
    OfKind(RecordKind),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFrame {
    /// A question.
    Ask {
        /// What for.
        what: Ask,
        /// In which shards.
        shards: ShardSet,
    },
    /// A batch of the answer.
    Give {
        /// Changes in an order in which they can be taken in.
        envelopes: Vec<Vec<u8>>,
        /// With the last batch: the shards asked for of which the sender has everything.
        answered: Option<ShardSet>,
    },
    /// What was written by the sender and belongs to the receiver.
    Offer(Vec<Vec<u8>>),
    /// What of an offer is held now, durably.
    Held(Vec<ContentId>),
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchFrameError {
    /// Larger than any frame.
    #[error("a fetch frame of {0} bytes, {FETCH_FRAME_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Empty, or of a version that this node does not speak.
    #[error("a fetch frame of another version")]
    Version,
    /// Not what a frame of this version looks like, or a list that is too long.
    #[error("a malformed fetch frame")]
    Malformed,
}

/// A frame as it travels.
#[derive(Serialize, Deserialize)]
enum Wire {
    Ask(WireAsk, ShardSet),
    Give(Bounded<Blob, RECONCILE_ENVELOPES_MAX>, Option<ShardSet>),
    Offer(Bounded<Blob, PLACEMENT_OWN_OFFERED_MAX>),
    Held(Bounded<ContentId, PLACEMENT_OWN_OFFERED_MAX>),
}

#[derive(Serialize, Deserialize)]
enum WireAsk {
    Documents(Bounded<(ContentId, Known), FETCH_DOCUMENTS_MAX>),
    OwnedBy(ContentId),
    OfKind(RecordKind),
}

fn blobs<const MAX: usize>(envelopes: &[Vec<u8>]) -> Bounded<Blob, MAX> {
    envelopes.iter().cloned().map(Blob).collect()
}

fn bytes<const MAX: usize>(blobs: Bounded<Blob, MAX>) -> Vec<Vec<u8>> {
    blobs.0.into_iter().map(|blob| blob.0).collect()
}

impl FetchFrame {
    /// The frame's bytes. What is over a limit is left out: nothing longer is sent than the other side would take.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = match self {
            Self::Ask { what, shards } => {
                let what = match what {
                    Ask::Documents(documents) => WireAsk::Documents(documents.iter().copied().collect()),
                    Ask::OwnedBy(account) => WireAsk::OwnedBy(*account),
                    Ask::OfKind(kind) => WireAsk::OfKind(*kind),
                };
                Wire::Ask(what, *shards)
            }
            Self::Give { envelopes, answered } => Wire::Give(blobs(envelopes), *answered),
            Self::Offer(envelopes) => Wire::Offer(blobs(envelopes)),
            Self::Held(ids) => Wire::Held(ids.iter().copied().collect()),
        };
        // Writing into a growing vector cannot fail.
        postcard::to_extend(&wire, vec![FETCH_FRAME_VERSION]).unwrap_or_default()
    }

    /// Reads a frame from outside.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(frame: &[u8]) -> Result<Self, FetchFrameError> {
        if frame.len() > FETCH_FRAME_BYTES_MAX {
            return Err(FetchFrameError::TooLarge(frame.len()));
        }
        let Some((&FETCH_FRAME_VERSION, body)) = frame.split_first() else {
            return Err(FetchFrameError::Version);
        };
        let Ok((wire, [])) = postcard::take_from_bytes::<Wire>(body) else {
            return Err(FetchFrameError::Malformed);
        };
        Ok(match wire {
            Wire::Ask(what, shards) => {
                let what = match what {
                    WireAsk::Documents(documents) => Ask::Documents(documents.0),
                    WireAsk::OwnedBy(account) => Ask::OwnedBy(account),
                    WireAsk::OfKind(kind) => Ask::OfKind(kind),
                };
                Self::Ask { what, shards }
            }
            Wire::Give(envelopes, answered) => Self::Give {
                envelopes: bytes(envelopes),
                answered,
            },
            Wire::Offer(envelopes) => Self::Offer(bytes(envelopes)),
            Wire::Held(ids) => Self::Held(ids.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<FetchFrame> {
        let id = ContentId([7; 32]);
        let some: ShardSet = [1, 200].into_iter().collect();
        let ask = |what| FetchFrame::Ask { what, shards: some };
        vec![
            ask(Ask::Documents(vec![(id, [1; 8]), (id, [0; 8])])),
            ask(Ask::OwnedBy(id)),
            ask(Ask::OfKind(RecordKind::Claim)),
            FetchFrame::Give {
                envelopes: vec![vec![1, 2, 3], vec![4]],
                answered: None,
            },
            FetchFrame::Give {
                envelopes: Vec::new(),
                answered: Some(some),
            },
            FetchFrame::Offer(vec![vec![9; 100]]),
            FetchFrame::Held(vec![id]),
        ]
    }

    #[test]
    fn a_frame_survives_the_wire_and_every_cut_is_refused() {
        for frame in frames() {
            let bytes = frame.encode();
            assert_eq!(FetchFrame::decode(&bytes), Ok(frame));
            for length in 0..bytes.len() {
                assert!(FetchFrame::decode(&bytes[..length]).is_err(), "cut at {length}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(FetchFrame::decode(&longer), Err(FetchFrameError::Malformed));
        }
        assert_eq!(FetchFrame::decode(&[]), Err(FetchFrameError::Version));
        assert_eq!(FetchFrame::decode(&[9, 0]), Err(FetchFrameError::Version));
        let huge = vec![1; FETCH_FRAME_BYTES_MAX + 1];
        assert_eq!(FetchFrame::decode(&huge), Err(FetchFrameError::TooLarge(huge.len())));
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_while_it_is_read() {
        let ids = |count| postcard::to_extend(&(3_u8, vec![[7_u8; 32]; count]), vec![1]).unwrap();
        assert!(FetchFrame::decode(&ids(PLACEMENT_OWN_OFFERED_MAX)).is_ok());
        let more = FetchFrame::decode(&ids(PLACEMENT_OWN_OFFERED_MAX + 1));
        assert_eq!(more, Err(FetchFrameError::Malformed));
        // A count of four thousand million with nothing behind it.
        assert_eq!(
            FetchFrame::decode(&[1, 2, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(FetchFrameError::Malformed)
        );
    }
}
