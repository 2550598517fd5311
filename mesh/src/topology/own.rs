//! When a node tells of its own links anew: a pure decision.

use std::{collections::BTreeMap, time::Duration};

use keys::NodeId;

use super::link_state::{LinkRecord, ShortNode};
use crate::{
    LinkPath,
    limits::{
        LINK_STATE_AGAIN, LINK_STATE_AT_ONCE, LINK_STATE_DRIFT_GAP, LINK_STATE_GAP, LINK_STATES_PER_SECOND,
        LINKS_TOLD_MAX,
    },
};

/// A link as it is measured now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) path: LinkPath,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) loss: Option<f64>,
    pub(crate) bytes: Option<(u64, u64)>,
}

/// This node's links, smoothed, and what was last told of them.
#[derive(Debug)]
pub(crate) struct OwnLinks {
    smoothed: BTreeMap<NodeId, f64>,
    told: Option<(Duration, Vec<LinkRecord>)>,
    /// How often it may still tell before it must wait for its turn.
    budget: f64,
    looked: Duration,
    /// How many links there were then.
    links: usize,
}

impl Default for OwnLinks {
    fn default() -> Self {
        Self {
            smoothed: BTreeMap::new(),
            told: None,
            budget: LINK_STATE_AT_ONCE,
            looked: Duration::ZERO,
            links: 0,
        }
    }
}

impl OwnLinks {
    /// Looks at the links; what to tell, if anything. `now` is the time since the start. The more `members` a mesh has, the more rarely each
    /// tells, so that all together tell [`LINK_STATES_PER_SECOND`] times a second, which each node verifies.
    pub(crate) fn look(
        &mut self,
        links: &BTreeMap<NodeId, Measured>,
        members: usize,
        now: Duration,
    ) -> Option<Vec<LinkRecord>> {
        let passed = now.saturating_sub(self.looked).as_secs_f64();
        self.looked = now;
        let refilled = self.budget + passed * LINK_STATES_PER_SECOND / members.max(1) as f64;
        self.budget = refilled.min(LINK_STATE_AT_ONCE);
        self.smoothed.retain(|node, _| links.contains_key(node));
        for (node, link) in links {
            if let Some(round_trip) = link.round_trip {
                let micros = round_trip.as_secs_f64() * 1e6;
                let smoothed = self.smoothed.entry(*node).or_insert(micros);
                *smoothed += (micros - *smoothed) / 8.0;
            }
        }
        let records = self.records(links);
        let before = std::mem::replace(&mut self.links, records.len());
        let due = match &self.told {
            // A node that starts waits until it has all the links that it gets at first.
            None => !records.is_empty() && records.len() == before,
            Some((at, told)) => {
                let waited = now.saturating_sub(*at);
                let other = told.len() != records.len()
                    || told.iter().zip(&records).any(|(a, b)| (a.to, a.path) != (b.to, b.path));
                let drifted = !other && told.iter().zip(&records).any(|(a, b)| has_drifted(a, b));
                let may = self.budget >= 1.0;
                waited >= LINK_STATE_AGAIN
                    || (may && other && waited >= LINK_STATE_GAP)
                    || (may && drifted && waited >= LINK_STATE_DRIFT_GAP)
            }
        };
        due.then(|| {
            self.told = Some((now, records.clone()));
            self.budget = (self.budget - 1.0).max(0.0);
            records
        })
    }

    fn records(&self, links: &BTreeMap<NodeId, Measured>) -> Vec<LinkRecord> {
        let mut records: Vec<LinkRecord> = links
            .iter()
            .map(|(node, link)| LinkRecord {
                to: ShortNode::of(node),
                round_trip: self.smoothed.get(node).map(|micros| *micros as u32),
                loss: link.loss.map(|loss| (loss.clamp(0.0, 1.0) * 10_000.0) as u16),
                path: link.path,
                bytes: link.bytes,
            })
            .collect();
        if records.len() > LINKS_TOLD_MAX {
            records.sort_by_key(|record| record.round_trip.unwrap_or(u32::MAX));
            records.truncate(LINKS_TOLD_MAX);
        }
        records.sort_by_key(|record| record.to);
        records.dedup_by_key(|record| record.to);
        records
    }
}

/// By a quarter and a millisecond, or one packet in fifty.
fn has_drifted(a: &LinkRecord, b: &LinkRecord) -> bool {
    let round_trip = match (a.round_trip, b.round_trip) {
        (Some(a), Some(b)) => a.abs_diff(b) > (a / 4).max(1000),
        (a, b) => a.is_some() != b.is_some(),
    };
    round_trip || a.loss.unwrap_or(0).abs_diff(b.loss.unwrap_or(0)) > 200
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(millis: u64) -> Measured {
        Measured {
            path: LinkPath::Quic,
            round_trip: Some(Duration::from_millis(millis)),
            loss: Some(0.0),
            bytes: Some((1, 2)),
        }
    }

    #[test]
    fn changes_are_told_at_once_drift_seldom_and_noise_never() {
        let seconds = Duration::from_secs;
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut own = OwnLinks::default();
        let mut links = BTreeMap::from([(a, link(20))]);
        assert_eq!(own.look(&links, 10, seconds(0)), None, "there may be more in a moment");
        assert!(own.look(&links, 10, seconds(0)).is_some());
        links.insert(b, link(40));
        assert_eq!(own.look(&links, 10, Duration::from_millis(500)), None, "not too often");
        assert_eq!(own.look(&links, 10, seconds(1)).unwrap().len(), 2);
        for second in 2..200 {
            links.insert(a, link(19 + second % 3));
            assert_eq!(own.look(&links, 10, seconds(second)), None, "noise is no news");
        }
        for second in 200..210 {
            links.insert(a, link(80));
            own.look(&links, 10, seconds(second));
        }
        assert!(own.told.as_ref().unwrap().0 >= seconds(200), "it is slower now");
        links.remove(&b);
        assert_eq!(own.look(&links, 10, seconds(240)).unwrap().len(), 1);
        let told = own.told.as_ref().unwrap().0;
        assert!(
            own.look(&links, 10, told + LINK_STATE_AGAIN).is_some(),
            "from time to time it says so again"
        );
    }

    #[test]
    fn in_a_large_mesh_each_tells_the_more_rarely_so_that_all_together_do_not() {
        let told_in_ten_minutes = |members: usize| {
            let mut own = OwnLinks::default();
            let told = (0..600).filter(|second| {
                // Each second another neighbour.
                let links = BTreeMap::from([(NodeId([(second % 250) as u8; 32]), link(20))]);
                own.look(&links, members, Duration::from_secs(*second)).is_some()
            });
            told.count()
        };
        assert_eq!(told_in_ten_minutes(10), 599, "a small mesh is told at once");
        let large = told_in_ten_minutes(1000);
        assert!((11..=15).contains(&large), "{large} times");
    }
}
