//! One generation on this node, for a question of this node or of another: render, run, write the answer into the session.
//!
//! A generation tells what happens to whoever holds the answer while it is said; it knows nothing of who reads it there, or whether anybody
//! does.

use std::time::Duration;

use crdt::{
    Store, StoreError,
    records::{
        EntryId,
        session::{Ending, Message, MessageId, Session, SessionEdit, Speaker, Version},
    },
};
use keys::{ContentId, NodeId, Timestamp};
use mesh::Mesh;

use crate::{
    engine::{
        Engine, EngineEvent, FinishReason, Generation, GenerationError, Input, ModelInfo, Running, cache::TokenId,
    },
    keeper::{Engines, MainModel},
    limits::{ANSWER_TOKENS_MAX, BEAT_EVERY, GENERATION_TIMEOUT, PROGRESS_EVERY, SESSION_WAIT},
    prompt,
    swarm::{FromGenerator, Request},
    template::ChatMessage,
};

/// Whether this node, by its role, holds chats and can write an answer into one. A worker does not: whoever asked writes what it says.
pub(crate) fn writes_answers(mesh: &Mesh) -> bool {
    let roster = mesh.roster();
    roster
        .get(&mesh.node())
        .is_some_and(|member| member.roles.holds_data_keys())
}

/// Runs a request to its end and tells every step; `stop` ends it early and keeps what was said. Whoever called writes the answer down
/// and tells the end. Dropping it cancels the generation.
pub(crate) async fn run(
    engine: &Engine,
    request: &Request,
    tell: &(impl Fn(FromGenerator) + Sync),
    stop: impl Future<Output = ()> + Send,
) -> Result<Message, GenerationError> {
    let work = generate(engine, request, tell, stop);
    let made = tokio::time::timeout(GENERATION_TIMEOUT, work).await;
    made.unwrap_or(Err(GenerationError::Deadline))
}

async fn generate(
    engine: &Engine,
    request: &Request,
    tell: &(impl Fn(FromGenerator) + Sync),
    stop: impl Future<Output = ()> + Send,
) -> Result<Message, GenerationError> {
    let model = engine.model().ok_or(GenerationError::NotReady)?;
    if request.begun.as_ref().is_some_and(|begun| begun.model != model.name) {
        return Err(GenerationError::Unsupported(
            "going on with another model's answer".into(),
        ));
    }
    let beat = if model.format.is_some() {
        BEAT_EVERY
    } else {
        PROGRESS_EVERY
    };
    tell(FromGenerator::Accepted {
        model: model.name.clone(),
        beat_ms: u32::try_from(beat.as_millis()).unwrap_or(u32::MAX),
        run: request.run,
        epoch: request.epoch,
    });
    tokio::pin!(stop);
    let mut messages = request.messages.clone();
    for _ in 0..request.begun.as_ref().map_or(0, |begun| begun.shortened) {
        messages = prompt::shorter(messages).ok_or(GenerationError::NotReady)?;
    }
    loop {
        let running = engine.generate(generation(request, messages.clone())).await?;
        let mut telling = Telling::new(request, tell, &model);
        match telling.stream(running, stop.as_mut()).await {
            Ok(reason) => return Ok(answer(request, &telling.text, &model.name, reason)),
            // Nothing was generated yet: drop the oldest message and try again. Each round has one message less.
            Err(error @ GenerationError::PromptTooLong { .. }) if request.begun.is_none() => {
                messages = prompt::shorter(messages).ok_or(error)?;
                tell(FromGenerator::Shortened);
            }
            Err(error) => return Err(error),
        }
    }
}

/// What the engine is asked for a request, of which it sees these messages.
pub(crate) fn generation(request: &Request, messages: Vec<ChatMessage>) -> Generation {
    let mut sampling = request.sampling.clone();
    sampling.tokens_max = sampling.tokens_max.clamp(1, ANSWER_TOKENS_MAX);
    let begun = request.begun.as_ref();
    Generation {
        account: request.account.0,
        session: request.session.0,
        input: Input::Chat(messages),
        sampling,
        accepted: begun.map_or_else(Vec::new, |begun| begun.tokens.clone()),
        deadline: GENERATION_TIMEOUT,
    }
}

/// What is told of a generation.
struct Telling<'run, Tell> {
    tell: &'run Tell,
    epoch: u32,
    /// Tokens that were told.
    tokens: u32,
    /// The whole answer so far, with what it said before it was said further.
    text: String,
    /// What was said since the last token: it is told with the token that follows.
    untold: String,
    /// Whether the engine tells its tokens.
    has_tokens: bool,
    /// Whether what computes is a process of its own, with a pulse of its own.
    has_pulse: bool,
}

impl<'run, Tell: Fn(FromGenerator)> Telling<'run, Tell> {
    fn new(request: &Request, tell: &'run Tell, model: &ModelInfo) -> Self {
        let (tokens, text) = request.start();
        Self {
            tell,
            epoch: request.epoch,
            tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            text: text.to_owned(),
            untold: String::new(),
            has_tokens: model.tells_tokens,
            has_pulse: model.format.is_some(),
        }
    }

    fn said(&mut self, tokens: Vec<TokenId>) {
        let text = std::mem::take(&mut self.untold);
        let (epoch, from) = (self.epoch, self.tokens);
        let at = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.text.push_str(&text);
        self.tokens += u32::try_from(tokens.len()).unwrap_or(0);
        (self.tell)(FromGenerator::Said {
            epoch,
            from,
            tokens,
            at,
            text,
        });
    }

    /// Passes on what is said until the generation ends. Dropping it cancels the generation.
    async fn stream(
        &mut self,
        mut running: Running,
        mut stop: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<FinishReason, GenerationError> {
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
                            self.said(Vec::new());
                        }
                    }
                    Some(EngineEvent::Token(token)) => self.said(vec![token]),
                    // What a model thinks is no part of its answer; whoever waits sees by the progress that it lives.
                    Some(EngineEvent::Thought(_) | EngineEvent::Probability(_)) => {}
                    Some(EngineEvent::Finished(finished)) => {
                        let (prompt, reused) = (finished.prompt_tokens, finished.reused_tokens);
                        tracing::debug!(prompt, reused, generated = finished.generated_tokens, "generated");
                        if !self.untold.is_empty() {
                            self.said(Vec::new());
                        }
                        return Ok(finished.reason);
                    }
                    Some(EngineEvent::Failed(error)) => return Err(error),
                    None => return Err(GenerationError::Died),
                },
                // A process that is frozen has no pulse, and then whoever asked hears nothing and goes elsewhere.
                Ok(()) = pulse.changed(), if self.has_pulse => (self.tell)(FromGenerator::Progress),
                _ = alive.tick(), if !self.has_pulse => (self.tell)(FromGenerator::Progress),
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
    Message {
        id: request.answer,
        ..Message::answer(request.question, text.trim(), Timestamp::now(), model, ending)
    }
}

/// What there is of an answer that was stopped before anything new was said.
pub(crate) fn unsaid(engines: &Engines, request: &Request) -> Result<Message, GenerationError> {
    let MainModel::Here(model) = engines.main() else {
        return Err(GenerationError::NotReady);
    };
    let (_, text) = request.start();
    Ok(answer(request, text, &model.name, FinishReason::Stopped))
}

/// The answer as it is told to others: in the chat the signature says which node it was, elsewhere it must be said.
pub(crate) fn signed(message: &Message, by: NodeId) -> Message {
    let mut message = message.clone();
    if let Speaker::Character { node, .. } = &mut message.speaker {
        *node = Some(by);
    }
    message
}

/// How an answer is written: as a message, or as a further version of the one that was said further.
pub(crate) fn edit(request: &Request, run: u64, message: &Message) -> SessionEdit {
    match request.said {
        None => SessionEdit::PutMessage(message.clone()),
        Some(_) => SessionEdit::PutVersion {
            message: request.answer,
            version: Version::new(version_id(request.answer, run, message.at), message.text.text()),
        },
    }
}

/// The id of the text of an answer that was said further in a run, finished at a time. The same wherever it is written: by the node
/// that generated it or by the one that asked.
pub(crate) fn version_id(answer: MessageId, run: u64, at: Timestamp) -> EntryId {
    let at = at.max(answer.at().plus(1));
    EntryId::derived(at, "starling continued answer 1", &[answer.bytes(), &run.to_le_bytes()])
}

/// Writes an answer of this node into the session; false when it cannot, and whoever asked has to.
pub(crate) async fn record(store: &Store, request: &Request, message: &Message) -> bool {
    let written = store.edit(request.session, edit(request, request.run, message)).await;
    if let Err(error) = &written {
        tracing::warn!(%error, "an answer could not be written here; the asking node writes it");
    }
    written.is_ok()
}

/// Whether a chat here has an answer already.
pub(crate) async fn has_answer(store: &Store, session: ContentId, answer: MessageId) -> bool {
    let chat = store.read::<Session>(session).await;
    chat.is_ok_and(|chat| chat.messages.iter().any(|message| message.id == answer))
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
