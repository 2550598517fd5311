//! How long the routes of a whole mesh take: three disjoint ones for every pair of gateways, afresh and after one change.

use std::time::Instant;

use keys::NodeId;
use mesh::topology::{Graph, RouteTable};

use crate::{Figure, print};

/// Meshes: nodes, gateways among them, and the goal for all pairs in ms.
const MESHES: &[(usize, usize, f64)] = &[(1000, 100, 2200.0), (100, 100, 100.0)];
/// Links that a node has dialled: each has about twice as many.
const DIALLED: usize = 5;
const ROUTES: usize = 3;
const CHANGES: u64 = 100;
/// The fastest of so many counts: whatever else the machine does only adds to a computation.
const RUNS: usize = 5;

/// Repeatable numbers: the same mesh in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        // Knuth's generator; its high bits are good enough to choose a neighbour.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn node(number: usize) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    NodeId(id)
}

fn links(nodes: usize, numbers: &mut Numbers) -> Vec<(NodeId, NodeId, u64)> {
    let mut links = Vec::new();
    for from in 0..nodes {
        for _ in 0..DIALLED {
            let to = numbers.below(nodes);
            links.push((node(from), node(to), 1000 + numbers.below(60_000) as u64));
        }
    }
    links
}

pub fn run() {
    for (nodes, gateways, goal) in MESHES {
        let mut numbers = Numbers(7);
        let links = links(*nodes, &mut numbers);
        let ends: Vec<NodeId> = (0..*gateways).map(node).collect();
        let compute = || {
            let graph = Graph::new(links.clone());
            let began = Instant::now();
            let table = RouteTable::new(graph, &ends, ROUTES);
            (began.elapsed().as_secs_f64() * 1000.0, table)
        };
        let (mut took, mut table) = compute();
        for _ in 1..RUNS {
            let again;
            (again, table) = compute();
            took = took.min(again);
        }
        let pairs = table.pairs().count();
        let complete = table.totals().filter(|(routes, _)| *routes == ROUTES).count();
        eprintln!("{nodes} nodes, {gateways} gateways: {pairs} pairs, {complete} of them with {ROUTES} routes");
        let name =
            format!("{ROUTES} disjoint routes for every pair of {gateways} gateways, {nodes} nodes, best of {RUNS}");
        print(&Figure {
            name: &name,
            value: took,
            unit: "ms",
            goal: Some(*goal),
            rival: None,
        });
        let began = Instant::now();
        let mut computed = 0;
        for _ in 0..CHANGES {
            let (from, to, _) = links[numbers.below(links.len())];
            let cost = 1000 + numbers.below(60_000) as u64;
            computed += table.change(&[(from, to, Some(cost))]).pairs;
        }
        eprintln!(
            "{} of {pairs} pairs computed again for a change",
            computed as u64 / CHANGES
        );
        let name =
            format!("the same after one link has changed, mean of {CHANGES}, {gateways} gateways, {nodes} nodes");
        print(&Figure {
            name: &name,
            value: began.elapsed().as_secs_f64() * 1000.0 / CHANGES as f64,
            unit: "ms",
            goal: None,
            rival: None,
        });
    }
}
