//! Faults of links, machines and clocks, among nodes that keep to the rules.

use crdt::erasure::EraseTarget;
use rand::RngExt;

use super::{Control, Scenario};
use crate::{
    Micros, SECOND,
    history::Violation,
    links::Weather,
    people::Chat,
    world::{Setup, World},
};

/// Half a day: a clock that was never set right.
const WRONG_CLOCK: i64 = 12 * 3_600_000;
/// Nodes of most runs.
const NODES: usize = 7;
/// After this everything that is to move has moved: several rounds of talks at their rarest.
const CALM: Micros = 60 * SECOND;

const WITHOUT_RECONCILIATION: Control = Control {
    off: "reconciliation",
    switch: |setup| setup.reconciliation = false,
    ends_in: &[Violation::Lost, Violation::Apart],
};

/// See the module.
pub const HONEST: &[Scenario] = &[
    Scenario {
        name: "frames are lost, doubled and overtaken, clocks are wrong",
        setup: |seed| Setup {
            weather: Weather::FOUL,
            skew: WRONG_CLOCK,
            ..Setup::new(seed, NODES)
        },
        run: foul_weather,
        hits: |world| {
            let hits = world.links.hits;
            vec![
                ("lost", hits.lost),
                ("doubled", hits.doubled),
                ("held up", hits.held_up),
                ("parked", world.counts.parked),
                ("asked for", world.counts.asked_for),
            ]
        },
        controls: &[WITHOUT_RECONCILIATION],
    },
    Scenario {
        name: "gossip alone brings everything, in whatever order it comes",
        setup: |seed| Setup {
            weather: Weather {
                loss: 0.0,
                held_up: 0.5,
                ..Weather::FOUL
            },
            reconciliation: false,
            ..Setup::new(seed, NODES)
        },
        run: foul_weather,
        hits: |world| vec![("held up", world.links.hits.held_up), ("parked", world.counts.parked)],
        controls: &[Control {
            off: "parking",
            switch: |setup| setup.recoveries.parking = false,
            ends_in: &[Violation::Lost],
        }],
    },
    Scenario {
        name: "the mesh splits and heals",
        setup: |seed| Setup {
            skew: WRONG_CLOCK,
            ..Setup::new(seed, NODES)
        },
        run: split,
        hits: |world| vec![("cut", world.links.hits.cut), ("links closed", world.counts.links_closed)],
        controls: &[WITHOUT_RECONCILIATION],
    },
    Scenario {
        name: "what a node missed while it was away comes with the first frame",
        setup: |seed| Setup {
            weather: Weather {
                nearest: 50_000,
                farthest: 50_000,
                ..Weather::FAIR
            },
            ..Setup::new(seed, NODES)
        },
        run: away,
        hits: |world| vec![("links closed", world.counts.links_closed), ("talks", world.counts.talks)],
        controls: &[
            Control {
                off: "handoff",
                switch: |setup| setup.recoveries.handoff = false,
                ends_in: &[Violation::Late],
            },
            WITHOUT_RECONCILIATION,
        ],
    },
    Scenario {
        name: "some links carry nothing in one direction",
        setup: |seed| Setup::new(seed, NODES),
        run: one_way,
        hits: |world| vec![("cut", world.links.hits.cut), ("links closed", world.counts.links_closed)],
        controls: &[WITHOUT_RECONCILIATION],
    },
    Scenario {
        name: "processes are killed and start again from their disks",
        setup: |seed| Setup {
            weather: Weather {
                loss: 0.05,
                ..Weather::FAIR
            },
            skew: WRONG_CLOCK,
            ..Setup::new(seed, NODES)
        },
        run: crashes,
        hits: |world| vec![("crashes", world.counts.crashes), ("lost", world.links.hits.lost)],
        controls: &[WITHOUT_RECONCILIATION],
    },
    Scenario {
        name: "a node starts from an old copy of its disk and goes on writing",
        setup: |seed| Setup::new(seed, NODES),
        run: old_copy,
        hits: |world| vec![("crashes", world.counts.crashes)],
        controls: &[Control {
            off: "fresh actors",
            switch: |setup| setup.fresh_boots = false,
            ends_in: &[Violation::HonestFork, Violation::Lost],
        }],
    },
    Scenario {
        name: "what is erased does not come back through a node that was away or restored",
        setup: |seed| Setup {
            weather: Weather {
                held_up: 0.3,
                held_up_for: 1_500_000,
                duplicates: 0.1,
                ..Weather::FAIR
            },
            ..Setup::new(seed, NODES)
        },
        run: erasures,
        hits: |world| {
            vec![
                ("carried out", world.history.erasures_done as u64),
                ("crashes", world.counts.crashes),
                ("held up", world.links.hits.held_up),
            ]
        },
        controls: &[Control {
            off: "tombstones",
            switch: |setup| setup.recoveries.tombstones = false,
            ends_in: &[Violation::Resurrected],
        }],
    },
];

/// A mesh with some chats that everyone knows.
pub(super) fn chats(world: &mut World, count: usize) -> Vec<Chat> {
    world.run_for(3 * SECOND);
    let up = world.up();
    let chats = (0..count).map(|number| world.new_chat(up[number % up.len()])).collect();
    world.run_for(20 * SECOND);
    chats
}

fn foul_weather(world: &mut World) {
    let chats = chats(world, 3);
    for round in 0..8 {
        world.bustle(&chats, 4, SECOND / 4);
        world.say_quickly(round % NODES, chats[round % 3], 4);
    }
    world.run_for(CALM);
}

fn split(world: &mut World) {
    let mut chats = chats(world, 3);
    world.split(&[0, 1, 2]);
    world.bustle(&chats, 15, SECOND);
    chats.extend([world.new_chat(1), world.new_chat(5)]);
    world.bustle(&chats, 15, SECOND);
    world.heal();
    world.bustle(&chats, 5, SECOND / 2);
    world.run_for(CALM);
}

/// One node is cut off while the others write. When it is back, everything must be there with the first frame of the first talk:
/// after the link is there, a round trip for the stream and one way for the frame.
fn away(world: &mut World) {
    let chats = chats(world, 2);
    world.split(&[0]);
    world.run_for(15 * SECOND);
    for number in 0..12 {
        world.say(1 + number % 6, chats[number % 2]);
        world.say(0, chats[number % 2]);
        world.run_for(SECOND);
    }
    world.run_for(5 * SECOND);
    world.heal();
    let back = world.until_reachable(0);
    world.run_for(20 * SECOND);
    world.check_late(0, back, 3 * world.setup.weather.farthest + 5_000);
    world.run_for(CALM);
}

fn one_way(world: &mut World) {
    let chats = chats(world, 3);
    for _ in 0..3 {
        for _ in 0..NODES * 2 {
            let (from, to) = (world.rng.random_range(0..NODES), world.rng.random_range(0..NODES));
            world.cut(from, to);
        }
        for to in 1..NODES {
            world.cut(0, to);
        }
        world.bustle(&chats, 12, SECOND);
        world.heal();
        world.bustle(&chats, 4, SECOND);
    }
    world.run_for(CALM);
}

fn crashes(world: &mut World) {
    let chats = chats(world, 3);
    for _ in 0..6 {
        world.bustle(&chats, 4, SECOND / 2);
        let node = world.rng.random_range(0..NODES);
        // Right after a write, so that it may not have left the node.
        world.say(node, chats[0]);
        let moment = world.rng.random_range(0..10_000);
        world.run_for(moment);
        world.crash(node);
        world.bustle(&chats, 4, SECOND / 2);
        world.restart(node);
    }
    world.run_for(CALM);
}

fn old_copy(world: &mut World) {
    let chats = chats(world, 2);
    world.say(2, chats[0]);
    world.run_for(5 * SECOND);
    let copy = world.copy_of(2);
    for number in 0..6 {
        world.say(2, chats[number % 2]);
        world.run_for(SECOND);
    }
    world.run_for(CALM);
    world.crash(2);
    world.run_for(15 * SECOND);
    world.history.begins_anew(2);
    world.restore(2, &copy);
    // People do not wait until it has caught up.
    for number in 0..6 {
        world.say(2, chats[number % 2]);
        world.run_for(SECOND / 10);
    }
    world.run_for(CALM);
}

fn erasures(world: &mut World) {
    let chats = chats(world, 4);
    world.bustle(&chats, 12, SECOND / 4);
    world.run_for(CALM);
    let copy = world.copy_of(3);
    world.split(&[4]);
    world.run_for(12 * SECOND);
    let message = world.some_message(chats[0]);
    world.erase(1, EraseTarget::Document(chats[1].document));
    world.erase(2, EraseTarget::Account(chats[2].account));
    world.erase(
        1,
        EraseTarget::Message {
            document: chats[0].document,
            message,
        },
    );
    // The node that is away goes on writing into what is erased, and a chat is erased as soon as it is begun.
    world.bustle(&chats, 10, SECOND / 2);
    world.say(4, chats[1]);
    world.say(4, chats[2]);
    for node in [0, 1, 2, 3, 5, 6] {
        let short = world.new_chat(node);
        world.say(node, short);
        world.run_for(20_000);
        world.erase(node, EraseTarget::Account(short.account));
    }
    world.bustle(&chats, 10, SECOND / 2);
    world.heal();
    world.bustle(&chats, 4, SECOND);
    world.run_for(CALM);
    world.crash(3);
    world.run_for(15 * SECOND);
    world.history.begins_anew(3);
    world.restore(3, &copy);
    world.run_for(CALM);
}
