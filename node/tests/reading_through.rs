//! Real nodes on loopback with different roles: one that serves people and keeps nothing reads, writes and lists through one that keeps
//! documents; one that only generates is refused.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../../mesh/tests/nodes/free_address.rs"]
mod free_address;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use crdt::{
    Store, StoreSettings,
    fetch::{Ask, FetchFrame},
    ingress::Right,
    limits::FETCH_FRAME_BYTES_MAX,
    records::{
        RecordKind,
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
    },
    set::ShardSet,
};
use free_address::free_address;
use keys::{
    ContentId, NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{Mesh, MeshSettings, Protocol, Stream, frame};
use node::{tasks::Tasks, wiring};
use tokio::sync::mpsc;

/// Generous: these tests wait for events, and a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    key: NodeKey,
    address: SocketAddr,
    mesh: Mesh,
    store: Store,
    _tasks: Tasks,
    _directory: tempfile::TempDir,
}

/// Starts a node with everything that documents need, as `Node::start` does.
async fn start(key: NodeKey, roster: Roster, bootstrap: Vec<(NodeId, SocketAddr)>) -> Running {
    let address = free_address();
    let settings = MeshSettings {
        bootstrap,
        ..MeshSettings::at(address)
    };
    let (mesh, mut inputs) = Mesh::start(&settings, &key, roster).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        directory: directory.path().join("store"),
        keys: directory.path().join("keys"),
        key: key.clone(),
        right: Arc::new(|_| Right::Member),
    };
    let (store, outputs, _) = Store::open(settings).unwrap();
    let placer = wiring::Placer::start(mesh.clone(), store.clone()).await.unwrap();
    let tasks = Tasks::default();
    let streams = |streams: &mut HashMap<Protocol, mpsc::Receiver<(NodeId, Stream)>>, protocol| {
        streams.remove(&protocol).unwrap()
    };
    let (m, s, t) = (|| mesh.clone(), || store.clone(), || tasks.clone());
    let fetches = wiring::fetch(m(), s(), t(), placer.placements(), outputs.fetches);
    tasks.spawn("placement", placer.run(t()));
    tasks.spawn("reading through", fetches);
    let questions = streams(&mut inputs.streams, Protocol::FETCH);
    tasks.spawn("fetch answers", wiring::answer_fetches(m(), s(), t(), questions));
    tasks.spawn("hand-over", wiring::hand_over(m(), s(), t()));
    let questions = streams(&mut inputs.streams, Protocol::KEYS);
    tasks.spawn("data key answers", wiring::answer_keys(m(), s(), t(), questions));
    tasks.spawn("data keys", wiring::exchange_keys(m(), s(), t(), outputs.keys));
    Running {
        key,
        address,
        mesh,
        store,
        _tasks: tasks,
        _directory: directory,
    }
}

async fn found() -> (NodeKey, Running) {
    let (root, key) = (NodeKey::generate(), NodeKey::generate());
    let certificate = Certificate::found(&root, key.id(), "first", random_bytes(), Timestamp::now()).unwrap();
    let roster = Roster::new(certificate).unwrap();
    (root, start(key, roster, Vec::new()).await)
}

async fn join(root: &NodeKey, first: &Running, name: &str, roles: Roles) -> Running {
    let key = NodeKey::generate();
    let terms = Terms::new(roles, 1, Timestamp::now().plus(60_000));
    let mesh = first.mesh.roster().mesh();
    let invite = Invite::issue(root, mesh, first.key.id(), vec![first.address], random_bytes(), terms).unwrap();
    let roster = mesh::join(&key, &invite, name).await.unwrap().roster;
    let joined = start(key, roster, vec![(first.key.id(), first.address)]).await;
    linked(&joined.mesh, first.key.id()).await;
    linked(&first.mesh, joined.key.id()).await;
    joined
}

async fn linked(mesh: &Mesh, node: NodeId) {
    let mut view = mesh.view();
    let stands = view.wait_for(|view| {
        let link = view.links.get(&node);
        link.is_some_and(|link| link.connected && link.round_trip.is_some())
    });
    tokio::time::timeout(PATIENCE, stands)
        .await
        .expect("the link stands in time")
        .unwrap();
}

fn say(chat: ContentId, text: &str) -> SessionEdit {
    SessionEdit::PutMessage(Message::from_person(text, text, &chat, None, Timestamp::now()))
}

/// Asks again each time something changed there, until there are so many messages that can be read.
async fn read_until(store: &Store, chat: ContentId, count: usize) -> Vec<String> {
    let mut changes = store.changes();
    let reads = async {
        loop {
            let session = store.read::<Session>(chat).await.unwrap();
            let texts: Vec<String> = session
                .messages
                .iter()
                .map(|message| message.text.text().to_owned())
                .collect();
            if texts.len() == count && texts.iter().all(|text| !text.is_empty()) {
                return texts;
            }
            changes.recv().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, reads).await.expect("it comes in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_documents_reads_writes_and_lists_through_a_node_that_has_them() {
    let (root, first) = found().await;
    let person = Account::new("Рита", Role::User, Timestamp::now(), [0; 16]);
    let person = first.store.create(person).await.unwrap();
    let chat = Session::new(person, ContentId([2; 32]), Timestamp::now());
    let chat = first.store.create(chat).await.unwrap();
    first.store.edit(chat, say(chat, "hello")).await.unwrap();

    let gateway = join(&root, &first, "gateway", Roles::GATEWAY).await;
    assert_eq!(gateway.store.held().await.unwrap().own, 0);
    assert_eq!(first.store.held().await.unwrap().own, 256);
    assert_eq!(read_until(&gateway.store, chat, 1).await, ["hello"]);
    let accounts = gateway.store.list::<Account>().await.unwrap();
    assert_eq!(accounts.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [person]);
    // What it writes reaches the node that keeps it, here without any gossip.
    let mut offered = first.store.changes();
    gateway.store.edit(chat, say(chat, "how are you")).await.unwrap();
    let change = tokio::time::timeout(PATIENCE, offered.recv()).await.unwrap().unwrap();
    assert_eq!((change.document, change.kind), (chat, RecordKind::Session));
    assert_eq!(read_until(&first.store, chat, 2).await, ["hello", "how are you"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_no_documents_even_when_it_asks() {
    let (root, first) = found().await;
    let person = Account::new("Рита", Role::User, Timestamp::now(), [0; 16]);
    let person = first.store.create(person).await.unwrap();
    for (roles, is_answered) in [(Roles::WORKER, false), (Roles::GATEWAY, true)] {
        let node = join(&root, &first, "node", roles).await;
        let mut stream = node.mesh.open(first.key.id(), Protocol::FETCH).await.unwrap();
        let ask = FetchFrame::Ask {
            what: Ask::Documents(vec![(person, [0; 8])]),
            shards: ShardSet::all(),
        };
        frame::write_frame(&mut stream, &ask.encode(), FETCH_FRAME_BYTES_MAX)
            .await
            .unwrap();
        let answer = frame::read_frame(&mut stream, FETCH_FRAME_BYTES_MAX);
        let answer = tokio::time::timeout(PATIENCE, answer)
            .await
            .expect("it is answered or ended in time");
        let given = match answer {
            Ok(Some(bytes)) => {
                matches!(FetchFrame::decode(&bytes), Ok(FetchFrame::Give { envelopes, .. }) if !envelopes.is_empty())
            }
            _ => false,
        };
        assert_eq!(given, is_answered);
        let read = node.store.read::<Account>(person).await;
        assert_eq!(read.is_ok(), is_answered, "{:?}", read.err());
    }
}
