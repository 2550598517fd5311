//! Work for a program that asked another member: a generation or an embedding on this node's model, of which nothing is kept.
//!
//! Unlike an answer in a chat it belongs to whoever asks: when the stream ends, the generation ends. So there is no lease, no epoch and
//! nothing to go on with; a program that wants it asks again.

use std::time::Duration;

use keys::{ContentId, NodeId, Timestamp};
use mesh::{
    Mesh, Protocol, Stream,
    frame::{self, FrameError, read_frame, within, write_frame},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::MissedTickBehavior,
};

use crate::{
    admission::{Asked, Class, Place},
    engine::{
        Embedding, EngineEvent, Finished, Generation, GenerationError, Input, Running, Sampling, TokenProbability,
    },
    keeper::{Engines, ModelGuard},
    limits::{
        ASK_OPEN_TIMEOUT, COMPUTE_BEAT_EVERY, COMPUTE_EVENT_QUEUE, COMPUTE_FRAME_BYTES_MAX, COMPUTE_SILENCE_MAX,
        EMBEDDING_TIMEOUT, WRITE_TIMEOUT,
    },
    template::{ChatMessage, Exchange},
};

/// First byte of every frame.
const VERSION: u8 = 1;

/// From the asking node; one for each stream.
#[derive(Debug, Serialize, Deserialize)]
enum FromAsker {
    Generate(Box<Order>),
    Embed { model: String, text: String },
}

/// A generation, as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    model: String,
    account: [u8; 32],
    session: [u8; 32],
    input: SentInput,
    sampling: Sampling,
    deadline_ms: u64,
}

/// What it continues.
#[derive(Debug, Serialize, Deserialize)]
enum SentInput {
    Chat(Vec<ChatMessage>),
    /// As JSON: tools are described in it.
    Exchange(String),
    Text(String),
}

/// From the node that computes.
#[derive(Debug, Serialize, Deserialize)]
enum FromComputer {
    /// It begins.
    Accepted,
    /// Nothing new, but it lives.
    Beat,
    Text(String),
    Probability(TokenProbability),
    Finished(Finished),
    Embedded(Embedding),
    /// It does not begin, or came to nothing.
    Failed(GenerationError),
}

impl Order {
    fn new(model: &str, generation: Generation) -> Self {
        let input = match generation.input {
            Input::Chat(messages) => SentInput::Chat(messages),
            // Plain data with string keys always serialises.
            Input::Exchange(exchange) => SentInput::Exchange(serde_json::to_string(&exchange).unwrap_or_default()),
            Input::Text { prompt, .. } => SentInput::Text(prompt),
        };
        Self {
            model: model.to_owned(),
            account: generation.account,
            session: generation.session,
            input,
            sampling: generation.sampling,
            deadline_ms: u64::try_from(generation.deadline.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn generation(self) -> Result<Generation, GenerationError> {
        let unreadable = |_| GenerationError::Unsupported("this chat".into());
        let input = match self.input {
            SentInput::Chat(messages) => Input::Chat(messages),
            SentInput::Exchange(text) => Input::Exchange(serde_json::from_str::<Exchange>(&text).map_err(unreadable)?),
            SentInput::Text(prompt) => Input::Text { prompt, card_bytes: 0 },
        };
        Ok(Generation {
            account: self.account,
            session: self.session,
            input,
            sampling: self.sampling,
            accepted: Vec::new(),
            deadline: Duration::from_millis(self.deadline_ms),
        })
    }
}

/// Computes for others until the mesh stops.
pub(crate) async fn serve(engines: Engines, mesh: Mesh, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
    while let Some((node, stream)) = streams.recv().await {
        let (engines, takes_work) = (engines.clone(), mesh.view().borrow().takes_work(&mesh.node()));
        tokio::spawn(async move {
            if let Err(error) = serve_one(&engines, takes_work, stream).await {
                tracing::debug!(node = %node.short(), %error, "a stream of work for another node ended early");
            }
        });
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), said: &FromComputer) -> Result<(), FrameError> {
    let frame = frame::encode(VERSION, said);
    within(WRITE_TIMEOUT, write_frame(writer, &frame, COMPUTE_FRAME_BYTES_MAX)).await
}

async fn serve_one(engines: &Engines, takes_work: bool, stream: Stream) -> Result<(), FrameError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let asked = within(COMPUTE_SILENCE_MAX, read_frame(&mut reader, COMPUTE_FRAME_BYTES_MAX)).await?;
    let asked = asked.as_deref().and_then(|frame| frame::decode(VERSION, frame));
    let work = async {
        match asked {
            Some(FromAsker::Generate(order)) => match beating(&mut writer, begin(engines, takes_work, *order)).await? {
                Ok((running, _here)) => pass_on(running, &mut writer).await?,
                Err(error) => say(&mut writer, &FromComputer::Failed(error)).await?,
            },
            Some(FromAsker::Embed { model, text }) => {
                let said = match embed_for_another(engines, takes_work, &model, &text).await {
                    Ok(embedding) => FromComputer::Embedded(embedding),
                    Err(error) => FromComputer::Failed(error),
                };
                say(&mut writer, &said).await?;
            }
            None => return Err(FrameError::Io(std::io::Error::other("not a question"))),
        }
        writer.shutdown().await.map_err(FrameError::Io)
    };
    // Whoever asks says nothing more: what comes is the end of the stream, and then nobody waits any more.
    let gone = read_frame(&mut reader, COMPUTE_FRAME_BYTES_MAX);
    tokio::pin!(gone);
    tokio::select! {
        biased;
        done = work => done?,
        _ = &mut gone => return Ok(()),
    }
    // Until the asker has read it: a stream that is dropped before takes the answer with it.
    within(WRITE_TIMEOUT, gone).await.map(drop)
}

/// Waits for the model of this name, or the main one, and for the turn of whoever asks, as long as the generation may take; and begins.
pub(crate) async fn generate(
    engines: &Engines,
    model: Option<&str>,
    generation: Generation,
) -> Result<(Running, (Place, ModelGuard)), GenerationError> {
    let asked = Asked {
        account: ContentId(generation.account),
        class: Class::Person,
        at: Timestamp::now(),
    };
    let turn = async {
        let model = engines.model(model).await?;
        let place = model.engine().place(asked, |_| {}).await?;
        Ok((place, model))
    };
    let turn = tokio::time::timeout(generation.deadline, turn).await;
    let (place, model) = turn.unwrap_or(Err(GenerationError::Deadline))?;
    let running = model.engine().generate(generation).await;
    let running = running.inspect_err(|error| model.note_failure(error))?;
    Ok((running, (place, model)))
}

async fn begin(
    engines: &Engines,
    takes_work: bool,
    order: Order,
) -> Result<(Running, (Place, ModelGuard)), GenerationError> {
    if !takes_work {
        return Err(GenerationError::Busy);
    }
    let model = order.model.clone();
    generate(engines, Some(&model), order.generation()?).await
}

/// What work comes to; meanwhile whoever asked hears that this node lives.
async fn beating<T>(writer: &mut (impl AsyncWrite + Unpin), work: impl Future<Output = T>) -> Result<T, FrameError> {
    let mut beat = beats();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = beat.tick() => say(writer, &FromComputer::Beat).await?,
        }
    }
}

fn beats() -> tokio::time::Interval {
    let mut beat = tokio::time::interval(COMPUTE_BEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

async fn embed_for_another(
    engines: &Engines,
    takes_work: bool,
    model: &str,
    text: &str,
) -> Result<Embedding, GenerationError> {
    if !takes_work {
        return Err(GenerationError::Busy);
    }
    embed_here(engines, model, text).await
}

/// The meaning of a text, by a model of this node.
pub(crate) async fn embed_here(engines: &Engines, model: &str, text: &str) -> Result<Embedding, GenerationError> {
    engines.model(Some(model)).await?.engine().embed(text).await
}

async fn pass_on(mut running: Running, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), FrameError> {
    say(writer, &FromComputer::Accepted).await?;
    let mut beat = beats();
    loop {
        let said = tokio::select! {
            event = running.next() => match event {
                Some(EngineEvent::Text(text)) => FromComputer::Text(text),
                Some(EngineEvent::Probability(probability)) => FromComputer::Probability(probability),
                Some(EngineEvent::Thought(_) | EngineEvent::Token(_)) => continue,
                Some(EngineEvent::Finished(finished)) => FromComputer::Finished(finished),
                Some(EngineEvent::Failed(error)) => FromComputer::Failed(error),
                None => FromComputer::Failed(GenerationError::Died),
            },
            _ = beat.tick() => FromComputer::Beat,
        };
        say(writer, &said).await?;
        if matches!(said, FromComputer::Finished(_) | FromComputer::Failed(_)) {
            return Ok(());
        }
    }
}

/// What another node says next; whatever is wrong with it, or its silence, is its death.
async fn hear(reader: &mut (impl AsyncRead + Unpin), patience: Duration) -> Result<FromComputer, GenerationError> {
    let frame = within(patience, read_frame(reader, COMPUTE_FRAME_BYTES_MAX)).await;
    let frame = frame.ok().flatten().ok_or(GenerationError::Died)?;
    frame::decode(VERSION, &frame).ok_or(GenerationError::Died)
}

async fn open(mesh: &Mesh, node: NodeId, asked: &FromAsker) -> Result<Stream, GenerationError> {
    let opened = tokio::time::timeout(ASK_OPEN_TIMEOUT, mesh.open(node, Protocol::COMPUTE)).await;
    let mut stream = opened.ok().and_then(Result::ok).ok_or(GenerationError::Died)?;
    let frame = frame::encode(VERSION, asked);
    let written = within(WRITE_TIMEOUT, write_frame(&mut stream, &frame, COMPUTE_FRAME_BYTES_MAX)).await;
    match written {
        Ok(()) => Ok(stream),
        Err(FrameError::TooLarge { .. }) => Err(GenerationError::Unsupported("a request that long".into())),
        Err(_) => Err(GenerationError::Died),
    }
}

/// Asks another node to generate. Dropping what comes ends it there.
pub(crate) async fn ask(
    mesh: &Mesh,
    node: NodeId,
    model: &str,
    generation: Generation,
) -> Result<Running, GenerationError> {
    let order = FromAsker::Generate(Box::new(Order::new(model, generation)));
    let stream = open(mesh, node, &order).await?;
    // The half that writes is kept: its end would mean that nobody waits any more.
    let (mut reader, writer) = tokio::io::split(stream);
    loop {
        match hear(&mut reader, COMPUTE_SILENCE_MAX).await? {
            FromComputer::Accepted => break,
            // It waits there for its turn.
            FromComputer::Beat => {}
            FromComputer::Failed(error) => return Err(error),
            _ => return Err(GenerationError::Died),
        }
    }
    let (events, running) = Running::elsewhere(COMPUTE_EVENT_QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = events.closed() => {}
            () = take(&mut reader, &events) => {}
        }
        drop(writer);
    });
    Ok(running)
}

async fn take(reader: &mut (impl AsyncRead + Unpin), events: &mpsc::Sender<EngineEvent>) {
    loop {
        let event = match hear(reader, COMPUTE_SILENCE_MAX).await {
            Ok(FromComputer::Beat | FromComputer::Accepted) => continue,
            Ok(FromComputer::Text(text)) => EngineEvent::Text(text),
            Ok(FromComputer::Probability(probability)) => EngineEvent::Probability(probability),
            Ok(FromComputer::Finished(finished)) => EngineEvent::Finished(finished),
            Ok(FromComputer::Failed(error)) | Err(error) => EngineEvent::Failed(error),
            Ok(FromComputer::Embedded(_)) => EngineEvent::Failed(GenerationError::Died),
        };
        let is_last = matches!(event, EngineEvent::Finished(_) | EngineEvent::Failed(_));
        if events.send(event).await.is_err() || is_last {
            return;
        }
    }
}

/// Asks another node for the meaning of a text.
pub(crate) async fn embed(mesh: &Mesh, node: NodeId, model: &str, text: &str) -> Result<Embedding, GenerationError> {
    let asked = FromAsker::Embed {
        model: model.to_owned(),
        text: text.to_owned(),
    };
    let mut stream = open(mesh, node, &asked).await?;
    match hear(&mut stream, EMBEDDING_TIMEOUT).await? {
        FromComputer::Embedded(embedding) => Ok(embedding),
        FromComputer::Failed(error) => Err(error),
        _ => Err(GenerationError::Died),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Turn;

    #[test]
    fn a_generation_travels_whole() {
        let tool = serde_json::json!({"function": {"name": "weather", "parameters": {"depth": [1, 2.5, null]}}});
        let turn = Turn {
            role: "tool".into(),
            content: "дождь".into(),
            tool_calls: vec![tool.clone()],
            tool_call_id: Some("1".into()),
        };
        let exchange = Exchange {
            turns: vec![turn],
            tools: vec![tool],
        };
        for input in [
            Input::Exchange(exchange),
            Input::Text {
                prompt: "Привет".into(),
                card_bytes: 0,
            },
        ] {
            let generation = Generation {
                account: [1; 32],
                session: [2; 32],
                input: input.clone(),
                sampling: Sampling::default(),
                accepted: Vec::new(),
                deadline: Duration::from_secs(5),
            };
            let asked = FromAsker::Generate(Box::new(Order::new("m", generation)));
            let bytes = frame::encode(VERSION, &asked);
            let Some(FromAsker::Generate(read)) = frame::decode(VERSION, &bytes) else {
                panic!("not read again");
            };
            assert_eq!(read.model, "m");
            let read = read.generation().unwrap();
            assert_eq!((read.input, read.deadline), (input, Duration::from_secs(5)));
        }
        assert!(frame::decode::<FromAsker>(VERSION + 1, &[VERSION]).is_none());
    }
}
