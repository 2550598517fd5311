//! What a node and its engine process say to each other over the child's standard input and output: length-prefixed postcard.

use serde::{Deserialize, Serialize};

use super::{Finished, GenerationError, Sampling};

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// First of all: the model.
    Load {
        path: String,
        slots: u32,
        context_tokens: u32,
        threads: u32,
    },
    /// Begin a generation.
    Generate {
        id: u64,
        key: u64,
        prompt: String,
        sampling: Sampling,
    },
    /// End a generation.
    Stop { id: u64 },
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// The model is loaded and measured.
    Ready(Loaded),
    /// The model cannot be loaded.
    LoadFailed { reason: String },
    /// The next piece of text of a generation.
    Text { id: u64, text: String },
    /// A generation is finished.
    Finished { id: u64, finished: Finished },
    /// A generation failed.
    Failed { id: u64, error: GenerationError },
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
    pub(crate) prefill_tokens_per_second: f64,
    pub(crate) decode_tokens_per_second: f64,
}
