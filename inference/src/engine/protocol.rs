//! What a node and its engine process say to each other over the child's standard input and output: frames of a length, a version and
//! a message in postcard, each of bounded size.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::{
    Embedding, Finished, GenerationError, TokenProbability,
    cache::{Conversation, TokenId},
    calibration::Profile,
    sampling::Sampling,
    state::{Look, Part, StateError},
    worker::backends::Backends,
};

/// First byte of every frame. Both ends are the same program, unless it was replaced while the node ran.
const VERSION: u8 = 6;

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// First of all: the model.
    Load(Load),
    /// Begin a generation.
    Generate(Box<Order>),
    /// End a generation.
    Stop { id: u64 },
    /// The meaning of a text as numbers.
    Embed { id: u64, text: String },
    /// What is computed of a prompt.
    Look(Box<Looking>),
    /// The state of a part, as far as it is computed.
    Export { id: u64, part: Part },
    /// Take over a state of so many bytes, which come in pieces.
    Adopt { id: u64, part: Part, bytes: u64 },
    /// The next piece of it.
    Piece { id: u64, piece: Bytes },
}

/// A prompt that is asked about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Looking {
    pub(crate) id: u64,
    pub(crate) conversation: Conversation,
    pub(crate) prompt: String,
    pub(crate) card_bytes: u32,
    /// Tokens of the answer that are there already.
    pub(crate) accepted: Vec<TokenId>,
}

/// Bytes that travel as they are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Bytes;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Whole)
    }
}

/// How to load a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) path: String,
    pub(crate) slots: u32,
    pub(crate) context_tokens: u32,
    /// Numbers of threads to choose from.
    pub(crate) threads: Vec<u32>,
    pub(crate) micro_batch: u32,
    pub(crate) is_cache_small: bool,
    /// Ordinary memory for conversations that have to leave the context.
    pub(crate) parked_bytes: u64,
    /// What was measured at an earlier load.
    pub(crate) profile: Option<Profile>,
}

/// A generation for the child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) conversation: Conversation,
    pub(crate) prompt: String,
    /// So many bytes at the beginning of the prompt are the card.
    pub(crate) card_bytes: u32,
    /// Bytes of the prompt that are the person's last line, from and to.
    pub(crate) line: Option<(u32, u32)>,
    pub(crate) sampling: Sampling,
    /// Tokens of the answer that were made elsewhere: it goes on after them.
    pub(crate) accepted: Vec<TokenId>,
    /// It must be over after so many milliseconds.
    pub(crate) deadline_ms: u64,
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// The model is loaded and measured.
    Ready(Box<Loaded>),
    /// The model cannot be loaded.
    LoadFailed { reason: String },
    /// It was measured again, and its states are laid out like this since.
    Measured {
        profile: Profile,
        state_layout: Option<[u8; 32]>,
    },
    /// Nothing new, but alive.
    Beat,
    /// A token, and what came of it: together, so that no text is ever there without its token, nor twice. The end of an answer may say
    /// what was held back without a token.
    Said {
        id: u64,
        token: Option<TokenId>,
        text: String,
        thought: String,
    },
    /// How likely a token was.
    Probability { id: u64, token: TokenProbability },
    /// A generation is finished.
    Finished { id: u64, finished: Finished },
    /// A generation failed.
    Failed { id: u64, error: GenerationError },
    /// The meaning of a text, or why there is none.
    Embedding {
        id: u64,
        result: Result<Embedding, GenerationError>,
    },
    /// What is computed of a prompt.
    Looked { id: u64, result: Result<Look, StateError> },
    /// A state of so many bytes and its tokens, which comes in pieces; or why there is none.
    Exporting {
        id: u64,
        result: Result<(Part, u64), StateError>,
    },
    /// The next piece of it.
    Piece { id: u64, piece: Bytes },
    /// Whether a state was taken over.
    Adopted { id: u64, result: Result<(), StateError> },
}

/// What the child knows of the model.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) context_tokens: u32,
    pub(crate) template: Option<String>,
    pub(crate) control_tokens: Vec<String>,
    pub(crate) begin_token: String,
    pub(crate) end_token: String,
    pub(crate) profile: Profile,
    /// Hash of how its states are laid out; nothing where they cannot be handed off.
    pub(crate) state_layout: Option<[u8; 32]>,
    /// What computes, where that is not inside the program.
    pub(crate) backends: Backends,
}

/// A frame that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("the other end speaks version {0} of the engine's protocol, this one {VERSION}")]
    Version(u8),
    #[error("a frame of the engine's protocol is damaged")]
    Damaged,
}

/// The body of a frame.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(message, vec![VERSION]).unwrap_or_default()
}

/// The message in the body of a frame.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, ProtocolError> {
    match body.split_first() {
        Some((&VERSION, message)) => postcard::from_bytes(message).map_err(|_| ProtocolError::Damaged),
        Some((version, _)) => Err(ProtocolError::Version(*version)),
        None => Err(ProtocolError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_another_version_and_damaged_ones_are_refused() {
        let mut frame = encode(&ToWorker::Stop { id: 7 });
        assert!(matches!(decode(&frame), Ok(ToWorker::Stop { id: 7 })));
        let piece = Bytes(vec![7, 200, 0]);
        let sent = encode(&FromWorker::Piece {
            id: 7,
            piece: piece.clone(),
        });
        assert!(matches!(decode(&sent), Ok(FromWorker::Piece { id: 7, piece: read }) if read == piece));
        assert_eq!(decode::<ToWorker>(&frame[..1]).unwrap_err(), ProtocolError::Damaged);
        assert_eq!(decode::<ToWorker>(&[]).unwrap_err(), ProtocolError::Damaged);
        frame[0] = 1;
        assert_eq!(decode::<ToWorker>(&frame).unwrap_err(), ProtocolError::Version(1));
    }
}
