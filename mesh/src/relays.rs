//! At which relays a node keeps a reservation, as a pure state machine.
//!
//! libp2p renews a reservation that stands and forgets one that is lost; a node behind a home router would then be unreachable until it
//! is started again. So this plan keeps reservations at up to three relays, replaces a lost one by another relay or by the same one when it is
//! back, and never stops asking. Waits grow and have jitter, so that the homes of a relay that was restarted do not come all at once.

use std::collections::BTreeMap;

use keys::NodeId;

use crate::{
    dial::{Elapsed, backoff},
    limits::{RELAY_ASK_TIMEOUT, RELAY_RETRY_FIRST, RELAY_RETRY_MAX, RELAYS_HELD},
};

#[derive(Debug, PartialEq)]
enum Slot {
    Asked { since: Elapsed, failures: u32 },
    Held,
    Waiting { until: Elapsed, failures: u32 },
}

/// The reservations of this node.
#[derive(Debug, Default)]
pub(crate) struct RelayPlan {
    slots: BTreeMap<NodeId, Slot>,
}

impl RelayPlan {
    /// Which relays to ask now, of those that could be asked, the preferred first; each is marked as asked. `jitter` is a random number in
    /// 0..1.
    pub(crate) fn due(&mut self, candidates: &[NodeId], now: Elapsed, jitter: f64) -> Vec<NodeId> {
        for slot in self.slots.values_mut() {
            if let Slot::Asked { since, failures } = *slot
                && since + RELAY_ASK_TIMEOUT <= now
            {
                *slot = waiting(failures + 1, now, jitter);
            }
        }
        // What waits and can be asked no more is forgotten, so that this map does not grow.
        let stays = |node: &NodeId, slot: &mut Slot| !matches!(slot, Slot::Waiting { .. }) || candidates.contains(node);
        self.slots.retain(stays);
        let taken = self.slots.values().filter(|slot| !matches!(slot, Slot::Waiting { .. }));
        let room = RELAYS_HELD.saturating_sub(taken.count());
        let free = |node: &&NodeId| match self.slots.get(node) {
            None => true,
            Some(Slot::Waiting { until, .. }) => *until <= now,
            Some(_) => false,
        };
        let due: Vec<NodeId> = candidates.iter().filter(free).take(room).copied().collect();
        for node in &due {
            let failures = match self.slots.get(node) {
                Some(Slot::Waiting { failures, .. }) => *failures,
                _ => 0,
            };
            self.slots.insert(*node, Slot::Asked { since: now, failures });
        }
        due
    }

    /// A relay holds a reservation for this node. Says whether that is news.
    pub(crate) fn held(&mut self, relay: NodeId) -> bool {
        self.slots.insert(relay, Slot::Held) != Some(Slot::Held)
    }

    /// A reservation is lost or was refused. Says whether one was held.
    pub(crate) fn lost(&mut self, relay: NodeId, now: Elapsed, jitter: f64) -> bool {
        let slot = self.slots.get(&relay);
        let failures = match slot {
            Some(Slot::Asked { failures, .. }) => failures + 1,
            Some(Slot::Waiting { .. }) => return false,
            Some(Slot::Held) | None => 0,
        };
        self.slots.insert(relay, waiting(failures, now, jitter)) == Some(Slot::Held)
    }

    /// The relays that hold a reservation.
    pub(crate) fn holders(&self) -> Vec<NodeId> {
        let held = self.slots.iter().filter(|(_, slot)| **slot == Slot::Held);
        held.map(|(node, _)| *node).collect()
    }
}

fn waiting(failures: u32, now: Elapsed, jitter: f64) -> Slot {
    Slot::Waiting {
        until: now + backoff((RELAY_RETRY_FIRST, RELAY_RETRY_MAX), failures, jitter),
        failures,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: fn(u64) -> Elapsed = Duration::from_millis;

    fn nodes(count: u8) -> Vec<NodeId> {
        (0..count).map(|number| NodeId([number; 32])).collect()
    }

    #[test]
    fn three_are_held_the_preferred_first_and_a_lost_one_is_replaced_at_once() {
        let (mut plan, all) = (RelayPlan::default(), nodes(5));
        assert_eq!(plan.due(&all, MS(0), 0.5), all[..RELAYS_HELD]);
        assert!(plan.due(&all, MS(1), 0.5).is_empty(), "they are asked already");
        for relay in &all[..RELAYS_HELD] {
            assert!(plan.held(*relay) && !plan.held(*relay));
        }
        assert!(plan.lost(all[1], MS(10), 0.5));
        assert_eq!(plan.due(&all, MS(10), 0.5), [all[3]]);
        assert_eq!(plan.holders(), [all[0], all[2]]);
    }

    #[test]
    fn the_only_relay_is_asked_again_for_ever_after_a_growing_wait() {
        let (mut plan, all) = (RelayPlan::default(), nodes(1));
        let (mut now, mut waits) = (MS(0), Vec::new());
        for _ in 0..30 {
            assert_eq!(plan.due(&all, now, 1.0), all);
            assert!(!plan.lost(all[0], now, 1.0), "it was never held");
            let Slot::Waiting { until, .. } = plan.slots[&all[0]] else {
                panic!("it waits")
            };
            assert!(plan.due(&all, until - MS(1), 1.0).is_empty());
            waits.push(until - now);
            now = until;
        }
        assert!(waits.is_sorted() && waits[0] == RELAY_RETRY_FIRST * 2, "{waits:?}");
        assert_eq!(*waits.last().unwrap(), RELAY_RETRY_MAX);
    }

    #[test]
    fn a_relay_that_does_not_answer_does_not_hold_a_place_for_ever() {
        let (mut plan, all) = (RelayPlan::default(), nodes(4));
        assert_eq!(plan.due(&all, MS(0), 0.5).len(), RELAYS_HELD);
        let later = MS(0) + RELAY_ASK_TIMEOUT;
        assert_eq!(plan.due(&all, later, 0.5), [all[3]]);
        // An answer that comes all the same counts.
        assert!(plan.held(all[0]));
        assert_eq!(plan.holders(), [all[0]]);
    }

    #[test]
    fn relays_that_are_gone_are_forgotten() {
        let (mut plan, all) = (RelayPlan::default(), nodes(3));
        plan.due(&all, MS(0), 0.5);
        for relay in &all {
            assert!(!plan.lost(*relay, MS(0), 0.5));
        }
        plan.due(&[], MS(1), 0.5);
        assert!(plan.slots.is_empty());
    }
}
