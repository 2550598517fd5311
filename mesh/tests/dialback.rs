//! A member tries to reach another from outside, as a stranger, and says how that went.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

#[path = "nodes/free_address.rs"]
mod free_address;
#[path = "nodes/trial.rs"]
mod trial;

use std::{net::SocketAddr, time::Duration};

use keys::{
    Timestamp,
    membership::{Roles, Target},
};
use mesh::{Dialback, LinkPath, Mesh, Outcome};
use trial::Trial;

/// Generous: a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);

async fn linked(mesh: &Mesh) {
    let mut view = mesh.view();
    let linked = view.wait_for(|view| view.reachable().next().is_some());
    tokio::time::timeout(PATIENCE, linked)
        .await
        .expect("a link in time")
        .unwrap();
}

/// Asks until the member knows that the node is at this address.
async fn dialled_back(mesh: &Mesh, by: keys::NodeId, at: SocketAddr) -> Dialback {
    let asked = async {
        loop {
            let dialback = mesh.dial_back(by).await.unwrap();
            if dialback.attempts.iter().any(|one| one.address == at) {
                return dialback;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("addresses in time")
}

fn outcomes(dialback: &Dialback, path: LinkPath) -> Vec<Outcome> {
    let attempts = dialback.attempts.iter().filter(|one| one.path == path);
    attempts.map(|one| one.outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reaches_another_as_a_stranger_and_their_link_stays_what_it_was() {
    let trial = Trial::new(&[Roles::NODE; 2]);
    let (_first, _first_inputs) = trial.start(0, false);
    let (second, _second_inputs) = trial.start(1, false);
    linked(&second).await;
    // Both have dialled at once, and one of the two connections goes.
    dialled_back(&second, trial.id(0), trial.members[1].address).await;
    let since = second.view().borrow().links[&trial.id(0)].since;
    let dialback = dialled_back(&second, trial.id(0), trial.members[1].address).await;
    for path in [LinkPath::Quic, LinkPath::Tcp] {
        let outcomes = outcomes(&dialback, path);
        assert!(
            outcomes.iter().any(|outcome| matches!(outcome, Outcome::Reached(_))),
            "{path:?}: {dialback:?}"
        );
    }
    // One clock for both.
    assert!(
        dialback.clock_ahead_ms.unsigned_abs() <= dialback.clock_uncertain_ms,
        "{dialback:?}"
    );
    let view = second.view();
    let link = &view.borrow().links[&trial.id(0)];
    assert!(link.connected && link.since == since, "{link:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_another_node_answers_is_told() {
    let trial = Trial::new(&[Roles::NODE; 3]);
    let (_first, _first_inputs) = trial.start(0, false);
    let (_second, _second_inputs) = trial.start(1, false);
    // Its operator says that it is where the second one is.
    let (third, _third_inputs) = trial.start_at(2, Some(trial.members[1].address));
    linked(&third).await;
    let elsewhere = trial.members[1].address;
    let dialback = dialled_back(&third, trial.id(0), elsewhere).await;
    let wrong = dialback.attempts.iter().filter(|one| one.address == elsewhere);
    let wrong: Vec<Outcome> = wrong.map(|one| one.outcome).collect();
    assert_eq!(wrong, [Outcome::AnotherKey; 2], "{dialback:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_a_member_no_longer_is_not_dialled_back() {
    let trial = Trial::new(&[Roles::NODE; 2]);
    let (first, _first_inputs) = trial.start(0, false);
    let (second, _second_inputs) = trial.start(1, false);
    linked(&second).await;
    // The control: before, it is.
    dialled_back(&second, trial.id(0), trial.members[1].address).await;
    let target = Target::Node(trial.id(1));
    let decrees = first.roster().revoke(&trial.root, target, "stolen", Timestamp::now());
    first.decide(decrees.unwrap()).await.unwrap();
    assert!(second.dial_back(trial.id(0)).await.is_err());
}
