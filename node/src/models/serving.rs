//! Which models of the catalogue this node serves: those whose whole files are here. It tells the keeper of models, and puts into words what
//! that one says.

use std::{collections::BTreeMap, sync::Arc};

use crdt::records::{
    RecordKind,
    model::{self, Model, ModelTemplate},
};
use inference::{
    Engines, ModelSource,
    keeper::{MainModel, ModelFile, plan::Condition},
    swarm::models::{ModelState, NodeModel},
};
use tokio::sync::broadcast::error::RecvError;

use super::{Catalogue, ModelStatus, fetching::Fetching, overruns};
use crate::{
    config::Config,
    data_directory::DataDirectory,
    node::{
        StartError,
        settings::{engine_settings, keeper_settings},
    },
    tasks::Tasks,
};

/// The name of the task.
const TASK: &str = "models";

/// Starts with the model that the node is configured to work with, and tells the keeper of the others. One of the catalogue may still have to be
/// fetched: the node is up meanwhile.
pub(crate) async fn start(
    tasks: &Tasks,
    (config, directory): (&Config, &DataDirectory),
    fetching: &Fetching,
) -> Result<Engines, StartError> {
    let mut settings = engine_settings(config, directory)?;
    let mut coming = None;
    if let ModelSource::Catalogue(name) = &settings.model {
        match fetching.here(name).await {
            Some(model) => settings.model = model,
            None => coming = Some(name.clone()),
        }
    }
    let engines = Engines::start(settings, keeper_settings(config))?;
    if let Some(name) = coming {
        let (engines, fetching, tasks_of_it) = (engines.clone(), fetching.clone(), tasks.clone());
        tasks.spawn("the node's model", async move {
            let model = fetching.bring(name).await;
            if let Err(error) = engines.found(model).await {
                tasks_of_it.note_error("the node's model", &error);
            }
        });
    }
    tasks.spawn(TASK, follow(engines.clone(), fetching.clone(), tasks.clone()));
    let store = &fetching.catalogue().store;
    overruns::start(tasks, &engines, store, store.node());
    Ok(engines)
}

/// Tells the keeper which files are here whenever the catalogue or a file changes.
async fn follow(engines: Engines, fetching: Fetching, tasks: Tasks) {
    let catalogue = fetching.catalogue();
    let (mut changes, files) = (catalogue.store.changes(), fetching.files());
    loop {
        match catalogue.files().await {
            Ok(found) => engines.set_files(found).await,
            Err(error) => tasks.note_error(TASK, &error),
        }
        loop {
            let is_news = tokio::select! {
                () = files.notified() => true,
                change = changes.recv() => match change {
                    Ok(change) => change.kind == RecordKind::Model,
                    // What was missed may have been one.
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return,
                },
            };
            if is_news {
                break;
            }
        }
    }
}

impl Catalogue {
    /// The models whose whole files are here and that can chat.
    async fn files(&self) -> Result<Vec<ModelFile>, super::ModelsError> {
        let models = self.models().await?;
        let standing = model::standing(&models);
        let able = standing.into_iter().filter_map(|(name, id)| {
            let model: &Model = models.get(&id)?;
            let path = self.path(model)?;
            let can_chat = model.template != ModelTemplate::None;
            can_chat.then_some(ModelFile { name, path })
        });
        Ok(able.collect())
    }
}

/// Waits until it is known whether the node's model works.
///
/// # Errors
/// Why it does not.
pub(crate) async fn settled(engines: &Engines) -> Result<(), String> {
    let mut conditions = engines.conditions();
    loop {
        match engines.main() {
            MainModel::None => return Ok(()),
            MainModel::Coming => {}
            MainModel::Here(view) => match ModelState::from(view.condition) {
                ModelState::Loaded => return Ok(()),
                ModelState::Failed(reason) => return Err(reason),
                ModelState::Loading | ModelState::OnDisk => {}
            },
        }
        if conditions.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// The state of the node's model in a word, with its name or what is wrong.
pub(crate) fn words(main: MainModel) -> (&'static str, Option<String>) {
    match main {
        MainModel::None => ("none", None),
        MainModel::Coming => ("starting", None),
        MainModel::Here(view) => match view.condition {
            Condition::Loaded => ("ready", Some(view.name.to_string())),
            Condition::OnDisk => ("on disk", Some(view.name.to_string())),
            Condition::Loading => ("starting", None),
            condition => ("failed", ModelState::from(condition).reason().map(str::to_owned)),
        },
    }
}

/// The names of those that can be asked.
pub(crate) fn able(models: Vec<NodeModel>) -> Vec<String> {
    let able = inference::swarm::models::offers(models);
    able.into_iter().map(|offer| offer.model).collect()
}

/// Adds to each model how it stands in memory here.
pub(crate) fn add_memory(statuses: &mut [ModelStatus], engines: &Engines) {
    let mut views: BTreeMap<Arc<str>, _> = engines
        .models()
        .into_iter()
        .map(|view| (view.name.clone(), view))
        .collect();
    for status in statuses {
        let Some(view) = views.remove(&*status.name) else {
            continue;
        };
        let state = ModelState::from(view.condition);
        status.state = Some(state.word().to_owned());
        status.reason = state.reason().map(str::to_owned);
        (status.estimated_bytes, status.measured_bytes) = (view.estimated_bytes, view.measured_bytes);
    }
}
