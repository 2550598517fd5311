//! A stranger whose own program is changed to skip every check on its side still gets nothing but the join protocol.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt;
use keys::{
    NodeKey, Timestamp,
    identity::random_bytes,
    membership::{Certificate, Roster},
};
use libp2p::swarm::{SwarmEvent, dial_opts::DialOpts};

use super::{Behaviour, BehaviourEvent, gossip};
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
    let behaviour = Behaviour {
        gossip: Gated::new(gossip().unwrap(), Membership::Everyone),
        streams: behaviour,
        nearby: None.into(),
    };
    let mut swarm = transport::swarm(&key, transport::Congestion::default(), behaviour).unwrap();
    let dial = DialOpts::peer_id(peer_of(&victim.id()).unwrap()).addresses(transport::multiaddresses(&[address]));
    swarm.dial(dial.build()).unwrap();
    while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    let attempts = async {
        let mut results = Vec::new();
        for protocol in Protocol::ALL {
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

fn start(key: &NodeKey, roster: Roster) -> (Mesh, crate::Inputs, SocketAddr) {
    let address = free_address();
    let settings = MeshSettings {
        listen: address,
        bootstrap: vec![],
        public_addresses: vec![],
        local_discovery: false,
        congestion: transport::Congestion::default(),
    };
    let (mesh, inputs) = Mesh::start(&settings, key, roster).unwrap();
    (mesh, inputs, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheating_stranger_reaches_join_and_no_other_protocol() {
    let (key, roster) = founder(1);
    let (mesh, mut inputs, address) = start(&key, roster);
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
