//! Every scenario with several seeds: nothing may be lost, forged, erased in vain or seen to go back; the same seed gives the same
//! run; and without its protection each scenario ends badly.

use sim::scenarios::Scenario;

/// Seeds of the runs that must end well.
const SEEDS: [u64; 3] = [1, 2, 3];

fn holds(scenario: &Scenario) {
    for seed in SEEDS {
        let began = std::time::Instant::now();
        let outcome = scenario.play(seed, None);
        eprintln!("{} {seed}: {:?} {:?} {:?}", scenario.name, outcome.violations, outcome.hits, began.elapsed());
    }
    for control in scenario.controls {
        for seed in SEEDS {
            let outcome = scenario.play(seed, Some(control));
            eprintln!("   off {} {seed}: {:?} {:?}", control.off, outcome.violations, outcome.hits);
        }
    }
}

#[test]
fn faults_of_links_machines_and_clocks_lose_nothing() {
    sim::scenarios::HONEST.iter().for_each(holds);
}

#[test]
fn hostile() {
    sim::scenarios::HOSTILE.iter().for_each(holds);
}
