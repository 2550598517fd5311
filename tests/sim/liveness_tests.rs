//! Who is there, as hundreds of nodes see it. `./x bench mesh liveness` plays a thousand.

use std::time::Duration;

use mesh::liveness::{Recovery, State};
use sim::liveness::{Mesh, Setting, deaths, heals_in};

const NODES: usize = 200;

fn started(nodes: usize, loss: f64, recovery: Recovery, seed: u64) -> Mesh {
    let mut mesh = Mesh::start(Setting {
        nodes,
        dials: 5,
        loss,
        recovery,
        seed,
    });
    mesh.run(Duration::from_secs(10), |_, _| ());
    assert!(mesh.agrees(), "seed {seed}: all that started are known to all");
    mesh
}

/// Twenty links fall silent for four seconds, three times.
fn links_fall_silent(mesh: &mut Mesh) {
    for _ in 0..3 {
        (0..20).for_each(|_| mesh.silence_a_link());
        mesh.run(Duration::from_secs(4), |_, _| ());
        mesh.unsilence();
        mesh.run(Duration::from_secs(6), |_, _| ());
    }
}

#[test]
fn the_dead_are_gone_everywhere_within_five_seconds() {
    for seed in 1..=2 {
        let mut mesh = started(NODES, 0.05, Recovery::ON, seed);
        let times = deaths(&mut mesh, 5);
        let last = times[times.len() * 99 / 100];
        assert!(last < Duration::from_secs(5), "seed {seed}: {last:?}");
        assert!(mesh.falsely_gone.is_empty(), "seed {seed}: {:?}", mesh.falsely_gone);
    }
}

#[test]
fn loss_and_silent_links_make_nobody_gone() {
    for seed in 1..=2 {
        let mut mesh = started(NODES, 0.05, Recovery::ON, seed);
        links_fall_silent(&mut mesh);
        assert!(
            !mesh.falsely_suspected.is_empty(),
            "seed {seed}: there was cause to suspect"
        );
        assert!(mesh.falsely_gone.is_empty(), "seed {seed}: {:?}", mesh.falsely_gone);
        assert!(mesh.agrees(), "seed {seed}");
    }
}

#[test]
fn without_asking_and_contradicting_silent_links_make_members_gone() {
    let mut mesh = started(NODES, 0.05, Recovery::OFF, 1);
    links_fall_silent(&mut mesh);
    assert!(mesh.falsely_gone.len() >= 10, "{:?}", mesh.falsely_gone);
}

#[test]
fn after_a_split_all_agree_within_five_seconds() {
    for seed in 1..=3 {
        let mut mesh = started(100, 0.05, Recovery::ON, seed);
        let time = heals_in(&mut mesh);
        assert!(
            time.is_some_and(|time| time <= Duration::from_secs(5)),
            "seed {seed}: {time:?}"
        );
    }
}

#[test]
fn nobody_that_cannot_contradict_comes_back_so_soon() {
    let mut mesh = started(100, 0.05, Recovery::OFF, 1);
    let time = heals_in(&mut mesh);
    assert!(time.is_none_or(|time| time > Duration::from_secs(5)), "{time:?}");
}

/// Members with a link across are missed at once, the others when they have not said for a while that they are there.
#[test]
fn each_half_of_a_split_takes_the_other_for_gone() {
    let mut mesh = started(100, 0.0, Recovery::ON, 1);
    let across = |mesh: &Mesh, wanted: State| {
        let pairs = (0..100).flat_map(|one| (0..100).map(move |other| (one, other)));
        let across = pairs.filter(|(one, other)| (*one < 50) != (*other < 50));
        across
            .filter(|(one, other)| mesh.state(*one, *other) == Some(wanted))
            .count()
    };
    mesh.split();
    mesh.run(Duration::from_secs(5), |_, _| ());
    let soon = across(&mesh, State::Gone);
    assert!(soon >= 4900, "{soon} of 5000");
    mesh.run(Duration::from_secs(180), |_, _| ());
    assert_eq!(across(&mesh, State::Gone), 5000);
    for one in 0..100 {
        for other in (0..100).filter(|other| *other != one && (one < 50) == (*other < 50)) {
            assert_eq!(mesh.state(one, other), Some(State::Serving), "{one} of {other}");
        }
    }
}
