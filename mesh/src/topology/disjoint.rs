//! The cheapest routes between two nodes that share no node between them.
//!
//! Suurballe's and Bhandari's way: each node is two, one where routes come in and one where they go out, with an arc between them
//! that one route may use. Each search finds the cheapest way to carry one route more, and may take back parts of those before. The
//! first distances to the end are known (they are computed once for all pairs with that end), so that a search looks at little
//! more than the routes it finds.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::graph::{FAR, Graph};

/// Routes that share no node but their ends, the cheapest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disjoint {
    /// The nodes of each, both ends among them.
    pub routes: Vec<Vec<u32>>,
    /// What all of them cost together; no other as many cost less.
    pub total: u64,
}

/// Where a route comes into a node, or where it goes out.
type Side = u32;

const fn side_in(node: u32) -> Side {
    node * 2
}

const fn side_out(node: u32) -> Side {
    node * 2 + 1
}

const NOBODY: u32 = u32::MAX;

/// Room for searches, used again and again.
#[derive(Debug, Default)]
pub struct Search {
    /// What is written in the other fields counts when it is of this search, or of these routes.
    search: u32,
    pair: u32,
    carried: u32,
    reached: Vec<(u32, u64, Side)>,
    /// By how much the potential of a side differs from its distance to the end.
    shifted: Vec<(u32, u64)>,
    before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    queue: BinaryHeap<Reverse<(u64, Side)>>,
    used: Vec<(u32, u32)>,
}

/// Between whom, and how far every node is from the end.
struct Pair<'a> {
    graph: &'a Graph,
    from: u32,
    to: u32,
    distances: &'a [u64],
}

impl Search {
    /// At most `count` routes from one node to another; `distances` are those to the end.
    pub fn disjoint(&mut self, graph: &Graph, (from, to): (u32, u32), count: usize, distances: &[u64]) -> Disjoint {
        self.begin(graph.nodes());
        if from == to {
            return Disjoint::default();
        }
        let pair = Pair {
            graph,
            from,
            to,
            distances,
        };
        for _ in 0..count {
            if !self.find(&pair) {
                break;
            }
            self.carry(&pair);
        }
        self.told(&pair)
    }

    fn begin(&mut self, nodes: usize) {
        self.used.clear();
        self.pair = self.pair.wrapping_add(1);
        self.carried = self.carried.wrapping_add(1);
        if self.before.len() != nodes || self.pair == 0 || self.carried > u32::MAX / 2 {
            *self = Self {
                search: 0,
                pair: 1,
                carried: 1,
                reached: vec![(0, 0, 0); nodes * 2],
                shifted: vec![(0, 0); nodes * 2],
                before: vec![(0, 0); nodes],
                after: vec![(0, 0); nodes],
                ..Self::default()
            };
        }
    }

    fn carried(&self, (carried, node): (u32, u32)) -> u32 {
        if carried == self.carried { node } else { NOBODY }
    }

    /// The potential of a side, negated: how far it is from the end as far as the routes so far leave it.
    fn remaining(&self, pair: &Pair<'_>, side: Side) -> u64 {
        let (of, shifted) = self.shifted[side as usize];
        let distance = pair.distances[(side / 2) as usize];
        if of == self.pair { distance + shifted } else { distance }
    }

    fn reach(&mut self, pair: &Pair<'_>, (from, at): (Side, u64), to: Side, cost: i64) {
        if pair.distances[(to / 2) as usize] == FAR {
            return;
        }
        let here = at + self.remaining(pair, to);
        // Never below zero: that is what potentials are for.
        let through = here
            .saturating_add_signed(cost)
            .saturating_sub(self.remaining(pair, from));
        let (search, known, _) = self.reached[to as usize];
        if search != self.search || through < known {
            self.reached[to as usize] = (self.search, through, from);
            self.queue.push(Reverse((through, to)));
        }
    }

    /// Finds the cheapest way for one route more; whether there is one.
    fn find(&mut self, pair: &Pair<'_>) -> bool {
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.reached.fill((0, 0, 0));
            self.search = 1;
        }
        self.queue.clear();
        if pair.distances[pair.from as usize] == FAR {
            return false;
        }
        let (begin, end) = (side_out(pair.from), side_in(pair.to));
        self.reached[begin as usize] = (self.search, 0, begin);
        self.queue.push(Reverse((0, begin)));
        let mut seen = Vec::new();
        while let Some(Reverse((at, side))) = self.queue.pop() {
            if at > self.reached[side as usize].1 {
                continue;
            }
            if side == end {
                // What lies nearer than the end is shifted by how much nearer it lies.
                for (side, nearer) in seen {
                    let (of, shifted) = self.shifted[side as usize];
                    let before = if of == self.pair { shifted } else { 0 };
                    self.shifted[side as usize] = (self.pair, before + (at - nearer));
                }
                return true;
            }
            seen.push((side, at));
            if side % 2 == 1 {
                self.go_out(pair, side, at);
            } else {
                self.go_in(pair, side, at);
            }
        }
        false
    }

    /// Along every link that no route uses in this direction, or back over the node itself.
    fn go_out(&mut self, pair: &Pair<'_>, side: Side, at: u64) {
        let node = side / 2;
        let taken = self.carried(self.after[node as usize]);
        for (next, cost) in pair.graph.around(node) {
            let is_taken = *next == taken || (node == pair.from && self.used.contains(&(node, *next)));
            if *next != pair.from && !is_taken {
                self.reach(pair, (side, at), side_in(*next), *cost as i64);
            }
        }
        if taken != NOBODY && node != pair.from {
            self.reach(pair, (side, at), side_in(node), 0);
        }
    }

    /// Through a node that no route uses; else back along the route that does.
    fn go_in(&mut self, pair: &Pair<'_>, side: Side, at: u64) {
        let node = side / 2;
        let before = self.carried(self.before[node as usize]);
        if before == NOBODY {
            self.reach(pair, (side, at), side_out(node), 0);
        } else if before != pair.from
            && let Some(cost) = pair.graph.cost(before, node)
        {
            self.reach(pair, (side, at), side_out(before), -(cost as i64));
        }
    }

    /// Adds what was found to the routes: links that are used against a route are taken from it.
    fn carry(&mut self, pair: &Pair<'_>) {
        let (begin, mut side) = (side_out(pair.from), side_in(pair.to));
        while side != begin {
            let before = self.reached[side as usize].2;
            let (from, to) = (before / 2, side / 2);
            match (before % 2, side % 2) {
                (1, 0) if from != to => self.used.push((from, to)),
                (0, 1) if from != to => self.used.retain(|link| *link != (to, from)),
                // Over the node itself.
                _ => {}
            }
            side = before;
        }
        self.carried += 1;
        for (from, to) in &self.used {
            if *from != pair.from {
                self.after[*from as usize] = (self.carried, *to);
            }
            if *to != pair.to {
                self.before[*to as usize] = (self.carried, *from);
            }
        }
    }

    fn told(&self, pair: &Pair<'_>) -> Disjoint {
        let cost = |from: u32, to: u32| pair.graph.cost(from, to).unwrap_or(0);
        let mut routes: Vec<(u64, Vec<u32>)> = Vec::new();
        for (_, first) in self.used.iter().filter(|(from, _)| *from == pair.from) {
            let mut route = vec![pair.from, *first];
            let mut length = cost(pair.from, *first);
            let mut at = *first;
            while at != pair.to {
                let next = self.carried(self.after[at as usize]);
                if next == NOBODY {
                    break;
                }
                length += cost(at, next);
                route.push(next);
                at = next;
            }
            routes.push((length, route));
        }
        routes.sort();
        Disjoint {
            total: routes.iter().map(|(length, _)| length).sum(),
            routes: routes.into_iter().map(|(_, route)| route).collect(),
        }
    }
}
