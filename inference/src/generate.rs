//! One generation on this node, for a question of this node or of another: render, run, write the answer into the session.

use crdt::{
    Store, StoreError,
    records::{
        EntryId,
        session::{Ending, Message, Session, SessionEdit, Speaker, Version},
    },
};
use keys::Timestamp;
use mesh::Mesh;
use tokio::sync::mpsc;

use crate::{
    engine::{Engine, EngineEvent, FinishReason, Generation, GenerationError, Input, Running},
    limits::{ANSWER_TOKENS_MAX, GENERATION_TIMEOUT, PROGRESS_EVERY, SESSION_WAIT},
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
/// any more, the generation is cancelled. Beside the store stands whether answers are written into it ([`writes_answers`]).
pub(crate) async fn run(
    engine: &Engine,
    store: (&Store, bool),
    request: Request,
    report: &mpsc::Sender<FromGenerator>,
    stop: impl Future<Output = ()>,
) {
    let work = generate(engine, store, request, report, stop);
    let last = match tokio::time::timeout(GENERATION_TIMEOUT, work).await {
        Ok(Some(last)) => last,
        // Nobody listens any more.
        Ok(None) => return,
        Err(_) => FromGenerator::Failed(GenerationError::Engine(format!(
            "not finished within {GENERATION_TIMEOUT:?}"
        ))),
    };
    let _ = report.send(last).await;
}

async fn generate(
    engine: &Engine,
    store: (&Store, bool),
    request: Request,
    report: &mpsc::Sender<FromGenerator>,
    stop: impl Future<Output = ()>,
) -> Option<FromGenerator> {
    let Some(model) = engine.model() else {
        return Some(FromGenerator::Failed(GenerationError::NotReady));
    };
    report
        .send(FromGenerator::Accepted {
            model: model.name.clone(),
            run: request.run,
        })
        .await
        .ok()?;
    tokio::pin!(stop);
    let mut messages = request.messages.clone();
    let said = request.said.clone().unwrap_or_default();
    if !said.is_empty() {
        let text = said.clone();
        report.send(FromGenerator::Text { at: 0, text }).await.ok()?;
    }
    loop {
        let mut sampling = request.sampling.clone();
        sampling.tokens_max = sampling.tokens_max.clamp(1, ANSWER_TOKENS_MAX);
        let generation = Generation {
            account: request.account.0,
            session: request.session.0,
            input: Input::Chat(messages.clone()),
            sampling,
            deadline: GENERATION_TIMEOUT,
        };
        let mut running = match engine.generate(generation).await {
            Ok(running) => running,
            Err(error) => return Some(FromGenerator::Failed(error)),
        };
        match stream(&mut running, said.clone(), report, stop.as_mut()).await? {
            Ok((text, reason)) => return Some(record(store, &request, &text, &model.name, reason).await),
            // Nothing was generated yet: drop the oldest message and try again. Each round has one message less.
            Err(error @ GenerationError::PromptTooLong { .. }) => match prompt::shorter(messages) {
                Some(fewer) => messages = fewer,
                None => return Some(FromGenerator::Failed(error)),
            },
            Err(error) => return Some(FromGenerator::Failed(error)),
        }
    }
}

/// Passes text on until the generation ends; `None` when nobody listens any more (dropping `running` cancels it).
async fn stream(
    running: &mut Running,
    said: String,
    report: &mpsc::Sender<FromGenerator>,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Option<Result<(String, FinishReason), GenerationError>> {
    let mut text = said;
    let mut stopped = false;
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
                    let at = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    text.push_str(&piece);
                    report.send(FromGenerator::Text { at, text: piece }).await.ok()?;
                }
                // What a model thinks is no part of its answer; whoever waits sees by the progress that it lives.
                Some(EngineEvent::Thought(_) | EngineEvent::Probability(_)) => {}
                Some(EngineEvent::Finished(finished)) => {
                    let (prompt, reused) = (finished.prompt_tokens, finished.reused_tokens);
                    tracing::debug!(prompt, reused, generated = finished.generated_tokens, "generated");
                    return Some(Ok((text, finished.reason)));
                }
                Some(EngineEvent::Failed(error)) => return Some(Err(error)),
                None => return Some(Err(GenerationError::Died)),
            },
            _ = alive.tick() => report.send(FromGenerator::Progress).await.ok()?,
        }
    }
}

/// Writes the answer into the session, if this node may and the session has reached it.
async fn record(
    (store, writes): (&Store, bool),
    request: &Request,
    text: &str,
    model: &str,
    reason: FinishReason,
) -> FromGenerator {
    let ending = match reason {
        FinishReason::Complete => Ending::Complete,
        FinishReason::Length => Ending::Length,
        FinishReason::Stopped => Ending::Stopped,
    };
    let mut message = Message {
        id: request.answer,
        ..Message::answer(request.question, text.trim(), Timestamp::now(), model, ending)
    };
    let recorded = match writes && wait_for_session(store, request).await {
        true => match store.edit(request.session, edit(request, &message)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "an answer could not be written here; the asking node writes it");
                false
            }
        },
        false => false,
    };
    // In the chat the signature says which node it was; on the stream it must be said.
    if let Speaker::Character { node, .. } = &mut message.speaker {
        *node = Some(store.node());
    }
    FromGenerator::Finished { message, recorded }
}

/// How a finished answer is written: as a message, or as a further version of the one that was said further.
pub(crate) fn edit(request: &Request, message: &Message) -> SessionEdit {
    match request.said {
        None => SessionEdit::PutMessage(message.clone()),
        Some(_) => SessionEdit::PutVersion {
            message: request.answer,
            version: Version::new(version_id(request, message), message.text.text()),
        },
    }
}

/// The same wherever it is written: by the node that generated it or by the one that asked.
fn version_id(request: &Request, message: &Message) -> EntryId {
    let at = message.at.max(request.answer.at().plus(1));
    EntryId::derived(
        at,
        "starling continued answer 1",
        &[request.answer.bytes(), &request.run.to_le_bytes()],
    )
}

/// The question travels faster than the chat it belongs to: give replication a moment.
async fn wait_for_session(store: &Store, request: &Request) -> bool {
    let mut changes = store.changes();
    let arrives = async {
        loop {
            match store.read::<Session>(request.session).await {
                Ok(_) => return true,
                Err(StoreError::NotFound) => {}
                Err(_) => return false,
            }
            // Falling behind the notices is no harm: the session is read again.
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = changes.recv().await {
                return false;
            }
        }
    };
    tokio::time::timeout(SESSION_WAIT, arrives).await.unwrap_or(false)
}
