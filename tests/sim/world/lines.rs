//! Links that are cut, fall silent, close and come back, as a node of the product sees them: suspicion first, the end much later.

use std::collections::BTreeSet;

use keys::NodeId;
use mesh::limits::{HEARTBEAT, LINK_SILENCE_MAX, REDIAL_FIRST, REDIAL_MAX, SUSPECT_AFTER};
use rand::RngExt;

use super::{Event, World};
use crate::{gossip::Outbox, micros, nodes::Node};

impl World {
    /// Cuts one direction of a link.
    pub fn cut(&mut self, from: usize, to: usize) {
        if from != to && self.links.cut(from, to) {
            self.befall((from.min(to), from.max(to)));
        }
    }

    /// Cuts a group off from all others, in both directions.
    pub fn split(&mut self, group: &[usize]) {
        for inside in group {
            for outside in (0..self.nodes.len()).filter(|node| !group.contains(node)) {
                self.cut(*inside, outside);
                self.cut(outside, *inside);
            }
        }
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        let cuts = self.links.all_cuts();
        for (from, to) in &cuts {
            self.links.mend(*from, *to);
        }
        let pairs: BTreeSet<_> = cuts.iter().map(|(from, to)| (*from.min(to), *from.max(to))).collect();
        pairs.into_iter().for_each(|pair| self.befall(pair));
    }

    pub(super) fn befall_all(&mut self, node: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            self.befall((node.min(peer), node.max(peer)));
        }
    }

    pub(super) fn hears(&self, at: usize, of: usize) -> bool {
        self.links.is_whole(of, at) && self.nodes[of].is_running()
    }

    /// Something happened to a link or to one of its ends: plans what its ends will notice.
    pub(super) fn befall(&mut self, pair: (usize, usize)) {
        let both_run = self.nodes[pair.0].is_running() && self.nodes[pair.1].is_running();
        let ways = [pair, (pair.1, pair.0)];
        let heard = ways.map(|(at, of)| self.hears(at, of));
        let Some(state) = self.pairs.get_mut(&pair) else { return };
        state.stamp += 1;
        let (stamp, is_open) = (state.stamp, state.is_open);
        if !is_open {
            if both_run && heard == [true, true] {
                let wait = self.rng.random_range(micros(REDIAL_FIRST)..=micros(REDIAL_MAX));
                let wait = wait + self.links.round_trip(pair.0, pair.1);
                self.after(wait, Event::Open { pair, stamp });
            }
            return;
        }
        for ((at, of), heard) in ways.into_iter().zip(heard) {
            match heard {
                true => self.after(
                    micros(HEARTBEAT) + self.links.latency(of, at),
                    Event::Heard { at, of, stamp },
                ),
                false => self.after(micros(SUSPECT_AFTER), Event::Silent { at, of, stamp }),
            }
        }
        if heard != [true, true] {
            self.after(micros(LINK_SILENCE_MAX), Event::Close { pair, stamp });
        }
    }

    pub(super) fn is_current(&self, pair: (usize, usize), stamp: u64) -> bool {
        self.pairs.get(&pair).is_some_and(|state| state.stamp == stamp)
    }

    pub(super) fn hear(&mut self, at: usize, of: usize, stamp: u64, heard: bool) {
        if !self.is_current((at.min(of), at.max(of)), stamp) {
            return;
        }
        let Some(running) = self.nodes[at].running() else {
            return;
        };
        let changed = match heard {
            true => running.reachable.insert(of),
            false => running.reachable.remove(&of),
        };
        if changed {
            self.tell_away(at);
        }
    }

    pub(super) fn close(&mut self, pair: (usize, usize), stamp: u64) {
        if self.is_current(pair, stamp) {
            self.counts.links_closed += 1;
            self.shut(pair);
            self.befall(pair);
        }
    }

    pub(super) fn shut(&mut self, pair: (usize, usize)) {
        let Some(state) = self.pairs.get_mut(&pair) else { return };
        state.is_open = false;
        self.end_talks_between(pair.0, pair.1);
        for (at, of) in [pair, (pair.1, pair.0)] {
            let Some(running) = self.nodes[at].running() else {
                continue;
            };
            running.gossip.disconnected(of);
            if running.reachable.remove(&of) {
                self.tell_away(at);
            }
        }
    }

    pub(super) fn open(&mut self, pair: (usize, usize), stamp: u64) {
        if !self.is_current(pair, stamp) {
            return;
        }
        if let Some(state) = self.pairs.get_mut(&pair) {
            state.is_open = true;
        }
        for (at, of) in [pair, (pair.1, pair.0)] {
            let dialled_by_us = self.dials(at, of);
            let Some(running) = self.nodes[at].running() else {
                continue;
            };
            let mut out = Outbox::new();
            running.gossip.connected(of, dialled_by_us, &mut out);
            running.reachable.insert(of);
            self.send(at, out);
            self.tell_away(at);
        }
    }

    /// Who can be reached has changed: the replica remembers for the others what they miss, and new ones are talked with.
    pub(super) fn tell_away(&mut self, node: usize) {
        let ids: Vec<NodeId> = self.nodes.iter().map(Node::id).collect();
        let Some(running) = self.nodes[node].running() else {
            return;
        };
        let others = (0..ids.len()).filter(|peer| *peer != node);
        let away = others
            .filter(|peer| !running.reachable.contains(peer))
            .map(|peer| ids[peer]);
        running.replica.set_away(away.collect());
        self.wake_pace(node);
    }
}
