//! Bringing models here: asked for by a person, or because the node is configured to work with one.

use std::{sync::Arc, time::Duration};

use inference::ModelSource;
use keys::NodeId;
use mesh::{
    Mesh,
    blobs::{Pace, Progress, Rate, SourceProgress, SourceState},
};
use tokio::sync::{Notify, watch};

use super::{
    Catalogue, ModelsError,
    jobs::{JobState, JobStatus, Jobs},
};
use crate::tasks::Tasks;

/// The name of the task.
const TASK: &str = "fetching a model";
/// How long a node that is configured to work with a model waits before it tries again to fetch it.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often it looks how far the job is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The catalogue, the jobs under way for it, and what it takes to bring a model here. Cheap to clone.
#[derive(Clone)]
pub struct Fetching {
    catalogue: Catalogue,
    jobs: Jobs,
    tasks: Tasks,
    mesh: Mesh,
    files: Arc<Notify>,
}

impl Fetching {
    /// For a node.
    #[must_use]
    pub fn new(catalogue: Catalogue, tasks: &Tasks, mesh: &Mesh) -> Self {
        Self {
            catalogue,
            jobs: Jobs::default(),
            tasks: tasks.clone(),
            mesh: mesh.clone(),
            files: Arc::default(),
        }
    }

    /// The records and the files.
    #[must_use]
    pub const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The jobs.
    #[must_use]
    pub const fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Notified when other files of models are here than before.
    #[must_use]
    pub const fn files(&self) -> &Arc<Notify> {
        &self.files
    }

    /// Begins to bring a model's file here, or joins the job that does.
    ///
    /// # Errors
    /// When nobody is called so, or too many jobs run.
    pub async fn begin(&self, text: &str) -> Result<JobStatus, ModelsError> {
        let (name, model) = self.catalogue.find(text).await?;
        let first = fetching_state(&Progress::default(), model.bytes);
        let (job, is_new) = self.jobs.begin(&name, first)?;
        if !is_new {
            return Ok(job);
        }
        let (parts, number) = (self.clone(), job.job);
        self.tasks.spawn(TASK, async move {
            let pace = Pace::new(Rate::Measured, parts.mesh.token_streams());
            let sources: Vec<NodeId> = parts.mesh.view().borrow().reachable().map(|(node, _)| *node).collect();
            let (progress, mut watched) = watch::channel(Progress::default());
            let with = (&parts.mesh, &pace);
            let fetched = parts.catalogue.fetch(with, (&name, &model), &sources, &progress);
            let told = async {
                while watched.changed().await.is_ok() {
                    let state = fetching_state(&watched.borrow_and_update(), model.bytes);
                    parts.jobs.update(number, state);
                }
            };
            let state = tokio::select! {
                fetched = fetched => JobState::of(fetched),
                () = told => JobState::Failed(ModelsError::Stopped.to_string()),
            };
            if let JobState::Failed(reason) = &state {
                parts.tasks.note_error(TASK, reason);
            }
            parts.files.notify_one();
            parts.jobs.update(number, state);
        });
        Ok(job)
    }

    /// The model, when its whole file is here.
    pub async fn here(&self, text: &str) -> Option<ModelSource> {
        let (name, model) = self.catalogue.find(text).await.ok()?;
        let path = self.catalogue.path(&model)?;
        Some(ModelSource::Named { name, path })
    }

    /// Brings a model here, however long that takes: it may not be in the catalogue yet, and nobody who has it may be linked.
    pub async fn bring(self, text: String) -> ModelSource {
        loop {
            match self.begin(&text).await {
                Ok(job) => self.wait_for(job.job).await,
                Err(error) => self.tasks.note_error(TASK, &error),
            }
            if let Some(model) = self.here(&text).await {
                return model;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn wait_for(&self, job: u64) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            look.tick().await;
            let status = self.jobs.status(job);
            if status.map_or(true, |status| status.state.is_over()) {
                return;
            }
        }
    }
}

fn fetching_state(progress: &Progress, total: u64) -> JobState {
    let sending = |source: &&SourceProgress| source.state == SourceState::Sending;
    JobState::Fetching {
        bytes: progress.bytes,
        total,
        bytes_per_second: progress.bytes_per_second,
        sources: progress.sources.iter().filter(sending).count(),
    }
}
