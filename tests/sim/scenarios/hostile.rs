//! A member that signs with its own key and does what it likes.

use crdt::limits::{PARKED_PER_AUTHOR_MAX, QUOTA_PUSH};

use super::{Control, Scenario, honest::chats};
use crate::{
    Micros, SECOND,
    history::Violation,
    world::{Setup, World},
};

const NODES: usize = 6;
const HOSTILE_NODE: usize = 5;
const CALM: Micros = 60 * SECOND;

fn setup(seed: u64) -> Setup {
    Setup {
        byzantine: Some(HOSTILE_NODE),
        ..Setup::new(seed, NODES)
    }
}

fn rejected(world: &World) -> Vec<(&'static str, u64)> {
    vec![("hostile", world.counts.hostile), ("rejected", world.counts.rejected)]
}

/// See the module.
pub const HOSTILE: &[Scenario] = &[
    Scenario {
        // Counters at which a document could not be written any more.
        name: "poison",
        setup,
        run: poison,
        hits: rejected,
        controls: &[Control {
            off: "start_rule",
            switch: |setup| setup.recoveries.start_rule = false,
            ends_in: &[Violation::Refused],
        }],
    },
    Scenario {
        // Each half of a split mesh is told something else in one turn.
        name: "equivocation",
        setup,
        run: equivocation,
        hits: |world| vec![("hostile", world.counts.hostile), ("forks", world.history.forks as u64)],
        controls: &[Control {
            off: "forks",
            switch: |setup| setup.recoveries.forks = false,
            ends_in: &[Violation::Apart],
        }],
    },
    Scenario {
        // A flood of changes that depend on what does not exist.
        name: "orphans",
        setup,
        run: orphans,
        hits: |world| {
            vec![
                ("hostile", world.counts.hostile),
                ("parked", world.counts.parked),
                ("waiting", world.history.most_waiting as u64),
            ]
        },
        controls: &[Control {
            off: "parking_bounds",
            switch: |setup| setup.recoveries.parking_bounds = false,
            ends_in: &[Violation::Overflow],
        }],
    },
    Scenario {
        // One member fills the others' disks.
        name: "volume",
        setup: |seed| Setup {
            byzantine: Some(2),
            ..Setup::new(seed, 3)
        },
        run: volume,
        hits: |world| vec![("hostile", world.counts.hostile), ("ignored", world.counts.ignored)],
        controls: &[Control {
            off: "quotas",
            switch: |setup| setup.recoveries.quotas = false,
            ends_in: &[Violation::Flooded],
        }],
    },
    Scenario {
        // Changes in the names of others.
        name: "forgeries",
        setup,
        run: forgeries,
        hits: rejected,
        controls: &[Control {
            off: "signatures",
            switch: |setup| setup.recoveries.signatures = false,
            ends_in: &[Violation::Forged],
        }],
    },
    Scenario {
        // The next turn of another node is taken before it.
        name: "foreign actors",
        setup,
        run: foreign_actors,
        hits: rejected,
        controls: &[Control {
            off: "actors",
            switch: |setup| setup.recoveries.actors = false,
            ends_in: &[Violation::HonestFork],
        }],
    },
    Scenario {
        // Changes that claim to be from the dawn or the end of time.
        name: "false times",
        setup,
        run: false_times,
        hits: rejected,
        controls: &[Control {
            off: "times",
            switch: |setup| setup.recoveries.times = false,
            ends_in: &[Violation::Refused, Violation::Apart],
        }],
    },
    Scenario {
        // Everything that was ever said is said again after it was erased.
        name: "replay",
        setup,
        run: replay,
        hits: |world| {
            vec![
                ("hostile", world.counts.hostile),
                ("ignored", world.counts.ignored),
                ("carried out", world.history.erasures_done as u64),
            ]
        },
        controls: &[Control {
            off: "tombstones",
            switch: |setup| setup.recoveries.tombstones = false,
            ends_in: &[Violation::Resurrected],
        }],
    },
];

fn honest(world: &World) -> Vec<usize> {
    world.honest().collect()
}

fn poison(world: &mut World) {
    let chats = chats(world, 2);
    world.bustle(&chats, 6, SECOND / 2);
    world.run_for(10 * SECOND);
    let (hand, all) = (world.hand(), honest(world));
    for bytes in world.poison(&hand, chats[0]) {
        world.inject(&hand, &all, bytes);
    }
    world.run_for(2 * SECOND);
    world.bustle(&chats, 16, SECOND / 2);
    world.run_for(CALM);
}

fn equivocation(world: &mut World) {
    let chats = chats(world, 2);
    world.bustle(&chats, 6, SECOND / 2);
    world.run_for(10 * SECOND);
    // The hostile member has links to both halves.
    for left in [0, 1] {
        for right in [2, 3, 4] {
            world.cut(left, right);
            world.cut(right, left);
        }
    }
    let hand = world.hand();
    let [left, right] = world.equivocation(&hand, chats[0]);
    world.crash(HOSTILE_NODE);
    world.inject(&hand, &[0, 1], left);
    world.inject(&hand, &[2, 3, 4], right);
    world.bustle(&chats, 12, SECOND);
    world.heal();
    world.restart(HOSTILE_NODE);
    world.bustle(&chats, 6, SECOND / 2);
    world.run_for(CALM);
}

fn orphans(world: &mut World) {
    let chats = chats(world, 2);
    let (hand, all) = (world.hand(), honest(world));
    for number in 0..3 * PARKED_PER_AUTHOR_MAX as u64 {
        let orphan = world.orphan(&hand, chats[0], number);
        world.inject(&hand, &all, orphan);
        world.run_for(5_000);
    }
    world.bustle(&chats, 12, SECOND / 2);
    world.run_for(CALM);
}

fn volume(world: &mut World) {
    let chats = chats(world, 12);
    let (hand, all) = (world.hand(), honest(world));
    let count = (QUOTA_PUSH.bytes * 1.3 / 60_000.0) as u32 / chats.len() as u32;
    let flood: Vec<_> = chats
        .iter()
        .flat_map(|chat| world.volume(&hand, *chat, count))
        .collect();
    // Its own replica is of no interest: the others would only hand it over what it has just said.
    world.crash(hand.node());
    for bytes in flood {
        world.inject(&hand, &all, bytes);
    }
    world.bustle(&chats, 4, SECOND / 2);
    world.run_for(CALM / 3);
}

fn forgeries(world: &mut World) {
    let chats = chats(world, 2);
    world.bustle(&chats, 6, SECOND / 2);
    let (hand, all) = (world.hand(), honest(world));
    for victim in &all {
        let forgery = world.forgery(&hand, chats[0], *victim);
        world.inject(&hand, &all, forgery);
        world.bustle(&chats, 1, SECOND / 2);
    }
    world.run_for(CALM);
}

fn foreign_actors(world: &mut World) {
    let chats = chats(world, 2);
    for node in honest(world) {
        world.say(node, chats[0]);
        world.run_for(SECOND);
    }
    let (hand, all) = (world.hand(), honest(world));
    for victim in &all {
        if let Some(stolen) = world.foreign_actor(&hand, chats[0], *victim) {
            world.inject(&hand, &all, stolen);
        }
        // Before the victim knows of it.
        world.say(*victim, chats[0]);
        world.run_for(SECOND);
    }
    world.run_for(CALM);
}

fn false_times(world: &mut World) {
    let mut chats = chats(world, 2);
    world.bustle(&chats, 4, SECOND / 2);
    world.run_for(5 * SECOND);
    let (hand, all) = (world.hand(), honest(world));
    let (ancient, genesis) = world.ancient_chat(&hand, chats[1]);
    world.inject(&hand, &all, genesis);
    chats.push(ancient);
    for (number, bytes) in world.false_times(&hand, chats[0]).into_iter().enumerate() {
        world.inject(&hand, &[all[number % all.len()]], bytes);
        world.bustle(&chats, 4, SECOND / 2);
    }
    world.run_for(CALM);
}

fn replay(world: &mut World) {
    let chats = chats(world, 3);
    world.bustle(&chats, 12, SECOND / 2);
    world.run_for(CALM);
    let (hand, all) = (world.hand(), honest(world));
    let heard = world.everything_held(&hand);
    world.erase(0, crdt::erasure::EraseTarget::Document(chats[0].document));
    world.erase(1, crdt::erasure::EraseTarget::Account(chats[1].account));
    let message = world.some_message(chats[2]);
    world.erase(
        2,
        crdt::erasure::EraseTarget::Message {
            document: chats[2].document,
            message,
        },
    );
    // Long enough for every node to have forgotten that it knows these messages.
    world.run_for(2 * CALM);
    for bytes in heard {
        world.inject(&hand, &all, bytes);
        world.run_for(50_000);
    }
    world.bustle(&chats, 4, SECOND / 2);
    world.run_for(CALM);
}
