//! Whom to dial and when, as a pure state machine: redialling never stops, backs off with jitter, and starts over at once when
//! a link that worked is lost.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use keys::NodeId;

use crate::limits::{ADDRESSES_PER_NODE_MAX, NEARBY_ADDRESSES_MAX, REDIAL_FIRST, REDIAL_MAX, REDIAL_REFUSED};

/// Time since the mesh started.
pub(crate) type Elapsed = Duration;

#[derive(Debug, PartialEq)]
enum State {
    Waiting { until: Elapsed },
    Dialing,
    Connected,
}

#[derive(Debug)]
struct Target {
    addresses: BTreeSet<SocketAddr>,
    /// Addresses that were called out on the local network, the newest first. Anybody there can call: so they are few, and apart from
    /// those that members told.
    nearby: VecDeque<SocketAddr>,
    state: State,
    failures: u32,
}

impl Target {
    fn new(now: Elapsed) -> Self {
        Self {
            addresses: BTreeSet::new(),
            nearby: VecDeque::new(),
            state: State::Waiting { until: now },
            failures: 0,
        }
    }

    fn has_address(&self) -> bool {
        !self.addresses.is_empty() || !self.nearby.is_empty()
    }

    /// The way over the local network first: it is the shortest.
    fn all_addresses(&self) -> Vec<SocketAddr> {
        let further = self.addresses.iter().filter(|address| !self.nearby.contains(address));
        self.nearby.iter().chain(further).copied().collect()
    }
}

/// The targets of a node and when each is due.
#[derive(Debug, Default)]
pub(crate) struct DialPlan {
    targets: BTreeMap<NodeId, Target>,
}

impl DialPlan {
    /// Remembers addresses of a node; a new one is tried at once. Whether there was a new one.
    pub(crate) fn learn(
        &mut self,
        node: NodeId,
        addresses: impl IntoIterator<Item = SocketAddr>,
        now: Elapsed,
    ) -> bool {
        let target = self.targets.entry(node).or_insert_with(|| Target::new(now));
        let mut news = false;
        for address in addresses {
            if target.addresses.len() < ADDRESSES_PER_NODE_MAX {
                news |= target.addresses.insert(address);
            }
        }
        if let (true, State::Waiting { until }) = (news, &mut target.state) {
            *until = now;
        }
        news
    }

    /// Remembers an address that was called out on the local network; a new one is tried at once.
    pub(crate) fn learn_nearby(&mut self, node: NodeId, address: SocketAddr, now: Elapsed) {
        let target = self.targets.entry(node).or_insert_with(|| Target::new(now));
        if target.nearby.contains(&address) {
            return;
        }
        target.nearby.push_front(address);
        target.nearby.truncate(NEARBY_ADDRESSES_MAX);
        if let State::Waiting { until } = &mut target.state {
            *until = now;
        }
    }

    /// What to dial now; each is marked as being dialled.
    pub(crate) fn due(&mut self, now: Elapsed) -> Vec<(NodeId, Vec<SocketAddr>)> {
        let mut due = Vec::new();
        for (node, target) in &mut self.targets {
            if matches!(target.state, State::Waiting { until } if until <= now) && target.has_address() {
                target.state = State::Dialing;
                due.push((*node, target.all_addresses()));
            }
        }
        due
    }

    /// When [`DialPlan::due`] will next have something.
    pub(crate) fn next(&self) -> Option<Elapsed> {
        let untils = self
            .targets
            .values()
            .filter(|target| target.has_address())
            .filter_map(|target| match target.state {
                State::Waiting { until } => Some(until),
                _ => None,
            });
        untils.min()
    }

    /// A link stands, whoever dialled.
    pub(crate) fn connected(&mut self, node: &NodeId) {
        if let Some(target) = self.targets.get_mut(node) {
            target.state = State::Connected;
            target.failures = 0;
        }
    }

    /// A dial failed. `jitter` is a random number in 0..1.
    pub(crate) fn failed(&mut self, node: &NodeId, now: Elapsed, jitter: f64) {
        if let Some(target) = self
            .targets
            .get_mut(node)
            .filter(|target| target.state == State::Dialing)
        {
            target.failures = target.failures.saturating_add(1);
            let wait = (REDIAL_FIRST * 2u32.saturating_pow(target.failures.min(10))).min(REDIAL_MAX);
            target.state = State::Waiting {
                until: now + wait.mul_f64(0.5 + jitter / 2.0),
            };
        }
    }

    /// A link that stood is gone.
    pub(crate) fn lost(&mut self, node: &NodeId, now: Elapsed, jitter: f64) {
        if let Some(target) = self.targets.get_mut(node) {
            target.failures = 0;
            target.state = State::Waiting {
                until: now + REDIAL_FIRST.mul_f64(jitter),
            };
        }
    }

    /// The other side says that we are no member: only a person can change that, so ask seldom.
    pub(crate) fn refused(&mut self, node: &NodeId, now: Elapsed) {
        if let Some(target) = self.targets.get_mut(node) {
            target.state = State::Waiting {
                until: now + REDIAL_REFUSED,
            };
        }
    }

    /// A node is a member no longer: it is not dialled again.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.targets.remove(node);
    }

    /// The addresses known of a node.
    pub(crate) fn addresses(&self, node: &NodeId) -> Vec<SocketAddr> {
        self.targets
            .get(node)
            .map(|target| target.addresses.iter().copied().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const MS: fn(u64) -> Elapsed = Duration::from_millis;

    fn plan() -> DialPlan {
        let mut plan = DialPlan::default();
        plan.learn(NODE, ["127.0.0.1:4001".parse().unwrap()], MS(0));
        plan
    }

    #[test]
    fn a_node_is_dialled_once_at_a_time_and_again_after_a_growing_wait_for_ever() {
        let mut plan = plan();
        assert_eq!(plan.due(MS(0)).len(), 1);
        assert!(plan.due(MS(0)).is_empty(), "a dial is under way");
        let mut now = MS(0);
        let mut waits = Vec::new();
        for _ in 0..50 {
            plan.failed(&NODE, now, 1.0);
            let next = plan.next().expect("redialling never stops");
            waits.push(next - now);
            assert!(plan.due(next - MS(1)).is_empty());
            now = next;
            assert_eq!(plan.due(now).len(), 1);
        }
        assert!(
            waits.is_sorted() && waits[0] < REDIAL_MAX && *waits.last().unwrap() == REDIAL_MAX,
            "{waits:?}"
        );
    }

    #[test]
    fn a_lost_link_is_dialled_at_once_and_a_refusal_seldom() {
        let mut plan = plan();
        plan.due(MS(0));
        plan.connected(&NODE);
        assert_eq!(plan.next(), None);
        plan.lost(&NODE, MS(1000), 0.0);
        assert_eq!(plan.due(MS(1000)).len(), 1);
        plan.refused(&NODE, MS(1000));
        assert_eq!(plan.next(), Some(MS(1000) + REDIAL_REFUSED));
        // A dial error that arrives late does not shorten the wait.
        plan.failed(&NODE, MS(1001), 0.0);
        assert_eq!(plan.next(), Some(MS(1000) + REDIAL_REFUSED));
    }

    #[test]
    fn addresses_of_one_node_are_bounded() {
        let mut plan = DialPlan::default();
        plan.learn(
            NODE,
            (1..100).map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
            MS(0),
        );
        assert_eq!(plan.addresses(&NODE).len(), ADDRESSES_PER_NODE_MAX);
    }
}
