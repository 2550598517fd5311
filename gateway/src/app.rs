//! What every request can reach.

use std::{pin::Pin, sync::Arc};

use crdt::Store;
use inference::{Desk, swarm::models::NodeModel};
use keys::{ContentId, NodeId, NodeKey};
use monitor::Load;
use tokio::sync::{Semaphore, watch};

use crate::{
    audit::AuditLog,
    auth::{lock::Locks, open::OpenDevices},
    chats::Chats,
    error::ApiError,
    figures::Figures,
    files::Files,
    forgetting,
    invites::{InviteFate, InviteNamed, InviteRefusal, InviteWish, MadeInvite},
    letters::{self, LetterDesk},
    limits::{
        COMPLAINT_BURST, COMPLAINTS_PER_SECOND, EXPORTS_MAX, KEY_REQUEST_BURST, KEY_REQUESTS_PER_SECOND,
        PROGRAM_REQUESTS_MAX, SIGN_IN_BURST, SIGN_IN_PER_SECOND, SOCKETS_MAX, WORKSHOP_PLACES,
    },
    people::People,
    policy::Policies,
    rate::{
        Kind, RateLimit,
        told::{self, Holding},
    },
    rooms::Rooms,
    search::Search,
    tls::Certificates,
};

/// What a node does about invites.
pub type Inviting<T> = Pin<Box<dyn Future<Output = Result<T, InviteRefusal>> + Send>>;

/// What the gateway needs to know of the mesh; `node` supplies it.
pub trait Surroundings: Send + Sync {
    /// Whether a node's word counts.
    fn is_member(&self, node: &NodeId) -> bool;
    /// Why this node serves no people, when it does not: without the role of a gateway nobody may leave any data there.
    fn serves_nobody(&self) -> Option<ServesNobody>;
    /// What people call a node.
    fn name_of(&self, node: &NodeId) -> String;
    /// Every member as this node knows it now.
    fn nodes(&self) -> Vec<NodeView>;
    /// Runs work in the background under a name, with a state that operators can see, until the node stops.
    fn spawn(&self, name: &'static str, work: Pin<Box<dyn Future<Output = ()> + Send>>);
    /// The other gateways within reach that say where they are, nearest first.
    fn gateways(&self) -> Vec<GatewayAddress>;
    /// Signs an invite with which machines become members.
    fn invite(&self, wish: InviteWish) -> Inviting<MadeInvite>;
    /// Puts an invite out; whoever came in by it stays. Its name.
    fn revoke_invite(&self, invite: InviteNamed, reason: String) -> Inviting<NodeId>;
    /// Every invite by which a node came in, or that was taken back.
    fn invites(&self) -> Vec<InviteFate>;
    /// Tells the other gateways within reach what was spent here of the limits of requests; at most 4 KiB. What was told before, but
    /// not heard yet, is replaced.
    fn tell_spending(&self, spent: Vec<u8>);
    /// What each other gateway within reach told last.
    fn told_spending(&self) -> Vec<(NodeId, Arc<[u8]>)>;
}

/// Where another gateway serves people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayAddress {
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// Scheme, host and port of its page.
    pub origin: String,
}

impl GatewayAddress {
    /// Host and port.
    pub(crate) fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }
}

/// Why a node serves no people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServesNobody {
    /// It is a member of its mesh no longer.
    NoMember,
    /// It keeps what persons write, and may answer questions, too.
    Storage,
    /// It answers questions and keeps nothing.
    Worker,
    /// It does neither.
    Other,
}

/// A node as people see it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// Whether it is the one that answers.
    pub is_self: bool,
    /// Whether there is a link to it now.
    pub connected: bool,
    /// Whether it is there and what it is ready for: `joining`, `serving`, `draining`, `maintenance`, `suspect` or `gone`.
    pub liveness: &'static str,
    /// For how long it has been so, in milliseconds.
    pub liveness_ms_ago: u64,
    /// Whether two processes use its key at once.
    pub doubled: bool,
    /// Age of the last news in milliseconds.
    pub heard_ms_ago: Option<u64>,
    /// Last measured round trip in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// `quic` or `tcp`.
    pub path: Option<&'static str>,
    /// What its machine is doing.
    pub load: Option<Load>,
    /// Its models, and how they stand.
    pub models: Vec<NodeModel>,
}

/// Everything a gateway works with.
pub struct GatewaySettings {
    /// Signs session tokens and links.
    pub key: NodeKey,
    /// The mesh.
    pub mesh: ContentId,
    /// What is remembered.
    pub store: Store,
    /// Sees to questions.
    pub desk: Desk,
    /// The rest of the mesh.
    pub surroundings: Arc<dyn Surroundings>,
    /// Pictures and cards.
    pub files: Arc<dyn Files>,
    /// What people are served with over TLS; without it over plain HTTP.
    pub certificates: Option<Certificates>,
}

pub(crate) struct App {
    pub(crate) key: NodeKey,
    pub(crate) mesh: ContentId,
    pub(crate) store: Store,
    pub(crate) desk: Desk,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) files: Arc<dyn Files>,
    /// One password hash per core at a time: each takes 46 MiB and a core.
    pub(crate) hashing: Arc<Semaphore>,
    pub(crate) sign_ins: RateLimit,
    /// Requests of each address, whatever they are.
    pub(crate) addresses: RateLimit,
    /// Requests of each person.
    pub(crate) accounts: RateLimit,
    /// Requests of each program's key.
    pub(crate) keys: RateLimit,
    /// Complaints of each person.
    pub(crate) complaints: RateLimit,
    /// Who tried wrong passwords lately.
    pub(crate) locks: Locks,
    /// The accounts.
    pub(crate) people: Arc<People>,
    /// What administrators have set.
    pub(crate) policies: Arc<Policies>,
    /// What was done by whom.
    pub(crate) audit: AuditLog,
    /// Letters that somebody asked for.
    pub(crate) letters: LetterDesk,
    /// Downloads of everything that are packed at one time.
    pub(crate) exports: Arc<Semaphore>,
    /// Requests of programs that are seen to at one time.
    pub(crate) programs: Arc<Semaphore>,
    /// What is counted.
    pub(crate) figures: Figures,
    /// What people are served with over TLS; without it over plain HTTP.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Cards and pictures that are unpacked at one time.
    pub(crate) workshop: Arc<Semaphore>,
    pub(crate) sockets: Arc<Semaphore>,
    /// Devices with a page open here.
    pub(crate) open: OpenDevices,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) chats: Chats,
    pub(crate) rooms: Rooms,
    pub(crate) search: Search,
}

impl App {
    /// Whether people come over TLS.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.certificates.is_some()
    }

    /// Every limit of requests that gateways keep together, as it is set now.
    pub(crate) fn rate_limits(&self) -> [Holding<'_>; 5] {
        let policy = self.policies.current();
        let holding = |limit, (burst, per_second)| Holding {
            limit,
            burst,
            per_second,
        };
        [
            holding(&self.sign_ins, (SIGN_IN_BURST, SIGN_IN_PER_SECOND)),
            holding(&self.addresses, policy.address_rate()),
            holding(&self.accounts, policy.account_rate()),
            holding(&self.keys, (KEY_REQUEST_BURST, KEY_REQUESTS_PER_SECOND)),
            holding(&self.complaints, (COMPLAINT_BURST, COMPLAINTS_PER_SECOND)),
        ]
    }

    /// Work that takes a core and much memory: unpacking a card or a picture. Only a few run at one time.
    pub(crate) async fn in_workshop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.workshop.clone().acquire_owned().await;
        let place = place.map_err(|_| ApiError::StorageUnavailable)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.map_err(|_| ApiError::StorageUnavailable)
    }

    /// Makes everything, and starts the work behind it.
    pub(crate) fn start(settings: GatewaySettings, stopping: watch::Receiver<bool>) -> Arc<Self> {
        let store = &settings.store;
        let people = Arc::new(People::new(store.clone()));
        let policies = Arc::new(Policies::new(store.clone()));
        let (audit, auditing) = AuditLog::new(store.clone());
        let (desk, letters_asked_for) = LetterDesk::new();
        let following_people = Arc::clone(&people).follow(store.changes(), store.erased());
        let following_settings = Arc::clone(&policies).follow(store.changes());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let app = Arc::new(Self {
            key: settings.key,
            mesh: settings.mesh,
            store: settings.store,
            desk: settings.desk,
            surroundings: settings.surroundings,
            files: settings.files,
            hashing: Arc::new(Semaphore::new(cores)),
            sign_ins: RateLimit::new(Kind::SignIn, settings.mesh),
            addresses: RateLimit::new(Kind::Address, settings.mesh),
            accounts: RateLimit::new(Kind::Account, settings.mesh),
            keys: RateLimit::new(Kind::Key, settings.mesh),
            complaints: RateLimit::new(Kind::Complaint, settings.mesh),
            locks: Locks::default(),
            people,
            policies,
            audit,
            letters: desk,
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            programs: Arc::new(Semaphore::new(PROGRAM_REQUESTS_MAX)),
            figures: Figures::default(),
            certificates: settings.certificates.map(Arc::new),
            workshop: Arc::new(Semaphore::new(WORKSHOP_PLACES)),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            open: OpenDevices::default(),
            stopping,
            chats: Chats::default(),
            rooms: Rooms::default(),
            search: Search::default(),
        });
        let spawn = |name, work| app.surroundings.spawn(name, work);
        spawn("accounts at hand", Box::pin(following_people));
        spawn("settings at hand", Box::pin(following_settings));
        if let Some(certificates) = &app.certificates {
            spawn("certificate", Box::pin(Arc::clone(certificates).follow()));
        }
        spawn("audit log", Box::pin(auditing));
        let answering = letters::answer(Arc::downgrade(&app), letters_asked_for);
        spawn("letters asked for", Box::pin(answering));
        let forgetting = forgetting::follow(Arc::downgrade(&app), app.store.changes());
        spawn("what complaints copied", Box::pin(forgetting));
        spawn("limits of all gateways", Box::pin(told::follow(Arc::downgrade(&app))));
        app
    }
}

/// Waits for the node to stop; a gone owner means the same.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
