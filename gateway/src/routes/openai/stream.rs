//! An answer piece by piece, as server-sent events. When the program closes its connection, the stream is dropped, and with it the
//! generation.

use std::{collections::VecDeque, convert::Infallible};

use axum::response::{
    IntoResponse, Response, Sse,
    sse::{Event, KeepAlive},
};
use inference::{
    desk::Direct,
    engine::{EngineEvent, Finished, GenerationError, TokenProbability},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{error::ProgramError, run::Place};
use crate::limits::{PROGRAM_TIMEOUT, STREAM_HEAD_PATIENCE, STREAM_KEEP_ALIVE};

/// How an endpoint words its pieces.
pub(super) trait Wording: Send + 'static {
    /// Before anything is said.
    fn head(&mut self) -> Vec<Value>;
    /// A piece of the answer.
    fn said(&mut self, text: &str, probabilities: &[TokenProbability]) -> Vec<Value>;
    /// Behind the last piece.
    fn end(&mut self, finished: &Finished) -> Vec<Value>;
}

struct Telling<W> {
    running: Direct,
    wording: W,
    /// Lines that are worded already.
    lines: VecDeque<String>,
    /// What came while it was not known yet whether there is anything to stream.
    early: Option<EngineEvent>,
    /// Of the token whose text comes next.
    probabilities: Vec<TokenProbability>,
    until: Instant,
    is_over: bool,
    _place: Place,
}

/// Answers with what the model says, as it says it; with an error of its own where it says nothing.
pub(super) async fn answer(
    mut running: Direct,
    mut wording: impl Wording,
    place: Place,
) -> Result<Response, ProgramError> {
    let early = match tokio::time::timeout(STREAM_HEAD_PATIENCE, running.next()).await {
        Ok(Some(EngineEvent::Failed(error))) => return Err(error.into()),
        Ok(None) => return Err(GenerationError::Died.into()),
        Ok(event) => event,
        Err(_) => None,
    };
    let lines = wording.head().iter().map(Value::to_string).collect();
    let telling = Telling {
        running,
        wording,
        lines,
        early,
        probabilities: Vec::new(),
        until: Instant::now() + PROGRAM_TIMEOUT,
        is_over: false,
        _place: place,
    };
    let events = futures::stream::unfold(telling, |mut telling| async move {
        let line = telling.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(line)), telling))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(STREAM_KEEP_ALIVE))
        .into_response())
}

impl<W: Wording> Telling<W> {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            let event = match self.early.take() {
                Some(event) => Ok(Some(event)),
                None => tokio::time::timeout_at(self.until, self.running.next()).await,
            };
            match event {
                Ok(Some(event)) => self.take(event),
                Ok(None) => self.fail(&GenerationError::Died.into()),
                Err(_) => self.fail(&ProgramError::Late),
            }
        }
    }

    fn take(&mut self, event: EngineEvent) {
        let worded = match event {
            EngineEvent::Probability(probability) => {
                self.probabilities.push(probability);
                return;
            }
            EngineEvent::Text(text) => self.wording.said(&text, &std::mem::take(&mut self.probabilities)),
            EngineEvent::Thought(_) | EngineEvent::Token(_) => return,
            EngineEvent::Failed(error) => return self.fail(&error.into()),
            EngineEvent::Finished(finished) => {
                let mut worded = Vec::new();
                // The text of the last tokens was never said: it belonged to a stop, or to half a character.
                let silent = std::mem::take(&mut self.probabilities);
                if !silent.is_empty() {
                    worded.extend(self.wording.said("", &silent));
                }
                worded.extend(self.wording.end(&finished));
                self.is_over = true;
                worded
            }
        };
        self.lines.extend(worded.iter().map(Value::to_string));
        if self.is_over {
            self.lines.push_back("[DONE]".into());
        }
    }

    /// The status is told already; the libraries know an error by its shape.
    fn fail(&mut self, error: &ProgramError) {
        // Plain data always serialises.
        self.lines
            .push_back(serde_json::to_string(&error.body()).unwrap_or_default());
        self.is_over = true;
    }
}
