//! A stranger whose own program is changed to skip every check on its side still gets nothing but the join protocol.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt;
use keys::{
    NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use libp2p::swarm::{
    SwarmEvent,
    dial_opts::{DialOpts, PeerCondition},
};

use super::{Behaviour, BehaviourEvent, gossip, reach};
use crate::{
    LinkPath, Mesh, MeshSettings, Protocol,
    counters::Counters,
    free_address::free_address,
    gate::Gated,
    liveness::{Standing, State},
    membership::{Membership, peer_of},
    streams::{self, OpenError},
    transport,
};

fn founder(seed: u8) -> (NodeKey, Roster) {
    let key = NodeKey::from_seed(&[seed; 32]);
    let certificate = Certificate::found(&key, key.id(), "node", random_bytes(), Timestamp::now()).unwrap();
    (key, Roster::new(certificate).unwrap())
}

/// Dials `victim` with a swarm that takes everyone for a member, opens every protocol there is, subscribes to gossip, and returns
/// what each open gave and how many gossip events came.
async fn cheat(
    victim: &NodeKey,
    address: SocketAddr,
    while_connected: impl AsyncFn(),
) -> (Vec<(Protocol, Result<(), OpenError>)>, usize) {
    let key = NodeKey::generate();
    let (behaviour, opener, _inbound) =
        streams::new(Membership::Everyone, &Protocol::ALL, Arc::new(Counters::default()));
    let everyone = Membership::Everyone;
    let peer = peer_of(&key.id()).unwrap();
    let behaviour = |circuits| Behaviour {
        gossip: Gated::new(gossip().unwrap(), everyone.clone()),
        streams: behaviour,
        nearby: None.into(),
        relay: Gated::new(reach::server(peer, true), everyone.clone()),
        circuits: Gated::new(reach::client(circuits, true), everyone.clone()),
    };
    let mut swarm = transport::swarm(&key, transport::Congestion::default(), behaviour).unwrap();
    let dial = DialOpts::peer_id(peer_of(&victim.id()).unwrap()).addresses(transport::multiaddresses(&[address]));
    swarm.dial(dial.build()).unwrap();
    while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    let attempts = async {
        let mut results = Vec::new();
        let foreign = Protocol::OF_LIBP2P.map(Protocol::foreign);
        for protocol in Protocol::ALL.into_iter().chain(foreign) {
            results.push((protocol, opener.open(victim.id(), protocol, None).await.map(drop)));
        }
        while_connected().await;
        results
    };
    tokio::pin!(attempts);
    let mut gossip_events = 0;
    loop {
        tokio::select! {
            results = &mut attempts => return (results, gossip_events),
            event = swarm.select_next_some() => {
                let counts = matches!(event, SwarmEvent::Behaviour(BehaviourEvent::Gossip(
                    libp2p::gossipsub::Event::Message { .. } | libp2p::gossipsub::Event::Subscribed { .. }
                )));
                gossip_events += usize::from(counts);
            }
        }
    }
}

fn start(key: &NodeKey, roster: Roster, public: bool) -> (Mesh, crate::Inputs, SocketAddr) {
    let address = free_address();
    let settings = MeshSettings {
        public_addresses: public.then_some(address).into_iter().collect(),
        ..MeshSettings::at(address)
    };
    let (mesh, inputs) = Mesh::start(&settings, key, roster).unwrap();
    (mesh, inputs, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheating_stranger_reaches_join_and_no_other_protocol() {
    let (key, roster) = founder(1);
    // Public, so that it would carry circuits for members.
    let (mesh, mut inputs, address) = start(&key, roster, true);
    let publish = async || {
        for round in 0..10u8 {
            mesh.publish(vec![round]).await;
        }
    };
    let attempt = tokio::time::timeout(Duration::from_secs(20), cheat(&key, address, publish));
    let (results, gossip_events) = attempt.await.expect("nothing hangs");
    for (protocol, result) in results {
        if protocol == Protocol::JOIN {
            assert_eq!(result, Ok(()), "a stranger may ask to join");
        } else {
            assert_eq!(result, Err(OpenError::Refused(key.id(), protocol)));
            assert!(
                inputs
                    .streams
                    .get_mut(&protocol)
                    .is_none_or(|queue| queue.try_recv().is_err())
            );
        }
    }
    assert_eq!(gossip_events, 0, "not even a subscription is told to a stranger");
    assert!(mesh.counters().strangers_met >= 1);
}

/// What a test does to the actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// As any panic.
    Caught,
    /// As any panic if nothing caught it: the control.
    NotCaught,
}

/// A second member, linked with the first.
async fn second(first: &NodeKey, roster: &Roster, address: SocketAddr) -> (Mesh, crate::Inputs, NodeKey) {
    let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
    let invite = Invite::issue(first, roster.mesh(), first.id(), vec![address], random_bytes(), terms).unwrap();
    let key = NodeKey::generate();
    let roster = crate::join(&key, &invite, "second").await.unwrap().roster;
    let settings = MeshSettings {
        bootstrap: vec![(first.id(), address)],
        relaying: false,
        ..MeshSettings::at(free_address())
    };
    let (mesh, inputs) = Mesh::start(&settings, &key, roster).unwrap();
    linked(&mesh, &first.id()).await;
    (mesh, inputs, key)
}

async fn linked(mesh: &Mesh, node: &keys::NodeId) {
    let mut view = mesh.view();
    let linked = view.wait_for(|view| view.links.get(node).is_some_and(|link| link.connected));
    tokio::time::timeout(Duration::from_secs(20), linked)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_swarm_task_is_over_within_a_second() {
    let (key, roster) = founder(1);
    let (mesh, _inputs, address) = start(&key, roster.clone(), false);
    let (other, _other_inputs, other_key) = second(&key, &roster, address).await;
    linked(&mesh, &other_key.id()).await;
    let mut view = mesh.view();
    let began = std::time::Instant::now();
    mesh.commands.send(crate::Command::Panic(Fault::Caught)).await.unwrap();
    view.wait_for(|view| view.links.values().all(|link| !link.connected))
        .await
        .unwrap();
    assert!(!mesh.listen_addresses().await.is_empty(), "it answers again");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    linked(&mesh, &other_key.id()).await;
    linked(&other, &key.id()).await;
    assert_eq!(mesh.counters().panics_caught, 1);
    // The control: a panic that nothing catches is the end of the mesh.
    mesh.commands
        .send(crate::Command::Panic(Fault::NotCaught))
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), mesh.commands.closed()).await;
    assert!(ended.is_ok() && mesh.listen_addresses().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_task_of_liveness_is_told_and_the_members_are_known_again() {
    let (key, roster) = founder(1);
    let (mesh, _inputs, address) = start(&key, roster.clone(), false);
    let (other, _other_inputs, other_key) = second(&key, &roster, address).await;
    other.stand(Standing::Serving).await;
    let knows = async |state| {
        let mut view = mesh.view();
        let known = view.wait_for(|view| {
            let member = view.members.get(&other_key.id());
            member.is_some_and(|member| member.state == state)
        });
        tokio::time::timeout(Duration::from_secs(20), known)
            .await
            .unwrap()
            .map(drop)
            .unwrap();
    };
    knows(State::Serving).await;
    mesh.liveness
        .send(crate::liveness::driver::Command::Panic)
        .await
        .unwrap();
    let mut task = mesh.liveness_status.clone();
    let told = task.wait_for(|task| task.errors == 1).await.unwrap().clone();
    assert_eq!(
        (told.running, told.last_error.as_deref()),
        (true, Some("a test wants it"))
    );
    knows(State::Joining).await;
    knows(State::Serving).await;
}

/// How many of a member's messages a node hears that judges each so, and whether it hears another member afterwards.
async fn heard_of_spam(verdict: crate::Verdict) -> (usize, bool) {
    const SPAM: u32 = 40;
    let (key, roster) = founder(1);
    let (mesh, mut inputs, address) = start(&key, roster.clone(), false);
    let (spammer, _spam_inputs, _) = second(&key, &roster, address).await;
    let (honest, _honest_inputs, _) = second(&key, &roster, address).await;
    let mut heard = 0;
    for number in 0..SPAM {
        // Until it has a neighbour that listens, nothing goes out.
        let mut patience = if heard == 0 { 100 } else { 1 };
        loop {
            spammer.publish(format!("spam {number} {patience}").into_bytes()).await;
            let wait = Duration::from_millis(if heard == 0 { 200 } else { 1000 });
            let message = tokio::time::timeout(wait, inputs.gossip.recv()).await;
            if let Ok(Some(message)) = message {
                heard += 1;
                mesh.judge(message.ticket, verdict).await;
                break;
            }
            patience -= 1;
            if patience == 0 {
                break;
            }
        }
        if heard > 0 && heard < number as usize {
            break;
        }
    }
    for number in 0..50 {
        honest.publish(format!("a word {number}").into_bytes()).await;
        let message = tokio::time::timeout(Duration::from_millis(200), inputs.gossip.recv()).await;
        if message.is_ok_and(|message| message.is_some_and(|message| message.content.starts_with(b"a word"))) {
            return (heard, true);
        }
    }
    (heard, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_gossips_what_does_not_hold_is_ignored_and_no_other() {
    let (heard, honest) = heard_of_spam(crate::Verdict::Reject).await;
    assert!(honest, "an honest member is heard as before");
    let limit = crate::limits::GOSSIP_INVALID_MAX as usize;
    assert!((limit..limit + 4).contains(&heard), "{heard}");
    // The control: what is only not needed costs nobody anything.
    let (heard, honest) = heard_of_spam(crate::Verdict::Ignore).await;
    assert!(honest && heard == 40, "{heard}");
}

/// Asks a relay for a reservation with a node that takes everyone for a member; whether it was given one.
async fn reserves(key: &NodeKey, relay: &NodeKey, address: SocketAddr) -> bool {
    let peer = peer_of(&relay.id()).unwrap();
    let behaviour = |circuits| Gated::new(reach::client(circuits, true), Membership::Everyone);
    let mut swarm = transport::swarm(key, transport::Congestion::default(), behaviour).unwrap();
    let at = transport::quic_multiaddress(&address);
    swarm.listen_on(transport::circuit(&at, peer, None)).unwrap();
    let answer = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { .. } => return true,
                SwarmEvent::ListenerClosed { .. } => return false,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answer)
        .await
        .expect("an answer")
}

/// A founder, and a member that its roster knows.
fn founder_and_member() -> (NodeKey, Roster, NodeKey) {
    let (key, mut roster) = founder(1);
    let member = NodeKey::from_seed(&[2; 32]);
    let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
    let invite = Invite::issue(&key, roster.mesh(), key.id(), vec![], random_bytes(), terms).unwrap();
    let request = invite.redeem(member.id(), "member").unwrap();
    let (grant, redemption) = request.into_parts(key.id(), None).unwrap();
    roster
        .admit(&key, member.id(), grant, redemption, Timestamp::now())
        .unwrap();
    (key, roster, member)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_gives_a_member_a_reservation_and_a_stranger_none() {
    let (key, roster, member) = founder_and_member();
    let (mesh, _inputs, address) = start(&key, roster, true);
    let mut reach = mesh.reach();
    reach.wait_for(|reach| reach.carries).await.unwrap();
    assert!(reserves(&member, &key, address).await);
    assert!(!reserves(&NodeKey::generate(), &key, address).await);
}

// Red when: a connection that a better one has replaced is forgotten although it stands, and the better one goes. A node that dials in two
// ways at once drops the one that answers second.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_connections_carries_the_link_when_the_better_one_goes() {
    let (key, roster, member) = founder_and_member();
    let (mesh, _inputs, address) = start(&key, roster, false);
    let (behaviour, opener, _inbound) =
        streams::new(Membership::Everyone, &Protocol::ALL, Arc::new(Counters::default()));
    let mut swarm = transport::swarm(&member, transport::Congestion::default(), |_| behaviour).unwrap();
    let peer = peer_of(&key.id()).unwrap();
    let quic = transport::quic_multiaddress(&address);
    let tcp = transport::multiaddresses(&[address])
        .into_iter()
        .find(|way| *way != quic);
    let mut connections = Vec::new();
    for way in [tcp.unwrap(), quic] {
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![way]);
        swarm.dial(dial.build()).unwrap();
        connections.push(loop {
            if let SwarmEvent::ConnectionEstablished { connection_id, .. } = swarm.select_next_some().await {
                break connection_id;
            }
        });
    }
    swarm.close_connection(connections[1]);
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let link = async {
        // It may still be taken for the worse one for a moment.
        loop {
            let stream = opener.open(key.id(), Protocol::CONTROL, Some(connections[0])).await;
            let (report, _heard) = tokio::sync::mpsc::channel(64);
            let (_own, sections) = tokio::sync::watch::channel(Default::default());
            let (_running, stop) = tokio::sync::watch::channel(false);
            crate::control::run(stream.unwrap(), sections, stop, report).await;
        }
    };
    let stands = async {
        let mut view = mesh.view();
        let link = view.wait_for(|view| {
            let link = view.links.get(&member.id());
            link.is_some_and(|link| link.connected && link.path == LinkPath::Tcp && link.round_trip.is_some())
        });
        link.await.map(drop)
    };
    tokio::select! {
        () = link => {}
        stands = tokio::time::timeout(Duration::from_secs(20), stands) => stands.unwrap().unwrap(),
    }
}
