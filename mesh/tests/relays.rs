//! Reservations at relays: how many, what happens when one is lost, and who gets none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

#[path = "nodes/free_address.rs"]
mod free_address;
#[path = "nodes/trial.rs"]
mod trial;

use std::time::{Duration, Instant};

use free_address::free_address;
use keys::{
    NodeId, Timestamp,
    membership::{Roles, Target},
};
use mesh::{Inputs, Mesh, limits::RELAYS_HELD};
use trial::Trial;

/// Generous: a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the relays that hold a reservation for a node are as is wanted.
async fn relays(mesh: &Mesh, wanted: impl Fn(&[NodeId]) -> bool) -> Vec<NodeId> {
    let mut reach = mesh.reach();
    let held = reach.wait_for(|reach| wanted(&reach.relays));
    let held = tokio::time::timeout(PATIENCE, held)
        .await
        .expect("reservations in time");
    held.unwrap().relays.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_reservations_are_kept_and_a_lost_one_is_replaced_by_another_relay_or_by_the_same() {
    let mut trial = Trial::new(&[Roles::NODE; RELAYS_HELD + 2]);
    let home = RELAYS_HELD + 1;
    let mut public: Vec<(Mesh, Inputs)> = (0..home).map(|number| trial.start(number, true)).collect();
    let (mesh, _inputs) = trial.start(home, false);
    let held = relays(&mesh, |relays| relays.len() == RELAYS_HELD).await;
    assert!(public[0].0.reach().borrow().carries && !mesh.reach().borrow().carries);

    let lost = (0..home).find(|number| trial.id(*number) == held[0]).unwrap();
    let gone = Instant::now();
    public[lost].0.stop().await;
    let spare = relays(&mesh, |relays| {
        relays.len() == RELAYS_HELD && !relays.contains(&held[0])
    })
    .await;
    eprintln!(
        "another relay holds a reservation {:?} after one was lost",
        gone.elapsed()
    );
    assert!(gone.elapsed() <= Duration::from_secs(3), "{:?}", gone.elapsed());

    // Now there are only as many as are wanted: one that is restarted is the one that holds again.
    let restarted = (0..home).find(|number| trial.id(*number) == spare[0]).unwrap();
    public[restarted].0.stop().await;
    relays(&mesh, |relays| !relays.contains(&spare[0])).await;
    // Where it was, the port is not free at once.
    trial.members[restarted].address = free_address();
    let back = Instant::now();
    public[restarted] = trial.start(restarted, true);
    relays(&mesh, |relays| relays.contains(&spare[0])).await;
    eprintln!("the same relay holds again {:?} after it was started", back.elapsed());
    assert!(back.elapsed() <= Duration::from_secs(3), "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_node_without_the_role_carries_nothing() {
    let trial = Trial::new(&[Roles::NODE, Roles::WORKER, Roles::NODE]);
    let (relay, _relay_inputs) = trial.start(0, true);
    let (worker, _worker_inputs) = trial.start(1, true);
    let (mesh, _inputs) = trial.start(2, false);
    assert_eq!(relays(&mesh, |relays| !relays.is_empty()).await, [trial.id(0)]);
    assert!(relay.reach().borrow().carries && !worker.reach().borrow().carries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_loses_its_reservation_and_gets_no_other() {
    let trial = Trial::new(&[Roles::NODE; 3]);
    let (relay, _relay_inputs) = trial.start(0, true);
    let (revoked, _revoked_inputs) = trial.start(1, false);
    let (kept, _kept_inputs) = trial.start(2, false);
    for mesh in [&revoked, &kept] {
        relays(mesh, |relays| relays == [trial.id(0)]).await;
    }
    let target = Target::Node(trial.id(1));
    let decrees = relay
        .roster()
        .revoke(&trial.root, target, "stolen", Timestamp::now())
        .unwrap();
    let began = Instant::now();
    relay.decide(decrees).await.unwrap();
    relays(&revoked, <[NodeId]>::is_empty).await;
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    // The control: the other one keeps what it has.
    assert_eq!(kept.reach().borrow().relays, [trial.id(0)]);
}
