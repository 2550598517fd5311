//! Disjoint routes between every two of some nodes, kept up to date as links change: what a change cannot touch is not computed
//! again.

use keys::NodeId;

use super::{
    disjoint::{Disjoint, Search},
    graph::{FAR, Graph},
};
use crate::limits::{ROUTE_PAIRS_TO_SHARE, ROUTE_PROCESSORS_MAX};

/// Disjoint routes between every two ends.
#[derive(Debug)]
pub struct RouteTable {
    graph: Graph,
    ends: Vec<u32>,
    count: usize,
    /// How far every node is from each end.
    distances: Vec<Vec<u64>>,
    /// Of each pair of ends: those of the second end after those of the first.
    pairs: Vec<Disjoint>,
    stale: Vec<bool>,
    search: Search,
}

/// What a change made necessary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Pairs whose routes were computed again.
    pub pairs: usize,
    /// Ends whose distances were.
    pub ends: usize,
}

impl RouteTable {
    /// Computes `count` routes for every pair of `ends`.
    #[must_use]
    pub fn new(mut graph: Graph, ends: &[NodeId], count: usize) -> Self {
        let ends: Vec<u32> = ends.iter().map(|end| graph.place(*end)).collect();
        let distances = ends.iter().map(|end| graph.distances(*end)).collect();
        let pairs = ends.len() * ends.len().saturating_sub(1) / 2;
        let mut table = Self {
            graph,
            ends,
            count,
            distances,
            pairs: vec![Disjoint::default(); pairs],
            stale: vec![true; pairs],
            search: Search::default(),
        };
        table.compute_stale();
        table
    }

    /// Every pair with its routes.
    pub fn pairs(&self) -> impl Iterator<Item = (NodeId, NodeId, Vec<Vec<NodeId>>)> {
        let numbered = self.pairs.iter().enumerate();
        numbered.map(|(number, found)| {
            let (from, to) = ends_of(number);
            let named = |route: &Vec<u32>| route.iter().map(|node| self.graph.id(*node)).collect();
            let routes = found.routes.iter().map(named).collect();
            (self.graph.id(self.ends[from]), self.graph.id(self.ends[to]), routes)
        })
    }

    /// What the routes of each pair cost together, in the order of [`RouteTable::pairs`], with how many there are.
    pub fn totals(&self) -> impl Iterator<Item = (usize, u64)> {
        self.pairs.iter().map(|found| (found.routes.len(), found.total))
    }

    /// The graph as it is now.
    #[must_use]
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Follows the links: what is not among them is gone.
    pub fn follow(&mut self, links: impl IntoIterator<Item = (NodeId, NodeId, u64)>) -> Work {
        let mut gone = self.graph.links();
        let mut changes = Vec::new();
        for (a, b, cost) in links {
            let (a, b) = (self.place(a), self.place(b));
            gone.remove(&(a.min(b), a.max(b)));
            changes.push((a, b, Some(cost)));
        }
        changes.extend(gone.into_keys().map(|(a, b)| (a, b, None)));
        self.apply(&changes)
    }

    /// Changes some links: what each costs now, or that it is gone.
    pub fn change(&mut self, changes: &[(NodeId, NodeId, Option<u64>)]) -> Work {
        let placed: Vec<_> = changes
            .iter()
            .map(|(a, b, cost)| (self.place(*a), self.place(*b), *cost))
            .collect();
        self.apply(&placed)
    }

    fn place(&mut self, node: NodeId) -> u32 {
        let place = self.graph.place(node);
        for distances in &mut self.distances {
            distances.resize(self.graph.nodes(), FAR);
        }
        place
    }

    fn apply(&mut self, changes: &[(u32, u32, Option<u64>)]) -> Work {
        let mut ends = 0;
        for (a, b, cost) in changes {
            let cost = cost.map(|cost| cost.clamp(1, u64::from(u32::MAX)));
            let before = self.graph.cost(*a, *b);
            if a == b || before == cost {
                continue;
            }
            if cost.unwrap_or(FAR) > before.unwrap_or(FAR) {
                ends += self.dearer((*a, *b), before.unwrap_or(FAR), cost);
            } else {
                ends += self.cheaper((*a, *b), cost.unwrap_or(FAR));
            }
        }
        Work {
            pairs: self.compute_stale(),
            ends,
        }
    }

    /// A link that costs more, or is gone, touches the routes that use it, and the distances that go over it.
    fn dearer(&mut self, (a, b): (u32, u32), before: u64, cost: Option<u64>) -> usize {
        let uses = |route: &Vec<u32>| route.windows(2).any(|pair| pair == [a, b] || pair == [b, a]);
        for (stale, found) in self.stale.iter_mut().zip(&self.pairs) {
            *stale = *stale || found.routes.iter().any(uses);
        }
        self.graph.set(a, b, cost);
        let mut ends = 0;
        for (end, distances) in self.ends.iter().zip(&mut self.distances) {
            let (to_a, to_b) = (distances[a as usize], distances[b as usize]);
            if to_a != FAR && to_b != FAR && to_a.abs_diff(to_b) == before {
                *distances = self.graph.distances(*end);
                ends += 1;
            }
        }
        ends
    }

    /// A link that costs less, or is new, touches a pair when routes over it could cost less than those it has: one over the link,
    /// and the others each at least what the shortest costs.
    fn cheaper(&mut self, (a, b): (u32, u32), cost: u64) -> usize {
        self.graph.set(a, b, Some(cost));
        let mut ends = 0;
        for distances in &mut self.distances {
            let (to_a, to_b) = (distances[a as usize], distances[b as usize]);
            if to_a.min(to_b).saturating_add(cost) < to_a.max(to_b) {
                self.graph.nearer(distances, (a, b), cost);
                ends += 1;
            }
        }
        for (number, found) in self.pairs.iter().enumerate() {
            let (from, to) = ends_of(number);
            let (from, to) = (&self.distances[from], &self.distances[to]);
            let shortest = from[self.ends[ends_of(number).1] as usize];
            let over = |x: u32, y: u32| {
                let way = from[x as usize].saturating_add(cost);
                way.saturating_add(to[y as usize])
            };
            let over = over(a, b).min(over(b, a));
            let others = shortest.saturating_mul(self.count as u64 - 1);
            let could = if found.routes.len() < self.count {
                over != FAR
            } else {
                over.saturating_add(others) < found.total
            };
            self.stale[number] |= could;
        }
        ends
    }

    fn compute_stale(&mut self) -> usize {
        let numbers = 0..self.pairs.len();
        let stale: Vec<usize> = numbers
            .filter(|number| std::mem::take(&mut self.stale[*number]))
            .collect();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if stale.len() < ROUTE_PAIRS_TO_SHARE || processors == 1 {
            let mut search = std::mem::take(&mut self.search);
            for number in &stale {
                self.pairs[*number] = self.compute(*number, &mut search);
            }
            self.search = search;
        } else {
            self.compute_together(&stale, processors.min(ROUTE_PROCESSORS_MAX));
        }
        stale.len()
    }

    fn compute(&self, number: usize, search: &mut Search) -> Disjoint {
        let (from, to) = ends_of(number);
        let pair = (self.ends[from], self.ends[to]);
        search.disjoint(&self.graph, pair, self.count, &self.distances[to])
    }

    /// Shares the pairs among the processors: no pair needs another.
    fn compute_together(&mut self, stale: &[usize], processors: usize) {
        let table = &*self;
        let share = |numbers: &[usize]| -> Vec<(usize, Disjoint)> {
            let mut search = Search::default();
            let found = numbers
                .iter()
                .map(|number| (*number, table.compute(*number, &mut search)));
            found.collect()
        };
        let found: Vec<(usize, Disjoint)> = std::thread::scope(|scope| {
            let shares = stale.chunks(stale.len().div_ceil(processors));
            let shares: Vec<_> = shares
                .map(|numbers| (numbers, scope.spawn(|| share(numbers))))
                .collect();
            let found = shares.into_iter().map(|(numbers, share_of)| {
                // A search that panicked elsewhere panics here, too, where its caller sees it.
                share_of.join().unwrap_or_else(|_| share(numbers))
            });
            found.flatten().collect()
        });
        for (number, routes) in found {
            self.pairs[number] = routes;
        }
    }
}

/// The ends of a pair by its number: the pairs of the second end with each before it, then those of the third, and so on.
const fn ends_of(number: usize) -> (usize, usize) {
    let mut second = ((number * 2) as u64).isqrt() as usize;
    while second * (second + 1) / 2 <= number {
        second += 1;
    }
    while second * (second - 1) / 2 > number {
        second -= 1;
    }
    (number - second * (second - 1) / 2, second)
}
