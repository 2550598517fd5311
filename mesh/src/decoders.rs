//! Every decoder of what comes from outside, by the name of its protocol, for whoever tries bytes on them.

use crate::{blobs, control, dialback, hints, join, liveness, lives, punch, topology, trust};

/// What bytes can be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// A frame of a control stream.
    Control,
    /// A frame of a trust stream.
    Trust,
    /// A frame of a stream about links.
    Links,
    /// A frame of a hints stream.
    Hints,
    /// A frame of the conversation before two nodes dial each other at once.
    Punch,
    /// A frame of a conversation about being dialled back.
    Dialback,
    /// A frame of a stream about who is there.
    Liveness,
    /// A section that says which process a node is.
    Life,
    /// A question about blobs.
    BlobRequest,
    /// An answer about blobs.
    BlobAnswer,
    /// A request of the join protocol.
    Join,
}

impl Decoder {
    /// Reads bytes as this and writes what was read again; `None` when they are not it.
    #[must_use]
    pub fn again(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Control => control::again(bytes),
            Self::Trust => trust::again(bytes),
            Self::Links => topology::exchange::again(bytes),
            Self::Hints => hints::stream::again(bytes),
            Self::Punch => punch::again(bytes),
            Self::Dialback => dialback::again(bytes),
            Self::Liveness => liveness::wire::again(bytes),
            Self::Life => lives::again(bytes),
            Self::BlobRequest => blobs::wire::request_again(bytes),
            Self::BlobAnswer => blobs::wire::answer_again(bytes),
            Self::Join => join::request_again(bytes),
        }
    }

    /// Honest frames with their names, the same at each call.
    #[must_use]
    pub fn examples(self) -> Vec<(String, Vec<u8>)> {
        match self {
            Self::Control => control::examples(),
            Self::Trust => trust::examples(),
            Self::Links => topology::exchange::examples(),
            Self::Hints => hints::stream::examples(),
            Self::Punch => punch::examples(),
            Self::Dialback => dialback::examples(),
            Self::Liveness => liveness::wire::examples(),
            Self::Life => lives::examples(),
            Self::BlobRequest => blobs::wire::request_examples(),
            Self::BlobAnswer => blobs::wire::answer_examples(),
            Self::Join => join::request_examples(),
        }
    }
}
