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
use libp2p::swarm::{SwarmEvent, dial_opts::DialOpts};

use super::{Behaviour, BehaviourEvent, gossip, reach};
use crate::{
    Mesh, MeshSettings, Protocol,
    counters::Counters,
    gate::Gated,
    membership::{Membership, peer_of},
    streams::{self, OpenError},
    transport,
};

fn founder(seed: u8) -> (NodeKey, Roster) {
    let key = NodeKey::from_seed(&[seed; 32]);
    let certificate = Certificate::found(&key, key.id(), "node", random_bytes(), Timestamp::now()).unwrap();
    (key, Roster::new(certificate).unwrap())
}

fn free_address() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
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
        listen: address,
        bootstrap: vec![],
        public_addresses: public.then_some(address).into_iter().collect(),
        local_discovery: false,
        congestion: transport::Congestion::default(),
        relaying: true,
        websocket: None,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_gives_a_member_a_reservation_and_a_stranger_none() {
    let (key, mut roster) = founder(1);
    let member = NodeKey::from_seed(&[2; 32]);
    let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
    let invite = Invite::issue(&key, roster.mesh(), key.id(), vec![], random_bytes(), terms).unwrap();
    let request = invite.redeem(member.id(), "member").unwrap();
    let (grant, redemption) = request.into_parts(key.id(), None).unwrap();
    roster
        .admit(&key, member.id(), grant, redemption, Timestamp::now())
        .unwrap();
    let (mesh, _inputs, address) = start(&key, roster, true);
    let mut reach = mesh.reach();
    reach.wait_for(|reach| reach.carries).await.unwrap();
    assert!(reserves(&member, &key, address).await);
    assert!(!reserves(&NodeKey::generate(), &key, address).await);
}
