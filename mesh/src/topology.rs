//! The whole graph of the mesh, as every node can tell it: who is linked with whom, how, how well, and how old that knowledge is.
//!
//! ## How it spreads
//! Each node signs a numbered [`LinkState`] of its own links when they change, and otherwise every few minutes. What is new goes from
//! neighbour to neighbour on streams of their own (`exchange`): first only its number, and only who lacks it asks for it, so that in a
//! dense mesh, too, every node is sent each state once. It is no gossip and no telemetry. A state comes with its age, to which every
//! node adds the time it has held it; no two clocks are compared. What was not heard of for [`LINK_STATE_KEPT`] is forgotten.
//!
//! ## What is believed
//! A state is signed by its node, and a link counts for routes when both its ends tell of it: a node cannot claim links to others. The
//! worse figure of both counts, so that nobody can make its links look better than their other ends see them.
//!
//! ## Routes
//! [`Graph`] is what the links cost, [`shortest()`] and [`Search::disjoint`] find routes in it, and [`RouteTable`] keeps disjoint routes of
//! many pairs up to date as links change. All of it is pure; time is an argument.

mod disjoint;
pub(crate) mod exchange;
mod graph;
mod link_state;
mod own;
mod shortest;
pub(crate) mod spread;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use keys::{ContentId, NodeId, Signed, membership::Roster};
use tokio::time::Instant;

pub use self::{
    disjoint::{Disjoint, Search},
    graph::{FAR, Graph},
    link_state::{LinkRecord, LinkState, ShortNode, Stamp},
    shortest::shortest,
    table::{RouteTable, Work},
};
use crate::{
    LinkPath,
    limits::{LINK_STATE_KEPT, LINK_STATES_MAX},
};

/// Microseconds that a link costs more when it loses everything: with one packet in a hundred lost it is as if it were 2 ms longer.
const LOSS_COST: u64 = 200_000;

/// A state as it is held.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) state: LinkState,
    pub(crate) signed: Signed<LinkState>,
    /// When it was made, by this node's clock.
    pub(crate) made: Instant,
}

/// Who is linked with whom. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Each with its place in the order in which they came, so that what was told of already is passed over at a glance.
    states: BTreeMap<NodeId, (u64, Arc<Held>)>,
    last_place: u64,
    /// Members by the beginnings of their ids.
    members: Arc<HashMap<ShortNode, NodeId>>,
}

/// A link between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its ends, the lower id first.
    pub nodes: (NodeId, NodeId),
    /// Whether both ends tell of it; routes use no other.
    pub confirmed: bool,
    /// The larger of the two ends' round trips; `None` while none is measured.
    pub round_trip: Option<Duration>,
    /// The larger of the two ends' shares of lost packets; `None` where the path does not tell.
    pub loss: Option<f64>,
    /// How its bytes travel.
    pub path: LinkPath,
    /// Bytes that the first end has sent and the second has received, and the other way, as far as they were counted.
    pub bytes: (Option<u64>, Option<u64>),
    /// Age of the older of the two ends' figures.
    pub age: Duration,
}

impl Link {
    /// What the link costs a route, in microseconds.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let round_trip = self.round_trip.unwrap_or(Duration::from_millis(100));
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        let loss = (self.loss.unwrap_or(0.0) * LOSS_COST as f64) as u64;
        micros.saturating_add(loss).max(1)
    }
}

impl Topology {
    /// Members change: whoever is one no longer is forgotten. Returns whether anything changed.
    pub(crate) fn follow(&mut self, roster: &Roster) -> bool {
        let members: HashMap<ShortNode, NodeId> = roster
            .members()
            .map(|member| (ShortNode::of(&member.node), member.node))
            .collect();
        if *self.members == members {
            return false;
        }
        self.states.retain(|node, _| members.contains_key(&ShortNode::of(node)));
        self.members = Arc::new(members);
        true
    }

    /// Takes a state in whose signature was verified. Returns whether it is newer than what was known.
    pub(crate) fn take(&mut self, held: Held) -> bool {
        let node = held.signed.author();
        let is_member = self.members.get(&ShortNode::of(&node)) == Some(&node);
        let known = self.states.get(&node);
        let is_newer = known.is_none_or(|(_, known)| known.state.stamp < held.state.stamp);
        let room = known.is_some() || self.states.len() < LINK_STATES_MAX;
        if is_member && is_newer && room {
            self.last_place += 1;
            self.states.insert(node, (self.last_place, Arc::new(held)));
        }
        is_member && is_newer && room
    }

    /// Forgets what is too old. Returns whether there was any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.states.len();
        self.states
            .retain(|_, (_, held)| now.saturating_duration_since(held.made) < LINK_STATE_KEPT);
        before != self.states.len()
    }

    /// The stamp of every state that came after place `after`.
    pub(crate) fn stamps(&self, after: u64) -> impl Iterator<Item = (ShortNode, Stamp)> {
        let newer = self.states.iter().filter(move |(_, (place, _))| *place > after);
        newer.map(|(node, (_, held))| (ShortNode::of(node), held.state.stamp))
    }

    /// The place of the last that came.
    pub(crate) const fn last_place(&self) -> u64 {
        self.last_place
    }

    /// How many members the mesh has.
    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn held(&self, node: ShortNode) -> Option<&Arc<Held>> {
        self.states.get(self.members.get(&node)?).map(|(_, held)| held)
    }

    /// Whether a state of a node is held that is as new.
    pub(crate) fn holds(&self, node: &NodeId, stamp: Stamp) -> bool {
        let known = self.states.get(node);
        known.is_some_and(|(_, held)| held.state.stamp >= stamp)
    }

    /// Whether a member has this beginning of its id.
    pub(crate) fn knows(&self, node: ShortNode) -> bool {
        self.members.contains_key(&node)
    }

    /// The same without what some nodes have told: of those that are gone, what they last said of their links is no more true.
    #[must_use]
    pub fn without(mut self, is_gone: impl Fn(&NodeId) -> bool) -> Self {
        self.states.retain(|node, _| !is_gone(node));
        self
    }

    /// How many nodes have told of their links.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.states.len()
    }

    /// Every link, in the order of its ends.
    #[must_use]
    pub fn links(&self, now: Instant) -> Vec<Link> {
        let mut links: BTreeMap<(NodeId, NodeId), Link> = BTreeMap::new();
        for (from, (_, held)) in &self.states {
            let age = now.saturating_duration_since(held.made);
            for record in &held.state.links {
                let Some(to) = self.members.get(&record.to).filter(|to| *to != from) else {
                    continue;
                };
                let nodes = (*from.min(to), *from.max(to));
                let told = one_end(record, nodes, nodes.0 == *from, age);
                links
                    .entry(nodes)
                    .and_modify(|link| both_ends(link, &told))
                    .or_insert(told);
            }
        }
        links.into_values().collect()
    }

    /// What routes are computed from: the links that both ends tell of.
    #[must_use]
    pub fn graph(&self, now: Instant) -> Graph {
        let links = self.links(now).into_iter().filter(|link| link.confirmed);
        Graph::new(links.map(|link| (link.nodes.0, link.nodes.1, link.cost())))
    }

    /// At most `count` routes between two nodes that share no node between them, the cheapest first.
    #[must_use]
    pub fn disjoint_routes(&self, from: &NodeId, to: &NodeId, count: usize, now: Instant) -> Vec<Vec<NodeId>> {
        let graph = self.graph(now);
        let (Some(from), Some(to)) = (graph.find(from), graph.find(to)) else {
            return Vec::new();
        };
        let found = Search::default().disjoint(&graph, (from, to), count, &graph.distances(to));
        let named = |route: &Vec<u32>| route.iter().map(|node| graph.id(*node)).collect();
        found.routes.iter().map(named).collect()
    }
}

fn one_end(record: &LinkRecord, nodes: (NodeId, NodeId), is_first: bool, age: Duration) -> Link {
    let (sent, received) = record
        .bytes
        .map_or((None, None), |(sent, received)| (Some(sent), Some(received)));
    Link {
        nodes,
        confirmed: false,
        round_trip: record.round_trip.map(|micros| Duration::from_micros(u64::from(micros))),
        loss: record.loss.map(|loss| f64::from(loss) / 10_000.0),
        path: record.path,
        bytes: if is_first { (sent, received) } else { (received, sent) },
        age,
    }
}

/// The worse figure of both ends counts.
fn both_ends(link: &mut Link, other: &Link) {
    link.confirmed = true;
    link.round_trip = link.round_trip.max(other.round_trip);
    link.loss = match (link.loss, other.loss) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    };
    link.path = link.path.max(other.path);
    link.bytes = (link.bytes.0.max(other.bytes.0), link.bytes.1.max(other.bytes.1));
    link.age = link.age.max(other.age);
}

/// The mesh that a state is for: one of another mesh says nothing here.
pub(crate) fn verified(signed: &Signed<LinkState>, mesh: ContentId) -> Option<LinkState> {
    let state = signed.open().ok()?;
    (state.mesh == mesh && state.is_sane()).then_some(state)
}
