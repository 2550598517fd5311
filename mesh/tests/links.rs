//! Every node knows the links of all others, with their figures, and hears when one is gone.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "nodes/free_address.rs"]
mod free_address;

use std::{net::SocketAddr, time::Duration};

use free_address::free_address;
use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{Inputs, Mesh, MeshSettings, topology::Link};
use tokio::time::Instant;

/// Generous: these tests wait for events, and a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(40);

fn start(key: &NodeKey, roster: Roster, bootstrap: Vec<(NodeId, SocketAddr)>) -> (Mesh, Inputs, SocketAddr) {
    let address = free_address();
    let settings = MeshSettings {
        bootstrap,
        relaying: false,
        ..MeshSettings::at(address)
    };
    let (mesh, inputs) = Mesh::start(&settings, key, roster).unwrap();
    (mesh, inputs, address)
}

/// Waits until a node knows links of which `enough` says so.
async fn known(mesh: &Mesh, enough: impl Fn(&[Link]) -> bool) -> Vec<Link> {
    let mut topology = mesh.topology();
    let waiting = topology.wait_for(|topology| enough(&topology.links(Instant::now())));
    let topology = tokio::time::timeout(PATIENCE, waiting).await;
    let topology = topology.expect("it is heard of in time").unwrap().clone();
    topology.links(Instant::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_knows_all_links_and_hears_when_one_is_gone() {
    let (root, key) = (NodeKey::generate(), NodeKey::generate());
    let certificate = Certificate::found(&root, key.id(), "first", random_bytes(), Timestamp::now()).unwrap();
    let (first, _inputs, address) = start(&key, Roster::new(certificate).unwrap(), vec![]);
    let mut others = Vec::new();
    for name in ["second", "third"] {
        let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
        let mesh = first.roster().mesh();
        let invite = Invite::issue(&root, mesh, key.id(), vec![address], random_bytes(), terms).unwrap();
        let new = NodeKey::generate();
        let roster = mesh::join(&new, &invite, name).await.unwrap().roster;
        others.push((new.id(), start(&new, roster, vec![(key.id(), address)])));
    }
    let complete = |links: &[Link]| {
        let measured =
            |link: &Link| link.confirmed && link.round_trip.is_some() && link.bytes.0.is_some_and(|bytes| bytes > 0);
        links.iter().filter(|link| measured(link)).count() == 3
    };
    for mesh in [&first, &others[0].1.0, &others[1].1.0] {
        for link in known(mesh, complete).await {
            assert!(link.age < PATIENCE && link.loss.is_some(), "{link:?}");
        }
    }
    let (third, (mesh, ..)) = others.pop().unwrap();
    let routes = first
        .topology()
        .borrow()
        .disjoint_routes(&key.id(), &others[0].0, 3, Instant::now());
    assert_eq!(routes.len(), 2, "directly, and through the third");
    mesh.stop().await;
    let without = |links: &[Link]| {
        let still = |link: &Link| link.confirmed && (link.nodes.0 == third || link.nodes.1 == third);
        // What the stopped node said of its links stays until it is forgotten, but no other end confirms it.
        !links.iter().any(still)
    };
    for mesh in [&first, &others[0].1.0] {
        known(mesh, without).await;
    }
}
