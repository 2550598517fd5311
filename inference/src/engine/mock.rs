//! An engine without a model: deterministic answers at a given rate, failures when the question asks for them. For tests of everything
//! around an engine; it is called "mock" wherever it shows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    Backend, Command, EngineEvent, EngineStatus, FinishReason, Finished, GenerationError, ModelInfo, Task,
    running::Running,
};
use crate::limits::{MOCK_GENERATIONS_MAX, MOCK_WORDS_MAX};

/// What people see as its model.
pub const NAME: &str = "mock";
/// A question with this fails at once, one with `[fail after N]` after so many words.
const FAIL: &str = "[fail";
/// A question with `[tokens N]` is answered with so many words, one with `[rate N]` with so many a second.
const TOKENS: &str = "[tokens";
const RATE: &str = "[rate";

/// How a mock behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// Words per second; as fast as can be when `None`.
    pub rate: Option<u32>,
    /// Answers at once; as many as anybody wants when `None`.
    pub slots: Option<u32>,
}

impl Script {
    /// From `mock`, `mock:RATE` or `mock:RATE:SLOTS`; `None` when it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        (parts.next() == Some(NAME)).then_some(())?;
        let number = |text: Option<&str>, most: u32| match text.map(str::parse) {
            None => Some(None),
            Some(Ok(number)) => (1..=most).contains(&number).then_some(Some(number)),
            Some(Err(_)) => None,
        };
        let rate = number(parts.next(), 1_000_000)?;
        let slots = number(parts.next(), u32::try_from(MOCK_GENERATIONS_MAX).unwrap_or(u32::MAX))?;
        parts.next().is_none().then_some(Self { rate, slots })
    }
}

pub(super) struct Mock {
    script: Script,
    running: Running,
    stops: HashMap<u64, oneshot::Sender<()>>,
}

impl Mock {
    pub(super) fn new(script: Script, mut running: Running) -> Self {
        running.set_generations_max(MOCK_GENERATIONS_MAX);
        Self {
            script,
            running,
            stops: HashMap::new(),
        }
    }
}

impl Backend for Mock {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let model = ModelInfo {
            state_layout: None,
            name: NAME.to_owned(),
            slots: self
                .script
                .slots
                .unwrap_or_else(|| u32::try_from(MOCK_GENERATIONS_MAX).unwrap_or(1)),
            context_tokens: 8192,
            format: None,
            tells_tokens: true,
            profile: None,
        };
        self.running.set_status(EngineStatus::Ready(Arc::new(model)));
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                command = queue.recv() => match command {
                    None => return,
                    Some(Command::Stop(id)) => drop(self.stops.remove(&id).map(|stop| stop.send(()))),
                    Some(Command::Embed(_, reply)) => {
                        drop(reply.send(Err(GenerationError::Unsupported("embeddings of a mock".into()))));
                    }
                    Some(Command::State(command)) => command.refuse(super::state::StateError::Unsupported),
                    Some(Command::Generate(task, reply)) => {
                        let Some((id, events)) = self.running.begin(task.sampling.tokens_max, reply) else { continue };
                        let (stop, stopped) = oneshot::channel();
                        self.stops.insert(id, stop);
                        let rate = self.script.rate;
                        tasks.spawn(async move {
                            let last = answer(&task, rate, &events, stopped).await;
                            let is_finished = last.is_some();
                            if let Some(last) = last {
                                // The channel has room for every event of its generation.
                                let _ = events.try_send(last);
                            }
                            (id, is_finished)
                        });
                    }
                },
                Some(ended) = tasks.join_next() => if let Ok((id, is_finished)) = ended {
                    self.stops.remove(&id);
                    self.running.end(id, is_finished);
                },
            }
        }
    }
}

/// The words of an answer: the same for the same question.
fn words(question: &str) -> Vec<String> {
    let echoed = question.split_whitespace().take(32);
    let words = ["This", "is", "a", "mock;", "it", "was", "asked:"];
    let said = words.into_iter().chain(echoed);
    match number(question, TOKENS) {
        Some(count) => {
            let numbered = said.cycle().zip(0..count.min(MOCK_WORDS_MAX));
            numbered.map(|(word, number)| format!("{word}{number}")).collect()
        }
        None => said.map(str::to_owned).collect(),
    }
}

/// The number behind a word of the question.
fn number(question: &str, word: &str) -> Option<usize> {
    let (_, rest) = question.split_once(word)?;
    rest.trim_start().split(']').next()?.trim().parse().ok()
}

/// Says an answer; the last event, or nothing when nobody listens any more.
async fn answer(
    task: &Task,
    rate: Option<u32>,
    events: &mpsc::Sender<EngineEvent>,
    mut stopped: oneshot::Receiver<()>,
) -> Option<EngineEvent> {
    let content = |role: &str| {
        let message = task.messages.iter().rfind(|message| message.role == role);
        message.map_or("", |message| message.content.as_str())
    };
    let question = content("user");
    let is_further = task.messages.last().is_some_and(|message| message.role == "assistant");
    let before = if is_further {
        content("assistant").split_whitespace().count()
    } else {
        0
    };
    let rate = number(question, RATE)
        .and_then(|rate| u32::try_from(rate).ok())
        .filter(|rate| *rate > 0)
        .or(rate);
    let fails_after = question.find(FAIL).map(|at| {
        let rest = &question[at + FAIL.len()..];
        let count = rest.trim_start_matches(" after ").split(']').next();
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    });
    let mut pace = rate.map(|rate| tokio::time::interval(Duration::from_secs(1) / rate));
    let accepted = u32::try_from(task.accepted.len()).unwrap_or(u32::MAX);
    let mut said = 0;
    let mut reason = FinishReason::Complete;
    for (number, word) in (0..).zip(words(question)).skip(before) {
        // What was made elsewhere is not said again; a word's number is its token.
        if said < accepted {
            said += 1;
            continue;
        }
        if fails_after == Some(said) {
            return Some(EngineEvent::Failed(GenerationError::Engine(
                "the mock was asked to fail".into(),
            )));
        }
        if said >= task.sampling.tokens_max {
            reason = FinishReason::Length;
            break;
        }
        if let Some(pace) = pace.as_mut() {
            pace.tick().await;
        }
        if stopped.try_recv().is_ok() {
            reason = FinishReason::Stopped;
            break;
        }
        let text = if said + before as u32 == 0 {
            word
        } else {
            format!(" {word}")
        };
        events.try_send(EngineEvent::Text(text)).ok()?;
        events.try_send(EngineEvent::Token(number)).ok()?;
        said += 1;
    }
    Some(EngineEvent::Finished(Finished {
        reason,
        prompt_tokens: u32::try_from(question.split_whitespace().count()).unwrap_or(u32::MAX),
        reused_tokens: 0,
        generated_tokens: said,
    }))
}
