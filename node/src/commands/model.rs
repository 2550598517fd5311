//! `starling model`: the catalogue of models: add a file, see what there is, bring one here, take one out.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use keys::Timestamp;

use super::{CommandError, confirm, print_json};
use crate::{
    control::{self, ControlError, Request},
    data_directory::DataDirectory,
    hints::here,
    models::{
        ModelAnswer, ModelRequest, ModelStatus, ModelsError, NewModel, Offline,
        jobs::{JobState, JobStatus},
    },
};

/// How often a job is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What to do with models.
#[derive(Subcommand)]
pub enum ModelCommand {
    /// Add a GGUF file to the catalogue of the mesh; every node can fetch it then.
    #[command(after_help = "Examples:\n  starling model add /models/Qwen3-8B-Q4_K_M.gguf\n  \
            starling model add qwen.gguf --name Qwen3-8B --licence apache-2.0 --licence-file LICENSE --copy")]
    Add(Added),
    /// Every model of the catalogue, and whether its file is here.
    #[command(after_help = "Examples:\n  starling model list\n  starling model list --json")]
    List {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Bring a model's file here, from every node that has it; what was interrupted goes on.
    #[command(after_help = "Example:\n  starling model pull Qwen3-8B")]
    Pull {
        /// Its name, or the first digits of its hash.
        name: String,
    },
    /// Take a model out of the catalogue, on every node, and its file from this machine.
    #[command(
        after_help = "Examples:\n  starling model remove Qwen3-8B --yes\n  starling model remove Qwen3-8B --here"
    )]
    Remove {
        /// Its name, or the first digits of its hash.
        name: String,
        /// Only its file from this machine; it stays in the catalogue.
        #[arg(long)]
        here: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// A file for the catalogue.
#[derive(Args)]
pub struct Added {
    /// The GGUF file.
    file: PathBuf,
    /// What it is to be called; the name of its file unless given.
    #[arg(long)]
    name: Option<String>,
    /// What its licence is called; what the file says unless given.
    #[arg(long, value_name = "NAME")]
    licence: Option<String>,
    /// A file with the licence's text.
    #[arg(long, value_name = "FILE")]
    licence_file: Option<PathBuf>,
    /// Copy it into the data directory, so that the file itself may go; otherwise it is used where it lies.
    #[arg(long)]
    copy: bool,
}

/// Does what is asked for: by the running node, or without one where none is needed.
///
/// # Errors
/// Why it was not done.
pub fn run(path: &Path, command: ModelCommand) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    match command {
        ModelCommand::Add(added) => add(&directory, added),
        ModelCommand::List { json } => list(&directory, json),
        ModelCommand::Pull { name } => pull(&directory, &name),
        ModelCommand::Remove { name, here, yes } => remove(&directory, &name, here, yes),
    }
}

/// The running node's answer; nothing when none runs.
fn ask(directory: &DataDirectory, request: ModelRequest) -> Result<Option<ModelAnswer>, ControlError> {
    match control::request(directory.path(), &Request::Model(request)) {
        Ok(answer) => Ok(Some(answer)),
        Err(ControlError::NotRunning(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does something with the catalogue of a stopped node.
fn offline<T>(
    directory: &DataDirectory,
    work: impl AsyncFnOnce(&crate::models::Catalogue) -> Result<T, ModelsError>,
) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let offline = Offline::open(directory)?;
        let result = work(&offline.catalogue).await;
        offline.close().await;
        Ok::<_, CommandError>(result?)
    })
}

fn add(directory: &DataDirectory, added: Added) -> Result<(), CommandError> {
    let new = NewModel {
        file: std::path::absolute(added.file)?,
        name: added.name,
        licence: added.licence,
        licence_file: added.licence_file.map(std::path::absolute).transpose()?,
        copy: added.copy,
    };
    let status = match ask(directory, ModelRequest::Add(new.clone()))? {
        Some(ModelAnswer::Job(job)) => follow(directory, job)?,
        Some(_) => return Err(Unexpected.into()),
        None => offline(directory, async |catalogue| catalogue.add(&new, Timestamp::now()).await)?,
    };
    println!("Added {}", line(&status));
    if !status.can_chat {
        println!("Its file has no chat template, so it cannot chat.");
    }
    if status.licence.is_empty() {
        println!("Nobody said under which licence it may be used; --licence names one.");
    }
    println!(
        "A node works with it when its configuration says: model = \"catalogue:{}\"",
        status.name
    );
    Ok(())
}

fn list(directory: &DataDirectory, json: bool) -> Result<(), CommandError> {
    let models = match ask(directory, ModelRequest::List)? {
        Some(ModelAnswer::Models(models)) => models,
        Some(_) => return Err(Unexpected.into()),
        None => offline(directory, async |catalogue| catalogue.list().await)?,
    };
    if json {
        print_json(&models)?;
        return Ok(());
    }
    if models.is_empty() {
        println!(
            "The catalogue is empty; a file is added with: {} FILE",
            here("model add")
        );
    }
    for model in &models {
        println!("{}", line(model));
    }
    Ok(())
}

fn pull(directory: &DataDirectory, name: &str) -> Result<(), CommandError> {
    let status = match ask(directory, ModelRequest::Pull(name.to_owned()))? {
        Some(ModelAnswer::Job(job)) => follow(directory, job)?,
        Some(_) => return Err(Unexpected.into()),
        // Without a node there is nobody to fetch it from.
        None => return Err(ControlError::NotRunning(directory.path().to_owned()).into()),
    };
    println!("Whole and verified: {}", line(&status));
    Ok(())
}

fn remove(directory: &DataDirectory, name: &str, only_here: bool, yes: bool) -> Result<(), CommandError> {
    if !only_here && !yes {
        confirm(
            &format!("This takes the model {name} out of the catalogue on every node."),
            "removed",
        )?;
    }
    let request = ModelRequest::Remove {
        name: name.to_owned(),
        here: only_here,
    };
    let removed = match ask(directory, request)? {
        Some(ModelAnswer::Removed(removed)) => removed,
        Some(_) => return Err(Unexpected.into()),
        None => offline(directory, async |catalogue| match only_here {
            true => catalogue.remove_here(name).await,
            false => catalogue.remove(name).await,
        })?,
    };
    match only_here {
        true => println!("The file of {removed} is no longer on this machine; it stays in the catalogue."),
        false => println!("{removed} is no longer in the catalogue."),
    }
    Ok(())
}

/// The node answered something else than was asked.
#[derive(Debug, thiserror::Error)]
#[error("the running node answered something else than was asked; is it of another version?")]
struct Unexpected;

/// A job that failed, as the node said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct JobFailed(String);

/// Says how a job goes on until it is over.
fn follow(directory: &DataDirectory, job: JobStatus) -> Result<ModelStatus, CommandError> {
    let is_terminal = io::stderr().is_terminal();
    let (number, mut state, mut said) = (job.job, job.state, String::new());
    loop {
        let words = match &state {
            JobState::Done(status) => {
                clear(is_terminal && !said.is_empty());
                return Ok(status.clone());
            }
            JobState::Failed(reason) => {
                clear(is_terminal && !said.is_empty());
                return Err(JobFailed(reason.clone()).into());
            }
            JobState::Reading => format!("reading {}", job.about),
            JobState::Fetching { .. } => fetching(&job.about, &state),
        };
        if is_terminal {
            eprint!("\r\x1b[K{words}");
            io::stderr().flush()?;
            said = words;
        } else if said.is_empty() {
            // Into a log goes what begins, not every step.
            eprintln!("{words}");
            said = words;
        }
        // The command line waits for the node here; nothing else runs in this process.
        std::thread::park_timeout(LOOK_EVERY);
        state = match ask(directory, ModelRequest::Job(number))? {
            Some(ModelAnswer::Job(status)) => status.state,
            Some(_) => return Err(Unexpected.into()),
            None => return Err(ControlError::NotRunning(directory.path().to_owned()).into()),
        };
    }
}

fn clear(is_needed: bool) {
    if is_needed {
        eprint!("\r\x1b[K");
    }
}

fn fetching(name: &str, state: &JobState) -> String {
    let JobState::Fetching {
        bytes,
        total,
        bytes_per_second,
        sources,
    } = state
    else {
        return String::new();
    };
    let percent = (bytes * 100).checked_div(*total).unwrap_or(0);
    let left = total.saturating_sub(*bytes);
    let time = match left.checked_div(*bytes_per_second) {
        Some(seconds) => format!(", {seconds} s left"),
        None => String::new(),
    };
    format!(
        "fetching {name}: {percent} % of {}, {} a second from {sources} node(s){time}",
        size(*total),
        size(*bytes_per_second)
    )
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let number = bytes as f64;
    match UNITS.iter().find(|(_, unit)| number >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", number / unit),
        None => format!("{bytes} B"),
    }
}

fn line(model: &ModelStatus) -> String {
    let place = match (model.place.as_str(), model.bytes_here) {
        ("here", _) => "here".to_owned(),
        ("linked", _) => "here, outside the data directory".to_owned(),
        (_, 0) => "not here".to_owned(),
        (_, bytes) => format!("{} of it here", size(bytes)),
    };
    let licence = match model.licence.as_str() {
        "" => "licence not said",
        licence => licence,
    };
    let memory = memory(model);
    format!(
        "{:<24} {} {} {}, {:.1} M parameters, context {}, {licence}; {place}{memory}",
        model.name,
        &model.blob[..8.min(model.blob.len())],
        size(model.bytes),
        model.quantisation,
        model.parameters as f64 / 1e6,
        model.context_tokens,
    )
}

/// How it stands in memory here.
fn memory(model: &ModelStatus) -> String {
    let needs = size(model.estimated_bytes);
    match model.state.as_deref() {
        None => String::new(),
        Some("loaded") => format!("; loaded, {} of {needs} of memory", size(model.measured_bytes)),
        Some("loading") => format!("; being loaded into {needs} of memory"),
        Some("on_disk") => format!("; loaded when it is asked, into at least {needs} of memory"),
        Some(_) => format!(
            "; does not work: {}",
            model.reason.as_deref().unwrap_or("nobody knows why")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_far_it_is() {
        let state = JobState::Fetching {
            bytes: 2_500_000_000,
            total: 5_000_000_000,
            bytes_per_second: 50_000_000,
            sources: 3,
        };
        let said = fetching("Qwen3-8B", &state);
        assert_eq!(
            said,
            "fetching Qwen3-8B: 50 % of 5.0 GB, 50.0 MB a second from 3 node(s), 50 s left"
        );
        let unknown = JobState::Fetching {
            bytes: 0,
            total: 0,
            bytes_per_second: 0,
            sources: 0,
        };
        assert_eq!(
            fetching("a", &unknown),
            "fetching a: 0 % of 0 B, 0 B a second from 0 node(s)"
        );
    }
}
