//! The struct that lists the system: one field per part, started in order, stopped in reverse.

mod page;
pub(crate) mod settings;
mod start_error;

use std::{collections::HashMap, fs::File, sync::Arc, time::Duration};

use crdt::{OpenReport, Store, StoreSettings, ingress::Right, placement::Placement};
use gateway::{GatewaySettings, Surroundings};
use inference::{Desk, DeskStreams, Engines};
use keys::{
    ContentId, NodeId, NodeKey, Timestamp,
    membership::{Out, Roster},
};
use mesh::{
    Inputs, Mesh, Protocol,
    blobs::{BlobLimits, BlobStore, Pace, Rate},
    liveness::Standing,
};
use monitor::Monitor;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub(crate) use self::page::page_certificates;
pub use self::start_error::StartError;
use self::{page::Page, settings::mesh_settings};
use crate::{
    backups,
    commands::invite::Known,
    config::Config,
    control::{self, ControlError, MemberStatus, PlacementStatus, Status},
    data_directory::DataDirectory,
    files::BlobFiles,
    maintenance,
    models::{Catalogue, fetching::Fetching, serving},
    neighbours, origins, repairs, scrub, seed, standing,
    surroundings::MeshSurroundings,
    tasks::{TaskStatus, Tasks},
    wiring,
};

/// A stop takes at most this long, whatever hangs.
const STOP_TIMEOUT: Duration = Duration::from_millis(4500);

/// How long a stop waits for answers that are being generated; what is not done then goes on elsewhere.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a start waits to hear whether the model can be loaded.
const FIRST_LOAD: Duration = Duration::from_secs(3);

/// A running node. Cheap to clone; every clone is the same node.
#[derive(Clone)]
pub struct Node(Arc<Parts>);

/// The parts of a node, in the order in which they start.
struct Parts {
    /// What was configured.
    config: Config,
    /// Keys and data; locked for this process.
    directory: DataDirectory,
    _lock: File,
    /// Signs everything this node says.
    key: NodeKey,
    /// The mesh this node belongs to.
    mesh_id: ContentId,
    /// Names and states of background work.
    tasks: Tasks,
    /// The other nodes.
    mesh: Mesh,
    /// The digest of the roster that is on the disk.
    saved_roster: watch::Receiver<ContentId>,
    /// What the network remembers.
    store: Store,
    /// What its start found damaged and repaired.
    repaired: Vec<String>,
    /// Who holds what.
    placements: watch::Receiver<Option<Placement>>,
    /// Files by their content.
    blobs: BlobStore,
    /// The catalogue of models, and what is being read and fetched for it.
    models: Fetching,
    /// This machine.
    monitor: Monitor,
    /// The models, each in a process of its own.
    engines: Engines,
    /// Pictures and cards of characters.
    files: Arc<BlobFiles>,
    /// Sees to questions.
    desk: Desk,
    /// Becomes true when the gateway shall stop.
    gateway_stop: watch::Sender<bool>,
    /// When it started.
    started: Instant,
}

impl Node {
    /// Starts every part in order; logs each step.
    ///
    /// # Errors
    /// The first part that does not start; what has started is stopped by being dropped.
    pub async fn start(directory: DataDirectory, config: Config) -> Result<Self, StartError> {
        let (lock, key) = (directory.lock()?, directory.key()?);
        let roster = own_roster(&directory, &key)?;
        let mesh_id = roster.mesh();
        tracing::info!(node = %key.id().short(), directory = %directory.path().display(), "start: data directory");
        // The page's port is taken first: it is the one a person notices.
        let roles = roster.get(&key.id()).map(|member| member.roles);
        let page = Page::open(&config.gateway, standing::serves_nobody(roles).is_none()).await?;
        let tasks = Tasks::default();
        let (mesh, mut inputs) = start_mesh(&tasks, &config, &directory, (&key, roster))?;
        let (store, outputs, repaired) = open_store(&directory, &key, &mesh).await?;
        let mut streams = |protocol| streams_of(&mut inputs.streams, protocol);
        let (saved, saved_roster) = watch::channel(ContentId([0; 32]));
        let placer = wiring::Placer::start(mesh.clone(), store.clone()).await?;
        let placements = placer.placements();
        let wires = Wires {
            saved,
            outgoing: outputs.outgoing,
            gossip: inputs.gossip,
            released: outputs.released,
            reconciliations: streams(Protocol::RECONCILE),
            key_notices: outputs.keys,
            key_questions: streams(Protocol::KEYS),
            fetches: outputs.fetches,
            fetch_questions: streams(Protocol::FETCH),
            placer,
        };
        wire(&tasks, &mesh, &store, &directory, wires);
        let blobs = serve_blobs(&tasks, &mesh, &directory, streams(Protocol::BLOB)).await?;
        tracing::info!("start: replication");
        wiring::catch_up(&mesh, &store).await;
        if standing::is_founder(&mesh.roster(), &key.id()) {
            seed::first_character(&store).await?;
        }
        let monitor = start_monitor(&tasks, &directory, &mesh)?;
        back_up_daily(&tasks, &directory, &config, (mesh_id, key.id()), &monitor);
        tracing::info!("start: monitor");
        let models = Fetching::new(Catalogue::new(&store, &blobs), &tasks, &mesh);
        let engines = serving::start(&tasks, (&config, &directory), &models).await?;
        let files = Arc::new(BlobFiles::new(&blobs, &mesh, &directory));
        let asked = desk_streams(&mut streams);
        let desk = Desk::start(engines.clone(), store.clone(), mesh.clone(), files.clone(), asked);
        tracing::info!(model = config.inference.model, "start: engine");
        let (gateway_stop, gateway_stopping) = watch::channel(false);
        let parts = Parts {
            config,
            directory,
            _lock: lock,
            key,
            mesh_id,
            tasks,
            mesh,
            saved_roster,
            store,
            repaired,
            placements,
            blobs,
            models,
            monitor,
            engines,
            files,
            desk,
            gateway_stop,
            started: Instant::now(),
        };
        let node = Self(Arc::new(parts));
        node.serve(page, gateway_stopping).await?;
        Ok(node)
    }

    /// Everything stands: people, operators and other nodes may ask.
    async fn serve(&self, page: Option<Page>, gateway_stopping: watch::Receiver<bool>) -> Result<(), StartError> {
        self.keep_records();
        let has_page = page.is_some();
        if let Some(page) = page {
            self.serve_people(page, gateway_stopping);
        }
        self.serve_commands()?;
        let parts = &self.0;
        parts.mesh.stand(maintenance::standing(parts.directory.path())).await;
        if has_page {
            tracing::info!(page = parts.config.gateway.page(), "start: gateway");
        }
        tracing::info!("start: the node is up");
        Ok(())
    }

    /// Letters leave, and what went wrong with other nodes is not forgotten at a restart.
    fn keep_records(&self) {
        self.send_letters();
        let path = self.0.directory.breakers_path();
        self.0
            .tasks
            .spawn("breaker events", self.0.desk.keep_breaker_events(path));
    }

    /// Letters leave through this node, too, while it keeps what persons write.
    fn send_letters(&self) {
        const TASK: &str = "letters";
        let (mesh, tasks) = (self.0.mesh.clone(), self.0.tasks.clone());
        let able = move || {
            let roster = mesh.roster();
            let keeps = |node: &NodeId| roster.get(node).is_some_and(|member| member.roles.holds_data_keys());
            let view = mesh.view();
            let view = view.borrow();
            let reachable = view.reachable().map(|(node, _)| *node).filter(keeps);
            reachable.chain([mesh.node()]).collect()
        };
        let deliver = monitor::mail::deliver(self.0.store.clone(), able, move |error| tasks.note_error(TASK, error));
        self.0.tasks.spawn(TASK, deliver);
    }

    fn serve_commands(&self) -> Result<(), ControlError> {
        let socket = control::listen(&self.0.directory.control_path())?;
        let serving = control::serve(socket, self.clone(), self.0.tasks.clone());
        self.0.tasks.spawn("control socket", serving);
        Ok(())
    }

    fn serve_people(&self, page: Page, stopping: watch::Receiver<bool>) {
        let parts = &self.0;
        let surroundings = self.surroundings();
        let settings = GatewaySettings {
            key: parts.key.clone(),
            mesh: parts.mesh_id,
            store: parts.store.clone(),
            desk: parts.desk.clone(),
            surroundings: Arc::new(surroundings),
            files: parts.files.clone(),
            certificates: page.certificates,
        };
        let origin = origins::section(&parts.config.gateway);
        if let Some(Err(error)) = origin.map(|origin| parts.mesh.announce(origins::SECTION, origin)) {
            tracing::error!(%error, "where the page is cannot be announced");
        }
        parts
            .tasks
            .spawn("gateway", gateway::serve(page.listener, settings, stopping));
    }

    /// Waits a moment for the model: one that is refused at once is a mistake of the configuration, and the start fails with it. One
    /// that takes longer goes on loading, and later failures are told by the status.
    ///
    /// # Errors
    /// Why the engine refused the model.
    pub async fn first_load(&self) -> Result<(), StartError> {
        match tokio::time::timeout(FIRST_LOAD, serving::settled(&self.0.engines)).await {
            Ok(Err(reason)) => Err(StartError::Engine {
                model: self.0.config.inference.model.clone(),
                reason,
            }),
            _ => Ok(()),
        }
    }

    /// Takes nothing new, finishes what runs if that is soon done, and stops every part in reverse order, each step logged, within five
    /// seconds.
    pub async fn stop(self) {
        let parts = &self.0;
        let orderly = async {
            tracing::info!("stop: draining");
            parts.mesh.stand(Standing::Draining).await;
            if tokio::time::timeout(DRAIN_TIMEOUT, parts.engines.idle()).await.is_err() {
                tracing::info!("stop: an answer is cut; it goes on elsewhere");
            }
            tracing::info!("stop: gateway");
            parts.gateway_stop.send_replace(true);
            tracing::info!("stop: mesh");
            parts.mesh.stop().await;
            tracing::info!("stop: background tasks");
            parts.tasks.stop().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, orderly).await.is_err() {
            tracing::warn!("some parts did not stop in time");
        }
        // Every write was durable when it was acknowledged, so the store needs no goodbye.
        let _ = std::fs::remove_file(parts.directory.control_path());
        tracing::info!("stop: done");
    }

    fn surroundings(&self) -> MeshSurroundings {
        let parts = &self.0;
        MeshSurroundings {
            mesh: parts.mesh.clone(),
            monitor: parts.monitor.clone(),
            desk: parts.desk.clone(),
            tasks: parts.tasks.clone(),
            node: self.clone(),
        }
    }

    /// What was configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Signs what this node says.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.0.key
    }

    /// Keys and data.
    #[must_use]
    pub fn directory(&self) -> &DataDirectory {
        &self.0.directory
    }

    /// The mesh this node belongs to.
    #[must_use]
    pub fn mesh_id(&self) -> ContentId {
        self.0.mesh_id
    }

    /// The other nodes.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.0.mesh
    }

    /// What the network remembers.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Files by their content.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.blobs
    }

    /// The models.
    pub(crate) fn engines(&self) -> &Engines {
        &self.0.engines
    }

    /// Background work.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// The catalogue of models, and what is being read and fetched for it.
    pub(crate) fn models(&self) -> &Fetching {
        &self.0.models
    }

    /// What people call a node.
    #[must_use]
    pub fn name_of(&self, node: &NodeId) -> String {
        self.surroundings().name_of(node)
    }

    /// The digest of the roster on the disk, which a start would read.
    pub(crate) fn saved_roster(&self) -> watch::Receiver<ContentId> {
        self.0.saved_roster.clone()
    }

    /// Offers that may be taken up now.
    pub(crate) fn offers(&self) -> std::collections::BTreeMap<NodeId, Vec<inference::swarm::Offer>> {
        self.0.desk.offers()
    }

    /// Generations that run or wait here.
    pub(crate) fn generations(&self) -> u32 {
        self.0.engines.load().generations
    }

    /// Background tasks, those of the mesh among them.
    fn tasks_status(&self) -> serde_json::Value {
        let mut tasks = self.0.tasks.status();
        let mesh::TaskView {
            running,
            errors,
            last_error,
        } = self.0.mesh.liveness_task();
        let liveness = TaskStatus {
            running,
            errors,
            last_error,
        };
        tasks.insert("liveness", liveness);
        serde_json::to_value(tasks).unwrap_or_default()
    }

    fn members_status(&self, surroundings: &MeshSurroundings) -> Vec<MemberStatus> {
        let placement = self.0.placements.borrow().clone();
        let roster = self.0.mesh.roster();
        let nodes = surroundings.nodes().into_iter();
        nodes
            .map(|view| member_status(view, placement.as_ref(), &roster))
            .collect()
    }

    async fn placement_status(&self) -> PlacementStatus {
        let held = self.0.store.held().await.unwrap_or_default();
        let placement = self.0.placements.borrow();
        let placement = placement.as_ref();
        PlacementStatus {
            everywhere: placement.is_some_and(Placement::is_everywhere),
            shards: held.own,
            filling: held.filling,
            leaving: held.leaving,
            followed: held.followed,
            unconfirmed: held.unconfirmed,
            labelled_too_few: placement.and_then(Placement::shortage).map(|shortage| shortage.found),
        }
    }

    /// What the node says of itself.
    pub async fn status(&self) -> Status {
        let parts = &self.0;
        let (engine, engine_detail) = serving::words(parts.engines.main());
        let (changes, root) = parts.store.summary().await.map_or((0, String::new()), |summary| {
            (summary.envelopes, summary.root.to_string())
        });
        let placement = self.placement_status().await;
        let surroundings = self.surroundings();
        let roster = parts.mesh.roster();
        let known = Known::of(&parts.mesh).await;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: parts.key.id().to_string(),
            name: surroundings.name_of(&parts.key.id()),
            mesh_id: parts.mesh_id.to_string(),
            uptime_seconds: parts.started.elapsed().as_secs(),
            http: parts.config.gateway.listen,
            page: parts.config.gateway.page(),
            mesh_addresses: known.own,
            doors: known.others,
            engine: engine.to_owned(),
            engine_detail,
            answers_generated: parts.engines.load().finished,
            members: self.members_status(&surroundings),
            out: roster.former(&parts.key.id()).map(|former| {
                let remedy = standing::remedy(standing::is_final(former));
                format!("{}. {remedy}", standing::why(&roster, former, Timestamp::now()))
            }),
            repaired: parts.repaired.clone(),
            former_members: standing::formers(&roster, Timestamp::now()),
            placement,
            reach: standing::reach(&parts.mesh.reach().borrow(), |relay| surroundings.name_of(relay)),
            changes,
            root,
            mesh: serde_json::to_value(parts.mesh.counters()).unwrap_or_default(),
            tasks: self.tasks_status(),
        }
    }
}

fn member_status(view: gateway::NodeView, placement: Option<&Placement>, roster: &Roster) -> MemberStatus {
    let state = match (view.is_self, view.connected) {
        (true, _) => "this node",
        (_, true) => "connected",
        _ => "unreachable",
    };
    let member = roster.get(&view.node);
    MemberStatus {
        shards: placement.map_or(0, |placement| placement.scope_of(&view.node).len()),
        node_id: view.node.to_string(),
        name: view.name,
        state: state.to_owned(),
        liveness: view.liveness.to_owned(),
        liveness_ms_ago: view.liveness_ms_ago,
        doubled: view.doubled,
        round_trip_ms: view.round_trip_ms,
        heard_ms_ago: view.heard_ms_ago,
        path: view.path.map(str::to_owned),
        models: serving::able(view.models),
        roles: member.map_or_else(String::new, |member| member.roles.to_string()),
        residency: member
            .and_then(|member| member.residency.as_ref())
            .map(ToString::to_string),
        certificate_days: roster
            .get(&view.node)
            .and_then(|member| standing::days_left(member, Timestamp::now())),
    }
}

/// The streams that others open in one protocol, each of which has one owner.
fn streams_of(
    streams: &mut HashMap<Protocol, mpsc::Receiver<(NodeId, mesh::Stream)>>,
    protocol: Protocol,
) -> mpsc::Receiver<(NodeId, mesh::Stream)> {
    streams.remove(&protocol).unwrap_or_else(|| mpsc::channel(1).1)
}

/// The members this node knew last, unless it is one no longer.
pub(crate) fn own_roster(directory: &DataDirectory, key: &NodeKey) -> Result<Roster, StartError> {
    let mut roster = directory.roster(key)?;
    let now = Timestamp::now();
    roster.advance(now);
    match roster.former(&key.id()).filter(|former| standing::is_final(former)) {
        Some(former) if directory.next_key()?.is_some() && matches!(former.why, Out::Rotated { .. }) => {
            Err(StartError::HalfRotated)
        }
        Some(former) => Err(StartError::NotAMember(standing::why(&roster, former, now))),
        None => Ok(roster),
    }
}

/// Begins where others were met before, and remembers where they are met now.
fn start_mesh(
    tasks: &Tasks,
    config: &Config,
    directory: &DataDirectory,
    (key, roster): (&NodeKey, Roster),
) -> Result<(Mesh, Inputs), StartError> {
    let met = neighbours::read(directory, &roster, &key.id());
    let (mesh, inputs) = Mesh::start(&mesh_settings(config, &met), key, roster)?;
    tracing::info!(listen = %config.mesh.listen, "start: mesh");
    neighbours::start(tasks, &mesh, directory, met);
    Ok((mesh, inputs))
}

/// Opening reads the journal, which takes a while when it is long: off the async threads.
async fn open_store(
    directory: &DataDirectory,
    key: &NodeKey,
    mesh: &Mesh,
) -> Result<(Store, crdt::Outputs, Vec<String>), StartError> {
    let rosters = mesh.roster_updates();
    let settings = StoreSettings {
        directory: directory.store_path(),
        keys: directory.keys_path(),
        key: key.clone(),
        right: Arc::new(move |node| {
            let roster = rosters.borrow();
            match (roster.get(node), roster.former(node)) {
                (Some(_), _) => Right::Member,
                (None, Some(_)) => Right::Former,
                (None, None) => Right::Unknown,
            }
        }),
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(settings)).await;
    let (store, outputs, report) = opened.map_err(|_| crdt::StoreError::Stopped)??;
    let repaired = repairs::words(&report);
    let OpenReport {
        envelopes,
        index_rebuilt,
        torn_bytes,
        rotten_records,
    } = report;
    tracing::info!(changes = envelopes, index_rebuilt, torn_bytes, "start: store");
    if rotten_records > 0 {
        tracing::error!(
            rotten_records,
            "damaged records in the journal; they come again from other nodes"
        );
    }
    Ok((store, outputs, repaired))
}

/// What comes into the wiring.
struct Wires {
    saved: watch::Sender<ContentId>,
    outgoing: mpsc::Receiver<Vec<u8>>,
    gossip: mpsc::Receiver<mesh::GossipMessage>,
    released: mpsc::Receiver<ContentId>,
    reconciliations: mpsc::Receiver<(NodeId, mesh::Stream)>,
    key_notices: mpsc::Receiver<crdt::KeyNotice>,
    key_questions: mpsc::Receiver<(NodeId, mesh::Stream)>,
    fetches: mpsc::Receiver<crdt::FetchRequest>,
    fetch_questions: mpsc::Receiver<(NodeId, mesh::Stream)>,
    placer: wiring::Placer,
}

fn wire(tasks: &Tasks, mesh: &Mesh, store: &Store, directory: &DataDirectory, wires: Wires) {
    let (mesh, store) = (|| mesh.clone(), || store.clone());
    tasks.spawn("gossip out", wiring::publish(mesh(), wires.outgoing));
    tasks.spawn(
        "gossip in",
        wiring::receive(mesh(), store(), tasks.clone(), wires.gossip, wires.released),
    );
    tasks.spawn(
        "reconciliation answers",
        wiring::answer_reconciliations(store(), tasks.clone(), wires.reconciliations),
    );
    tasks.spawn("reconciliation", wiring::reconcile(mesh(), store(), tasks.clone()));
    tasks.spawn(
        "data key answers",
        wiring::answer_keys(mesh(), store(), tasks.clone(), wires.key_questions),
    );
    tasks.spawn(
        "data keys",
        wiring::exchange_keys(mesh(), store(), tasks.clone(), wires.key_notices),
    );
    let placements = wires.placer.placements();
    tasks.spawn("placement", wires.placer.run(tasks.clone()));
    tasks.spawn(
        "reading through",
        wiring::fetch(mesh(), store(), tasks.clone(), placements, wires.fetches),
    );
    tasks.spawn(
        "fetch answers",
        wiring::answer_fetches(mesh(), store(), tasks.clone(), wires.fetch_questions),
    );
    tasks.spawn("hand-over", wiring::hand_over(mesh(), store(), tasks.clone()));
    tasks.spawn(
        "members",
        wiring::members(mesh(), store(), directory.clone(), tasks.clone(), wires.saved),
    );
    tasks.spawn("scrub", scrub::run(store(), tasks.clone()));
}

/// Opening reads the directory, off the async threads. Uploads share what the line turns out to carry, and give way to tokens.
async fn serve_blobs(
    tasks: &Tasks,
    mesh: &Mesh,
    directory: &DataDirectory,
    streams: mpsc::Receiver<(NodeId, mesh::Stream)>,
) -> Result<BlobStore, StartError> {
    let path = directory.blobs_path();
    let opened = tokio::task::spawn_blocking(move || BlobStore::open(&path, BlobLimits::default())).await;
    let blobs = opened.map_err(|_| crdt::StoreError::Stopped)??;
    let pace = Pace::new(Rate::Measured, mesh.token_streams());
    tasks.spawn("blobs", mesh::blobs::serve(streams, blobs.clone(), pace));
    Ok(blobs)
}

fn desk_streams(streams: &mut impl FnMut(Protocol) -> mpsc::Receiver<(NodeId, mesh::Stream)>) -> DeskStreams {
    DeskStreams {
        questions: streams(Protocol::GENERATE),
        work: streams(Protocol::COMPUTE),
        states: streams(Protocol::STATE),
    }
}

fn start_monitor(tasks: &Tasks, directory: &DataDirectory, mesh: &Mesh) -> Result<Monitor, StartError> {
    let monitor = Monitor::start(directory.path())?;
    tasks.spawn("load announcements", monitor.clone().announce(mesh.clone()));
    Ok(monitor)
}

fn back_up_daily(
    tasks: &Tasks,
    directory: &DataDirectory,
    config: &Config,
    (mesh, node): (ContentId, keys::NodeId),
    monitor: &Monitor,
) {
    let daily = backups::daily::Daily {
        directory: directory.clone(),
        config: config.backup.clone(),
        mesh,
        node,
        monitor: monitor.clone(),
    };
    tasks.spawn(backups::TASK, daily.run(tasks.clone()));
}
