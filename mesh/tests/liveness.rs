//! Real nodes know who is there: also without a link, also after a stop, and also when a link between two of them falls silent.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "nodes/free_address.rs"]
mod free_address;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use free_address::free_address;
use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{
    Congestion, Inputs, Mesh, MeshSettings,
    liveness::{Recovery, Standing, State},
};
use tokio::net::UdpSocket;

/// Generous: these tests wait for events, and a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a link is silent: shorter than it is kept, and long enough to be suspected, and to contradict, several times.
const SILENCE: Duration = Duration::from_millis(7500);

struct Running {
    id: NodeId,
    address: SocketAddr,
    mesh: Mesh,
    _inputs: Inputs,
}

/// A mesh whose nodes are started one by one.
struct Founder {
    root: NodeKey,
    recovery: Recovery,
    first: Running,
}

async fn start(key: &NodeKey, roster: Roster, recovery: Recovery, bootstrap: Vec<(NodeId, SocketAddr)>) -> Running {
    let address = free_address();
    let settings = MeshSettings {
        listen: address,
        bootstrap,
        public_addresses: Vec::new(),
        local_discovery: false,
        congestion: Congestion::default(),
        relaying: false,
        websocket: None,
    };
    let (mesh, inputs) = Mesh::start_with(&settings, key, roster, recovery).unwrap();
    mesh.stand(Standing::Serving).await;
    Running {
        id: key.id(),
        address,
        mesh,
        _inputs: inputs,
    }
}

impl Founder {
    async fn start(recovery: Recovery) -> Self {
        let (root, key) = (NodeKey::generate(), NodeKey::generate());
        let certificate = Certificate::found(&root, key.id(), "first", random_bytes(), Timestamp::now()).unwrap();
        let first = start(&key, Roster::new(certificate).unwrap(), recovery, vec![]).await;
        Self { root, recovery, first }
    }

    /// A key with the roster of whoever joins with it.
    async fn admit(&self, name: &str) -> (NodeKey, Roster) {
        let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
        let (mesh, first) = (self.first.mesh.roster().mesh(), &self.first);
        let invite = Invite::issue(&self.root, mesh, first.id, vec![first.address], random_bytes(), terms).unwrap();
        let key = NodeKey::generate();
        let roster = mesh::join(&key, &invite, name).await.unwrap().roster;
        (key, roster)
    }

    async fn further(&self, name: &str) -> Running {
        let (key, roster) = self.admit(name).await;
        let bootstrap = vec![(self.first.id, self.first.address)];
        start(&key, roster, self.recovery, bootstrap).await
    }
}

/// Waits until one node thinks so of another.
async fn thinks(of: &Running, node: NodeId, wanted: State) {
    let mut view = of.mesh.view();
    let known = view.wait_for(|view| view.members.get(&node).is_some_and(|member| member.state == wanted));
    let known = tokio::time::timeout(PATIENCE, known).await;
    let said = || of.mesh.view().borrow().members.get(&node).copied();
    assert!(known.is_ok(), "in vain waited for {wanted:?}: {:?}", said());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_is_ready_for_is_known_everywhere_and_its_stop_too() {
    let founder = Founder::start(Recovery::ON).await;
    let (second, third) = (founder.further("second").await, founder.further("third").await);
    let all = [&founder.first, &second, &third];
    for of in all {
        for node in all {
            thinks(of, node.id, State::Serving).await;
        }
    }
    for (standing, state) in [
        (Standing::Maintenance, State::Maintenance),
        (Standing::Serving, State::Serving),
        (Standing::Draining, State::Draining),
    ] {
        third.mesh.stand(standing).await;
        for of in all {
            thinks(of, third.id, state).await;
            assert_eq!(of.mesh.view().borrow().takes_work(&third.id), state == State::Serving);
        }
    }
    // Whoever stops in order is gone without having been missed.
    let mut seen = second.mesh.view();
    let states = tokio::spawn(async move {
        let mut states = Vec::new();
        loop {
            let state = seen.borrow_and_update().members[&third.id].state;
            states.push(state);
            if state == State::Gone || seen.changed().await.is_err() {
                states.dedup();
                return states;
            }
        }
    });
    third.mesh.stop().await;
    let states = tokio::time::timeout(PATIENCE, states).await.unwrap().unwrap();
    assert_eq!(states, [State::Draining, State::Gone]);
    thinks(&founder.first, third.id, State::Gone).await;
    assert!(second.mesh.liveness_task().running);
}

/// Carries packets between two nodes until it is told not to.
async fn line(to: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let (front, silent) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let (front, address) = (Arc::new(front), silent.clone());
    let listens = front.local_addr().unwrap();
    tokio::spawn(async move {
        let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut packet = [0; 2048];
        while let Ok((length, from)) = front.recv_from(&mut packet).await {
            if silent.load(Ordering::Relaxed) {
                continue;
            }
            if let Entry::Vacant(entry) = backs.entry(from) {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(to).await.unwrap();
                entry.insert(back.clone());
                tokio::spawn(carry_back(back, front.clone(), from, silent.clone()));
            }
            // A packet that cannot be sent is lost.
            let _ = backs[&from].send(&packet[..length]).await;
        }
    });
    (listens, address)
}

async fn carry_back(back: Arc<UdpSocket>, front: Arc<UdpSocket>, to: SocketAddr, silent: Arc<AtomicBool>) {
    let mut packet = [0; 2048];
    while let Ok(length) = back.recv(&mut packet).await {
        if !silent.load(Ordering::Relaxed) {
            let _ = front.send_to(&packet[..length], to).await;
        }
    }
}

/// What a node thought of another while their link was silent.
#[derive(Debug, Default)]
struct Thoughts {
    suspected: usize,
    /// How often a suspicion ended because the suspect was heard of.
    contradicted: usize,
    gone: bool,
}

/// Three nodes; the link between the second and the third falls silent for a while. What the second then thinks of the third.
async fn a_link_falls_silent(recovery: Recovery) -> Thoughts {
    let founder = Founder::start(recovery).await;
    let second = founder.further("second").await;
    let (key, roster) = founder.admit("third").await;
    let (through, silent) = line(second.address).await;
    // The link with the second stands over the line before there is any other.
    let third = start(&key, roster, recovery, vec![(second.id, through)]).await;
    thinks(&second, third.id, State::Serving).await;
    thinks(&founder.first, third.id, State::Serving).await;
    silent.store(true, Ordering::Relaxed);
    let until = tokio::time::Instant::now() + SILENCE;
    let (mut view, mut thoughts, mut before) = (second.mesh.view(), Thoughts::default(), State::Serving);
    // Not a wait for one thing to happen, but for all that may happen in this time.
    while let Ok(Ok(())) = tokio::time::timeout_at(until, view.changed()).await {
        let state = view.borrow_and_update().members[&third.id].state;
        thoughts.gone |= state == State::Gone;
        thoughts.suspected += usize::from(state == State::Suspect && before != state);
        thoughts.contradicted += usize::from(state == State::Serving && before != state);
        before = state;
    }
    assert!(
        !view.borrow().links[&third.id].is_reachable(),
        "the link itself is not used"
    );
    silent.store(false, Ordering::Relaxed);
    let heard = view.wait_for(|view| view.links[&third.id].is_reachable());
    tokio::time::timeout(PATIENCE, heard).await.unwrap().map(drop).unwrap();
    thinks(&second, third.id, State::Serving).await;
    thoughts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_link_makes_nobody_suspect_whom_others_hear() {
    let thoughts = a_link_falls_silent(Recovery::ON).await;
    assert!(thoughts.suspected == 0 && !thoughts.gone, "{thoughts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_contradicts_at_once() {
    let recovery = Recovery {
        asking: false,
        ..Recovery::ON
    };
    let thoughts = a_link_falls_silent(recovery).await;
    assert!(thoughts.contradicted >= 4 && !thoughts.gone, "{thoughts:?}");
}

/// The control: without asking it is suspected, and without contradicting only the word that each member says every three seconds helps.
#[tokio::test(flavor = "multi_thread")]
async fn without_asking_and_contradicting_a_silent_link_makes_a_suspect() {
    let thoughts = a_link_falls_silent(Recovery::OFF).await;
    assert!(thoughts.suspected >= 1 && thoughts.contradicted <= 3, "{thoughts:?}");
}
