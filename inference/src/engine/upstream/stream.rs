//! One streamed answer of an upstream server: server-sent events, line by line, each of bounded size.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Line, UpstreamError};
use crate::{
    engine::{
        EngineEvent, FinishReason, Finished, GenerationError, Task,
        output::{End, Output, Said},
    },
    limits::{UPSTREAM_LINE_BYTES_MAX, UPSTREAM_SILENCE_MAX},
};

/// What has come of an answer.
struct Answer<'task> {
    output: Output,
    events: &'task mpsc::Sender<EngineEvent>,
    finished: Finished,
    is_over: bool,
}

/// Follows an answer to its end and passes it on. True when its last event was passed on.
pub(super) async fn follow(
    line: &Line,
    request: &Value,
    task: &Task,
    events: &mpsc::Sender<EngineEvent>,
    stopped: oneshot::Receiver<()>,
) -> bool {
    let characters = usize::try_from(task.sampling.characters_max).unwrap_or(usize::MAX);
    let mut answer = Answer {
        output: Output::new("", task.sampling.stops.clone(), characters.max(1)),
        events,
        finished: Finished {
            reason: FinishReason::Complete,
            prompt_tokens: 0,
            reused_tokens: 0,
            generated_tokens: 0,
        },
        is_over: false,
    };
    let stopped = async {
        // A sender that is gone is no stop.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let result = tokio::select! {
        biased;
        () = stopped => {
            answer.finished.reason = FinishReason::Stopped;
            Ok(())
        }
        result = tokio::time::timeout(task.deadline, answer.read(line, request)) => match result {
            Ok(result) => result.map_err(GenerationError::Upstream),
            Err(_) => Err(GenerationError::Deadline),
        },
        // Nobody listens any more: the request is dropped, and the server stops.
        () = events.closed() => return false,
    };
    if result.is_ok() && answer.finished.reason != FinishReason::Length {
        let said = answer.output.finish();
        answer.say(said);
    }
    let last = match result {
        Ok(()) => EngineEvent::Finished(answer.finished),
        Err(error) => EngineEvent::Failed(error),
    };
    events.try_send(last).is_ok()
}

impl Answer<'_> {
    async fn read(&mut self, line: &Line, request: &Value) -> Result<(), UpstreamError> {
        let sent = line.ask(reqwest::Method::POST, "chat/completions").json(request).send();
        let sent = tokio::time::timeout(UPSTREAM_SILENCE_MAX, sent).await;
        let mut response = sent
            .map_err(|_| UpstreamError::Silent)?
            .map_err(|_| UpstreamError::Unreachable)?;
        if !response.status().is_success() {
            return Err(UpstreamError::Status(response.status().as_u16()));
        }
        let mut held = Vec::new();
        while !self.is_over {
            let chunk = tokio::time::timeout(UPSTREAM_SILENCE_MAX, response.chunk()).await;
            let chunk = chunk
                .map_err(|_| UpstreamError::Silent)?
                .map_err(|_| UpstreamError::Broken)?;
            let Some(bytes) = chunk else {
                // Without the line that says so, the answer is not whole.
                return Err(UpstreamError::Broken);
            };
            held.extend_from_slice(&bytes);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let text: Vec<u8> = held.drain(..=end).collect();
                self.line(&text)?;
            }
            if held.len() > UPSTREAM_LINE_BYTES_MAX {
                return Err(UpstreamError::Malformed);
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), UpstreamError> {
        let line = line.trim_ascii();
        let Some(data) = line.strip_prefix(b"data:") else {
            // Comments that keep the line open, and kinds of events that say nothing.
            return Ok(());
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.is_over = true;
            return Ok(());
        }
        let event: Value = serde_json::from_slice(data).map_err(|_| UpstreamError::Malformed)?;
        if event.get("error").is_some_and(|error| !error.is_null()) {
            return Err(UpstreamError::Broken);
        }
        let count = |key: &str| event["usage"][key].as_u64().and_then(|count| u32::try_from(count).ok());
        if let Some(prompt) = count("prompt_tokens") {
            self.finished.prompt_tokens = prompt;
        }
        if let Some(generated) = count("completion_tokens") {
            self.finished.generated_tokens = generated;
        }
        let choice = &event["choices"][0];
        let delta = &choice["delta"];
        let thought = delta["reasoning_content"]
            .as_str()
            .or_else(|| delta["reasoning"].as_str());
        if let Some(thought) = thought.filter(|thought| !thought.is_empty()) {
            let _ = self.events.try_send(EngineEvent::Thought(thought.to_owned()));
        }
        if let Some(text) = delta["content"].as_str().filter(|text| !text.is_empty()) {
            self.finished.generated_tokens += u32::from(count("completion_tokens").is_none());
            let said = self.output.push(text.as_bytes());
            match said.ends {
                Some(End::Characters) => self.finished.reason = FinishReason::Length,
                Some(End::Stop) | None => {}
            }
            self.is_over |= said.ends.is_some();
            self.say(said);
        }
        if choice["finish_reason"] == "length" {
            self.finished.reason = FinishReason::Length;
        }
        Ok(())
    }

    fn say(&self, said: Said) {
        // A closed channel ends the request elsewhere; a full one cannot be: there is room for every token.
        if !said.thought.is_empty() {
            let _ = self.events.try_send(EngineEvent::Thought(said.thought));
        }
        if !said.answer.is_empty() {
            let _ = self.events.try_send(EngineEvent::Text(said.answer));
        }
    }
}
