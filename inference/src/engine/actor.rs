//! The engine's actor in the node: owns the child process, starts it again when it ends, and routes its events.

use std::{collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command as Process},
    sync::{mpsc, watch},
};

use super::{
    Command, EngineEvent, EngineLoad, EngineSettings, EngineStatus, Generation, GenerationError, ModelInfo, Running,
    model::Prepared,
    protocol::{FromWorker, Loaded, ToWorker},
};
use crate::{
    limits::{ENGINE_FRAME_BYTES_MAX, GENERATIONS_MAX, LOAD_TIMEOUT, RESTART_FIRST, RESTART_MAX},
    template::{self, ChatFormat},
};
use mesh::frame::{FrameError, read_frame, write_frame};

pub(super) struct Actor {
    settings: EngineSettings,
    prepared: Prepared,
    status: watch::Sender<EngineStatus>,
    load: watch::Sender<EngineLoad>,
    commands: mpsc::WeakSender<Command>,
    running: HashMap<u64, mpsc::Sender<EngineEvent>>,
    next_id: u64,
}

/// Why a child is no more.
enum End {
    /// Every handle to the engine is gone.
    Unneeded,
    /// It failed; this is why.
    Failed(String),
}

impl Actor {
    pub(super) fn new(
        settings: EngineSettings,
        prepared: Prepared,
        status: watch::Sender<EngineStatus>,
        load: watch::Sender<EngineLoad>,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        Self {
            settings,
            prepared,
            status,
            load,
            commands,
            running: HashMap::new(),
            next_id: 0,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut wait = RESTART_FIRST;
        loop {
            self.status.send_replace(EngineStatus::Starting);
            let began = tokio::time::Instant::now();
            let reason = match self.one_life(&mut queue).await {
                End::Unneeded => return,
                End::Failed(reason) => reason,
            };
            tracing::error!(model = self.prepared.name, reason, "the engine ended");
            for (_, events) in self.running.drain() {
                // The channel has room for every event of its generation.
                let _ = events.try_send(EngineEvent::Failed(GenerationError::Died));
            }
            self.publish_load(0);
            self.status.send_replace(EngineStatus::Failed { reason });
            // One that ran for a while starts over with a short wait.
            wait = if began.elapsed() > RESTART_MAX {
                RESTART_FIRST
            } else {
                (wait * 2).min(RESTART_MAX)
            };
            if !self.refuse_for(&mut queue, wait).await {
                return;
            }
        }
    }

    /// Answers requests with "not ready" while the engine is down; false when nobody needs it any more.
    async fn refuse_for(&self, queue: &mut mpsc::Receiver<Command>, wait: Duration) -> bool {
        let until = tokio::time::Instant::now() + wait;
        loop {
            match tokio::time::timeout_at(until, queue.recv()).await {
                Ok(Some(command)) => refuse(command),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// One child process from start to end.
    async fn one_life(&mut self, queue: &mut mpsc::Receiver<Command>) -> End {
        let (mut child, mut input, mut output) = match self.spawn() {
            Ok(parts) => parts,
            Err(reason) => return End::Failed(reason),
        };
        let end = match self.load_model(&mut input, &mut output, queue).await {
            Ok(()) => self.serve(&mut input, output, queue).await,
            Err(end) => end,
        };
        // Its input closes, and it ends by itself; a hung one is killed.
        drop(input);
        match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
            Ok(Ok(status)) if !status.success() => match end {
                End::Failed(reason) => End::Failed(format!("{reason} ({status})")),
                End::Unneeded => End::Unneeded,
            },
            Ok(_) => end,
            Err(_) => {
                let _ = child.kill().await;
                end
            }
        }
    }

    fn spawn(&self) -> Result<(Child, ChildStdin, ChildStdout), String> {
        let mut child = Process::new(&self.settings.program)
            .arg("infer-worker")
            // A signal to the node's whole group (Ctrl-C in a terminal) must not end the engine before the node has stopped.
            .process_group(0)
            // OpenMP's spinning threads starve each other on a shared machine (25 to 60 times slower, measured).
            .env("OMP_WAIT_POLICY", "passive")
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
        let load = ToWorker::Load {
            path: self.prepared.path.to_string_lossy().into_owned(),
            slots: self.settings.slots,
            context_tokens: self.settings.context_tokens,
            threads: self.prepared.threads,
        };
        send(input, &load)
            .await
            .map_err(|error| End::Failed(error.to_string()))?;
        let ready = tokio::time::timeout(LOAD_TIMEOUT, receive(output));
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
            Ok(Ok(Some(FromWorker::Ready(loaded)))) => self.publish_ready(loaded),
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
            format: ChatFormat {
                template,
                control_tokens: loaded.control_tokens,
                begin_token: loaded.begin_token,
                end_token: loaded.end_token,
            },
            prefill_tokens_per_second: loaded.prefill_tokens_per_second,
            decode_tokens_per_second: loaded.decode_tokens_per_second,
        };
        let (prefill, decode) = (info.prefill_tokens_per_second, info.decode_tokens_per_second);
        tracing::info!(
            model = info.name,
            inner_name = loaded.name,
            prefill,
            decode,
            "model ready"
        );
        self.status.send_replace(EngineStatus::Ready(Arc::new(info)));
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
                event = events.recv() => match event {
                    Some(Ok(Some(event))) => {
                        if let Some(stop) = self.handle_event(event)
                            && let Err(error) = send(input, &stop).await
                        {
                            break End::Failed(error.to_string());
                        }
                    }
                    Some(Err(error)) => break End::Failed(error.to_string()),
                    Some(Ok(None)) | None => break End::Failed("the engine's process ended".into()),
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
            }
        };
        reader.abort();
        end
    }

    fn handle_command(&mut self, command: Command) -> Option<ToWorker> {
        match command {
            Command::Stop(id) => self.running.contains_key(&id).then_some(ToWorker::Stop { id }),
            Command::Generate(_, reply) if self.running.len() >= GENERATIONS_MAX => {
                let _ = reply.send(Err(GenerationError::Busy));
                None
            }
            Command::Generate(Generation { key, prompt, sampling }, reply) => {
                self.next_id += 1;
                let id = self.next_id;
                // Room for one event per token and the last one, so that the engine never waits for a slow reader.
                let (sender, events) = mpsc::channel(sampling.tokens_max as usize + 2);
                let running = Running {
                    id,
                    events,
                    commands: self.commands.clone(),
                };
                if reply.send(Ok(running)).is_err() {
                    return None;
                }
                self.running.insert(id, sender);
                self.publish_load(0);
                Some(ToWorker::Generate {
                    id,
                    key,
                    prompt,
                    sampling,
                })
            }
        }
    }

    /// Passes an event on; when nobody listens any more, the answer is to stop that generation.
    fn handle_event(&mut self, event: FromWorker) -> Option<ToWorker> {
        let (id, event, last) = match event {
            FromWorker::Text { id, text } => (id, EngineEvent::Text(text), false),
            FromWorker::Finished { id, finished } => (id, EngineEvent::Finished(finished), true),
            FromWorker::Failed { id, error } => (id, EngineEvent::Failed(error), true),
            FromWorker::Ready(_) | FromWorker::LoadFailed { .. } => return None,
        };
        if !self.running.contains_key(&id) {
            // The answer to a stop that crossed the end of its generation.
            return None;
        }
        let abandoned = self
            .running
            .get(&id)
            .is_some_and(|events| events.try_send(event).is_err());
        if last || abandoned {
            self.running.remove(&id);
            self.publish_load(u64::from(last));
        }
        (abandoned && !last).then_some(ToWorker::Stop { id })
    }

    fn publish_load(&self, finished: u64) {
        let generations = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        self.load.send_modify(|load| {
            load.generations = generations;
            load.finished += finished;
        });
    }
}

fn refuse(command: Command) {
    if let Command::Generate(_, reply) = command {
        let _ = reply.send(Err(GenerationError::NotReady));
    }
}

async fn send(input: &mut ChildStdin, message: &ToWorker) -> Result<(), FrameError> {
    let body = postcard::to_stdvec(message).map_err(|error| FrameError::Io(std::io::Error::other(error)))?;
    write_frame(input, &body, ENGINE_FRAME_BYTES_MAX).await
}

async fn receive(output: &mut ChildStdout) -> Result<Option<FromWorker>, FrameError> {
    let Some(frame) = read_frame(output, ENGINE_FRAME_BYTES_MAX).await? else {
        return Ok(None);
    };
    postcard::from_bytes(&frame)
        .map(Some)
        .map_err(|error| FrameError::Io(std::io::Error::other(error)))
}
