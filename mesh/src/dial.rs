//! Whom to dial and when, as a pure state machine: redialling never stops, backs off with jitter, and starts over at once when
//! a link that worked is lost.
//!
//! The direct way has a start: only when it has failed, or taken a while, are the further ways tried beside it (a WebSocket over TLS, a
//! circuit through a relay), because whichever stands first carries the link.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use keys::{ContentId, NodeId};

use crate::{
    hints::AddressHint,
    limits::{ADDRESSES_PER_NODE_MAX, FURTHER_AFTER, NEARBY_ADDRESSES_MAX, REDIAL_FIRST, REDIAL_MAX, REDIAL_REFUSED},
    transport::is_of_the_web,
};

/// Time since the mesh started.
pub(crate) type Elapsed = Duration;

/// How long to wait after so many failures in a row: twice as long after each, from `first` to `max`, and of that a random part of at
/// least a half, so that those who lost the same node do not come back all at once. `jitter` is a random number in 0..1.
pub(crate) fn backoff((first, max): (Duration, Duration), failures: u32, jitter: f64) -> Duration {
    let wait = (first * 2_u32.saturating_pow(failures.min(10))).min(max);
    wait.mul_f64(0.5 + jitter / 2.0)
}

#[derive(Debug, PartialEq)]
enum State {
    Waiting {
        until: Elapsed,
    },
    Dialing {
        since: Elapsed,
        under_way: u8,
        /// Whether the further ways are tried, too.
        further: bool,
    },
    Connected {
        /// Whether this node dialled.
        ours: bool,
    },
}

impl State {
    /// Whether it counts against the links that a node keeps by dialling.
    const fn is_busy(&self) -> bool {
        matches!(self, Self::Dialing { .. } | Self::Connected { ours: true })
    }
}

/// What a node says of the ways to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) websockets: Vec<SocketAddr>,
    pub(crate) relays: Vec<NodeId>,
}

impl Ways {
    fn has_further(&self) -> bool {
        !self.websockets.is_empty() || !self.relays.is_empty()
    }
}

impl From<&AddressHint> for Ways {
    fn from(hint: &AddressHint) -> Self {
        Self {
            addresses: hint.addresses.clone(),
            websockets: hint.websockets.clone(),
            relays: hint.relays.clone(),
        }
    }
}

#[derive(Debug)]
struct Target {
    addresses: BTreeSet<SocketAddr>,
    /// Addresses that were called out on the local network, the newest first. Anybody there can call: so they are few, and apart from
    /// those that members told.
    nearby: VecDeque<SocketAddr>,
    /// What the node says itself now, signed.
    hinted: Ways,
    state: State,
    failures: u32,
}

impl Target {
    fn new(now: Elapsed) -> Self {
        Self {
            addresses: BTreeSet::new(),
            nearby: VecDeque::new(),
            hinted: Ways::default(),
            state: State::Waiting { until: now },
            failures: 0,
        }
    }

    fn has_way(&self) -> bool {
        let addresses = self.addresses.is_empty() && self.nearby.is_empty() && self.hinted.addresses.is_empty();
        !addresses || self.hinted.has_further()
    }

    /// The ways beside the direct one: what the node says, and a WebSocket wherever the port is that of the web.
    fn further(&self) -> Option<Ways> {
        let mut ways = self.hinted.clone();
        for address in self.all_addresses().into_iter().filter(is_of_the_web) {
            if !ways.websockets.contains(&address) {
                ways.websockets.push(address);
            }
        }
        ways.has_further().then_some(ways)
    }

    /// The way over the local network first: it is the shortest. What others say last: it may be of yesterday.
    fn all_addresses(&self) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for address in self.nearby.iter().chain(&self.hinted.addresses).chain(&self.addresses) {
            if !all.contains(address) {
                all.push(*address);
            }
        }
        all
    }

    /// When it is next due, if `room` says whether one more may be dialled.
    fn due_at(&self, room: bool) -> Option<Elapsed> {
        match self.state {
            State::Connected { .. } => None,
            State::Waiting { until } => (room && self.has_way()).then_some(until),
            State::Dialing { .. } => self.further_at(),
        }
    }

    /// When its further ways are due, if they are to be tried at all.
    fn further_at(&self) -> Option<Elapsed> {
        match self.state {
            State::Dialing {
                since,
                under_way,
                further: false,
            } if self.further().is_some() => Some(if under_way == 0 { since } else { since + FURTHER_AFTER }),
            _ => None,
        }
    }
}

/// So many links a node keeps by dialling, and whose they are: a few others by lot, another lot for each node, so that all together are
/// one whole.
#[derive(Clone, Copy, Debug)]
struct Few {
    own: NodeId,
    max: usize,
}

impl Few {
    fn lot(&self, node: &NodeId) -> ContentId {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&self.own.0);
        both[32..].copy_from_slice(&node.0);
        ContentId::of(&both)
    }
}

/// The targets of a node and when each is due.
#[derive(Debug, Default)]
pub(crate) struct DialPlan {
    targets: BTreeMap<NodeId, Target>,
    /// Nothing: it dials everybody.
    few: Option<Few>,
    /// How many targets count against [`Few::max`].
    busy: usize,
    /// When something is due, as long as nothing has changed since that was looked for: it is asked for all the time.
    next: Option<Option<Elapsed>>,
}

impl DialPlan {
    /// A plan that keeps `max` links by dialling; others may dial this node besides.
    pub(crate) fn few(own: NodeId, max: usize) -> Self {
        Self {
            few: Some(Few { own, max }),
            ..Self::default()
        }
    }

    /// How many more may be dialled now.
    fn room(&self) -> usize {
        self.few
            .as_ref()
            .map_or(usize::MAX, |few| few.max.saturating_sub(self.busy))
    }

    /// Puts a target into another state.
    fn enter(&mut self, node: &NodeId, state: State) {
        if let Some(target) = self.targets.get_mut(node) {
            let before = std::mem::replace(&mut target.state, state);
            self.busy = self.busy + usize::from(target.state.is_busy()) - usize::from(before.is_busy());
            self.next = None;
        }
    }

    /// Something new is known of a target: one that waits is tried at once. Nothing else can be due earlier than it was, so that what is said
    /// of a thousand nodes does not have a thousand looked at each time.
    fn try_at_once(&mut self, node: &NodeId, now: Elapsed) {
        let room = self.room() > 0;
        let Some(target) = self.targets.get_mut(node) else {
            return;
        };
        if let State::Waiting { until } = &mut target.state {
            *until = now;
        }
        let due = target.due_at(room);
        if let (Some(known), Some(due)) = (&mut self.next, due) {
            *known = Some(known.map_or(due, |known| known.min(due)));
        }
    }

    /// Who is waiting to be dialled and may be, in the order in which to.
    fn waiting(&self, now: Elapsed) -> Vec<NodeId> {
        let is_due =
            |target: &Target| matches!(target.state, State::Waiting { until } if until <= now) && target.has_way();
        let due = self.targets.iter().filter(|(_, target)| is_due(target));
        let mut due: Vec<NodeId> = due.map(|(node, _)| *node).collect();
        if let Some(few) = &self.few {
            due.sort_by_cached_key(|node| few.lot(node));
            due.truncate(self.room());
        }
        due
    }

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
        if news {
            self.try_at_once(&node, now);
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
        self.try_at_once(&node, now);
    }

    /// Takes what a node says itself; it replaces what it said before. A new way is tried at once.
    pub(crate) fn hinted(&mut self, node: NodeId, ways: Ways, now: Elapsed) {
        let target = self.targets.entry(node).or_insert_with(|| Target::new(now));
        if std::mem::replace(&mut target.hinted, ways) != target.hinted {
            self.try_at_once(&node, now);
        }
    }

    /// What to dial now; each is marked as being dialled.
    pub(crate) fn due(&mut self, now: Elapsed) -> Vec<(NodeId, Vec<SocketAddr>)> {
        self.next = None;
        let mut due = Vec::new();
        for node in self.waiting(now) {
            let addresses = self.all_addresses(&node);
            let state = State::Dialing {
                since: now,
                under_way: u8::from(!addresses.is_empty()),
                further: false,
            };
            self.enter(&node, state);
            if !addresses.is_empty() {
                due.push((node, addresses));
            }
        }
        due
    }

    /// Whose further ways to try now, each once in a round; whatever cannot be dialled counts as failed.
    pub(crate) fn due_further(&mut self, now: Elapsed) -> Vec<(NodeId, Ways)> {
        self.next = None;
        let mut due = Vec::new();
        for (node, target) in &mut self.targets {
            if target.further_at().is_some_and(|at| at <= now)
                && let Some(ways) = target.further()
                && let State::Dialing { under_way, further, .. } = &mut target.state
            {
                *under_way = under_way.saturating_add(1);
                *further = true;
                due.push((*node, ways));
            }
        }
        due
    }

    /// When [`DialPlan::due`] or [`DialPlan::due_further`] will next have something.
    pub(crate) fn next(&mut self) -> Option<Elapsed> {
        if self.next.is_none() {
            self.next = Some(self.look_for_next());
        }
        self.next.flatten()
    }

    fn look_for_next(&self) -> Option<Elapsed> {
        let room = self.room() > 0;
        self.targets.values().filter_map(|target| target.due_at(room)).min()
    }

    /// A link stands; `ours` says whether this node dialled.
    pub(crate) fn connected(&mut self, node: &NodeId, ours: bool) {
        self.enter(node, State::Connected { ours });
        if let Some(target) = self.targets.get_mut(node) {
            target.failures = 0;
        }
    }

    /// A link stood already when something was learned of its node.
    pub(crate) fn still_connected(&mut self, node: &NodeId) {
        let target = self.targets.get(node);
        if target.is_some_and(|target| !matches!(target.state, State::Connected { .. })) {
            self.connected(node, false);
        }
    }

    /// A dial failed. `jitter` is a random number in 0..1.
    pub(crate) fn failed(&mut self, node: &NodeId, now: Elapsed, jitter: f64) {
        self.next = None;
        let Some(target) = self.targets.get_mut(node) else {
            return;
        };
        let has_further = target.further().is_some();
        let State::Dialing { under_way, further, .. } = &mut target.state else {
            return;
        };
        *under_way = under_way.saturating_sub(1);
        if *under_way > 0 || (!*further && has_further) {
            return;
        }
        target.failures = target.failures.saturating_add(1);
        let until = now + backoff((REDIAL_FIRST, REDIAL_MAX), target.failures, jitter);
        self.enter(node, State::Waiting { until });
    }

    /// A link that stood is gone.
    pub(crate) fn lost(&mut self, node: &NodeId, now: Elapsed, jitter: f64) {
        let until = now + REDIAL_FIRST.mul_f64(jitter);
        self.enter(node, State::Waiting { until });
        if let Some(target) = self.targets.get_mut(node) {
            target.failures = 0;
        }
    }

    /// The other side says that we are no member: only a person can change that, so ask seldom.
    pub(crate) fn refused(&mut self, node: &NodeId, now: Elapsed) {
        let until = now + REDIAL_REFUSED;
        self.enter(node, State::Waiting { until });
    }

    /// A node is a member no longer: it is not dialled again.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        if let Some(gone) = self.targets.remove(node) {
            self.busy -= usize::from(gone.state.is_busy());
            self.next = None;
        }
    }

    /// The addresses known of a node.
    pub(crate) fn addresses(&self, node: &NodeId) -> Vec<SocketAddr> {
        self.targets
            .get(node)
            .map(|target| target.addresses.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Every address at which a node might be reached directly.
    pub(crate) fn all_addresses(&self, node: &NodeId) -> Vec<SocketAddr> {
        self.targets.get(node).map(Target::all_addresses).unwrap_or_default()
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
        plan.connected(&NODE, true);
        assert_eq!(plan.next(), None);
        plan.lost(&NODE, MS(1000), 0.0);
        assert_eq!(plan.due(MS(1000)).len(), 1);
        plan.refused(&NODE, MS(1000));
        assert_eq!(plan.next(), Some(MS(1000) + REDIAL_REFUSED));
        // A dial error that arrives late does not shorten the wait.
        plan.failed(&NODE, MS(1001), 0.0);
        assert_eq!(plan.next(), Some(MS(1000) + REDIAL_REFUSED));
    }

    fn through(relay: u8) -> Ways {
        Ways {
            relays: vec![NodeId([relay; 32])],
            ..Ways::default()
        }
    }

    #[test]
    fn further_ways_are_tried_after_the_direct_one_had_its_start_or_failed() {
        let mut plan = plan();
        plan.hinted(NODE, through(7), MS(0));
        assert_eq!(plan.due(MS(0)).len(), 1);
        assert!(plan.due_further(MS(0)).is_empty(), "the direct way has a start");
        assert_eq!(plan.next(), Some(FURTHER_AFTER));
        assert_eq!(plan.due_further(FURTHER_AFTER), [(NODE, through(7))]);
        assert!(plan.due_further(FURTHER_AFTER).is_empty());
        // Only when both have failed does it wait.
        plan.failed(&NODE, MS(900), 1.0);
        assert_eq!(plan.next(), None);
        plan.failed(&NODE, MS(1000), 1.0);
        let again = plan.next().unwrap();
        assert!(again > MS(1000));
        // Now the direct way fails at once: the further one is not kept waiting.
        assert_eq!(plan.due(again).len(), 1);
        plan.failed(&NODE, again, 1.0);
        assert_eq!(plan.next(), Some(again));
        assert_eq!(plan.due_further(again), [(NODE, through(7))]);
        plan.connected(&NODE, true);
        assert_eq!(plan.next(), None);
    }

    #[test]
    fn a_node_of_which_only_a_relay_is_known_is_dialled_and_its_newest_word_counts() {
        let mut plan = DialPlan::default();
        plan.hinted(NODE, through(7), MS(0));
        assert!(plan.due(MS(0)).is_empty());
        assert_eq!(plan.due_further(MS(0)), [(NODE, through(7))]);
        plan.failed(&NODE, MS(1), 1.0);
        plan.hinted(NODE, through(8), MS(2));
        assert!(plan.due(MS(2)).is_empty());
        assert_eq!(plan.due_further(MS(2)), [(NODE, through(8))]);
        plan.hinted(NODE, Ways::default(), MS(3));
        plan.failed(&NODE, MS(3), 1.0);
        assert_eq!(plan.next(), None, "nothing is known any more");
    }

    #[test]
    fn where_the_port_is_that_of_the_web_a_websocket_is_tried_too() {
        let mut plan = DialPlan::default();
        let address: SocketAddr = "192.0.2.1:443".parse().unwrap();
        plan.learn(NODE, [address], MS(0));
        assert_eq!(plan.due(MS(0)), [(NODE, vec![address])]);
        let websocket = Ways {
            websockets: vec![address],
            ..Ways::default()
        };
        assert_eq!(plan.due_further(FURTHER_AFTER), [(NODE, websocket)]);
    }

    #[test]
    fn a_plan_of_few_dials_no_more_and_another_when_one_is_lost() {
        let node = |number: u8| NodeId([number; 32]);
        let mut plan = DialPlan::few(NODE, 3);
        for number in 10..20 {
            plan.learn(node(number), [SocketAddr::from(([10, 0, 0, number], 4001))], MS(0));
        }
        let dialled: Vec<NodeId> = plan.due(MS(0)).into_iter().map(|(node, _)| node).collect();
        assert_eq!(dialled.len(), 3);
        assert!(plan.due(MS(0)).is_empty());
        assert_eq!(plan.next(), None, "nothing is due while there are enough");
        dialled.iter().for_each(|node| plan.connected(node, true));
        // Somebody else dialled this node: that takes nobody's place.
        let other = (10..20).map(node).find(|node| !dialled.contains(node)).unwrap();
        plan.connected(&other, false);
        assert_eq!(plan.next(), None);
        plan.still_connected(&dialled[0]);
        assert_eq!(plan.next(), None, "it still counts as dialled");
        plan.lost(&dialled[0], MS(1000), 1.0);
        let again = plan.due(MS(1000));
        assert_eq!(again.len(), 1);
        assert!(
            !dialled.contains(&again[0].0) && again[0].0 != other,
            "one that is there"
        );
        // Each node has a lot of its own.
        let mut elsewhere = DialPlan::few(node(2), 3);
        for number in 10..20 {
            elsewhere.learn(node(number), [SocketAddr::from(([10, 0, 0, number], 4001))], MS(0));
        }
        let others: Vec<NodeId> = elsewhere.due(MS(0)).into_iter().map(|(node, _)| node).collect();
        assert_ne!(others, dialled);
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
