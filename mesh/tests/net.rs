//! A home node behind a router whose address changes, whose line is cut for a while, or which lets no UDP through: real nodes, real
//! sockets, in network namespaces. Skipped, and said so, where this process may not make them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

#[path = "net/namespaces.rs"]
mod namespaces;
#[path = "net/rig.rs"]
mod rig;

use std::{
    net::SocketAddr,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{Inputs, LinkPath, Mesh, MeshSettings, Protocol, frame};
use rig::{Rig, router_address, server_address, websocket_address};
use tokio::sync::{mpsc, oneshot, watch};

/// Generous: a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tokens of the stream that must go on.
const TOKEN_EVERY: Duration = Duration::from_millis(20);
/// Tokens between two disturbances.
const TOKENS_BETWEEN: u32 = 25;
/// The issue's bound for a stall when the address changes.
const STALL_MAX: Duration = Duration::from_millis(500);

/// A token that arrived, and when.
type Arrival = (u32, Instant);

/// The two nodes with a stream of tokens from the home to the server.
struct Trial {
    arrivals: mpsc::Receiver<Arrival>,
    /// How the home reaches the server.
    path: LinkPath,
    /// How it does now.
    path_now: watch::Receiver<Option<LinkPath>>,
    /// How long the home took from its start to the first link.
    linked_after: Duration,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn settings(listen: &str, bootstrap: Vec<(NodeId, SocketAddr)>) -> MeshSettings {
    MeshSettings {
        bootstrap,
        ..MeshSettings::at(listen.parse().unwrap())
    }
}

async fn serve(
    key: NodeKey,
    roster: Roster,
    ready: oneshot::Sender<()>,
    arrivals: mpsc::Sender<Arrival>,
    mut stop: watch::Receiver<bool>,
) {
    let settings = MeshSettings {
        websocket: Some(websocket_address()),
        ..settings(rig::SERVER, vec![])
    };
    let (mesh, mut inputs): (Mesh, Inputs) = Mesh::start(&settings, &key, roster).unwrap();
    ready.send(()).unwrap();
    let streams = inputs.streams.get_mut(&Protocol::GENERATE).unwrap();
    let work = async {
        while let Some((_, mut stream)) = streams.recv().await {
            while let Ok(Some(token)) = frame::read_frame(&mut stream, 256).await {
                let number = u32::from_le_bytes(token[..4].try_into().unwrap());
                if arrivals.send((number, Instant::now())).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    mesh.stop().await;
}

async fn generate(
    key: NodeKey,
    (server, addresses): (NodeId, Vec<SocketAddr>),
    invite: Invite,
    linked: oneshot::Sender<(LinkPath, Duration)>,
    path_now: watch::Sender<Option<LinkPath>>,
    mut stop: watch::Receiver<bool>,
) {
    let roster = mesh::join(&key, &invite, "home").await.unwrap().roster;
    let bootstrap = addresses.into_iter().map(|address| (server, address)).collect();
    let began = Instant::now();
    let (mesh, _inputs) = Mesh::start(&settings("0.0.0.0:4001", bootstrap), &key, roster).unwrap();
    let mut view = mesh.view();
    let path = {
        let stands = view.wait_for(|view| view.links.get(&server).is_some_and(|link| link.connected));
        let view = tokio::time::timeout(PATIENCE, stands)
            .await
            .expect("a link in time")
            .unwrap();
        view.links[&server].path
    };
    linked.send((path, began.elapsed())).unwrap();
    let mut stream = mesh.open(server, Protocol::GENERATE).await.unwrap();
    let tokens = async {
        let mut pace = tokio::time::interval(TOKEN_EVERY);
        for number in 0_u32.. {
            pace.tick().await;
            let mut token = [0; 100];
            token[..4].copy_from_slice(&number.to_le_bytes());
            if frame::write_frame(&mut stream, &token, 256).await.is_err() {
                // The stream is lost: that is what the server's side will say.
                return std::future::pending().await;
            }
        }
    };
    let paths = async {
        while view.changed().await.is_ok() {
            path_now.send_replace(view.borrow_and_update().links.get(&server).map(|link| link.path));
        }
    };
    tokio::select! {
        () = tokens => {}
        () = paths => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    mesh.stop().await;
}

/// A mesh whose first node is at `addresses`, and an invite to it.
fn founded(first: &NodeKey, addresses: Vec<SocketAddr>) -> (Roster, Invite) {
    let root = NodeKey::generate();
    let certificate = Certificate::found(&root, first.id(), "first", random_bytes(), Timestamp::now()).unwrap();
    let roster = Roster::new(certificate).unwrap();
    let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(600_000));
    let invite = Invite::issue(&root, roster.mesh(), first.id(), addresses, random_bytes(), terms).unwrap();
    (roster, invite)
}

impl Trial {
    fn start(rig: &Rig) -> Self {
        Self::start_at(rig, vec![server_address()])
    }

    /// The home is told that the server is at `addresses`.
    fn start_at(rig: &Rig, addresses: Vec<SocketAddr>) -> Self {
        let (server, home) = (NodeKey::generate(), NodeKey::generate());
        let (roster, invite) = founded(&server, addresses.clone());
        let (stop, stopped) = watch::channel(false);
        let (token, arrivals) = mpsc::channel(100_000);
        let (ready, is_ready) = oneshot::channel();
        let (linked, is_linked) = oneshot::channel();
        let (path_changes, path_now) = watch::channel(None);
        let (server_id, server_stop) = (server.id(), stopped.clone());
        let mut threads =
            vec![rig.at_server(move || runtime().block_on(serve(server, roster, ready, token, server_stop)))];
        is_ready.blocking_recv().unwrap();
        threads.push(rig.at_home(move || {
            runtime().block_on(generate(
                home,
                (server_id, addresses),
                invite,
                linked,
                path_changes,
                stopped,
            ))
        }));
        let (path, linked_after) = is_linked.blocking_recv().unwrap();
        Self {
            arrivals,
            path,
            path_now,
            linked_after,
            stop,
            threads,
        }
    }

    /// The arrivals up to the next `count`; fewer when the stream stands still for longer than `patience`.
    fn tokens(&mut self, count: u32, patience: Duration) -> Vec<Arrival> {
        runtime().block_on(async {
            let mut arrived = Vec::new();
            while arrived.len() < count as usize {
                match tokio::time::timeout(patience, self.arrivals.recv()).await {
                    Ok(Some(arrival)) => arrived.push(arrival),
                    _ => break,
                }
            }
            arrived
        })
    }

    fn end(self) {
        self.stop.send_replace(true);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// The longest wait between two tokens; each must follow on the one before.
fn longest_gap(arrivals: &[Arrival]) -> Duration {
    let pairs = arrivals.windows(2);
    let gaps = pairs.map(|pair| {
        assert_eq!(pair[1].0, pair[0].0 + 1, "a token is lost, doubled or out of order");
        pair[1].1 - pair[0].1
    });
    gaps.max().unwrap_or_default()
}

/// How often the address changes: `STARLING_NET_REPEATS`, for the measurement, or a few times.
fn repeats() -> u32 {
    let asked = std::env::var("STARLING_NET_REPEATS").ok();
    asked.map_or(4, |asked| asked.parse().expect("STARLING_NET_REPEATS is a number"))
}

#[test]
fn a_stream_of_tokens_goes_on_when_the_home_address_changes() {
    let Some(mut rig) = Rig::new() else { return };
    let mut trial = Trial::start(&rig);
    assert_eq!(trial.path, LinkPath::Quic);
    let mut arrivals = trial.tokens(TOKENS_BETWEEN, PATIENCE);
    for _ in 0..repeats() {
        rig.change_address();
        arrivals.extend(trial.tokens(TOKENS_BETWEEN, PATIENCE));
    }
    assert_eq!(
        arrivals.len() as u32,
        (1 + repeats()) * TOKENS_BETWEEN,
        "the stream ended"
    );
    let gap = longest_gap(&arrivals);
    eprintln!("{} changes of address, longest stall {gap:?}", repeats());
    assert!(gap <= STALL_MAX, "stalled for {gap:?}");
    trial.end();
}

#[test]
fn where_no_udp_passes_tcp_links_at_once_but_does_not_survive_a_change_of_address() {
    let Some(mut rig) = Rig::new() else { return };
    rig.block("meta l4proto udp");
    let mut trial = Trial::start(&rig);
    assert_eq!(trial.path, LinkPath::Tcp);
    eprintln!("linked over TCP after {:?}", trial.linked_after);
    assert!(trial.linked_after <= Duration::from_secs(1), "{:?}", trial.linked_after);
    assert_eq!(trial.tokens(TOKENS_BETWEEN, PATIENCE).len() as u32, TOKENS_BETWEEN);
    // The control of the test above: without QUIC the same change ends the stream.
    rig.change_address();
    let after = trial.tokens(1000, Duration::from_secs(3));
    assert!(after.len() < 1000, "TCP cannot have followed the address");
    trial.end();
}

#[test]
fn a_link_over_tcp_moves_to_quic_when_udp_passes_again_and_loses_no_token() {
    let Some(rig) = Rig::new() else { return };
    rig.block("meta l4proto udp");
    let mut trial = Trial::start(&rig);
    assert_eq!(trial.path, LinkPath::Tcp);
    let mut arrivals = trial.tokens(TOKENS_BETWEEN, PATIENCE);
    rig.unblock();
    let unblocked = Instant::now();
    let moved = trial.path_now.wait_for(|path| *path == Some(LinkPath::Quic));
    let moved = runtime().block_on(async { tokio::time::timeout(2 * PATIENCE, moved).await.map(drop) });
    moved.expect("the link moves to QUIC");
    eprintln!("from TCP to QUIC {:?} after UDP passed again", unblocked.elapsed());
    let meanwhile = (unblocked.elapsed().as_millis() / TOKEN_EVERY.as_millis()) as u32;
    arrivals.extend(trial.tokens(meanwhile + TOKENS_BETWEEN, PATIENCE));
    assert_eq!(arrivals.len() as u32, meanwhile + 2 * TOKENS_BETWEEN);
    let gap = longest_gap(&arrivals);
    assert!(gap <= STALL_MAX, "stalled for {gap:?}");
    trial.end();
}

#[test]
fn where_only_the_web_passes_a_websocket_carries_the_link() {
    let Some(rig) = Rig::new() else { return };
    rig.block("meta l4proto udp");
    rig.block("ip saddr 192.168.7.2 tcp dport != 443");
    // It joined over it, too.
    let mut trial = Trial::start_at(&rig, vec![server_address(), websocket_address()]);
    assert_eq!(trial.path, LinkPath::WebSocket);
    eprintln!("linked by a WebSocket after {:?}", trial.linked_after);
    let arrivals = trial.tokens(TOKENS_BETWEEN, PATIENCE);
    assert_eq!(arrivals.len() as u32, TOKENS_BETWEEN);
    let gap = longest_gap(&arrivals);
    assert!(gap <= STALL_MAX, "stalled for {gap:?}");
    // The control: it is really port 443 by which the tokens come.
    rig.block("tcp dport 443");
    let after = trial.tokens(1000, Duration::from_secs(2));
    assert!(after.len() < 50, "{} tokens came all the same", after.len());
    trial.end();
}

#[test]
fn a_stream_goes_on_after_eight_seconds_without_a_line() {
    let Some(rig) = Rig::new() else { return };
    let mut trial = Trial::start(&rig);
    let mut arrivals = trial.tokens(TOKENS_BETWEEN, PATIENCE);
    rig.block("meta l4proto { tcp, udp }");
    let cut = Instant::now();
    // What was on the way arrives; then nothing does, until the line is back.
    let during = trial.tokens(u32::MAX, Duration::from_secs(8));
    assert!(
        cut.elapsed() >= Duration::from_secs(8) && during.len() < 50,
        "the line was not cut"
    );
    arrivals.extend(during);
    let back = Instant::now();
    rig.unblock();
    let first = trial.tokens(1, PATIENCE);
    let waited = back.elapsed();
    eprintln!("eight seconds without a line: the stream goes on {waited:?} after its return");
    assert_eq!(first.len(), 1, "the stream is lost");
    arrivals.extend(first);
    arrivals.extend(trial.tokens(TOKENS_BETWEEN, PATIENCE));
    longest_gap(&arrivals);
    assert!(waited <= Duration::from_secs(2), "went on only after {waited:?}");
    trial.end();
}

/// Whether a home without any address finds a member on its local network within `patience`.
fn finds_its_neighbour(rig: &Rig, local_discovery: bool, patience: Duration) -> bool {
    let settings = move || MeshSettings {
        local_discovery,
        ..settings("0.0.0.0:4001", vec![])
    };
    let (first, home) = (NodeKey::generate(), NodeKey::generate());
    let first_id = first.id();
    let (roster, invite) = founded(&first, vec![router_address()]);
    let (stop, mut stopped) = watch::channel(false);
    let (ready, is_ready) = oneshot::channel();
    let neighbour = rig.at_router(move || {
        runtime().block_on(async {
            let (mesh, _inputs) = Mesh::start(&settings(), &first, roster).unwrap();
            ready.send(()).unwrap();
            stopped.wait_for(|stop| *stop).await.unwrap();
            mesh.stop().await;
        });
    });
    is_ready.blocking_recv().unwrap();
    let finder = rig.at_home(move || {
        runtime().block_on(async {
            let roster = mesh::join(&home, &invite, "home").await.unwrap().roster;
            let (mesh, _inputs) = Mesh::start(&settings(), &home, roster).unwrap();
            let mut view = mesh.view();
            let linked = view.wait_for(|view| view.links.get(&first_id).is_some_and(|link| link.connected));
            let found = tokio::time::timeout(patience, linked).await.is_ok();
            mesh.stop().await;
            found
        })
    });
    let found = finder.join().unwrap();
    stop.send_replace(true);
    neighbour.join().unwrap();
    found
}

#[test]
fn members_on_one_local_network_find_each_other_without_any_address() {
    let Some(rig) = Rig::new() else { return };
    assert!(finds_its_neighbour(&rig, true, PATIENCE));
}

#[test]
fn control_without_local_discovery_nobody_is_found() {
    let Some(rig) = Rig::new() else { return };
    assert!(!finds_its_neighbour(&rig, false, Duration::from_secs(3)));
}
