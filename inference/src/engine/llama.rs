//! llama.cpp's engine in the node: the actor that owns the child process, starts it again when it ends, and routes its events.

mod states;

use std::{collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command as Process},
    sync::{mpsc, oneshot},
};

use self::states::States;
use super::{
    Backend, Command, Embedding, EngineEvent, EngineSettings, EngineStatus, GenerationError, ModelInfo, Task,
    calibration::Profile,
    model::Prepared,
    protocol::{FromWorker, Load, Loaded, Order, ToWorker, decode, encode},
    running::Running,
    state::StateError,
};
use crate::{
    limits::{BEAT_SILENCE_MAX, ENGINE_FRAME_BYTES_MAX, GENERATIONS_MAX, LOAD_TIMEOUT, RESTART_FIRST, RESTART_MAX},
    template::{self, ChatFormat},
};
use mesh::frame::{FrameError, read_frame, write_frame};

type Embedded = oneshot::Sender<Result<Embedding, GenerationError>>;

pub(super) struct Llama {
    settings: EngineSettings,
    prepared: Prepared,
    running: Running,
    /// Texts whose embeddings are being computed.
    embedding: HashMap<u64, Embedded>,
    next_embedding: u64,
    states: States,
}

/// Why a child is no more.
enum End {
    /// Every handle to the engine is gone.
    Unneeded,
    /// It failed; this is why.
    Failed(String),
}

impl Backend for Llama {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut wait = RESTART_FIRST;
        loop {
            self.running.set_status(EngineStatus::Starting);
            let began = tokio::time::Instant::now();
            let reason = match self.one_life(&mut queue).await {
                End::Unneeded => return,
                End::Failed(reason) => reason,
            };
            tracing::error!(model = self.prepared.name, reason, "the engine ended");
            // First the status: who hears that a generation died asks next whether the engine is there.
            self.running.set_status(EngineStatus::Failed { reason });
            self.running.end_all(&GenerationError::Died);
            for (_, reply) in self.embedding.drain() {
                let _ = reply.send(Err(GenerationError::Died));
            }
            self.states.end_all();
            // One that ran for a while starts over with a short wait.
            wait = if began.elapsed() > RESTART_MAX {
                RESTART_FIRST
            } else {
                (wait * 2).min(RESTART_MAX)
            };
            if !refuse_for(&mut queue, wait).await {
                return;
            }
            self.running.count_restart();
        }
    }
}

/// Answers requests with "not ready" while the engine is down; false when nobody needs it any more.
async fn refuse_for(queue: &mut mpsc::Receiver<Command>, wait: Duration) -> bool {
    let until = tokio::time::Instant::now() + wait;
    loop {
        match tokio::time::timeout_at(until, queue.recv()).await {
            Ok(Some(command)) => refuse(command),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

impl Llama {
    pub(super) fn new(settings: EngineSettings, prepared: Prepared, running: Running) -> Self {
        Self {
            settings,
            prepared,
            running,
            embedding: HashMap::new(),
            next_embedding: 0,
            states: States::default(),
        }
    }

    /// One child process from start to end.
    async fn one_life(&mut self, queue: &mut mpsc::Receiver<Command>) -> End {
        let (mut child, mut input, mut output) = match self.spawn() {
            Ok(parts) => parts,
            Err(reason) => return End::Failed(reason),
        };
        self.running.set_process(child.id());
        let end = match self.load_model(&mut input, &mut output, queue).await {
            Ok(()) => self.serve(&mut input, output, queue).await,
            Err(end) => end,
        };
        // Its input closes, and it ends by itself; a hung one is killed.
        drop(input);
        let end = match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
            Ok(Ok(status)) if !status.success() => match end {
                End::Failed(reason) => End::Failed(format!("{reason} ({status})")),
                End::Unneeded => End::Unneeded,
            },
            Ok(_) => end,
            Err(_) => {
                let _ = child.kill().await;
                end
            }
        };
        self.running.set_process(None);
        end
    }

    fn spawn(&self) -> Result<(Child, ChildStdin, ChildStdout), String> {
        let mut child = Process::new(&self.settings.program)
            .arg("engine")
            // A signal to the node's whole group (Ctrl-C in a terminal) must not end the engine before the node has stopped.
            .process_group(0)
            // OpenMP's spinning threads starve each other on a shared machine (25 to 60 times slower, measured).
            .env("OMP_WAIT_POLICY", "passive")
            .env("GOMP_SPINCOUNT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the engine's process cannot be started: {error}"))?;
        let parts = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let Some(((input, output), errors)) = parts else {
            return Err("the engine's process has no pipes".into());
        };
        tokio::spawn(async move {
            let mut lines = BufReader::new(errors).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::debug!(target: "engine", "{line}");
            }
        });
        Ok((child, input, output))
    }

    async fn load_model(
        &self,
        input: &mut ChildStdin,
        output: &mut ChildStdout,
        queue: &mut mpsc::Receiver<Command>,
    ) -> Result<(), End> {
        if let Some(saving) = self.prepared.fit.saving() {
            let needed_bytes = self.prepared.memory();
            tracing::info!(
                model = self.prepared.name,
                needed_bytes,
                saving,
                "memory is short, so the model is run with less"
            );
        }
        let number = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let load = ToWorker::Load(Load {
            path: self.prepared.path.to_string_lossy().into_owned(),
            slots: self.settings.slots,
            context_tokens: self.settings.context_tokens,
            threads: self.prepared.threads.clone(),
            micro_batch: self.prepared.fit.micro_batch,
            is_cache_small: self.prepared.fit.is_cache_small,
            parked_bytes: number(self.prepared.parked_bytes),
            profile: self.prepared.profile_file.read(),
        });
        send(input, &load)
            .await
            .map_err(|error| End::Failed(error.to_string()))?;
        let first = async {
            loop {
                match receive(output).await {
                    Ok(Some(FromWorker::Beat)) => {}
                    other => return other,
                }
            }
        };
        let ready = tokio::time::timeout(LOAD_TIMEOUT, first);
        tokio::pin!(ready);
        let loaded = loop {
            tokio::select! {
                loaded = &mut ready => break loaded,
                command = queue.recv() => match command {
                    Some(command) => refuse(command),
                    None => return Err(End::Unneeded),
                },
            }
        };
        match loaded {
            Ok(Ok(Some(FromWorker::Ready(loaded)))) => self.publish_ready(*loaded),
            Ok(Ok(Some(FromWorker::LoadFailed { reason }))) => Err(End::Failed(reason)),
            Ok(Ok(_)) => Err(End::Failed("the engine's process ended while loading".into())),
            Ok(Err(error)) => Err(End::Failed(error.to_string())),
            Err(_) => Err(End::Failed(format!("the model did not load within {LOAD_TIMEOUT:?}"))),
        }
    }

    fn publish_ready(&self, loaded: Loaded) -> Result<(), End> {
        let Some(template) = loaded.template else {
            return Err(End::Failed(
                "the model has no chat template in its metadata, so it cannot chat".into(),
            ));
        };
        template::check(&template).map_err(|error| End::Failed(error.to_string()))?;
        let info = ModelInfo {
            name: self.prepared.name.clone(),
            slots: self.settings.slots,
            context_tokens: loaded.context_tokens,
            format: Some(ChatFormat {
                template,
                control_tokens: loaded.control_tokens,
                begin_token: loaded.begin_token,
                end_token: loaded.end_token,
            }),
            tells_tokens: true,
            profile: Some(loaded.profile),
            state_layout: loaded.state_layout,
        };
        let Profile {
            prefill,
            decode,
            threads,
            is_unified,
            ..
        } = loaded.profile;
        tracing::info!(
            model = info.name,
            inner_name = loaded.name,
            prefill,
            decode,
            threads,
            is_unified,
            backends = loaded.backends.names(),
            "model ready"
        );
        for library in &loaded.backends.without_driver {
            tracing::warn!(
                library,
                "no graphics card computes with this library: there is no driver for it here, or no card"
            );
        }
        self.keep(&loaded.profile);
        self.running.set_status(EngineStatus::Ready(Arc::new(info)));
        Ok(())
    }

    async fn serve(
        &mut self,
        input: &mut ChildStdin,
        mut output: ChildStdout,
        queue: &mut mpsc::Receiver<Command>,
    ) -> End {
        // Reading is not cancel-safe, so it has its own task; the bounded queue holds the child back, never the other way round.
        let (sender, mut events) = mpsc::channel(256);
        let reader = tokio::spawn(async move {
            loop {
                let event = receive(&mut output).await;
                let last = !matches!(event, Ok(Some(_)));
                if sender.send(event).await.is_err() || last {
                    return;
                }
            }
        });
        let end = loop {
            tokio::select! {
                event = tokio::time::timeout(BEAT_SILENCE_MAX, events.recv()) => match event {
                    Ok(Some(Ok(Some(event)))) => {
                        if let Some(stop) = self.handle_event(event)
                            && let Err(error) = send(input, &stop).await
                        {
                            break End::Failed(error.to_string());
                        }
                    }
                    Ok(Some(Err(error))) => break End::Failed(error.to_string()),
                    Ok(Some(Ok(None)) | None) => break End::Failed("the engine's process ended".into()),
                    Err(_) => break End::Failed(format!("the engine's process was silent for {BEAT_SILENCE_MAX:?}")),
                },
                command = queue.recv() => match command {
                    Some(command) => {
                        if let Some(message) = self.handle_command(command)
                            && let Err(error) = send(input, &message).await
                        {
                            break End::Failed(error.to_string());
                        }
                    }
                    None => break End::Unneeded,
                },
                // Beside everything else, a piece at a time.
                () = std::future::ready(()), if self.states.has_pieces() => {
                    if let Some(piece) = self.states.next_piece()
                        && let Err(error) = send(input, &piece).await
                    {
                        break End::Failed(error.to_string());
                    }
                }
            }
        };
        reader.abort();
        end
    }

    fn handle_command(&mut self, command: Command) -> Option<ToWorker> {
        match command {
            Command::Stop(id) => self.running.has(id).then_some(ToWorker::Stop { id }),
            Command::State(command) => self.states.handle(command),
            Command::Embed(_, reply) if self.embedding.len() >= GENERATIONS_MAX => {
                let _ = reply.send(Err(GenerationError::Busy));
                None
            }
            Command::Embed(text, reply) => {
                self.next_embedding += 1;
                let id = self.next_embedding;
                self.embedding.insert(id, reply);
                Some(ToWorker::Embed { id, text })
            }
            Command::Generate(task, reply) => {
                let (id, _) = self.running.begin(task.sampling.tokens_max, reply)?;
                let Task {
                    conversation,
                    prompt,
                    card_bytes,
                    line,
                    sampling,
                    accepted,
                    deadline,
                    ..
                } = *task;
                Some(ToWorker::Generate(Box::new(Order {
                    id,
                    conversation,
                    prompt,
                    card_bytes: u32::try_from(card_bytes).unwrap_or(0),
                    line: line.and_then(|line| Some((u32::try_from(line.start).ok()?, u32::try_from(line.end).ok()?))),
                    sampling,
                    accepted,
                    deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
                })))
            }
        }
    }

    /// Passes an event on; when nobody listens any more, the answer is to stop that generation.
    fn handle_event(&mut self, event: FromWorker) -> Option<ToWorker> {
        let (id, event) = match event {
            FromWorker::Said {
                id,
                token,
                text,
                thought,
            } => {
                let thought = (!thought.is_empty()).then_some(EngineEvent::Thought(thought));
                let text = (!text.is_empty()).then_some(EngineEvent::Text(text));
                let token = token.map(EngineEvent::Token);
                let mut events = [thought, text, token].into_iter().flatten();
                return events
                    .any(|event| self.running.deliver(id, event))
                    .then_some(ToWorker::Stop { id });
            }
            FromWorker::Probability { id, token } => (id, EngineEvent::Probability(token)),
            FromWorker::Finished { id, finished } => (id, EngineEvent::Finished(finished)),
            FromWorker::Failed { id, error } => (id, EngineEvent::Failed(error)),
            FromWorker::Embedding { id, result } => {
                if let Some(reply) = self.embedding.remove(&id) {
                    let _ = reply.send(result);
                }
                return None;
            }
            FromWorker::Measured { profile, state_layout } => {
                self.keep(&profile);
                self.running.change_model(|model| {
                    model.profile = Some(profile);
                    model.state_layout = state_layout;
                });
                return None;
            }
            FromWorker::Beat => {
                self.running.beat();
                return None;
            }
            event @ (FromWorker::Looked { .. }
            | FromWorker::Exporting { .. }
            | FromWorker::Piece { .. }
            | FromWorker::Adopted { .. }) => {
                self.states.hear(event);
                return None;
            }
            FromWorker::Ready(_) | FromWorker::LoadFailed { .. } => return None,
        };
        self.running.deliver(id, event).then_some(ToWorker::Stop { id })
    }

    /// What was measured is not measured again at the next start.
    fn keep(&self, profile: &Profile) {
        if self.prepared.profile_file.read().as_ref() == Some(profile) {
            return;
        }
        if let Err(error) = self.prepared.profile_file.write(profile) {
            tracing::warn!(%error, "the measured speed could not be kept; it is measured again at the next start");
        }
    }
}

/// Answers what cannot be done while no model is loaded.
pub(super) fn refuse(command: Command) {
    match command {
        Command::Generate(_, reply) => drop(reply.send(Err(GenerationError::NotReady))),
        Command::Embed(_, reply) => drop(reply.send(Err(GenerationError::NotReady))),
        Command::State(command) => command.refuse(StateError::Gone),
        Command::Stop(_) => {}
    }
}

async fn send(input: &mut ChildStdin, message: &ToWorker) -> Result<(), FrameError> {
    write_frame(input, &encode(message), ENGINE_FRAME_BYTES_MAX).await
}

async fn receive(output: &mut ChildStdout) -> Result<Option<FromWorker>, FrameError> {
    let Some(frame) = read_frame(output, ENGINE_FRAME_BYTES_MAX).await? else {
        return Ok(None);
    };
    decode(&frame)
        .map(Some)
        .map_err(|error| FrameError::Io(std::io::Error::other(error)))
}
