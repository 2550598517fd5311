//! What the running node does with models when it is asked over the control socket.

use keys::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ModelStatus, ModelsError, NewModel,
    jobs::{JobState, JobStatus},
    serving,
};
use crate::{config, node::Node};

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRequest {
    /// Every model.
    List,
    /// To take a file in.
    Add(NewModel),
    /// To bring a model's file here.
    Pull(String),
    /// How far a job is.
    Job(u64),
    /// To take a model out of the catalogue; or only its file from this machine.
    Remove {
        /// Which.
        name: String,
        /// Only the file.
        here: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelAnswer {
    /// Every model.
    Models(Vec<ModelStatus>),
    /// A job that was begun, or its state.
    Job(JobStatus),
    /// The name of what was removed.
    Removed(String),
}

impl Node {
    /// Answers a request about models.
    ///
    /// # Errors
    /// Why it cannot be done; of a job, its state says so.
    pub async fn answer_about_models(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelsError> {
        match request {
            ModelRequest::List => {
                let mut models = self.models().catalogue().list().await?;
                serving::add_memory(&mut models, self.engines());
                Ok(ModelAnswer::Models(models))
            }
            ModelRequest::Add(new) => self.begin_adding(new).map(ModelAnswer::Job),
            ModelRequest::Pull(name) => self.models().begin(name).await.map(ModelAnswer::Job),
            ModelRequest::Job(job) => self.models().jobs().status(*job).map(ModelAnswer::Job),
            ModelRequest::Remove { name, here } => self.remove_model(name, *here).await.map(ModelAnswer::Removed),
        }
    }

    fn begin_adding(&self, new: &NewModel) -> Result<JobStatus, ModelsError> {
        let jobs = self.models().jobs().clone();
        let (job, is_new) = jobs.begin(&new.file.to_string_lossy(), JobState::Reading)?;
        if is_new {
            let (fetching, new, number) = (self.models().clone(), new.clone(), job.job);
            self.tasks().spawn("reading a model", async move {
                let added = fetching.catalogue().add(&new, Timestamp::now()).await;
                fetching.files().notify_one();
                jobs.update(number, JobState::of(added));
            });
        }
        Ok(job)
    }

    async fn remove_model(&self, name: &str, here: bool) -> Result<String, ModelsError> {
        let catalogue = self.models().catalogue();
        if let Ok((standing, model)) = catalogue.find(name).await {
            for configured in config::catalogue_names(&self.config().inference) {
                if let Ok((_, used)) = catalogue.find(&configured).await
                    && used.blob == model.blob
                {
                    return Err(ModelsError::InUse(standing));
                }
            }
        }
        let removed = if here {
            catalogue.remove_here(name).await
        } else {
            catalogue.remove(name).await
        };
        self.models().files().notify_one();
        removed
    }
}
