//! Real nodes in this process: the router, the store and the mesh as they are, over loopback.

use std::{net::SocketAddr, path::Path, time::Duration};

use crdt::records::{
    EntryId,
    account::{Account, AccountEdit, Device, Role, Roles},
    credential::Credential,
};
use keys::{
    ContentId, Timestamp,
    identity::random_bytes,
    limits::ACCESS_TOKEN_MILLISECONDS,
    token::{self, AccessToken},
};
use node::{
    commands::{
        init::{self, FirstNode, NewNode},
        invite, join,
    },
    config::{self, Config},
    data_directory::DataDirectory,
    node::{Node, StartError},
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tests::{
    client::{Client, Socket},
    free_address::free_address,
    process::PATIENCE,
};

pub const PASSWORD: &str = "correct horse battery";

/// A running node.
pub struct Gate {
    pub node: Node,
    pub http: SocketAddr,
    directory: tempfile::TempDir,
}

pub fn new_node(name: &str) -> NewNode {
    NewNode {
        name: Some(name.into()),
        http: Some(free_address()),
        mesh_listen: Some(free_address()),
        model: "none".into(),
    }
}

async fn start(directory: tempfile::TempDir, path: &Path, http: SocketAddr) -> Gate {
    let data = DataDirectory::open(path).unwrap();
    let config = config::load(&data.config_path()).unwrap();
    let node = Box::pin(Node::start(data, config)).await.unwrap();
    Gate { node, http, directory }
}

/// The first node of a mesh.
pub async fn first() -> Gate {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node");
    let first = FirstNode {
        node: new_node("first"),
        residency: None,
        root_key: None,
        root_passphrase_file: None,
    };
    init::run(&path, &first).unwrap();
    start(directory, &path, first.node.http.unwrap()).await
}

/// The first node of a mesh, with another configuration; the path is of a directory that goes with it.
pub async fn first_with(change: impl FnOnce(&mut Config, &Path)) -> Result<Gate, StartError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node");
    let first = FirstNode {
        node: new_node("first"),
        residency: None,
        root_key: None,
        root_passphrase_file: None,
    };
    init::run(&path, &first).unwrap();
    let data = DataDirectory::open(&path).unwrap();
    let mut config = config::load(&data.config_path()).unwrap();
    change(&mut config, directory.path());
    let node = Box::pin(Node::start(data, config)).await?;
    let http = first.node.http.unwrap();
    Ok(Gate { node, http, directory })
}

/// Two nodes that are linked.
pub async fn two() -> (Gate, Gate) {
    let first = first().await;
    let second = first.joined().await;
    (first, second)
}

impl Gate {
    /// A second node of the mesh, linked with this one.
    pub async fn joined(&self) -> Gate {
        let known = invite::Known::of(self.node.mesh()).await;
        let terms = invite::Terms::default();
        let invite = invite::issue(self.node.directory(), self.node.config(), &known, &terms).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node");
        let new = new_node("second");
        let http = new.http.unwrap();
        let joining = path.clone();
        // Joining has a runtime of its own, as on the command line.
        tokio::task::spawn_blocking(move || join::run(&joining, &invite, &new).unwrap())
            .await
            .unwrap();
        let gate = start(directory, &path, http).await;
        let mut view = gate.node.mesh().view();
        let linked = view.wait_for(|view| view.links.values().any(mesh::LinkView::is_reachable));
        tokio::time::timeout(PATIENCE, linked).await.unwrap().unwrap();
        gate
    }

    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    pub async fn stop(self) {
        self.node.stop().await;
    }

    /// An account made on this node, past every page.
    pub async fn account(&self, name: &str, roles: &[Role]) -> ContentId {
        let mut account = Account::new(name, Role::User, Timestamp::now(), random_bytes());
        account.roles = roles.iter().copied().collect::<Roles>();
        let id = self.node.store().create(account).await.unwrap();
        let hash = keys::password::hash(PASSWORD).unwrap();
        self.node.store().create(Credential::new(id, hash)).await.unwrap();
        id
    }

    /// A device of a person, signed in past every page.
    pub async fn device(&self, person: ContentId, second_factor: bool) -> String {
        let now = Timestamp::now();
        let id = EntryId::new(now, u128::from_le_bytes(random_bytes()));
        let device = Device {
            id,
            label: "a test".into(),
            seen: now,
            generation: 0,
            signed_out: false,
        };
        self.node
            .store()
            .edit(person, AccountEdit::AddDevice(device))
            .await
            .unwrap();
        let token = AccessToken {
            mesh: self.node.mesh_id(),
            person,
            device: *id.bytes(),
            issued: now,
            expires: now.plus(ACCESS_TOKEN_MILLISECONDS),
            second_factor: second_factor.then_some(now),
        };
        token::issue(self.node.key(), &token).unwrap()
    }

    /// The token behind the link that a first start prints.
    pub fn first_link(&self) -> String {
        let path = gateway::first_administrator_path(self.node.key(), self.node.mesh_id()).unwrap();
        path.split('#').nth(1).unwrap().to_owned()
    }

    pub fn browser(&self) -> Browser {
        Browser::new(self.http)
    }
}

/// A browser as far as cookies go: it keeps what it is given by name, and sends them back.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    pub address: SocketAddr,
    pub cookies: std::collections::BTreeMap<String, String>,
}

/// Somebody with a session at one gateway.
pub struct Caller(Browser, String);

impl Caller {
    pub async fn of(gate: &Gate, person: ContentId) -> Self {
        Self(gate.browser(), format!("Bearer {}", gate.device(person, false).await))
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let headers = [("authorization", self.1.as_str())];
        self.0.clone().send(method, path, body, &headers).await
    }

    /// The same person, at another gateway.
    pub fn at(&self, gate: &Gate) -> Self {
        Self(self.0.at(gate), self.1.clone())
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    pub async fn socket(&self, gate: &Gate) -> Socket {
        let token = self.1.trim_start_matches("Bearer ");
        Client::new(gate.http).with_bearer(token).socket().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body)).await
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The status, and the code of an error.
    pub fn outcome(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), code)
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        let body = self.json();
        assert_eq!(self.status.as_u16(), status, "{body}");
        body
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.outcome(), (status, code.to_owned()));
    }
}

impl Browser {
    pub fn new(address: SocketAddr) -> Self {
        Self::from_address(address, "127.0.0.1".parse().unwrap())
    }

    /// One that comes from another address of this machine.
    pub fn from_address(address: SocketAddr, own: std::net::IpAddr) -> Self {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .local_address(own)
            .build()
            .unwrap();
        Self {
            http,
            address,
            cookies: std::collections::BTreeMap::new(),
        }
    }

    /// The same browser, looking at another gateway.
    pub fn at(&self, gate: &Gate) -> Self {
        Self {
            address: gate.http,
            ..self.clone()
        }
    }

    pub async fn send(&mut self, method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", pairs.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let bytes = response.bytes().await.unwrap().to_vec();
        Reply { status, headers, bytes }
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body), &[]).await
    }
}

/// Waits until a question is answered with yes.
pub async fn until<F: Future<Output = bool>>(what: &str, within: Duration, mut ask: impl FnMut() -> F) {
    let began = tokio::time::Instant::now();
    while !ask().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
