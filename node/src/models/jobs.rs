//! Work on models that takes longer than a question may: reading a file of gigabytes, fetching one. Each is a job with a number that can
//! be asked for its state; whoever asked for it may go meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{ModelStatus, ModelsError};

/// Jobs under way at once: each reads or writes as fast as the disk does.
const RUNNING_MAX: usize = 4;
/// Finished jobs that are remembered for whoever asks how they ended.
const FINISHED_MAX: usize = 16;

/// A job, as it can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its number.
    pub job: u64,
    /// What it is about: a name or a file.
    pub about: String,
    /// How far it is.
    pub state: JobState,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// A file is read and hashed.
    Reading,
    /// A file comes from other nodes.
    Fetching {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes of the file; zero until that is known.
        total: u64,
        /// Bytes a second.
        bytes_per_second: u64,
        /// Nodes that send now.
        sources: usize,
    },
    /// It is done.
    Done(ModelStatus),
    /// It failed; this is why.
    Failed(String),
}

impl JobState {
    /// How a job ended.
    #[must_use]
    pub fn of(result: Result<ModelStatus, ModelsError>) -> Self {
        match result {
            Ok(status) => Self::Done(status),
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    /// Whether nothing more comes.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// The jobs of a node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs {
    // A plain lock: held for a few instructions, never across an await.
    board: Arc<Mutex<Board>>,
}

#[derive(Default)]
struct Board {
    next: u64,
    jobs: BTreeMap<u64, JobStatus>,
}

impl Jobs {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job. One about the same that is under way already is that job; `false` says so.
    ///
    /// # Errors
    /// When as many are under way as may be.
    pub fn begin(&self, about: &str, state: JobState) -> Result<(JobStatus, bool), ModelsError> {
        let mut board = self.board();
        let mut running = board.jobs.values().filter(|job| !job.state.is_over());
        if let Some(same) = running.clone().find(|job| job.about == about) {
            return Ok((same.clone(), false));
        }
        if running.nth(RUNNING_MAX - 1).is_some() {
            return Err(ModelsError::TooManyJobs(RUNNING_MAX));
        }
        let over = |job: &&JobStatus| job.state.is_over();
        if board.jobs.values().filter(over).count() >= FINISHED_MAX
            && let Some(oldest) = board.jobs.values().find(over).map(|job| job.job)
        {
            board.jobs.remove(&oldest);
        }
        board.next += 1;
        let job = JobStatus {
            job: board.next,
            about: about.to_owned(),
            state,
        };
        board.jobs.insert(job.job, job.clone());
        Ok((job, true))
    }

    /// Says how far a job is.
    pub fn update(&self, job: u64, state: JobState) {
        if let Some(status) = self.board().jobs.get_mut(&job) {
            status.state = state;
        }
    }

    /// How far a job is.
    ///
    /// # Errors
    /// When there is no such job, or it was over long ago.
    pub fn status(&self, job: u64) -> Result<JobStatus, ModelsError> {
        self.board().jobs.get(&job).cloned().ok_or(ModelsError::UnknownJob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_few_and_one_thing_is_done_once() {
        let jobs = Jobs::default();
        let (first, is_new) = jobs.begin("a", JobState::Reading).unwrap();
        assert!(is_new);
        assert_eq!(jobs.begin("a", JobState::Reading).unwrap(), (first.clone(), false));
        for about in ["b", "c", "d"] {
            jobs.begin(about, JobState::Reading).unwrap();
        }
        assert!(matches!(
            jobs.begin("e", JobState::Reading),
            Err(ModelsError::TooManyJobs(_))
        ));
        jobs.update(first.job, JobState::Failed("the disk is full".into()));
        let (again, is_new) = jobs.begin("a", JobState::Reading).unwrap();
        assert!(is_new && again.job != first.job, "what failed can be tried again");
        assert!(matches!(jobs.status(first.job).unwrap().state, JobState::Failed(_)));
        for _ in 0..2 * FINISHED_MAX {
            jobs.update(again.job, JobState::Reading);
            let (last, _) = jobs.begin("a", JobState::Reading).unwrap();
            jobs.update(last.job, JobState::Failed(String::new()));
            let (next, _) = jobs.begin("f", JobState::Reading).unwrap();
            jobs.update(next.job, JobState::Failed(String::new()));
            jobs.update(again.job, JobState::Failed(String::new()));
            let (next, _) = jobs.begin("a", JobState::Reading).unwrap();
            jobs.update(next.job, JobState::Failed(String::new()));
        }
        assert!(jobs.board().jobs.len() <= FINISHED_MAX + RUNNING_MAX);
        assert!(matches!(jobs.status(first.job), Err(ModelsError::UnknownJob)));
    }
}
