//! One generation on this node, for a question of this node or of another: render, run, write the answer into the session.

use std::time::Duration;

use crdt::{
    Store, StoreError,
    records::session::{Ending, Message, Session, SessionEdit, Speaker},
};
use keys::{ContentId, NodeId, Timestamp};
use mesh::Mesh;
use tokio::sync::mpsc;

use crate::{
    engine::{
        Engine, EngineEvent, FinishReason, Generation, GenerationError, Input, ModelInfo, Running, cache::TokenId,
    },
    limits::{ANSWER_TOKENS_MAX, BEAT_EVERY, GENERATION_TIMEOUT, PROGRESS_EVERY, SESSION_WAIT},
    prompt,
    swarm::{FromGenerator, Request},
};

/// Whether this node, by its role, holds chats and can write an answer into one. A worker does not: whoever asked writes what it says.
pub(crate) fn writes_answers(mesh: &Mesh) -> bool {
    let roster = mesh.roster();
    roster
        .get(&mesh.node())
        .is_some_and(|member| member.roles.holds_data_keys())
}

/// Runs a request to its end and reports every step to `report`; `stop` ends it early and keeps what was said. When nobody listens
/// any more, the generation is cancelled. The answer, unless it failed; whoever called writes it down and reports the end.
pub(crate) async fn run(
    engine: &Engine,
    request: &Request,
    report: &mpsc::Sender<FromGenerator>,
    stop: impl Future<Output = ()>,
) -> Option<Message> {
    let work = generate(engine, request, report, stop);
    let failed = match tokio::time::timeout(GENERATION_TIMEOUT, work).await {
        Ok(Ok(message)) => return Some(message),
        Ok(Err(Ended::Failed(error))) => error,
        Ok(Err(Ended::NobodyListens)) => return None,
        Err(_) => GenerationError::Deadline,
    };
    let _ = report.send(FromGenerator::Failed(failed)).await;
    None
}

/// Why a generation ended without an answer.
enum Ended {
    Failed(GenerationError),
    NobodyListens,
}

impl From<GenerationError> for Ended {
    fn from(error: GenerationError) -> Self {
        Self::Failed(error)
    }
}

impl From<mpsc::error::SendError<FromGenerator>> for Ended {
    fn from(_: mpsc::error::SendError<FromGenerator>) -> Self {
        Self::NobodyListens
    }
}

async fn generate(
    engine: &Engine,
    request: &Request,
    report: &mpsc::Sender<FromGenerator>,
    stop: impl Future<Output = ()>,
) -> Result<Message, Ended> {
    let model = engine.model().ok_or(GenerationError::NotReady)?;
    if request.begun.as_ref().is_some_and(|begun| begun.model != model.name) {
        return Err(GenerationError::Unsupported("going on with another model's answer".into()).into());
    }
    let beat = if model.format.is_some() {
        BEAT_EVERY
    } else {
        PROGRESS_EVERY
    };
    let accepted = FromGenerator::Accepted {
        model: model.name.clone(),
        beat_ms: u32::try_from(beat.as_millis()).unwrap_or(u32::MAX),
    };
    report.send(accepted).await?;
    tokio::pin!(stop);
    let mut messages = request.messages.clone();
    for _ in 0..request.begun.as_ref().map_or(0, |begun| begun.shortened) {
        messages = prompt::shorter(messages).ok_or(GenerationError::NotReady)?;
    }
    loop {
        let mut sampling = request.sampling.clone();
        sampling.tokens_max = sampling.tokens_max.clamp(1, ANSWER_TOKENS_MAX);
        let generation = Generation {
            account: request.account.0,
            session: request.session.0,
            input: Input::Chat(messages.clone()),
            sampling,
            accepted: request
                .begun
                .as_ref()
                .map_or_else(Vec::new, |begun| begun.tokens.clone()),
            deadline: GENERATION_TIMEOUT,
        };
        let running = engine.generate(generation).await?;
        let mut telling = Telling::new(request, report, &model);
        match telling.stream(running, stop.as_mut()).await {
            Ok(reason) => return Ok(answer(request, &telling.text, &model.name, reason)),
            // Nothing was generated yet: drop the oldest message and try again. Each round has one message less.
            Err(Ended::Failed(error @ GenerationError::PromptTooLong { .. })) if request.begun.is_none() => {
                messages = prompt::shorter(messages).ok_or(error)?;
                report.send(FromGenerator::Shortened).await?;
            }
            Err(ended) => return Err(ended),
        }
    }
}

/// What is told of a generation to whoever asked.
struct Telling<'run> {
    report: &'run mpsc::Sender<FromGenerator>,
    epoch: u32,
    /// Tokens that were told.
    tokens: u32,
    /// The whole answer so far.
    text: String,
    /// What was said since the last token: it is told with the token that follows.
    untold: String,
    /// Whether the engine tells its tokens.
    has_tokens: bool,
    /// Whether what computes is a process of its own, with a pulse of its own.
    has_pulse: bool,
}

impl<'run> Telling<'run> {
    fn new(request: &Request, report: &'run mpsc::Sender<FromGenerator>, model: &ModelInfo) -> Self {
        let begun = request.begun.as_ref();
        Self {
            report,
            epoch: request.epoch,
            tokens: begun.map_or(0, |begun| u32::try_from(begun.tokens.len()).unwrap_or(u32::MAX)),
            text: begun.map_or_else(String::new, |begun| begun.text.clone()),
            untold: String::new(),
            has_tokens: model.tells_tokens,
            has_pulse: model.format.is_some(),
        }
    }

    async fn tell(&mut self, tokens: Vec<TokenId>) -> Result<(), Ended> {
        let text = std::mem::take(&mut self.untold);
        let (epoch, from) = (self.epoch, self.tokens);
        self.text.push_str(&text);
        self.tokens += u32::try_from(tokens.len()).unwrap_or(0);
        let said = FromGenerator::Said {
            epoch,
            from,
            tokens,
            text,
        };
        Ok(self.report.send(said).await?)
    }

    /// Passes on what is said until the generation ends. Dropping it cancels the generation.
    async fn stream(
        &mut self,
        mut running: Running,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<FinishReason, Ended> {
        let mut stopped = false;
        let mut pulse = running.pulse();
        let mut alive = tokio::time::interval(PROGRESS_EVERY);
        loop {
            tokio::select! {
                biased;
                () = &mut stop, if !stopped => {
                    stopped = true;
                    running.stop().await;
                }
                event = running.next() => match event {
                    Some(EngineEvent::Text(piece)) => {
                        self.untold.push_str(&piece);
                        if !self.has_tokens {
                            self.tell(Vec::new()).await?;
                        }
                    }
                    Some(EngineEvent::Token(token)) => self.tell(vec![token]).await?,
                    // What a model thinks is no part of its answer; whoever waits sees by the progress that it lives.
                    Some(EngineEvent::Thought(_) | EngineEvent::Probability(_)) => {}
                    Some(EngineEvent::Finished(finished)) => {
                        let (prompt, reused) = (finished.prompt_tokens, finished.reused_tokens);
                        tracing::debug!(prompt, reused, generated = finished.generated_tokens, "generated");
                        if !self.untold.is_empty() {
                            self.tell(Vec::new()).await?;
                        }
                        return Ok(finished.reason);
                    }
                    Some(EngineEvent::Failed(error)) => return Err(error.into()),
                    None => return Err(GenerationError::Died.into()),
                },
                // A process that is frozen has no pulse, and then whoever asked hears nothing and goes elsewhere.
                Ok(()) = pulse.changed(), if self.has_pulse => self.report.send(FromGenerator::Progress).await?,
                _ = alive.tick(), if !self.has_pulse => self.report.send(FromGenerator::Progress).await?,
            }
        }
    }
}

fn answer(request: &Request, text: &str, model: &str, reason: FinishReason) -> Message {
    let ending = match reason {
        FinishReason::Complete => Ending::Complete,
        FinishReason::Length => Ending::Length,
        FinishReason::Stopped => Ending::Stopped,
    };
    Message::answer(request.question, text.trim(), Timestamp::now(), model, ending)
}

/// The answer as it is told to others: in the chat the signature says which node it was, elsewhere it must be said.
pub(crate) fn signed(message: &Message, by: NodeId) -> Message {
    let mut message = message.clone();
    if let Speaker::Character { node, .. } = &mut message.speaker {
        *node = Some(by);
    }
    message
}

/// Writes an answer of this node into the session; false when it cannot, and whoever asked has to.
pub(crate) async fn record(store: &Store, session: ContentId, message: Message) -> bool {
    let written = store.edit(session, SessionEdit::PutMessage(message)).await;
    if let Err(error) = &written {
        tracing::warn!(%error, "an answer could not be written here; the asking node writes it");
    }
    written.is_ok()
}

/// The question travels faster than the chat it belongs to: give replication a moment.
pub(crate) async fn wait_for_session(store: &Store, request: &Request) -> bool {
    let arrived = |chat: Result<Session, StoreError>| match chat {
        Ok(_) => Some(true),
        Err(StoreError::NotFound) => None,
        Err(_) => Some(false),
    };
    chat_settles(store, request.session, SESSION_WAIT, arrived).await
}

/// Reads a chat again at every change until `settled` says that there is nothing more to wait for, and what came of it; false when
/// time is over.
pub(crate) async fn chat_settles(
    store: &Store,
    session: ContentId,
    patience: Duration,
    settled: impl Fn(Result<Session, StoreError>) -> Option<bool>,
) -> bool {
    let mut changes = store.changes();
    let settles = async {
        loop {
            if let Some(settled) = settled(store.read::<Session>(session).await) {
                return settled;
            }
            // Falling behind the notices is no harm: the chat is read again.
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = changes.recv().await {
                return false;
            }
        }
    };
    tokio::time::timeout(patience, settles).await.unwrap_or(false)
}
