//! The k shortest routes between two nodes, each without a circle: Yen's way, with the distances to the end as a guide.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet},
};

use super::graph::{FAR, Graph};

/// At most `count` routes from one node to another with what each costs, the cheapest first; `distances` are those to the end.
#[must_use]
pub fn shortest(graph: &Graph, (from, to): (u32, u32), count: usize, distances: &[u64]) -> Vec<(u64, Vec<u32>)> {
    let mut found: Vec<(u64, Vec<u32>)> = Vec::new();
    let mut candidates = BTreeSet::new();
    if from != to && count > 0 {
        let none = (HashSet::new(), HashSet::new());
        candidates.extend(search(graph, (from, to), &none, distances));
    }
    while let Some((cost, route)) = candidates.pop_first() {
        found.push((cost, route.clone()));
        if found.len() == count {
            break;
        }
        let mut spent = 0;
        for turn in 0..route.len() - 1 {
            // Up to here as before, then along none of the links by which a route went on that began so.
            let (begun, at) = (&route[..turn], route[turn]);
            let same = found.iter().filter(|(_, other)| other.starts_with(&route[..=turn]));
            let closed: HashSet<u32> = same.filter_map(|(_, other)| other.get(turn + 1).copied()).collect();
            let passed: HashSet<u32> = begun.iter().copied().collect();
            if let Some((rest, way)) = search(graph, (at, to), &(passed, closed), distances) {
                candidates.insert((spent + rest, [begun, &way].concat()));
            }
            spent += graph.cost(at, route[turn + 1]).unwrap_or(0);
        }
    }
    found
}

/// The cheapest way that passes none of the first nodes and goes to none of the second ones at once.
fn search(
    graph: &Graph,
    (from, to): (u32, u32),
    (passed, closed): &(HashSet<u32>, HashSet<u32>),
    distances: &[u64],
) -> Option<(u64, Vec<u32>)> {
    let mut reached: HashMap<u32, (u64, u32)> = HashMap::from([(from, (0, from))]);
    let mut queue = BinaryHeap::from([Reverse((distances[from as usize], 0, from))]);
    while let Some(Reverse((_, at, node))) = queue.pop() {
        if at > reached[&node].0 {
            continue;
        }
        if node == to {
            let mut way = vec![to];
            while let Some(last) = way.last().filter(|last| **last != from) {
                way.push(reached[last].1);
            }
            way.reverse();
            return Some((at, way));
        }
        for (next, cost) in graph.around(node) {
            let remaining = distances[*next as usize];
            if remaining == FAR || passed.contains(next) || (node == from && closed.contains(next)) {
                continue;
            }
            let through = at + cost;
            if reached.get(next).is_none_or(|(known, _)| through < *known) {
                reached.insert(*next, (through, node));
                queue.push(Reverse((through + remaining, through, *next)));
            }
        }
    }
    None
}
