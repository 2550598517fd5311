//! An engine: one loaded model in a child process of the same program, behind a cloneable handle.
//!
//! A child, because llama.cpp aborts the whole process on some inputs and the operating system's memory killer takes a process,
//! too: either ends one engine, which is started again with growing waits, and no node.

pub mod cache;
pub mod calibration;
pub mod gate;
pub mod gguf;
pub mod grammar;
mod llama;
pub mod memory;
pub mod mock;
pub mod model;
pub mod output;
pub(crate) mod protocol;
mod running;
pub mod sampling;
pub mod schedule;
pub mod schema;
pub mod state;
pub mod upstream;
pub mod worker;

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

pub use model::{ModelError, ModelSource};
pub use sampling::Sampling;

use self::{
    cache::{Conversation, TokenId},
    calibration::Profile,
    grammar::GrammarError,
    sampling::SamplingError,
    state::{LoadedFile, StateCommand},
    upstream::UpstreamError,
};
use crate::{
    admission::{Admission, Asked, Fairness, Place, Standing},
    limits::{ANSWER_TOKENS_MAX, EMBEDDING_BYTES_MAX, ENGINE_COMMAND_QUEUE, GENERATION_TIMEOUT},
    template::{self, ChatFormat, ChatMessage, Exchange},
};

/// How to run a model.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The program that serves `engine`: this one.
    pub program: PathBuf,
    /// Which model.
    pub model: ModelSource,
    /// Where the built-in model is unpacked and what was measured is kept.
    pub models_directory: PathBuf,
    /// Sequences at once.
    pub slots: u32,
    /// Context of each sequence in tokens.
    pub context_tokens: u32,
    /// Threads; `None` measures which number is best.
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
    /// How it wants a chat written; `None` where the engine takes messages as they are.
    pub format: Option<ChatFormat>,
    /// Whether it reports [`EngineEvent::Token`]s and goes on from them.
    pub tells_tokens: bool,
    /// How fast it is, measured on this machine; `None` where that is not known.
    pub profile: Option<Profile>,
    /// Hash of how the states of its sequences are laid out; `None` where they cannot be handed off.
    pub state_layout: Option<[u8; 32]>,
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

/// A generation for the engine.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Whose conversation it is; turns of one conversation reuse what is computed, and nobody else does.
    pub account: [u8; 32],
    /// Which conversation of that account.
    pub session: [u8; 32],
    /// What to continue.
    pub input: Input,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Tokens of the answer that were made elsewhere, by the same model from the same input and sampling: it goes on after them, as if
    /// it had made them itself, and says nothing of them again. Only for engines that report [`EngineEvent::Token`].
    pub accepted: Vec<TokenId>,
    /// It fails when it is not over after this time.
    pub deadline: Duration,
}

/// What a generation continues.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A chat, which the model's template turns into text.
    Chat(Vec<ChatMessage>),
    /// A chat of a program, perhaps with tools.
    Exchange(Exchange),
    /// Text as it is. So many bytes at its beginning are shared by many conversations.
    Text {
        /// The whole of it.
        prompt: String,
        /// Bytes of the shared beginning.
        card_bytes: usize,
    },
}

/// A generation as a backend gets it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) conversation: Conversation,
    pub(crate) messages: Vec<ChatMessage>,
    pub(crate) prompt: String,
    pub(crate) card_bytes: usize,
    /// Where in the prompt the person's last line is, of whose answer it is the question.
    pub(crate) line: Option<Range<usize>>,
    pub(crate) sampling: Sampling,
    pub(crate) accepted: Vec<TokenId>,
    pub(crate) deadline: Duration,
}

/// What an engine reports of a generation.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineEvent {
    /// The next piece of text.
    Text(String),
    /// The next piece of what a reasoning model thinks before it answers; never part of the answer.
    Thought(String),
    /// A token was made; what it says came before this.
    Token(TokenId),
    /// How likely a token was, where that was asked for.
    Probability(TokenProbability),
    /// It is finished.
    Finished(Finished),
    /// It failed; nothing more comes.
    Failed(GenerationError),
}

/// How likely a token was, and what else was.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TokenProbability {
    /// The token's text; of half a character something like it.
    pub text: String,
    /// The logarithm of its probability, before any truncation.
    pub logprob: f32,
    /// The likeliest tokens with theirs.
    pub alternatives: Vec<(String, f32)>,
}

/// The meaning of a text as numbers.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Embedding {
    /// The numbers; together of length 1.
    pub values: Vec<f32>,
    /// Tokens of the text.
    pub tokens: u32,
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
    /// A setting that no sampler can work with.
    #[error(transparent)]
    Sampling(SamplingError),
    /// A grammar or schema that cannot be followed.
    #[error("the grammar cannot be used: {0}")]
    Grammar(GrammarError),
    /// It was not over in time.
    #[error("it was not over in time")]
    Deadline,
    /// The server that computes for this engine failed.
    #[error("the upstream server failed: {0}")]
    Upstream(UpstreamError),
    /// This engine cannot do that.
    #[error("this engine cannot do that: {0}")]
    Unsupported(String),
    /// Whoever asked goes on with it elsewhere.
    #[error("it was given up by who asked")]
    GivenUp,
    /// So many wait already that there is no room for one more; where it would have stood.
    #[error("{ahead} questions wait already")]
    Full {
        /// How many would have gone before it.
        ahead: u32,
        /// For how many milliseconds it would have waited, about.
        wait_ms: u32,
    },
}

impl GenerationError {
    /// Whether another node may well do what this one did not.
    #[must_use]
    pub(crate) const fn says_nothing_of_the_question(&self) -> bool {
        matches!(
            self,
            Self::NotReady | Self::Busy | Self::Full { .. } | Self::Died | Self::Engine(_) | Self::Upstream(_)
        )
    }
}

pub(crate) enum Command {
    Generate(Box<Task>, oneshot::Sender<Result<Running, GenerationError>>),
    Stop(u64),
    Embed(String, oneshot::Sender<Result<Embedding, GenerationError>>),
    State(StateCommand),
}

/// What computes: llama.cpp in a process of its own, a server elsewhere, or a mock. It owns status and load, and ends with the queue.
pub(crate) trait Backend: Send + 'static {
    /// Serves commands until nobody needs the engine any more.
    fn run(self, queue: mpsc::Receiver<Command>) -> impl Future<Output = ()> + Send;
}

/// A generation under way. Dropping it cancels it.
#[derive(Debug)]
pub struct Running {
    id: u64,
    events: mpsc::Receiver<EngineEvent>,
    commands: mpsc::WeakSender<Command>,
    pulse: watch::Receiver<u64>,
}

impl Running {
    /// A generation on another node, and where to put what it says. It is ended by dropping it, and has no pulse.
    pub(crate) fn elsewhere(queue: usize) -> (mpsc::Sender<EngineEvent>, Self) {
        let (sender, events) = mpsc::channel(queue);
        let (commands, _) = mpsc::channel(1);
        let running = Self {
            id: 0,
            events,
            commands: commands.downgrade(),
            pulse: watch::channel(0).1,
        };
        (sender, running)
    }

    /// Changes whenever what computes says that it lives, also while it has nothing to say of this generation.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.pulse.clone()
    }

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
    /// How often the engine had to be started again.
    pub restarts: u64,
    /// The process that computes; `None` where there is none, or where it computes elsewhere.
    pub process: Option<u32>,
}

/// Handle to an engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<EngineStatus>,
    load: watch::Receiver<EngineLoad>,
    admission: Admission,
    memory: u64,
    /// Where this program itself has loaded the model.
    file: Option<LoadedFile>,
}

impl Engine {
    /// Starts an engine; loading happens in the background, see [`Engine::status`]. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the model file cannot be read, is no GGUF, or cannot fit this machine's memory.
    pub fn start(settings: EngineSettings) -> Result<Self, ModelError> {
        Self::start_within(settings, None)
    }

    /// The same in so many bytes of memory, as on a machine that has no more; in what the machine has where that is not said.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_within(settings: EngineSettings, room: Option<u64>) -> Result<Self, ModelError> {
        let (mut memory, mut file) = (0, None);
        let (commands, queue) = mpsc::channel(ENGINE_COMMAND_QUEUE);
        model::check_settings(&settings)?;
        let initial = match settings.model {
            ModelSource::None => EngineStatus::None,
            _ => EngineStatus::Starting,
        };
        let (table, status, load) = running::Running::new(initial, commands.downgrade());
        match settings.model.clone() {
            ModelSource::None => {}
            ModelSource::Mock(script) => drop(tokio::spawn(mock::Mock::new(script, table).run(queue))),
            ModelSource::Upstream(server) => {
                let upstream = upstream::Upstream::new(server, &settings, table)?;
                drop(tokio::spawn(upstream.run(queue)));
            }
            ModelSource::Catalogue(name) => return Err(ModelError::NotFetched(name)),
            ModelSource::BuiltIn | ModelSource::File(_) | ModelSource::Named { .. } => {
                let prepared = model::prepare(&settings, room)?;
                memory = prepared.memory();
                file = Some(LoadedFile::new(prepared.path.clone()));
                drop(tokio::spawn(llama::Llama::new(settings, prepared, table).run(queue)));
            }
        }
        let admission = Admission::new(Fairness::PerPerson);
        Ok(Self {
            commands,
            status,
            load,
            admission,
            memory,
            file,
        })
    }

    /// Bytes of memory that are set aside for it; 0 where it computes elsewhere.
    #[must_use]
    pub(crate) const fn memory(&self) -> u64 {
        self.memory
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

    /// Generations that run or wait for a place.
    #[must_use]
    pub fn generations(&self) -> u32 {
        let waiting = *self.admission.questions().borrow();
        self.load.borrow().generations.saturating_add(waiting)
    }

    /// Questions of persons that wait for a place, always current.
    #[must_use]
    pub fn questions_waiting(&self) -> watch::Receiver<u32> {
        self.admission.questions()
    }

    /// Waits in turn for a place in which to generate, and tells where it stands meanwhile.
    ///
    /// # Errors
    /// When no model is loaded, or there is no room to wait.
    pub async fn place(&self, asked: Asked, tell: impl Fn(Standing)) -> Result<Place, GenerationError> {
        let model = self.model().ok_or(GenerationError::NotReady)?;
        let mut status = self.status.clone();
        let waiter = self.admission.enter(model.slots as usize, asked);
        tokio::select! {
            biased;
            placed = waiter.place(tell) => placed.map_err(|standing| GenerationError::Full {
                ahead: standing.ahead,
                wait_ms: standing.wait_ms(),
            }),
            _ = status.wait_for(|status| !matches!(status, EngineStatus::Ready(_))) => Err(GenerationError::NotReady),
        }
    }

    /// Begins a generation, for whoever has a [place](Self::place).
    ///
    /// # Errors
    /// When no model is loaded, the engine is full, or what is asked for makes no sense; it is never queued in silence.
    pub async fn generate(&self, generation: Generation) -> Result<Running, GenerationError> {
        let model = self.model().ok_or(GenerationError::NotReady)?;
        generation.sampling.check().map_err(GenerationError::Sampling)?;
        let task = task(&model, generation)?;
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Generate(Box::new(task), reply))
            .await
            .map_err(|_| GenerationError::NotReady)?;
        answer.await.unwrap_or(Err(GenerationError::Died))
    }

    /// The meaning of a text as numbers, of length 1. Those of different models cannot be compared.
    ///
    /// # Errors
    /// When no model is loaded, it gives none, or the text is too long for it.
    pub async fn embed(&self, text: &str) -> Result<Embedding, GenerationError> {
        let end = text.floor_char_boundary(EMBEDDING_BYTES_MAX);
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Embed(text[..end].to_owned(), reply))
            .await
            .map_err(|_| GenerationError::NotReady)?;
        answer.await.unwrap_or(Err(GenerationError::Died))
    }
}

/// Applies the model's template, if it has one, and finds out which part is the card.
fn task(model: &ModelInfo, generation: Generation) -> Result<Task, GenerationError> {
    if !model.tells_tokens && !generation.accepted.is_empty() {
        return Err(GenerationError::Unsupported("going on with an answer".into()));
    }
    if generation.accepted.len() > ANSWER_TOKENS_MAX as usize {
        return Err(GenerationError::Unsupported("an answer that long".into()));
    }
    let (messages, prompt, card_bytes) = match (generation.input, &model.format) {
        (Input::Chat(messages), Some(format)) => {
            let failed = |error: template::TemplateError| GenerationError::Engine(error.to_string());
            let prompt = template::render(format, &messages).map_err(failed)?;
            let card = template::card_bytes(format, &messages, &prompt);
            (messages, prompt, card)
        }
        (Input::Chat(messages), None) => (messages, String::new(), 0),
        (Input::Exchange(exchange), Some(format)) => (Vec::new(), rendered(format, &exchange)?, 0),
        (Input::Exchange(_), None) => return Err(GenerationError::Unsupported("tools".into())),
        (Input::Text { prompt, card_bytes }, Some(_)) => (Vec::new(), prompt, card_bytes),
        (Input::Text { .. }, None) => return Err(GenerationError::Unsupported("text that is no chat".into())),
    };
    let line = last_line(&messages, &prompt);
    let card = blake3::hash(prompt.get(..card_bytes).unwrap_or_default().as_bytes());
    Ok(Task {
        conversation: Conversation {
            card: *card.as_bytes(),
            account: generation.account,
            session: generation.session,
        },
        messages,
        prompt,
        card_bytes,
        line,
        sampling: generation.sampling,
        accepted: generation.accepted,
        deadline: generation.deadline.min(GENERATION_TIMEOUT),
    })
}

fn rendered(format: &ChatFormat, exchange: &Exchange) -> Result<String, GenerationError> {
    template::render_exchange(format, exchange).map_err(|error| match error {
        template::ExchangeError::NoTools => GenerationError::Unsupported("tools".into()),
        template::ExchangeError::Template(error) => GenerationError::Engine(error.to_string()),
    })
}

/// Where in a rendered prompt the person's line is that it ends with; `None` where it ends otherwise or the template changed the line.
fn last_line(messages: &[ChatMessage], prompt: &str) -> Option<Range<usize>> {
    let line = messages.last().filter(|message| message.role == "user")?;
    let line = line.content.trim();
    let start = prompt.rfind(line).filter(|_| !line.is_empty())?;
    Some(start..start + line.len())
}
