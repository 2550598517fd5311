//! A graph of nodes and what its links cost, in numbers: what routes are computed from.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
};

use keys::NodeId;

/// What cannot be reached is so far away.
pub const FAR: u64 = u64::MAX;

/// The neighbours of each node with the cost of the link between them, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    ids: Vec<NodeId>,
    places: HashMap<NodeId, u32>,
    links: Vec<Vec<(u32, u64)>>,
}

impl Graph {
    /// A graph of these links; of two between the same nodes the last counts.
    pub fn new(links: impl IntoIterator<Item = (NodeId, NodeId, u64)>) -> Self {
        let mut graph = Self::default();
        for (a, b, cost) in links {
            let (a, b) = (graph.place(a), graph.place(b));
            graph.set(a, b, Some(cost));
        }
        graph
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.ids.len()
    }

    /// The number of a node, which it is given when it has none.
    pub fn place(&mut self, node: NodeId) -> u32 {
        let next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        *self.places.entry(node).or_insert_with(|| {
            self.ids.push(node);
            self.links.push(Vec::new());
            next
        })
    }

    /// The number of a node.
    #[must_use]
    pub fn find(&self, node: &NodeId) -> Option<u32> {
        self.places.get(node).copied()
    }

    /// The node of this number.
    #[must_use]
    pub fn id(&self, place: u32) -> NodeId {
        self.ids[place as usize]
    }

    /// The neighbours of a node.
    #[must_use]
    pub fn around(&self, place: u32) -> &[(u32, u64)] {
        &self.links[place as usize]
    }

    /// What the link between two nodes costs.
    #[must_use]
    pub fn cost(&self, a: u32, b: u32) -> Option<u64> {
        let link = self.around(a).iter().find(|(other, _)| *other == b);
        link.map(|(_, cost)| *cost)
    }

    /// Sets what a link costs, or takes it away. A link costs something, and none leads from a node to itself.
    pub fn set(&mut self, a: u32, b: u32, cost: Option<u64>) {
        if a == b {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            let links = &mut self.links[from as usize];
            links.retain(|(other, _)| *other != to);
            links.extend(cost.map(|cost| (to, cost.clamp(1, u64::from(u32::MAX)))));
        }
    }

    /// Every link once, the lower number first.
    #[must_use]
    pub fn links(&self) -> BTreeMap<(u32, u32), u64> {
        let all = self.links.iter().enumerate();
        all.flat_map(|(from, links)| {
            let from = u32::try_from(from).unwrap_or(u32::MAX);
            let once = links.iter().filter(move |(to, _)| from < *to);
            once.map(move |(to, cost)| ((from, *to), *cost))
        })
        .collect()
    }

    /// How far every node is from one.
    #[must_use]
    pub fn distances(&self, from: u32) -> Vec<u64> {
        let mut distances = vec![FAR; self.nodes()];
        distances[from as usize] = 0;
        self.relax(&mut distances, BinaryHeap::from([Reverse((0, from))]));
        distances
    }

    /// A link has become cheaper: brings distances up to date by looking at what is nearer now and at nothing else.
    pub fn nearer(&self, distances: &mut [u64], (a, b): (u32, u32), cost: u64) {
        let mut queue = BinaryHeap::new();
        for (from, to) in [(a, b), (b, a)] {
            let through = distances[from as usize].saturating_add(cost);
            if through < distances[to as usize] {
                distances[to as usize] = through;
                queue.push(Reverse((through, to)));
            }
        }
        self.relax(distances, queue);
    }

    fn relax(&self, distances: &mut [u64], mut queue: BinaryHeap<Reverse<(u64, u32)>>) {
        while let Some(Reverse((distance, node))) = queue.pop() {
            if distance > distances[node as usize] {
                continue;
            }
            for (next, cost) in self.around(node) {
                let through = distance + cost;
                if through < distances[*next as usize] {
                    distances[*next as usize] = through;
                    queue.push(Reverse((through, *next)));
                }
            }
        }
    }
}
