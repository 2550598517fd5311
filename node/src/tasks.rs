//! Background tasks with a name, a state and a last error, visible in `starling status`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a task is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// Whether it runs.
    pub running: bool,
    /// Errors it met and went on.
    pub errors: u64,
    /// The last of them.
    pub last_error: Option<String>,
}

/// The tasks of a node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tasks {
    // A plain lock: held for a few instructions, never across an await.
    board: Arc<Mutex<BTreeMap<&'static str, TaskStatus>>>,
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// Starts a task; it ends when the node stops.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.update(name, |status| status.running = true);
        let (tasks, stopping) = (self.clone(), self.stopping.clone());
        self.tracker.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stopping.cancelled() => {}
            }
            tasks.update(name, |status| status.running = false);
        });
    }

    /// Notes an error of a task that goes on.
    pub fn note_error(&self, name: &'static str, error: &dyn std::fmt::Display) {
        tracing::warn!(task = name, %error, "a background task met an error");
        self.update(name, |status| {
            status.errors += 1;
            status.last_error = Some(error.to_string());
        });
    }

    fn update(&self, name: &'static str, change: impl FnOnce(&mut TaskStatus)) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        change(board.entry(name).or_insert(TaskStatus {
            running: false,
            errors: 0,
            last_error: None,
        }));
    }

    /// Every task with its state.
    #[must_use]
    pub fn status(&self) -> BTreeMap<&'static str, TaskStatus> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every task and waits for them.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_is_listed_with_its_errors_and_ends_with_the_node() {
        let tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        tasks.note_error("waits", &"a neighbour did not answer");
        let status = tasks.status()["waits"].clone();
        assert!(status.running && status.errors == 1 && status.last_error.unwrap().contains("neighbour"));
        tasks.stop().await;
        assert!(!tasks.status()["waits"].running);
    }
}
