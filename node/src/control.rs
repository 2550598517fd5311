//! The control socket: how `starling status` and `starling invite` ask the running node. One request line, one JSON line.

use std::{
    collections::HashMap,
    fs, io,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::net::UnixStream as BlockingStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream},
};

use crate::{hints::here, models::ModelRequest, node::Node, tasks::Tasks};

/// Longest request: a revocation together with a renewal for everyone in a full mesh who would fall with it.
const REQUEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest answer that is read: a mesh of thousands of nodes.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long either side waits for the other.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the running node can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What it is doing.
    Status,
    /// To have something forgotten on every node.
    Erase(EraseRequest),
    /// Who is linked with whom in the whole mesh; with the beginning of a node's id, also the routes to it.
    Links(Option<String>),
    /// What was erased, and by which nodes.
    Erasures,
    /// To have members try to reach the node, and to read their clocks.
    DialBack,
    /// To be kept from working, or to work again.
    Maintenance(bool),
    /// Something about the catalogue of models.
    Model(ModelRequest),
    /// To take in signed decisions about members and to tell everyone, each as [`keys::membership::Evidence::to_text`] writes it.
    Decide(Vec<String>),
}

/// What a member said after it had tried to reach the node, in the answer to [`Request::DialBack`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DialbackStatus {
    /// The member's name.
    pub member: String,
    /// Its clock less the node's, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// How far off that may be, in milliseconds.
    pub clock_uncertain_ms: u64,
    /// Each attempt.
    pub attempts: Vec<AttemptStatus>,
    /// Why it did not try.
    pub error: Option<String>,
}

impl DialbackStatus {
    pub(crate) const fn failed(member: String, error: String) -> Self {
        Self {
            member,
            clock_ahead_ms: None,
            clock_uncertain_ms: 0,
            attempts: Vec::new(),
            error: Some(error),
        }
    }
}

/// An attempt in [`DialbackStatus`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptStatus {
    /// Where.
    pub address: SocketAddr,
    /// `quic`, `tcp` or `websocket`.
    pub path: String,
    /// `reached`, `another key`, `refused` or `silent`.
    pub outcome: String,
    /// Milliseconds until it was reached.
    pub milliseconds: Option<u32>,
}

/// What became of a decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// Neighbours that have a link now, and so know of it.
    pub told: usize,
}

/// What became of a switch into maintenance or out of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MaintenanceStatus {
    /// Whether the node is kept from working now.
    pub on: bool,
    /// Whether it was otherwise before.
    #[serde(default)]
    pub changed: bool,
    /// Generations that still run here.
    pub running: u32,
    /// Neighbours that have a link now, and are told.
    pub told: usize,
    /// Other members that offer a model and take work, so that people are answered meanwhile.
    pub others: usize,
}

/// Who is linked with whom, as a running node has heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinksStatus {
    /// Members of the mesh.
    pub members: usize,
    /// Of them, those that have told of their links.
    pub heard_of: usize,
    /// Every link.
    pub links: Vec<LinkStatus>,
    /// Routes to the node that was asked for that share no node between this one and it, the cheapest first, by name.
    pub routes: Option<Vec<Vec<String>>>,
}

/// A link in [`LinksStatus`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Names of the nodes at its ends.
    pub nodes: [String; 2],
    /// Their ids.
    pub node_ids: [String; 2],
    /// Whether both ends tell of it.
    pub confirmed: bool,
    /// The name of an end that does not answer at the moment.
    #[serde(default)]
    pub silent: Option<String>,
    /// The larger of the round trips that both ends measure.
    pub round_trip_ms: Option<f64>,
    /// The larger of the shares of lost packets; `null` where the path does not tell.
    pub loss: Option<f64>,
    /// `quic`, `punched`, `tcp`, `websocket` or `relayed`.
    pub path: String,
    /// Bytes that each end has sent the other, in the order of the ends.
    pub bytes: [Option<u64>; 2],
    /// Age of the figures.
    pub age_seconds: f64,
}

/// What shall be forgotten.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EraseRequest {
    /// A person by name: the account with everything it owns.
    Account(String),
    /// One chat by id.
    Session(String),
}

/// An erasure and how far it has got.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErasureStatus {
    /// The erasure's id.
    pub id: String,
    /// `account`, `document` or `message`.
    pub what: String,
    /// The id of the account or document.
    pub subject: String,
    /// The name by which it was erased, while the command that did so still knows it: afterwards nobody does.
    #[serde(default)]
    pub name: Option<String>,
    /// Milliseconds since 1970 by the clock of the node that was asked.
    pub at: u64,
    /// The nodes that have carried it out.
    pub receipts: Vec<ReceiptStatus>,
    /// Members that have not said so yet.
    pub waiting_for: Vec<String>,
}

/// What a node said when it had carried an erasure out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceiptStatus {
    /// The node's name.
    pub node: String,
    /// Milliseconds since 1970 by its clock.
    pub at: u64,
    /// Envelopes that were dropped or lost their texts.
    pub envelopes: u64,
    /// Data keys that were destroyed.
    pub keys: u64,
}

/// An answer, or why there is none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

/// What a running node says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The node's id.
    pub node_id: String,
    /// The node's name.
    pub name: String,
    /// The mesh's id.
    pub mesh_id: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Where the page is served.
    pub http: SocketAddr,
    /// The same with its scheme.
    #[serde(default)]
    pub page: String,
    /// Where other nodes reach this one.
    pub mesh_addresses: Vec<SocketAddr>,
    /// Where a new node may knock besides, at other members; the best first.
    #[serde(default)]
    pub doors: Vec<SocketAddr>,
    /// `none`, `starting`, `ready` or `failed`.
    pub engine: String,
    /// The model's name, or why the engine failed.
    pub engine_detail: Option<String>,
    /// Answers generated since the start.
    pub answers_generated: u64,
    /// Every member.
    pub members: Vec<MemberStatus>,
    /// Why this node is a member no longer, with what to do; nothing while it is one.
    #[serde(default)]
    pub out: Option<String>,
    /// Nodes that were members and are no longer.
    pub former_members: Vec<FormerStatus>,
    /// What the start found damaged in the journal or the index and repaired, in words.
    #[serde(default)]
    pub repaired: Vec<String>,
    /// Changes this node holds.
    pub changes: usize,
    /// Root over them: two nodes with equal roots hold the same.
    pub root: String,
    /// Which part of the placed documents lies here.
    pub placement: PlacementStatus,
    /// Whether others can reach this node.
    pub reach: ReachStatus,
    /// What the mesh counted since the start.
    pub mesh: serde_json::Value,
    /// Background tasks.
    pub tasks: serde_json::Value,
}

/// Whether others can reach this node, in [`Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReachStatus {
    /// `unknown`, `public`, `router`, `port-restricted` or `symmetric`.
    pub reachability: String,
    /// Where others see it.
    pub seen_at: Vec<SocketAddr>,
    /// Names of the relays that hold a reservation for it.
    pub relays: Vec<String>,
    /// Whether it carries links of others.
    pub carries: bool,
    /// Whether relays may be used at all.
    pub relaying: bool,
}

/// How the placed documents are spread, in [`Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlacementStatus {
    /// Whether each node that keeps documents holds all of them.
    pub everywhere: bool,
    /// Of 256 shards, how many are this node's own.
    pub shards: usize,
    /// Of these, how many are still on their way here.
    pub filling: usize,
    /// How many others hold now and this node still offers.
    pub leaving: usize,
    /// Documents of others that are used here.
    pub followed: usize,
    /// Changes that were written here and that not enough of their holders have confirmed.
    pub unconfirmed: usize,
    /// How many nodes have the residency label, where they are too few.
    pub labelled_too_few: Option<usize>,
}

/// A member in [`Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The node's id.
    pub node_id: String,
    /// The node's name.
    pub name: String,
    /// `this node`, `connected` or `unreachable`.
    pub state: String,
    /// `joining`, `serving`, `draining`, `maintenance`, `suspect` or `gone`, as the whole mesh tells it.
    #[serde(default)]
    pub liveness: String,
    /// For how long it has been so.
    #[serde(default)]
    pub liveness_ms_ago: u64,
    /// Whether two processes run with its key.
    #[serde(default)]
    pub doubled: bool,
    /// Last measured round trip.
    pub round_trip_ms: Option<f64>,
    /// Age of the last news.
    pub heard_ms_ago: Option<u64>,
    /// `quic`, `punched`, `tcp`, `websocket` or `relayed`.
    pub path: Option<String>,
    /// Models it offers.
    pub models: Vec<String>,
    /// Of 256 shards, how many it holds as this node sees it.
    pub shards: usize,
    /// What it may do, for example `gateway,worker`.
    pub roles: String,
    /// Where it stands, if the operator said so.
    pub residency: Option<String>,
    /// Days until its certificate ends unless it is renewed; negative when it has ended and still counts. An operator's does not end.
    pub certificate_days: Option<i64>,
}

/// A node that was a member, in [`Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FormerStatus {
    /// The node's id.
    pub node_id: String,
    /// The node's name.
    pub name: String,
    /// Why it is out, in words.
    pub why: String,
}

/// Why the running node could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no node is running with {0}; start it with: {run}", run = here("run"))]
    NotRunning(PathBuf),
    /// It does not answer.
    #[error("the node running with {path} does not answer: {source}")]
    NoAnswer {
        /// The data directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(String),
    /// The socket cannot be made.
    #[error("the control socket {path} cannot be made: {source}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the socket. The data directory is locked, so one that is there is left over from a crash.
///
/// # Errors
/// When it cannot be made.
pub fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let failed = |source| ControlError::Listen {
        path: path.to_owned(),
        source,
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    UnixListener::bind(path).map_err(failed)
}

/// Answers requests until the node stops.
pub async fn serve(listener: UnixListener, node: Node, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // One at a time: each takes milliseconds, and nobody else may open this socket.
                let answered = tokio::time::timeout(TIMEOUT, answer(stream, &node)).await;
                if let Ok(Err(error)) = answered {
                    tasks.note_error("control socket", &error);
                }
            }
            Err(error) => {
                tasks.note_error("control socket", &error);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, node: &Node) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    AsyncBufReader::new(reader.take(REQUEST_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    let text = match serde_json::from_str(&line) {
        Ok(Request::Status) => encode(Ok(node.status().await)),
        Ok(Request::Erase(what)) => encode(node.erase(&what).await.map_err(|error| error.to_string())),
        Ok(Request::Decide(decrees)) => encode(node.decide(&decrees).await.map_err(|error| error.to_string())),
        Ok(Request::Maintenance(on)) => encode(node.maintain(on).await.map_err(|error| error.to_string())),
        Ok(Request::Links(to)) => encode(node.links(to.as_deref())),
        Ok(Request::Model(request)) => encode(
            node.answer_about_models(&request)
                .await
                .map_err(|error| error.to_string()),
        ),
        Ok(Request::DialBack) => encode(Ok(node.dial_back().await)),
        Ok(Request::Erasures) => encode(node.erasures().await.map_err(|error| error.to_string())),
        Err(error) => encode::<()>(Err(format!("unknown request: {error}"))),
    };
    writer.write_all(text.as_bytes()).await?;
    writer.write_all(b"\n").await
}

fn encode<T: Serialize>(result: Result<T, String>) -> String {
    let answer = match result {
        Ok(value) => Answer::Ok(value),
        Err(words) => Answer::Error(words),
    };
    // Plain data with text keys always encodes.
    serde_json::to_string(&answer).unwrap_or_default()
}

/// Of an id so many digits are needed where a name would do as well, and so many tell nodes of one name apart.
pub(crate) const ID_DIGITS_MIN: usize = 8;

/// Asks the node that runs with `directory` what it is doing.
///
/// # Errors
/// When none runs or it does not answer.
pub fn ask(directory: &Path) -> Result<Status, ControlError> {
    request(directory, &Request::Status)
}

impl Status {
    /// For people: nodes that are called the same, also by one that is out, are told apart by the first digits of their ids, which every
    /// command takes.
    #[must_use]
    pub fn told_apart(mut self) -> Self {
        let names = self.members.iter().map(|member| member.name.clone());
        let names = Names::of(names.chain(self.former_members.iter().map(|former| former.name.clone())));
        for member in &mut self.members {
            member.name = names.apart(&member.name, &member.node_id);
        }
        for former in &mut self.former_members {
            former.name = names.apart(&former.name, &former.node_id);
        }
        self
    }
}

/// How many nodes each name means.
pub(crate) struct Names(HashMap<String, usize>);

impl Names {
    pub(crate) fn of(names: impl Iterator<Item = String>) -> Self {
        let mut counts = HashMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        Self(counts)
    }

    /// A name for people: with the first digits of the id when several nodes are called so.
    pub(crate) fn apart(&self, name: &str, id: &str) -> String {
        match self.0.get(name) {
            None | Some(1) => name.to_owned(),
            Some(_) => format!("{name} {}", id.get(..ID_DIGITS_MIN).unwrap_or(id)),
        }
    }
}

/// Asks the node that runs with `directory` for something.
///
/// # Errors
/// When none runs, it does not answer, or it refuses.
pub fn request<T: DeserializeOwned>(directory: &Path, request: &Request) -> Result<T, ControlError> {
    let no_answer = |source: io::Error| ControlError::NoAnswer {
        path: directory.to_owned(),
        source: match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "it said nothing for {} s. It is paused or overloaded: see its log, or stop and start it",
                    TIMEOUT.as_secs()
                ),
            ),
            _ => source,
        },
    };
    let mut stream = BlockingStream::connect(directory.join("control.sock"))
        .map_err(|_| ControlError::NotRunning(directory.to_owned()))?;
    stream
        .set_read_timeout(Some(TIMEOUT))
        .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
        .map_err(no_answer)?;
    let mut asked = serde_json::to_vec(request).map_err(|error| no_answer(io::Error::other(error)))?;
    asked.push(b'\n');
    stream.write_all(&asked).map_err(no_answer)?;
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, ANSWER_BYTES_MAX))
        .read_line(&mut line)
        .map_err(no_answer)?;
    match serde_json::from_str(&line).map_err(|error| no_answer(io::Error::other(error)))? {
        Answer::Ok(answer) => Ok(answer),
        Answer::Error(words) => Err(ControlError::Refused(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_that_are_called_the_same_are_told_apart_by_their_ids() {
        let names = Names::of(["home", "vm", "vm"].map(str::to_owned).into_iter());
        assert_eq!(names.apart("home", "0011223344"), "home");
        assert_eq!(names.apart("vm", "8899aabbcc"), "vm 8899aabb");
        assert_eq!(names.apart("vm", "short"), "vm short");
    }
}
