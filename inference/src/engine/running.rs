//! The generations under way of one engine, and what it tells of itself: the same for every kind of engine.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot, watch};

use super::{Command, EngineEvent, EngineLoad, EngineStatus, GenerationError, Running as Handle};
use crate::limits::GENERATIONS_MAX;

/// See the module. Owned by the engine's actor.
pub(super) struct Running {
    status: watch::Sender<EngineStatus>,
    load: watch::Sender<EngineLoad>,
    commands: mpsc::WeakSender<Command>,
    events: HashMap<u64, mpsc::Sender<EngineEvent>>,
    next_id: u64,
    pulse: watch::Sender<u64>,
    generations_max: usize,
}

impl Running {
    pub(super) fn new(
        status: EngineStatus,
        commands: mpsc::WeakSender<Command>,
    ) -> (Self, watch::Receiver<EngineStatus>, watch::Receiver<EngineLoad>) {
        let (status_sender, status) = watch::channel(status);
        let (load_sender, load) = watch::channel(EngineLoad::default());
        let running = Self {
            status: status_sender,
            load: load_sender,
            commands,
            events: HashMap::new(),
            next_id: 0,
            pulse: watch::Sender::new(0),
            generations_max: GENERATIONS_MAX,
        };
        (running, status, load)
    }

    /// An engine that computes nothing can hold more.
    pub(super) const fn set_generations_max(&mut self, generations: usize) {
        self.generations_max = generations;
    }

    pub(super) fn set_status(&self, status: EngineStatus) {
        self.status.send_replace(status);
    }

    /// Changes what is told of the loaded model.
    pub(super) fn change_model(&self, change: impl FnOnce(&mut super::ModelInfo)) {
        self.status.send_modify(|status| {
            if let EngineStatus::Ready(model) = status {
                change(std::sync::Arc::make_mut(model));
            }
        });
    }

    /// Takes a generation in and answers who asked; its number unless the engine is full or nobody waits for it any more.
    pub(super) fn begin(
        &mut self,
        tokens_max: u32,
        reply: oneshot::Sender<Result<Handle, GenerationError>>,
    ) -> Option<(u64, mpsc::Sender<EngineEvent>)> {
        if self.events.len() >= self.generations_max {
            let _ = reply.send(Err(GenerationError::Busy));
            return None;
        }
        self.next_id += 1;
        let id = self.next_id;
        // Room for a text, a thought, a probability and the number of every token and for the end, so that the engine never waits for a slow
        // reader.
        let (sender, events) = mpsc::channel(tokens_max as usize * 4 + 8);
        let handle = Handle {
            id,
            events,
            commands: self.commands.clone(),
            pulse: self.pulse.subscribe(),
        };
        if reply.send(Ok(handle)).is_err() {
            return None;
        }
        self.events.insert(id, sender.clone());
        self.publish(0);
        Some((id, sender))
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.events.contains_key(&id)
    }

    /// Passes an event on. True when nobody listens any more and the generation is to be stopped.
    pub(super) fn deliver(&mut self, id: u64, event: EngineEvent) -> bool {
        let Some(events) = self.events.get(&id) else {
            // The answer to a stop that crossed the end of its generation.
            return false;
        };
        let is_last = matches!(event, EngineEvent::Finished(_) | EngineEvent::Failed(_));
        let is_abandoned = events.try_send(event).is_err();
        if is_last || is_abandoned {
            self.end(id, is_last);
        }
        is_abandoned && !is_last
    }

    /// A generation is over.
    pub(super) fn end(&mut self, id: u64, is_finished: bool) {
        if self.events.remove(&id).is_some() {
            self.publish(u64::from(is_finished));
        }
    }

    /// All of them end, because the engine does.
    pub(super) fn end_all(&mut self, error: &GenerationError) {
        for (_, events) in self.events.drain() {
            // The channel has room for every event of its generation.
            let _ = events.try_send(EngineEvent::Failed(error.clone()));
        }
        self.publish(0);
    }

    /// What computes has said that it lives.
    pub(super) fn beat(&self) {
        self.pulse.send_modify(|beats| *beats = beats.wrapping_add(1));
    }

    /// The process that computes now.
    pub(super) fn set_process(&self, process: Option<u32>) {
        self.load.send_modify(|load| load.process = process);
    }

    pub(super) fn count_restart(&self) {
        self.load.send_modify(|load| load.restarts += 1);
    }

    fn publish(&self, finished: u64) {
        let generations = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.load.send_modify(|load| {
            load.generations = generations;
            load.finished += finished;
        });
    }
}
