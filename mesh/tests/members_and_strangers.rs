//! Two real nodes on loopback: joining, links, streams and gossip; and what a stranger gets: nothing.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "nodes/free_address.rs"]
mod free_address;

use std::{net::SocketAddr, time::Duration};

use free_address::free_address;
use keys::{
    ContentId, NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use mesh::{Inputs, JoinError, Mesh, MeshSettings, OpenError, Protocol, Verdict, frame, limits::INBOUND_STREAM_QUEUE};

/// Generous: these tests wait for events, and a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);

struct Founder {
    root: NodeKey,
    key: NodeKey,
    address: SocketAddr,
    mesh: Mesh,
    inputs: Inputs,
}

fn settings(listen: SocketAddr, bootstrap: Vec<(NodeId, SocketAddr)>) -> MeshSettings {
    MeshSettings {
        bootstrap,
        ..MeshSettings::at(listen)
    }
}

fn founder() -> Founder {
    let (root, key) = (NodeKey::generate(), NodeKey::generate());
    let certificate = Certificate::found(&root, key.id(), "first", random_bytes(), Timestamp::now()).unwrap();
    let address = free_address();
    let (mesh, inputs) = Mesh::start(&settings(address, vec![]), &key, Roster::new(certificate).unwrap()).unwrap();
    Founder {
        root,
        key,
        address,
        mesh,
        inputs,
    }
}

fn invite(founder: &Founder, mesh: ContentId, expires: Timestamp) -> Invite {
    let terms = Terms::new(Roles::NODE, 1, expires);
    Invite::issue(
        &founder.root,
        mesh,
        founder.key.id(),
        vec![founder.address],
        random_bytes(),
        terms,
    )
    .unwrap()
}

fn good_invite(founder: &Founder) -> Invite {
    invite(founder, founder.mesh.roster().mesh(), Timestamp::now().plus(60_000))
}

async fn linked(mesh: &Mesh, node: NodeId) {
    let mut view = mesh.view();
    let stands = view.wait_for(|view| {
        view.links
            .get(&node)
            .is_some_and(|link| link.connected && link.round_trip.is_some())
    });
    tokio::time::timeout(PATIENCE, stands)
        .await
        .expect("the link stands in time")
        .unwrap();
}

async fn second(founder: &Founder) -> (NodeKey, Mesh, Inputs) {
    let key = NodeKey::generate();
    let roster = mesh::join(&key, &good_invite(founder), "second").await.unwrap().roster;
    let bootstrap = vec![(founder.key.id(), founder.address)];
    let (mesh, inputs) = Mesh::start(&settings(free_address(), bootstrap), &key, roster).unwrap();
    linked(&mesh, founder.key.id()).await;
    linked(&founder.mesh, key.id()).await;
    (key, mesh, inputs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_opens_a_stream_hears_gossip_and_announcements() {
    let mut founder = founder();
    let (key, mesh, mut inputs) = second(&founder).await;
    assert_eq!(founder.mesh.roster().get(&key.id()).unwrap().name, "second");

    let mut stream = mesh.open(founder.key.id(), Protocol::GENERATE).await.unwrap();
    frame::write_frame(&mut stream, b"question", 64).await.unwrap();
    let queue = founder.inputs.streams.get_mut(&Protocol::GENERATE).unwrap();
    let (from, mut served) = queue.recv().await.unwrap();
    assert_eq!(from, key.id());
    assert_eq!(frame::read_frame(&mut served, 64).await.unwrap().unwrap(), b"question");
    drop(stream);
    let cancelled = tokio::time::timeout(PATIENCE, frame::read_frame(&mut served, 64))
        .await
        .unwrap();
    assert!(
        !matches!(cancelled, Ok(Some(_))),
        "a dropped stream ends on the other side"
    );

    // gossipsub needs a moment to exchange subscriptions, and loss is allowed: publish until it arrives.
    let heard = tokio::time::timeout(PATIENCE, async {
        let mut attempt = 0u32;
        loop {
            attempt += 1;
            founder.mesh.publish(attempt.to_le_bytes().to_vec()).await;
            if let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(200), inputs.gossip.recv()).await {
                return message;
            }
        }
    });
    let message = heard.await.unwrap();
    assert_eq!(message.neighbour, founder.key.id());
    mesh.judge(message.ticket, Verdict::Forward).await;

    founder.mesh.announce("load", b"idle".to_vec()).unwrap();
    let mut view = mesh.view();
    let announced = view.wait_for(|view| {
        view.links
            .get(&founder.key.id())
            .is_some_and(|link| link.sections.get("load").is_some_and(|load| **load == *b"idle"))
    });
    tokio::time::timeout(PATIENCE, announced).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_noticed_at_once_and_the_link_comes_back() {
    let founder = founder();
    let (key, mesh, _inputs) = second(&founder).await;
    mesh.stop().await;
    let mut view = founder.mesh.view();
    let gone = view.wait_for(|view| !view.links[&key.id()].connected);
    // Far below the ten seconds of silence that would end a link without a goodbye.
    tokio::time::timeout(Duration::from_secs(3), gone)
        .await
        .expect("a goodbye needs no timeout")
        .unwrap();

    let roster = Roster::clone(&founder.mesh.roster());
    let own = roster.certificate(&key.id()).unwrap().clone();
    let mut roster_again = Roster::new(own).unwrap();
    roster_again.insert_all(roster.certificates().cloned().collect());
    let bootstrap = vec![(founder.key.id(), founder.address)];
    let (again, _inputs) = Mesh::start(&settings(free_address(), bootstrap), &key, roster_again).unwrap();
    linked(&again, founder.key.id()).await;
    linked(&founder.mesh, key.id()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_streams_is_answered_ok_or_busy_and_never_dropped() {
    let founder = founder();
    let (_key, mesh, _inputs) = second(&founder).await;
    let opens = (0..2 * INBOUND_STREAM_QUEUE).map(|_| mesh.open(founder.key.id(), Protocol::GENERATE));
    let answers = futures::future::join_all(opens).await;
    let ok = answers.iter().filter(|answer| answer.is_ok()).count();
    let busy = answers
        .iter()
        .filter(|answer| matches!(answer, Err(OpenError::Busy(..))))
        .count();
    assert_eq!((ok, busy), (INBOUND_STREAM_QUEUE, INBOUND_STREAM_QUEUE));
}

fn refused(error: JoinError) -> String {
    match error {
        JoinError::Refused(reason) => reason,
        other => panic!("not refused but {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_used_foreign_and_unreachable_invites_are_refused_in_words() {
    let founder = founder();
    let own = founder.mesh.roster().mesh();
    let expired = invite(&founder, own, Timestamp(1));
    let error = mesh::join(&NodeKey::generate(), &expired, "late").await.unwrap_err();
    assert!(refused(error).contains("expired"));

    let once = good_invite(&founder);
    mesh::join(&NodeKey::generate(), &once, "one").await.unwrap();
    let error = mesh::join(&NodeKey::generate(), &once, "two").await.unwrap_err();
    assert!(refused(error).contains("as often as it may"));

    let foreign = invite(&founder, ContentId::of(b"another mesh"), Timestamp::now().plus(60_000));
    let error = mesh::join(&NodeKey::generate(), &foreign, "lost").await.unwrap_err();
    assert!(refused(error).contains("another mesh"));
    assert!(founder.mesh.counters().strangers_refused >= 3);

    let nobody = free_address();
    let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
    let dead = Invite::issue(
        &founder.root,
        own,
        founder.key.id(),
        vec![nobody],
        random_bytes(),
        terms,
    )
    .unwrap();
    let error = mesh::join(&NodeKey::generate(), &dead, "alone").await.unwrap_err();
    assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
}

/// The member that the invite names is away; behind the other addresses are nobody, a node of another mesh, and a member.
#[tokio::test(flavor = "multi_thread")]
async fn an_invite_opens_another_door_when_the_member_that_it_names_is_away() {
    let first = founder();
    let (key, second, _inputs) = second(&first).await;
    let doors = || async {
        while second.doors().await != [(first.key.id(), first.address)] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, doors())
        .await
        .expect("the second one knows the way to the first");
    let stranger = founder();
    let away = NodeKey::generate();
    let mesh = first.mesh.roster().mesh();
    let issue = |others: &[SocketAddr]| {
        let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
        let invite = Invite::issue(
            &first.root,
            mesh,
            away.id(),
            vec![free_address()],
            random_bytes(),
            terms,
        );
        let text = invite.unwrap().naming_others(others.iter().copied()).to_text();
        Invite::parse(&text).unwrap()
    };
    let (new, others) = (NodeKey::generate(), [free_address(), stranger.address, first.address]);
    let joined = mesh::join(&new, &issue(&others), "third").await.unwrap();
    assert_eq!(
        (joined.member, &joined.addresses[..]),
        (first.key.id(), &[first.address][..])
    );
    let roster = joined.roster;
    assert!([key.id(), new.id()].iter().all(|node| roster.get(node).is_some()));
    assert!(first.mesh.roster().get(&new.id()).is_some());
    // The control: with nobody of this mesh behind the addresses nobody joins, and nothing of what a stranger says is taken.
    let lost = mesh::join(&NodeKey::generate(), &issue(&others[..2]), "lost").await;
    assert!(matches!(lost, Err(JoinError::Refused(_))), "{lost:?}");
    let nobody = mesh::join(&NodeKey::generate(), &issue(&others[..1]), "lost").await;
    assert!(
        matches!(nobody, Err(JoinError::Unreachable { addresses, .. }) if addresses.contains(&others[0].to_string()))
    );
}

/// A node of another mesh that knows our address and id: it dials, is told that it is no member, and gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_opens_no_stream_and_hears_no_gossip() {
    let mut founder = founder();
    let (_key, _mesh, mut inputs) = second(&founder).await;
    let (root, key) = (NodeKey::generate(), NodeKey::generate());
    let certificate = Certificate::found(&root, key.id(), "stranger", random_bytes(), Timestamp::now()).unwrap();
    let bootstrap = vec![(founder.key.id(), founder.address)];
    let (stranger, mut heard) = Mesh::start(
        &settings(free_address(), bootstrap),
        &key,
        Roster::new(certificate).unwrap(),
    )
    .unwrap();
    let refused = tokio::time::timeout(PATIENCE, async {
        while founder.mesh.counters().strangers_refused == 0 || stranger.counters().refused_by_others == 0 {
            tokio::task::yield_now().await;
        }
    });
    refused.await.expect("the stranger is told no");

    for protocol in Protocol::ALL {
        if protocol != Protocol::JOIN {
            assert!(stranger.open(founder.key.id(), protocol).await.is_err(), "{protocol}");
            let queue = founder.inputs.streams.get_mut(&protocol);
            assert!(queue.is_none_or(|queue| queue.try_recv().is_err()), "{protocol}");
        }
    }
    // The control: while the stranger hears nothing, a member hears every message.
    for round in 0..20u32 {
        founder
            .mesh
            .publish([b"secret".as_slice(), &round.to_le_bytes()].concat())
            .await;
    }
    tokio::time::timeout(PATIENCE, inputs.gossip.recv())
        .await
        .expect("the member hears gossip")
        .unwrap();
    assert!(heard.gossip.try_recv().is_err());
    assert_eq!(stranger.counters().gossip_received, 0);
    assert!(!founder.mesh.view().borrow().links.contains_key(&key.id()));
}

/// Waits until every node is linked with every other one.
async fn all_linked(meshes: &[&Mesh]) {
    for mesh in meshes {
        for other in meshes.iter().filter(|other| other.node() != mesh.node()) {
            linked(mesh, other.node()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_member_is_linked_with_all_although_only_one_admitted_it() {
    let founder = founder();
    let mut members = Vec::new();
    for _ in 0..4 {
        // Each knows only the first node's address, and no other node has its certificate.
        members.push(second(&founder).await.1);
        let meshes: Vec<&Mesh> = std::iter::once(&founder.mesh).chain(&members).collect();
        all_linked(&meshes).await;
    }
}
