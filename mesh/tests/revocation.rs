//! A revoked node is out at once: on real connections, at every member, for ever. And a ticket used on both sides of a split.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "nodes/free_address.rs"]
mod free_address;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use free_address::free_address;
use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Out, Powers, Roles, Roster, Target},
};
use mesh::{Inputs, JoinError, Mesh, MeshSettings, OpenError, Protocol};

/// Generous: these tests wait for events, and a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// From the decision until no member has a connection with the revoked node any more.
const GOAL: Duration = Duration::from_secs(2);

struct Node {
    key: NodeKey,
    address: SocketAddr,
    mesh: Mesh,
    _inputs: Inputs,
}

impl Node {
    fn start(key: NodeKey, address: SocketAddr, bootstrap: Vec<(NodeId, SocketAddr)>, roster: Roster) -> Self {
        let settings = MeshSettings {
            bootstrap,
            ..MeshSettings::at(address)
        };
        let (mesh, inputs) = Mesh::start(&settings, &key, roster).unwrap();
        Self {
            key,
            address,
            mesh,
            _inputs: inputs,
        }
    }

    fn id(&self) -> NodeId {
        self.key.id()
    }

    fn here(&self) -> (NodeId, SocketAddr) {
        (self.id(), self.address)
    }

    async fn linked(&self, node: NodeId) {
        let mut view = self.mesh.view();
        let stands = view.wait_for(|view| view.links.get(&node).is_some_and(|link| link.connected));
        tokio::time::timeout(PATIENCE, stands)
            .await
            .expect("the link stands in time")
            .unwrap();
    }

    async fn knows(&self, what: &str, wanted: impl FnMut(&std::sync::Arc<Roster>) -> bool) {
        let mut rosters = self.mesh.roster_updates();
        let known = tokio::time::timeout(PATIENCE, rosters.wait_for(wanted)).await;
        assert!(known.is_ok(), "in vain waited until {what}");
    }

    fn cut_from(&self, node: NodeId) -> bool {
        !self.mesh.view().borrow().links.contains_key(&node)
    }

    /// Ends and starts again with what it would have written to its disk.
    async fn restart(self, bootstrap: Vec<(NodeId, SocketAddr)>) -> Self {
        let known = self.mesh.roster();
        let mut roster = Roster::new(known.certificate(&self.id()).unwrap().clone()).unwrap();
        roster.take(known.evidence().map(|(_, evidence)| evidence).collect());
        self.mesh.stop().await;
        Self::start(self.key.clone(), free_address(), bootstrap, roster)
    }
}

fn founder() -> (NodeKey, Node) {
    let (root, key) = (NodeKey::generate(), NodeKey::generate());
    let certificate = Certificate::found(&root, key.id(), "first", random_bytes(), Timestamp::now()).unwrap();
    let roster = Roster::new(certificate).unwrap();
    (root, Node::start(key, free_address(), vec![], roster))
}

fn invite(issuer: &NodeKey, at: &Node, seed: [u8; 32]) -> Invite {
    let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
    Invite::issue(issuer, at.mesh.roster().mesh(), at.id(), vec![at.address], seed, terms).unwrap()
}

async fn join(issuer: &NodeKey, at: &Node, others: &[&Node], name: &str) -> Node {
    let key = NodeKey::generate();
    let roster = mesh::join(&key, &invite(issuer, at, random_bytes()), name)
        .await
        .unwrap()
        .roster;
    let bootstrap = others.iter().map(|node| node.here()).chain([at.here()]).collect();
    let node = Node::start(key, free_address(), bootstrap, roster);
    for other in others.iter().chain([&at]) {
        node.linked(other.id()).await;
        other.linked(node.id()).await;
    }
    node
}

async fn until(what: &str, mut true_now: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !true_now().await {
            look.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "in vain waited until {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_loses_every_link_at_once_and_is_refused_by_all_also_after_they_restart() {
    let (root, first) = founder();
    let second = join(&root, &first, &[], "second").await;
    let bad = join(&root, &first, &[&second], "bad").await;
    assert!(second.mesh.open(bad.id(), Protocol::GENERATE).await.is_ok());
    let mut stream = second.mesh.open(bad.id(), Protocol::GENERATE).await.unwrap();

    let began = Instant::now();
    let target = Target::Node(bad.id());
    let decrees = first
        .mesh
        .roster()
        .revoke(&first.key, target, "stolen", Timestamp::now())
        .unwrap();
    first.mesh.decide(decrees).await.unwrap();
    for member in [&first, &second] {
        until("the link is cut", async || member.cut_from(bad.id())).await;
    }
    until("the revoked node has noticed", async || {
        bad.mesh.view().borrow().links.values().all(|link| !link.connected)
    })
    .await;
    let took = began.elapsed();
    println!(
        r#"{{"bench":"mesh","name":"revoked node cut off by all, 3 nodes","value":{:.1},"unit":"ms","goal":2000,"better":"lower","rival":null,"mock":false}}"#,
        took.as_secs_f64() * 1000.0
    );
    assert!(took < GOAL, "{took:?}");
    // A stream that ran is dead, and no new one is opened.
    let ended = tokio::time::timeout(PATIENCE, mesh::frame::read_frame(&mut stream, 64))
        .await
        .unwrap();
    assert!(!matches!(ended, Ok(Some(_))));
    let refused = second.mesh.open(bad.id(), Protocol::GENERATE).await.unwrap_err();
    assert_eq!(refused, OpenError::NotConnected(bad.id()));
    assert!(first.mesh.counters().members_dropped >= 1 && second.mesh.counters().members_dropped >= 1);
    // The link between the others stands.
    assert!(second.mesh.open(first.id(), Protocol::GENERATE).await.is_ok());

    // Every node restarts; the revoked one dials them all, with its certificate in its hand.
    let before = bad.mesh.counters().refused_by_others;
    let first = first.restart(vec![]).await;
    let second = second.restart(vec![first.here()]).await;
    second.linked(first.id()).await;
    let bad = bad.restart(vec![first.here(), second.here()]).await;
    until("both have refused it", async || {
        bad.mesh.counters().refused_by_others >= 2
    })
    .await;
    assert!(before <= 2, "it asks seldom");
    for member in [&first, &second] {
        assert!(member.cut_from(bad.id()));
        assert!(member.mesh.open(bad.id(), Protocol::GENERATE).await.is_err());
        let roster = member.mesh.roster();
        let former = roster.former(&bad.id()).unwrap();
        assert!(matches!(&former.why, Out::Revoked { reason, .. } if reason == "stolen"));
    }
    // Not even with a fresh invite does this key come in again.
    let again = mesh::join(&bad.key, &invite(&root, &first, random_bytes()), "again").await;
    assert!(matches!(again, Err(JoinError::Refused(words)) if words.contains("revoked")));
}

/// The control: without the decision the node keeps its links, so the test above sees what the decision does.
#[tokio::test(flavor = "multi_thread")]
async fn control_a_node_that_nobody_revoked_comes_back_after_all_restart() {
    let (root, first) = founder();
    let good = join(&root, &first, &[], "good").await;
    let first = first.restart(vec![]).await;
    let good = good.restart(vec![first.here()]).await;
    good.linked(first.id()).await;
    assert!(first.mesh.open(good.id(), Protocol::GENERATE).await.is_ok());
    assert_eq!(first.mesh.counters().members_dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_used_on_both_sides_of_a_split_keeps_one_node_when_they_meet() {
    let (root, first) = founder();
    let second = join(&root, &first, &[], "second").await;
    // The split: the second node goes on where it cannot reach the first.
    let apart = second.restart(vec![]).await;
    let seed = random_bytes();
    let keys = [NodeKey::generate(), NodeKey::generate()];
    let mut joined = Vec::new();
    for (key, at) in keys.iter().zip([&first, &apart]) {
        let roster = mesh::join(key, &invite(&root, at, seed), "twin").await.unwrap().roster;
        let node = Node::start(key.clone(), free_address(), vec![at.here()], roster);
        node.linked(at.id()).await;
        joined.push(node);
    }
    assert!(first.mesh.roster().get(&keys[1].id()).is_none());
    // They meet again.
    let met = apart.restart(vec![first.here()]).await;
    met.linked(first.id()).await;
    for member in [&first, &met] {
        member
            .knows("one of the two is out", |roster| {
                let out = keys.iter().filter(|key| {
                    let former = roster.former(&key.id());
                    former.is_some_and(|former| matches!(former.why, Out::TicketSpent { .. }))
                });
                out.count() == 1 && keys.iter().filter(|key| roster.get(&key.id()).is_some()).count() == 1
            })
            .await;
    }
    let (one, other) = (first.mesh.roster(), met.mesh.roster());
    let members = |roster: &Roster| roster.members().map(|member| member.node).collect::<Vec<_>>();
    assert_eq!(members(&one), members(&other));
    let loser = joined.iter().find(|node| one.get(&node.id()).is_none()).unwrap();
    for member in [&first, &met] {
        until("its links are cut", async || member.cut_from(loser.id())).await;
        assert!(member.mesh.open(loser.id(), Protocol::GENERATE).await.is_err());
    }
}

/// An operator that the root has named invites on its own, and a node that knows nothing of it yet believes the chain.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_invites_without_the_root_and_is_unmade_by_it() {
    let (root, first) = founder();
    let second = join(&root, &first, &[], "second").await;
    let early = mesh::join(
        &NodeKey::generate(),
        &invite(&second.key, &second, random_bytes()),
        "early",
    )
    .await;
    assert!(matches!(early, Err(JoinError::Refused(words)) if words.contains("operator")));
    let now = Timestamp::now();
    let appointed = first
        .mesh
        .roster()
        .appoint(&root, second.id(), Powers::ALL, now)
        .unwrap();
    first.mesh.decide(vec![appointed]).await.unwrap();
    second
        .knows("it is an operator", |roster| roster.powers(&second.id()) == Powers::ALL)
        .await;
    let third = join(&second.key, &second, &[&first], "third").await;
    first
        .knows("the third is a member", |roster| roster.get(&third.id()).is_some())
        .await;
    let unmade = first
        .mesh
        .roster()
        .revoke(&root, Target::Operator(second.id()), "left us", now)
        .unwrap();
    first.mesh.decide(unmade).await.unwrap();
    second
        .knows("it is none any more", |roster| {
            roster.powers(&second.id()) == Powers::NONE
        })
        .await;
    let late = mesh::join(
        &NodeKey::generate(),
        &invite(&second.key, &second, random_bytes()),
        "late",
    )
    .await;
    assert!(matches!(late, Err(JoinError::Refused(words)) if words.contains("operator")));
    assert!(
        second.mesh.roster().get(&third.id()).is_some(),
        "the root has vouched for it"
    );
}

const DAY: u64 = 24 * 3600 * 1000;

/// A member that was admitted so many days ago, and the founder with whom it joined.
fn admitted(days_ago: u64) -> ((NodeKey, Roster), (NodeKey, Roster)) {
    let (root, first, node) = (NodeKey::generate(), NodeKey::generate(), NodeKey::generate());
    let then = Timestamp(Timestamp::now().0 - days_ago * DAY);
    let certificate = Certificate::found(&root, first.id(), "first", random_bytes(), then).unwrap();
    let mut roster = Roster::new(certificate).unwrap();
    let terms = Terms::new(Roles::NODE, 1, then.plus(60_000));
    let invite = Invite::issue(&root, roster.mesh(), first.id(), vec![], random_bytes(), terms).unwrap();
    let request = invite.redeem(node.id(), "old").unwrap();
    let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
    let own = roster.admit(&first, node.id(), grant, redemption, then).unwrap();
    let mut of_node = Roster::new(own).unwrap();
    of_node.take(roster.evidence().map(|(_, evidence)| evidence).collect());
    ((first, roster), (node, of_node))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_node_renews_itself_and_a_renewal_reaches_its_node() {
    let ((first, roster), (node, of_node)) = admitted(15);
    let until = of_node.get(&node.id()).unwrap().until;
    let first = Node::start(first, free_address(), vec![], roster);
    let node = Node::start(node, free_address(), vec![first.here()], of_node);
    node.linked(first.id()).await;
    // Its node looks for due certificates at its start and then once a minute: the link came a moment later, so this one is asked for.
    let now = Timestamp::now();
    let renewal = first.mesh.roster().renew(&first.key, node.id(), now).unwrap();
    first.mesh.decide(vec![renewal]).await.unwrap();
    node.knows("it was renewed", |roster| {
        roster
            .get(&node.id())
            .is_some_and(|member| member.until > until.plus(14 * DAY))
    })
    .await;
    // The operator renews itself without being asked.
    assert!(!first.mesh.roster().get(&first.id()).unwrap().is_due(now));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_too_long_is_refused_until_an_operator_renews_it() {
    let ((first, roster), (node, of_node)) = admitted(40);
    let first = Node::start(first, free_address(), vec![], roster);
    let node = Node::start(node, free_address(), vec![first.here()], of_node);
    until("it was refused", async || node.mesh.counters().refused_by_others >= 1).await;
    assert!(first.mesh.roster().get(&node.id()).is_none());
    let why = first.mesh.roster().former(&node.id()).unwrap().why.clone();
    assert!(matches!(why, Out::Ended { .. }), "{why:?}");
    let renewal = first
        .mesh
        .roster()
        .renew(&first.key, node.id(), Timestamp::now())
        .unwrap();
    first.mesh.decide(vec![renewal]).await.unwrap();
    // It starts again, as its operator does; otherwise it asks twice a minute.
    let node = node.restart(vec![first.here()]).await;
    node.linked(first.id()).await;
}

/// A newcomer that meets nobody else must know it all the same. Red without the decrees behind the welcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_told_who_was_put_out_before_it_joined() {
    let (root, first) = founder();
    let second = join(&root, &first, &[], "second").await;
    let revoked = first
        .mesh
        .roster()
        .revoke(&root, Target::Node(second.id()), "sold", Timestamp::now())
        .unwrap();
    first.mesh.decide(revoked).await.unwrap();
    let roster = mesh::join(&NodeKey::generate(), &invite(&root, &first, random_bytes()), "third")
        .await
        .unwrap()
        .roster;
    assert!(roster.get(&second.id()).is_none(), "who was put out is no member");
    assert_eq!(roster.members().count(), 2);
    assert!(matches!(
        roster.former(&second.id()).map(|former| &former.why),
        Some(Out::Revoked { .. })
    ));
}
