//! Every scenario with several seeds: nothing may be lost, forged, erased in vain or seen to go back; the same seed gives the same
//! run; and without its protection each scenario ends badly.

use std::panic;

use sim::scenarios::{Scenario, find};

/// Seeds of the runs that must end well.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// Plays a scenario: it must end well with every seed, twice alike with the first, and badly without each of its protections.
fn plays(name: &str) {
    // automerge panics where a protection is off; one line for each is enough.
    panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let scenario = find(name).expect("a scenario of that name");
    for seed in SEEDS {
        ends_well(scenario, seed);
    }
    let [first, again] = [(), ()].map(|()| scenario.play(1, None));
    assert_eq!(first, again, "one seed, one run");
    for control in scenario.controls {
        for seed in [1, 2] {
            let violations = scenario.play(seed, Some(control)).violations;
            assert!(
                control.ends_in.iter().any(|end| violations.contains(end)),
                "without {}, seed {seed}: {violations:?}, and not one of {:?}",
                control.off,
                control.ends_in
            );
        }
    }
}

fn ends_well(scenario: &Scenario, seed: u64) {
    let outcome = scenario.play(seed, None);
    assert!(outcome.violations.is_empty(), "seed {seed}: {:?}", outcome.violations);
    let missed: Vec<_> = outcome.hits.iter().filter(|(_, count)| *count == 0).collect();
    assert!(missed.is_empty(), "seed {seed}: {missed:?} never happened");
}

macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                plays($name);
            }
        )*

        #[test]
        fn every_scenario_is_played() {
            let played = [$($name),*];
            assert!(sim::scenarios::all().map(|scenario| scenario.name).eq(played));
        }
    };
}

scenarios! {
    foul_weather_loses_nothing: "foul weather",
    gossip_alone_brings_everything_in_whatever_order: "out of order",
    a_split_heals: "split",
    what_a_node_missed_comes_with_the_first_frame: "away",
    links_that_carry_nothing_in_one_direction_lose_nothing: "one way",
    processes_that_are_killed_lose_nothing: "crashes",
    a_node_on_an_old_copy_of_its_disk_writes_on_without_a_fork: "old copy",
    what_is_erased_does_not_come_back: "erasures",
    poison_leaves_documents_writable: "poison",
    an_equivocation_becomes_the_same_fork_everywhere: "equivocation",
    a_flood_of_orphans_is_bounded: "orphans",
    a_flood_of_bytes_is_bounded: "volume",
    nobody_writes_in_the_name_of_another: "forgeries",
    nobody_takes_the_turn_of_another: "foreign actors",
    false_times_do_no_harm: "false times",
    what_is_erased_is_not_brought_back_by_saying_it_again: "replay",
}
