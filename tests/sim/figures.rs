//! How long a message takes until every node has it, and how many copies of it each node receives: the figures of `./x bench sim`,
//! each a JSON line.
//!
//! *Everywhere* is the moment at which the last node's replica has taken the message in and committed it: from then on it is in what
//! that node reads. It is counted from the moment at which the person's node wrote it. *Copies* are all frames with the message that
//! a node receives, those that it asked for and repetitions included, on average over the nodes.

use serde_json::json;

use crate::{
    Micros, SECOND,
    gossip::Parameters,
    world::{Setup, World},
};

/// A measurement.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// So many meshes are measured together, each from a seed of its own: in some the links lie better than in others.
    pub meshes: u64,
    /// The seed of the first of them.
    pub first_seed: u64,
    /// How many nodes each has.
    pub nodes: usize,
    /// Part of the frames that get lost on each hop.
    pub loss: f64,
    /// Messages that are written in each, by a random node each.
    pub messages: usize,
    /// Between two messages.
    pub gap: Micros,
    /// Whether reconciliations help.
    pub reconciliation: bool,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Milliseconds from the write until every node had it, for each message, sorted; those that never came everywhere count as an
    /// hour.
    pub everywhere: Vec<f64>,
    /// Frames with a message that a node received for each message.
    pub copies: f64,
    /// Parts of them that were asked for.
    pub asked_for: f64,
}

/// Milliseconds of a message that never arrived somewhere.
const NEVER: f64 = 3_600_000.0;
/// Chats into which the messages go.
const CHATS: usize = 4;
/// Until the mesh has its shape: several heartbeats, in which neighbours are grafted and pruned.
const WARM_UP: Micros = 10 * SECOND;

impl Measured {
    /// The time within which this part of the messages were everywhere.
    ///
    /// # Panics
    /// When nothing was measured.
    #[must_use]
    pub fn part(&self, part: f64) -> f64 {
        let place = (part * self.everywhere.len() as f64).ceil() as usize;
        self.everywhere[place.clamp(1, self.everywhere.len()) - 1]
    }
}

impl Spread {
    /// Measures.
    #[must_use]
    pub fn measure(&self, parameters: Parameters) -> Measured {
        let mut whole = Measured {
            everywhere: Vec::new(),
            copies: 0.0,
            asked_for: 0.0,
        };
        for seed in (self.first_seed..).take(self.meshes as usize) {
            let one = self.measure_mesh(parameters, seed);
            whole.everywhere.extend(one.everywhere);
            whole.copies += one.copies / self.meshes as f64;
            whole.asked_for += one.asked_for / self.meshes as f64;
        }
        whole.everywhere.sort_by(f64::total_cmp);
        whole
    }

    fn measure_mesh(&self, parameters: Parameters, seed: u64) -> Measured {
        let mut world = World::new(Setup {
            parameters,
            reconciliation: self.reconciliation,
            ..Setup::new(seed, self.nodes)
        });
        world.run_for(WARM_UP);
        let chats: Vec<_> = (0..CHATS)
            .map(|number| world.new_chat(number * self.nodes / CHATS))
            .collect();
        world.run_for(5 * SECOND);
        world.links.weather.loss = self.loss;
        let (copies, asked_for, from) = (world.counts.copies, world.counts.asked_for, world.now);
        world.write_evenly(&chats, self.messages, self.gap);
        world.run_for(10 * SECOND);
        let written = world.history.written.values().filter(|written| written.at >= from);
        let everywhere: Vec<f64> = written
            .map(|written| match written.everywhere_after(self.nodes) {
                Some(time) => time as f64 / 1000.0,
                None => NEVER,
            })
            .collect();
        let receptions = (everywhere.len() * (self.nodes - 1)) as f64;
        Measured {
            copies: (world.counts.copies - copies) as f64 / receptions,
            asked_for: (world.counts.asked_for - asked_for) as f64 / receptions,
            everywhere,
        }
    }
}

/// A row of the table.
struct Row {
    name: &'static str,
    spread: Spread,
    /// Milliseconds for 95 of 100 messages.
    goal: f64,
    rival: (&'static str, f64),
}

const ROWS: [Row; 3] = [
    Row {
        name: "write to visible at all of 100 nodes, p95",
        spread: Spread {
            meshes: 5,
            first_seed: 1,
            nodes: 100,
            loss: 0.0,
            messages: 100,
            gap: SECOND / 2,
            reconciliation: true,
        },
        goal: 250.0,
        rival: ("Corrosion's simulator, p99", 208.0),
    },
    Row {
        name: "write to visible at all of 1000 nodes, p95",
        spread: Spread {
            meshes: 3,
            first_seed: 1,
            nodes: 1000,
            loss: 0.0,
            messages: 40,
            gap: SECOND / 2,
            // Without the help of reconciliations, which would be nine hundred at each node's start.
            reconciliation: false,
        },
        goal: 350.0,
        rival: ("Corrosion's simulator, p99, other latencies", 169.0),
    },
    Row {
        name: "write to visible at all of 100 nodes, 30 % loss per hop, p95",
        spread: Spread {
            meshes: 5,
            first_seed: 1,
            nodes: 100,
            loss: 0.3,
            messages: 100,
            gap: SECOND / 2,
            reconciliation: true,
        },
        goal: 600.0,
        rival: ("eager push over a mesh of degree 6, simulated", 304.0),
    },
];

/// Measures every row of the table and prints it.
///
/// The meshes are those of the seeds from `first_seed` on. The rows of the table are those of seed 1; others show how much of a
/// figure is chance.
pub fn bench(first_seed: u64) {
    for mut row in ROWS {
        row.spread.first_seed = first_seed;
        let measured = row.spread.measure(Parameters::PRODUCT);
        let figure = |name: &str, value: f64, unit: &str, goal: Option<f64>, rival: Option<(&str, f64)>| {
            let rival = rival.map(|(name, value)| json!({ "name": name, "value": value }));
            json!({
                "bench": "sim", "name": name, "value": value, "unit": unit, "goal": goal, "better": "lower",
                "rival": rival, "mock": false,
                "median": measured.part(0.5), "most": measured.part(1.0), "messages": measured.everywhere.len(), "first_seed": first_seed,
            })
        };
        println!(
            "{}",
            figure(row.name, measured.part(0.95), "ms", Some(row.goal), Some(row.rival))
        );
        let is_first = row.spread.nodes == 100 && row.spread.loss == 0.0;
        let name = format!(
            "copies received per node, {} nodes, {} loss",
            row.spread.nodes, row.spread.loss
        );
        let rival = is_first.then_some(("Corrosion's simulator", 4.2));
        println!(
            "{}",
            figure(&name, measured.copies, "copies", is_first.then_some(4.5), rival)
        );
    }
}
