//! The keeper of a node's models: each is loaded when somebody asks for it, in an engine of its own, and goes when its memory is needed or
//! nobody asks it any more.
//!
//! What is loaded and what goes is decided in [`plan`], purely; here are the engines, the clock and the machine's memory ([`run`]).
//!
//! ## Journey: a question for a model that is not in memory
//! The model is offered with the time in which it is loaded, which the router counts -> whoever computes asks for it
//! ([`Engines::model`]) and waits -> the keeper makes room, starts the engine, asks it the known prompt ([`probe`]) -> whoever waits holds a
//! [`ModelGuard`], and as long as it does the model stays.

pub mod plan;
mod probe;
mod run;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use self::plan::{Answer, Condition, Keeping, Listed, ModelView, Moment, Name, Plan, Refusal, Ticket};
use crate::{
    engine::{
        Engine, EngineLoad, EngineSettings, GenerationError, ModelError, ModelInfo, ModelSource, calibration::Profile,
        model,
    },
    limits::{KEEP_ALIVE_DEFAULT, MODEL_WAIT_MAX, MODELS_MAX},
    swarm::Offer,
};

/// Bytes a second at which a model is expected to be loaded, before that was measured: a cold disk.
const LOADED_BYTES_PER_SECOND: f64 = 200e6;
/// And what it takes besides: a process, and measuring its speed.
const LOADED_AT_LEAST: Duration = Duration::from_millis(500);
/// Bytes of weights that a machine reads a second, of which nothing is known: two channels of ordinary memory. Each token reads all of them.
const MEMORY_BYTES_PER_SECOND: f64 = 10e9;

/// How a node's models are kept.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// For how long an idle model that is not the main one stays in memory.
    pub keep_alive: Duration,
    /// Bytes that models may take together; what the machine can give unless said.
    pub memory: Option<u64>,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            keep_alive: KEEP_ALIVE_DEFAULT,
            memory: None,
        }
    }
}

/// A model whose file is on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelFile {
    /// What people call it.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
}

/// How the model stands that this node is configured to work with.
#[derive(Clone, Debug, PartialEq)]
pub enum MainModel {
    /// There is none, by choice.
    None,
    /// Its file is on its way.
    Coming,
    /// It is here.
    Here(ModelView),
}

/// The models of a node. Cheap to clone; when the last one is dropped, every engine ends.
#[derive(Clone, Debug)]
pub struct Engines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    // A plain lock: held while the plan computes, never across an await.
    state: Mutex<State>,
    settings: EngineSettings,
    memory: Option<u64>,
    began: Instant,
    /// Counts what the keeper has to look at.
    wake: watch::Sender<u64>,
    /// Counts its looks.
    looks: watch::Sender<u64>,
    /// Counts what changes in the offers.
    news: watch::Sender<u64>,
    /// Which models can be asked, by the names of those that offer them.
    conditions: watch::Sender<Vec<(Name, Condition)>>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    engines: BTreeMap<Name, Running>,
    sources: BTreeMap<Name, Source>,
    main: Option<Name>,
    is_main_coming: bool,
    files: Vec<Source>,
    /// Speeds of models that were loaded once.
    profiles: BTreeMap<Name, Profile>,
    /// What engines did that are told to end, until they have: the last of it is counted while they do.
    ending: BTreeMap<Name, Counted>,
    /// What engines did that are no more.
    past: EngineLoad,
}

/// An engine in memory.
#[derive(Debug)]
struct Running {
    engine: Engine,
    counted: Counted,
}

/// What an engine did.
#[derive(Debug)]
struct Counted {
    load: watch::Receiver<EngineLoad>,
    /// Generations that were nobody's.
    probes: u64,
}

/// Where a model comes from, and what is known of it before it is loaded.
#[derive(Clone, Debug)]
struct Source {
    model: ModelSource,
    listed: Listed,
    /// Bytes of its file; 0 where it computes elsewhere.
    bytes: u64,
}

/// A model that is in memory and stays there until this is dropped.
#[derive(Debug)]
pub struct ModelGuard {
    shared: Arc<Shared>,
    name: Name,
    engine: Engine,
}

/// Gives up waiting when it is dropped.
struct Waiting<'engines> {
    shared: &'engines Arc<Shared>,
    ticket: Option<Ticket>,
}

impl Engines {
    /// Starts with the model that the node is configured to work with; loading happens in the background. One of the catalogue is waited for
    /// until [`Engines::found`]. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the model's file cannot be read, is no GGUF, or cannot fit this machine's memory.
    pub fn start(settings: EngineSettings, keeper: KeeperSettings) -> Result<Self, ModelError> {
        model::check_settings(&settings)?;
        let plan = Plan::new(Keeping {
            keep_alive: keeper.keep_alive,
            protects: true,
        });
        let engines = Self(Arc::new(Shared {
            state: Mutex::new(State {
                plan,
                engines: BTreeMap::new(),
                sources: BTreeMap::new(),
                main: None,
                is_main_coming: matches!(settings.model, ModelSource::Catalogue(_)),
                files: Vec::new(),
                profiles: BTreeMap::new(),
                ending: BTreeMap::new(),
                past: EngineLoad::default(),
            }),
            settings: settings.clone(),
            memory: keeper.memory,
            began: Instant::now(),
            wake: watch::Sender::new(0),
            looks: watch::Sender::new(0),
            news: watch::Sender::new(0),
            conditions: watch::Sender::new(Vec::new()),
        }));
        match &settings.model {
            ModelSource::None | ModelSource::Catalogue(_) => {}
            model => {
                let source = describe(&settings, model.clone(), true)?;
                let name = Name::clone(&source.listed.name);
                engines.0.lock().set_main(source);
                run::start_main(&engines.0, &name)?;
            }
        }
        tokio::spawn(run::keep(Arc::downgrade(&engines.0), engines.0.wake.subscribe()));
        Ok(engines)
    }

    /// The file of the main model has come.
    ///
    /// # Errors
    /// When it is no model.
    pub async fn found(&self, model: ModelSource) -> Result<(), ModelError> {
        let settings = self.0.settings.clone();
        // Reading a file's header waits for the disk.
        let read = tokio::task::spawn_blocking(move || describe(&settings, model, true)).await;
        let source = read.unwrap_or(Err(ModelError::Setting("the program stops")))?;
        self.0.lock().set_main(source);
        self.0.wake();
        Ok(())
    }

    /// The other models whose files are on this machine, all of them. Files that are no models are passed over; a node without a model of its
    /// own, by choice, has no others.
    pub async fn set_files(&self, mut files: Vec<ModelFile>) {
        files.truncate(MODELS_MAX);
        let known = self.0.lock().files.clone();
        let settings = self.0.settings.clone();
        let read = tokio::task::spawn_blocking(move || {
            let describe_one = |file: ModelFile| {
                let is_same = |source: &&Source| source.listed.file == file.path && *source.listed.name == *file.name;
                if let Some(known) = known.iter().find(is_same) {
                    return Some(known.clone());
                }
                let model = ModelSource::Named {
                    name: file.name,
                    path: file.path,
                };
                let described = describe(&settings, model, false);
                described
                    .inspect_err(|error| tracing::warn!(%error, "a model of the catalogue cannot be used here"))
                    .ok()
            };
            files.into_iter().filter_map(describe_one).collect()
        });
        if matches!(self.0.settings.model, ModelSource::None) {
            return;
        }
        if let Ok(files) = read.await {
            let mut state = self.0.lock();
            state.files = files;
            state.list();
            drop(state);
            self.0.wake();
        }
    }

    /// The model of this name, or the main one, when it is in memory; until then it waits for it to be loaded.
    ///
    /// # Errors
    /// When there is none, it does not work now, or so many wait for it already.
    pub async fn model(&self, name: Option<&str>) -> Result<ModelGuard, GenerationError> {
        let mut looks = self.0.looks.subscribe();
        let mut waiting = Waiting {
            shared: &self.0,
            ticket: None,
        };
        waiting.ticket = Some(self.want(name)?);
        let mut is_told = false;
        let comes = async {
            loop {
                if let Some(answer) = waiting.answer() {
                    return answer;
                }
                // Once: while somebody waits, the keeper looks by itself.
                if !std::mem::replace(&mut is_told, true) {
                    self.0.wake();
                }
                if looks.changed().await.is_err() {
                    return Err(GenerationError::NotReady);
                }
            }
        };
        let came = tokio::time::timeout(MODEL_WAIT_MAX, comes).await;
        came.unwrap_or(Err(GenerationError::NotReady))
    }

    fn want(&self, name: Option<&str>) -> Result<Ticket, GenerationError> {
        let now = self.0.now();
        let mut state = self.0.lock();
        let name = state.resolve(name).ok_or(GenerationError::NotReady)?;
        state.plan.want(now, &name).map_err(refused)
    }

    /// The main model, where it is in memory already; nothing is loaded.
    #[must_use]
    pub fn main_in_memory(&self) -> Option<ModelGuard> {
        let is_loaded = matches!(self.main(), MainModel::Here(view) if view.condition == Condition::Loaded);
        let ticket = is_loaded.then(|| self.want(None).ok()).flatten()?;
        let mut waiting = Waiting {
            shared: &self.0,
            ticket: Some(ticket),
        };
        waiting.answer()?.ok()
    }

    /// How the main model stands.
    #[must_use]
    pub fn main(&self) -> MainModel {
        let now = self.0.now();
        let state = self.0.lock();
        let Some(name) = &state.main else {
            return if state.is_main_coming {
                MainModel::Coming
            } else {
                MainModel::None
            };
        };
        let mut view = state.plan.view(now).into_iter();
        match view.find(|view| view.name == *name) {
            Some(mut view) => {
                view.name = state.called(&view.name);
                MainModel::Here(view)
            }
            None => MainModel::Coming,
        }
    }

    /// What is known of the main model while it is in memory.
    #[must_use]
    pub fn main_info(&self) -> Option<Arc<ModelInfo>> {
        let state = self.0.lock();
        let name = state.main.as_ref()?;
        state.engines.get(name)?.engine.model()
    }

    /// Every model, under the names by which people call them.
    #[must_use]
    pub fn models(&self) -> Vec<ModelView> {
        let now = self.0.now();
        let state = self.0.lock();
        let mut views = state.plan.view(now);
        for view in &mut views {
            view.name = state.called(&view.name);
        }
        views
    }

    /// What can be asked of this node, at once or after it was loaded.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        let now = self.0.now();
        let state = self.0.lock();
        let views = state.plan.view(now).into_iter();
        let able = views.filter(|view| view.condition.can_be_asked());
        able.map(|view| state.offer(&self.0.settings, &view)).collect()
    }

    /// How each model is told to others.
    pub(crate) fn news(&self) -> Vec<(Offer, ModelView)> {
        let now = self.0.now();
        let state = self.0.lock();
        let views = state.plan.view(now).into_iter();
        views.map(|view| (state.offer(&self.0.settings, &view), view)).collect()
    }

    /// How busy all engines are together.
    #[must_use]
    pub fn load(&self) -> EngineLoad {
        let state = self.0.lock();
        let running = state.engines.values().map(|running| &running.counted);
        running
            .chain(state.ending.values())
            .fold(state.past, |all, counted| counted.added_to(all))
    }

    /// Changes whenever another model can be asked, or one no longer.
    #[must_use]
    pub fn conditions(&self) -> watch::Receiver<Vec<(Name, Condition)>> {
        self.0.conditions.subscribe()
    }

    /// Changes whenever something else is to be told to others.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// Waits until nothing is generated.
    pub async fn idle(&self) {
        let mut news = self.0.news.subscribe();
        while self.load().generations > 0 {
            if news.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn wake(&self) {
        self.wake.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl State {
    fn set_main(&mut self, source: Source) {
        self.main = Some(Name::clone(&source.listed.name));
        self.is_main_coming = false;
        self.sources.insert(Name::clone(&source.listed.name), source);
        self.list();
    }

    /// Tells the plan which models there are: the main one goes before another one of its name or its file.
    fn list(&mut self) {
        let main = self.main.as_ref().and_then(|name| self.sources.get(name)).cloned();
        let is_main = |file: &&Source| {
            main.as_ref()
                .is_some_and(|main| main.listed.name == file.listed.name || main.listed.file == file.listed.file)
        };
        let others: Vec<Source> = self.files.iter().filter(|file| !is_main(file)).cloned().collect();
        let all = main.into_iter().chain(others);
        self.sources = all.map(|source| (Name::clone(&source.listed.name), source)).collect();
        self.plan
            .list(self.sources.values().map(|source| source.listed.clone()));
    }

    /// The model that somebody means.
    fn resolve(&self, name: Option<&str>) -> Option<Name> {
        match name {
            None => self.main.clone(),
            Some(name) => {
                let found = self.sources.keys().find(|known| *self.called(known) == *name);
                found.cloned()
            }
        }
    }

    /// What people call a model: a server elsewhere says it itself.
    fn called(&self, name: &Name) -> Name {
        let model = self.engines.get(name).and_then(|running| running.engine.model());
        model.map_or_else(|| Name::clone(name), |model| model.name.as_str().into())
    }

    fn offer(&self, settings: &EngineSettings, view: &ModelView) -> Offer {
        let engine = self.engines.get(&view.name).map(|running| &running.engine);
        let model = engine.and_then(Engine::model);
        let bytes = self.sources.get(&view.name).map_or(0, |source| source.bytes);
        let measured = model.as_ref().and_then(|model| model.profile);
        let profile = measured.or_else(|| self.profiles.get(&view.name).copied());
        let profile = profile.unwrap_or_else(|| guessed(bytes));
        Offer {
            model: self.called(&view.name).to_string(),
            slots: model.map_or(settings.slots, |model| model.slots),
            generations: engine.map_or(0, Engine::generations),
            prefill_tokens_per_second: profile.prefill as f32,
            decode_tokens_per_second: profile.decode as f32,
            decode_eight_tokens_per_second: profile.decode_eight as f32,
            is_main: view.is_main,
            reload_ms: u32::try_from(view.expected.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

/// How fast a model is of which nothing was measured.
fn guessed(bytes: u64) -> Profile {
    if bytes == 0 {
        // Until something better is known of it, a server elsewhere counts as a small graphics card.
        return Profile {
            threads: 1,
            is_unified: true,
            prefill: 1000.0,
            decode: 40.0,
            decode_eight: 150.0,
        };
    }
    let decode = (MEMORY_BYTES_PER_SECOND / bytes as f64).clamp(0.5, 1000.0);
    Profile {
        threads: 1,
        is_unified: true,
        prefill: decode * 4.0,
        decode,
        decode_eight: decode * 2.0,
    }
}

/// What is known of a model before it is loaded.
fn describe(settings: &EngineSettings, model: ModelSource, is_main: bool) -> Result<Source, ModelError> {
    let elsewhere = match &model {
        ModelSource::Mock(_) => Some(crate::engine::mock::NAME.to_owned()),
        ModelSource::Upstream(server) => Some(server.model.clone().unwrap_or_else(|| server.address.clone())),
        _ => None,
    };
    if let Some(name) = elsewhere {
        let listed = Listed {
            name: name.as_str().into(),
            file: PathBuf::new(),
            bytes: 0,
            reload: LOADED_AT_LEAST,
            is_main,
            is_probed: false,
        };
        return Ok(Source {
            model,
            listed,
            bytes: 0,
        });
    }
    let needs = model::needs(&EngineSettings {
        model: model.clone(),
        ..settings.clone()
    })?;
    let listed = Listed {
        name: needs.name.as_str().into(),
        file: needs.path,
        bytes: needs.memory,
        reload: LOADED_AT_LEAST + Duration::from_secs_f64(needs.bytes as f64 / LOADED_BYTES_PER_SECOND),
        is_main,
        is_probed: true,
    };
    Ok(Source {
        model,
        listed,
        bytes: needs.bytes,
    })
}

fn refused(refusal: Refusal) -> GenerationError {
    match refusal {
        Refusal::Unknown => GenerationError::NotReady,
        Refusal::Full(ahead) => GenerationError::Full { ahead, wait_ms: 0 },
        Refusal::Failed(reason) => GenerationError::Engine(reason),
        Refusal::TooLarge { needed, there_are } => GenerationError::Engine(format!(
            "the model needs about {} MB, and models may take {} MB here",
            needed / 1_000_000,
            there_are / 1_000_000
        )),
    }
}

impl Waiting<'_> {
    /// What became of it; nothing while it waits.
    fn answer(&mut self) -> Option<Result<ModelGuard, GenerationError>> {
        let ticket = self.ticket?;
        let now = self.shared.now();
        let mut state = self.shared.lock();
        let answer = state.plan.answer(now, ticket);
        if matches!(answer, Answer::Wait(_)) {
            return None;
        }
        self.ticket = None;
        Some(match answer {
            Answer::Come(name) => {
                let Some(engine) = state.engines.get(&name).map(|running| running.engine.clone()) else {
                    state.plan.release(now, &name);
                    return Some(Err(GenerationError::NotReady));
                };
                Ok(ModelGuard {
                    shared: Arc::clone(self.shared),
                    name,
                    engine,
                })
            }
            Answer::Refused(refusal) => Err(refused(refusal)),
            Answer::Wait(_) => return None,
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.lock().plan.give_up(ticket);
        }
    }
}

impl Counted {
    fn added_to(&self, all: EngineLoad) -> EngineLoad {
        let load = *self.load.borrow();
        EngineLoad {
            generations: all.generations + load.generations,
            finished: all.finished + load.finished.saturating_sub(self.probes),
            restarts: all.restarts + load.restarts,
            process: None,
        }
    }
}

impl ModelGuard {
    /// Its engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A generation by it failed: where that may be its own fault, it is asked the known prompt.
    pub fn note_failure(&self, error: &GenerationError) {
        if matches!(error, GenerationError::Engine(_) | GenerationError::Deadline) {
            self.shared.lock().plan.trouble(&self.name);
            self.shared.wake();
        }
    }
}

impl Drop for ModelGuard {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.lock().plan.release(now, &self.name);
        self.shared.wake();
    }
}
