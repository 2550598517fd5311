//! An engine: one loaded model in a child process of the same program, behind a cloneable handle.
//!
//! A child, because llama.cpp aborts the whole process on some inputs and the operating system's memory killer takes a process,
//! too: either ends one engine, which is started again with growing waits, and no node.

mod actor;
pub mod model;
pub(crate) mod protocol;
pub mod schedule;
pub mod worker;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};

pub use model::{ModelError, ModelSource};

use crate::{limits::ENGINE_COMMAND_QUEUE, template::ChatFormat};

/// How to run a model.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The program that serves `infer-worker`: this one.
    pub program: PathBuf,
    /// Which model.
    pub model: ModelSource,
    /// Where the built-in model is unpacked.
    pub models_directory: PathBuf,
    /// Sequences at once.
    pub slots: u32,
    /// Context of each sequence in tokens.
    pub context_tokens: u32,
    /// Threads; `None` chooses by model size and cores.
    pub threads: Option<u32>,
}

/// A loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// What people call it.
    pub name: String,
    /// Sequences at once.
    pub slots: u32,
    /// Context of each sequence in tokens.
    pub context_tokens: u32,
    /// How it wants a chat written.
    pub format: ChatFormat,
    /// Measured at load, prompt tokens per second.
    pub prefill_tokens_per_second: f64,
    /// Measured at load, generated tokens per second of one sequence.
    pub decode_tokens_per_second: f64,
}

/// What an engine is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineStatus {
    /// This node has no model, by choice.
    None,
    /// The model is being loaded.
    Starting,
    /// Ready to generate.
    Ready(Arc<ModelInfo>),
    /// It failed and will be started again.
    Failed {
        /// Why, in words for the operator.
        reason: String,
    },
}

/// How to choose tokens.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Makes a generation repeatable on equal builds.
    pub seed: u32,
    /// Tokens at most.
    pub tokens_max: u32,
    /// Characters at most.
    pub characters_max: u32,
}

/// A generation for the engine.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Generations with the same key continue one conversation and may reuse what is computed.
    pub key: u64,
    /// The text to continue, template applied.
    pub prompt: String,
    /// How to choose tokens.
    pub sampling: Sampling,
}

/// What an engine reports of a generation.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineEvent {
    /// The next piece of text.
    Text(String),
    /// It is finished.
    Finished(Finished),
    /// It failed; nothing more comes.
    Failed(GenerationError),
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of those, already computed from an earlier turn.
    pub reused_tokens: u32,
    /// Tokens generated.
    pub generated_tokens: u32,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FinishReason {
    /// The model said so.
    Complete,
    /// A length limit.
    Length,
    /// Someone stopped it.
    Stopped,
}

/// Why a generation did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum GenerationError {
    /// No model is loaded here.
    #[error("no model is loaded on this node")]
    NotReady,
    /// As many generations are running and waiting as are allowed.
    #[error("the engine is busy")]
    Busy,
    /// The prompt does not fit the context.
    #[error("the prompt has {tokens} tokens, {limit} fit")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: u32,
        /// Tokens that would fit.
        limit: u32,
    },
    /// llama.cpp refused.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// The engine's process ended.
    #[error("the engine's process ended")]
    Died,
}

pub(crate) enum Command {
    Generate(Generation, oneshot::Sender<Result<Running, GenerationError>>),
    Stop(u64),
}

/// A generation under way. Dropping it cancels it.
#[derive(Debug)]
pub struct Running {
    id: u64,
    events: mpsc::Receiver<EngineEvent>,
    commands: mpsc::WeakSender<Command>,
}

impl Running {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<EngineEvent> {
        self.events.recv().await
    }

    /// Ends the generation; what was generated stays, and [`FinishReason::Stopped`] follows.
    pub async fn stop(&self) {
        if let Some(commands) = self.commands.upgrade() {
            // A gone engine has stopped already.
            let _ = commands.send(Command::Stop(self.id)).await;
        }
    }
}

/// How busy an engine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineLoad {
    /// Generations running or waiting.
    pub generations: u32,
    /// Generations finished since the engine started.
    pub finished: u64,
}

/// Handle to an engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<EngineStatus>,
    load: watch::Receiver<EngineLoad>,
}

impl Engine {
    /// Starts an engine; loading happens in the background, see [`Engine::status`]. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the model file cannot be read, is no GGUF, or cannot fit this machine's memory.
    pub fn start(settings: EngineSettings) -> Result<Self, ModelError> {
        let (commands, queue) = mpsc::channel(ENGINE_COMMAND_QUEUE);
        let (load_sender, load) = watch::channel(EngineLoad::default());
        let prepared = model::prepare(&settings)?;
        let initial = if prepared.is_some() {
            EngineStatus::Starting
        } else {
            EngineStatus::None
        };
        let (status_sender, status) = watch::channel(initial);
        if let Some(prepared) = prepared {
            let actor = actor::Actor::new(settings, prepared, status_sender, load_sender, commands.downgrade());
            tokio::spawn(actor.run(queue));
        }
        Ok(Self { commands, status, load })
    }

    /// What the engine is doing, always current.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<EngineStatus> {
        self.status.clone()
    }

    /// How busy it is, always current.
    #[must_use]
    pub fn load(&self) -> watch::Receiver<EngineLoad> {
        self.load.clone()
    }

    /// The loaded model.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelInfo>> {
        match &*self.status.borrow() {
            EngineStatus::Ready(model) => Some(model.clone()),
            _ => None,
        }
    }

    /// Begins a generation.
    ///
    /// # Errors
    /// When no model is loaded or the engine is full; it is never queued in silence.
    pub async fn generate(&self, generation: Generation) -> Result<Running, GenerationError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Generate(generation, reply))
            .await
            .map_err(|_| GenerationError::NotReady)?;
        answer.await.unwrap_or(Err(GenerationError::Died))
    }
}
