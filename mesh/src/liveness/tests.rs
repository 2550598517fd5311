//! What the core thinks in the cases that the simulation does not play.

use std::{collections::BTreeSet, time::Duration};

use rand::{SeedableRng, rngs::StdRng};

use super::*;

const OWN: Tag = [1; 16];
const OTHER: Tag = [2; 16];
const THIRD: Tag = [3; 16];

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn core() -> Liveness {
    let mut core = Liveness::new(OWN, 10, Recovery::ON, Duration::ZERO);
    core.set_roster(&BTreeSet::from([OWN, OTHER, THIRD]), Duration::ZERO);
    core
}

fn says(core: &mut Liveness, who: Tag, incarnation: u64, standing: Standing, at: Duration) -> Vec<Outgoing> {
    let claim = Claim { incarnation, standing };
    core.receive(who, Message::News(vec![Rumour::Alive(who, claim)]), at)
}

/// Lets time pass in ticks.
fn pass(core: &mut Liveness, from: f64, to: f64) {
    let mut rng = StdRng::from_seed([7; 32]);
    let mut at = from;
    while at < to {
        core.tick(seconds(at), &mut rng);
        at += 0.1;
    }
}

fn state(core: &Liveness, of: Tag, at: f64) -> State {
    core.state(of, seconds(at)).unwrap().0
}

#[test]
fn whoever_stopped_in_order_is_gone_at_once_and_never_suspected() {
    let mut core = core();
    drop(core.link_up(OTHER, seconds(0.0)));
    says(&mut core, OTHER, 5, Standing::Serving, seconds(0.1));
    assert_eq!(state(&core, OTHER, 0.1), State::Serving);
    says(&mut core, OTHER, 6, Standing::Left, seconds(0.2));
    assert_eq!(state(&core, OTHER, 0.2), State::Gone);
    core.link_down(OTHER);
    let mut rng = StdRng::from_seed([7; 32]);
    for tick in 3..60 {
        core.tick(seconds(f64::from(tick) / 10.0), &mut rng);
        assert_eq!(state(&core, OTHER, f64::from(tick) / 10.0), State::Gone);
    }
    // Its next life counts.
    drop(core.link_up(OTHER, seconds(6.0)));
    says(&mut core, OTHER, 7, Standing::Joining, seconds(6.1));
    assert_eq!(state(&core, OTHER, 6.1), State::Joining);
}

#[test]
fn a_state_is_as_old_as_its_last_change() {
    let mut core = core();
    assert_eq!(core.heard_of(OTHER), None, "nobody knows how long it was silent before");
    drop(core.link_up(OTHER, seconds(0.0)));
    says(&mut core, OTHER, 5, Standing::Serving, seconds(1.0));
    says(&mut core, OTHER, 6, Standing::Serving, seconds(2.0));
    assert_eq!(core.state(OTHER, seconds(2.5)), Some((State::Serving, seconds(1.0))));
    says(&mut core, OTHER, 7, Standing::Maintenance, seconds(3.0));
    assert_eq!(
        core.state(OTHER, seconds(3.5)),
        Some((State::Maintenance, seconds(3.0)))
    );
    assert_eq!(core.heard_of(OTHER), Some(seconds(3.0)));
}

/// A node that was stopped for a minute hears a heartbeat before it looks at the clock: that must not make its neighbour immortal.
#[test]
fn a_node_that_slept_misses_a_neighbour_that_dies_afterwards() {
    let mut core = core();
    drop(core.link_up(OTHER, seconds(0.0)));
    says(&mut core, OTHER, 5, Standing::Serving, seconds(0.1));
    pass(&mut core, 0.2, 1.0);
    core.heard(OTHER, seconds(61.0));
    pass(&mut core, 61.0, 68.0);
    assert_eq!(state(&core, OTHER, 68.0), State::Gone);
}

#[test]
fn a_neighbour_that_misses_something_is_told_everything() {
    let mut core = core();
    drop(core.link_up(OTHER, seconds(0.0)));
    says(&mut core, THIRD, 5, Standing::Draining, seconds(0.1));
    let told = core.tell_everything(OTHER);
    let [(OTHER, Message::News(news))] = &told[..] else {
        panic!("{told:?}")
    };
    let about: BTreeSet<Tag> = news.iter().map(Rumour::about).collect();
    assert_eq!(about, BTreeSet::from([OWN, THIRD]));
}

/// Two neighbours of a dead member that ask each other must not keep it alive by vouching for what they were told.
#[test]
fn nobody_vouches_for_what_others_vouched_for() {
    let mut core = core();
    drop(core.link_up(OTHER, seconds(0.0)));
    drop(core.link_up(THIRD, seconds(0.0)));
    says(&mut core, THIRD, 5, Standing::Serving, seconds(0.1));
    let asks = |core: &mut Liveness, at: f64| core.receive(OTHER, Message::Ask(THIRD), seconds(at));
    assert_eq!(asks(&mut core, 0.5), [(OTHER, Message::Vouch(THIRD))]);
    core.receive(OTHER, Message::Vouch(THIRD), seconds(1.2));
    assert_eq!(asks(&mut core, 1.3), []);
}
