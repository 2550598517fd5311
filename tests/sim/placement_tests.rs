//! A thousand nodes of which a fifth is replaced within an hour, in virtual time, placed by the real core; each protection has a run
//! without it that must fail.

use sim::placement::{Churn, Outcome, Protections};

const SEEDS: std::ops::Range<u64> = 1..3;

fn hour(seed: u64, planned: bool, protections: Protections) -> Outcome {
    Churn {
        seed,
        planned,
        protections,
        ..Churn::default()
    }
    .run()
}

#[test]
fn every_acknowledged_change_keeps_three_holders_while_a_fifth_of_the_nodes_is_replaced() {
    for seed in SEEDS {
        for planned in [true, false] {
            let outcome = hour(seed, planned, Protections::default());
            println!("seed {seed}, planned {planned}: {outcome:?}");
            assert!(outcome.acknowledged > 50_000, "{outcome:?}");
            assert!(outcome.least_holders >= 3, "{outcome:?}");
            assert!(outcome.moved <= 2 * outcome.had_to_move, "{outcome:?}");
            assert!(outcome.dropped > 100, "nodes do let go: {outcome:?}");
        }
    }
}

#[test]
fn a_node_that_drops_what_others_have_not_confirmed_leaves_too_few_holders() {
    let protections = Protections {
        confirmations: false,
        ..Protections::default()
    };
    for seed in SEEDS {
        let outcome = hour(seed, true, protections);
        assert!(outcome.least_holders < 3, "{outcome:?}");
    }
}

#[test]
fn without_patience_every_restart_moves_data() {
    let protections = Protections {
        patience: false,
        ..Protections::default()
    };
    let outcome = hour(1, false, protections);
    assert!(outcome.moved > 2 * outcome.had_to_move, "{outcome:?}");
}

#[test]
fn the_same_seed_gives_the_same_hour() {
    let short = |seed| {
        Churn {
            seed,
            nodes: 300,
            replaced: 10,
            minutes: 5,
            ..Churn::default()
        }
        .run()
    };
    assert_eq!(short(5), short(5));
    assert_ne!(short(5), short(6));
}
