//! An engine that is a server the operator runs already, spoken to as most of them are: the chat completions of OpenAI's interface
//! (vLLM, llama-server, Ollama). So a mesh can stand before an engine of a data centre.

mod stream;

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    Backend, Command, Embedding, EngineSettings, EngineStatus, GenerationError, ModelInfo, Task, running::Running,
    sampling::Shape,
};
use crate::limits::{GENERATIONS_MAX, UPSTREAM_CHECK_EVERY, UPSTREAM_CONNECT_TIMEOUT, UPSTREAM_SILENCE_MAX};

/// Where a server is.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address up to `/v1`, without a slash at the end.
    pub address: String,
    /// Which of its models; the first one it names unless given.
    pub model: Option<String>,
    /// What it wants to be shown.
    pub key: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "...");
        write!(formatter, "Server({}, {:?}, {key:?})", self.address, self.model)
    }
}

/// An address that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no address of a server; write it as http://127.0.0.1:8000/v1 or http://127.0.0.1:8000/v1#MODEL")]
pub struct AddressError(String);

/// How a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum UpstreamError {
    /// Nobody is there.
    #[error("it cannot be reached")]
    Unreachable,
    /// It refused.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It sent nothing for too long.
    #[error("it sent nothing for {UPSTREAM_SILENCE_MAX:?}")]
    Silent,
    /// It ended in the middle.
    #[error("it ended in the middle of an answer")]
    Broken,
    /// It sent what is no answer.
    #[error("it sent something that is no answer")]
    Malformed,
    /// It has no model.
    #[error("it has no model")]
    NoModel,
}

impl Server {
    /// From an address, with the model after `#`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str, key: Option<String>) -> Result<Self, AddressError> {
        let (address, model) = text
            .split_once('#')
            .map_or((text, None), |(address, model)| (address, Some(model)));
        let parsed = reqwest::Url::parse(address).map_err(|_| AddressError(text.to_owned()))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() || !parsed.username().is_empty() {
            return Err(AddressError(text.to_owned()));
        }
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            model: model.filter(|model| !model.is_empty()).map(str::to_owned),
            key,
        })
    }
}

/// What every request needs.
#[derive(Clone)]
struct Line {
    client: reqwest::Client,
    server: Server,
}

pub(super) struct Upstream {
    line: Line,
    running: Running,
    stops: HashMap<u64, oneshot::Sender<()>>,
    context_tokens: u32,
    slots: u32,
    model: Option<String>,
}

/// What ended in the background.
enum Ended {
    Generation { id: u64, is_finished: bool },
    Check(Result<String, UpstreamError>),
    Embedding,
}

impl Upstream {
    pub(super) fn new(server: Server, settings: &EngineSettings, running: Running) -> Result<Self, AddressError> {
        // A proxy of the surroundings is for the internet, not for the operator's own server.
        let client = reqwest::Client::builder()
            .connect_timeout(UPSTREAM_CONNECT_TIMEOUT)
            .no_proxy()
            .build();
        let client = client.map_err(|_| AddressError(server.address.clone()))?;
        Ok(Self {
            line: Line { client, server },
            running,
            stops: HashMap::new(),
            context_tokens: settings.context_tokens,
            slots: settings.slots,
            model: None,
        })
    }

    fn handle(&mut self, command: Command, tasks: &mut JoinSet<Ended>) {
        match command {
            Command::Stop(id) => drop(self.stops.remove(&id).map(|stop| stop.send(()))),
            Command::Embed(text, reply) => {
                let (line, model) = (self.line.clone(), self.model.clone());
                if tasks.len() > GENERATIONS_MAX * 2 {
                    drop(reply.send(Err(GenerationError::Busy)));
                    return;
                }
                tasks.spawn(async move {
                    let result = line.embed(model, &text).await.map_err(GenerationError::Upstream);
                    drop(reply.send(result));
                    Ended::Embedding
                });
            }
            Command::State(command) => command.refuse(super::state::StateError::Unsupported),
            Command::Generate(task, reply) => {
                let Some(model) = self.model.clone() else {
                    drop(reply.send(Err(GenerationError::NotReady)));
                    return;
                };
                let request = match request(&model, &task) {
                    Ok(request) => request,
                    Err(error) => return drop(reply.send(Err(error))),
                };
                let Some((id, events)) = self.running.begin(task.sampling.tokens_max, reply) else {
                    return;
                };
                let (stop, stopped) = oneshot::channel();
                self.stops.insert(id, stop);
                let line = self.line.clone();
                tasks.spawn(async move {
                    let is_finished = stream::follow(&line, &request, &task, &events, stopped).await;
                    Ended::Generation { id, is_finished }
                });
            }
        }
    }

    fn handle_check(&mut self, checked: Result<String, UpstreamError>) {
        match checked {
            Ok(name) => {
                if self.model.as_ref() == Some(&name) {
                    return;
                }
                tracing::info!(server = self.line.server.address, model = name, "upstream ready");
                self.model = Some(name.clone());
                self.running.set_status(EngineStatus::Ready(Arc::new(ModelInfo {
                    state_layout: None,
                    name,
                    slots: self.slots,
                    context_tokens: self.context_tokens,
                    format: None,
                    tells_tokens: false,
                    profile: None,
                })));
            }
            Err(error) => {
                self.model = None;
                self.running.set_status(EngineStatus::Failed {
                    reason: format!("the upstream server {} failed: {error}", self.line.server.address),
                });
            }
        }
    }
}

impl Backend for Upstream {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut tasks = JoinSet::new();
        let mut check = tokio::time::interval(UPSTREAM_CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_checking = false;
        loop {
            tokio::select! {
                command = queue.recv() => match command {
                    Some(command) => self.handle(command, &mut tasks),
                    None => return,
                },
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Ended::Generation { id, is_finished }) => {
                        self.stops.remove(&id);
                        self.running.end(id, is_finished);
                    }
                    Ok(Ended::Check(checked)) => {
                        is_checking = false;
                        self.handle_check(checked);
                    }
                    Ok(Ended::Embedding) => {}
                    Err(error) => tracing::error!(%error, "a request to the upstream server ended abnormally"),
                },
                _ = check.tick(), if !is_checking => {
                    is_checking = true;
                    let line = self.line.clone();
                    tasks.spawn(async move { Ended::Check(line.check().await) });
                }
            }
        }
    }
}

impl Line {
    fn ask(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.server.address));
        match &self.server.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Whether it is there, and the name of its model.
    async fn check(&self) -> Result<String, UpstreamError> {
        let request = self.ask(reqwest::Method::GET, "models").timeout(UPSTREAM_CHECK_EVERY);
        let list = answer(request).await?;
        if let Some(model) = &self.server.model {
            return Ok(model.clone());
        }
        let first = list["data"][0]["id"].as_str();
        first.map(str::to_owned).ok_or(UpstreamError::NoModel)
    }

    async fn embed(&self, model: Option<String>, text: &str) -> Result<Embedding, UpstreamError> {
        let body = json!({"model": model.ok_or(UpstreamError::NoModel)?, "input": text});
        let request = self
            .ask(reqwest::Method::POST, "embeddings")
            .timeout(UPSTREAM_SILENCE_MAX)
            .json(&body);
        let answer = answer(request).await?;
        let numbers = answer["data"][0]["embedding"]
            .as_array()
            .ok_or(UpstreamError::Malformed)?;
        let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
        let numbers: Vec<f32> = numbers
            .iter()
            .filter_map(Value::as_f64)
            .map(|number| number as f32)
            .collect();
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        if !length.is_normal() {
            return Err(UpstreamError::Malformed);
        }
        Ok(Embedding {
            values: numbers.iter().map(|number| number / length).collect(),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
        })
    }
}

/// A whole answer, of bounded size.
async fn answer(request: reqwest::RequestBuilder) -> Result<Value, UpstreamError> {
    let mut response = request.send().await.map_err(|_| UpstreamError::Unreachable)?;
    if !response.status().is_success() {
        return Err(UpstreamError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|_| UpstreamError::Broken)? {
        body.extend_from_slice(&bytes);
        if body.len() > crate::limits::UPSTREAM_LINE_BYTES_MAX {
            return Err(UpstreamError::Malformed);
        }
    }
    serde_json::from_slice(&body).map_err(|_| UpstreamError::Malformed)
}

/// The body of a request. Stop texts and limits are held on this side, so that every server obeys them alike.
fn request(model: &str, task: &Task) -> Result<Value, GenerationError> {
    let sampling = &task.sampling;
    let mut body = json!({
        "model": model,
        "messages": task.messages,
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        "max_tokens": sampling.tokens_max,
    });
    match &sampling.shape {
        None => {}
        Some(Shape::Gbnf(_)) => return Err(GenerationError::Unsupported("a grammar for an upstream server".into())),
        Some(Shape::JsonSchema(schema)) => {
            let schema: Value = serde_json::from_str(schema)
                .map_err(|_| GenerationError::Grammar(super::grammar::GrammarError::NotJson))?;
            body["response_format"] =
                json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
