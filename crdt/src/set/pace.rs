//! When to talk with whom: at once with a peer that has become reachable, then every second with some reachable peer while
//! something moves, more and more rarely (up to 15 seconds) while everything agrees. Pure: time and randomness are arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use keys::NodeId;
use rand::{Rng, RngExt, seq::SliceRandom};

use crate::limits::{RECONCILE_PERIOD_JITTER, RECONCILE_PERIOD_MAX, RECONCILE_PERIOD_MIN, RECONCILE_TALKS_MAX};

/// How a talk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Something was taken in, on either side.
    Moved,
    /// Nothing was: both agree, or refuse what the other has.
    Quiet,
    /// It broke off.
    Failed,
}

/// The pace of the talks that one node opens. Times are measured from any one moment, the same for all calls.
#[derive(Debug)]
pub struct Pace {
    /// Who can be reached or is being talked with.
    peers: BTreeMap<NodeId, Peer>,
    /// Between two talks, before it varies.
    period: Duration,
    /// By how much the present period varies.
    factor: f64,
    /// When the next talk with some peer is due.
    due: Duration,
}

#[derive(Debug, Default)]
struct Peer {
    reachable: bool,
    talking: bool,
    /// To be talked with as soon as it may be.
    at_once: bool,
    /// Not before this, after a failure.
    not_before: Duration,
    /// For how long the last talk's failure keeps it away; zero if it did not fail.
    penalty: Duration,
}

impl Peer {
    fn is_free(&self, now: Duration) -> bool {
        self.reachable && !self.talking && self.not_before <= now
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace {
    /// Nobody has been reached yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            peers: BTreeMap::new(),
            period: RECONCILE_PERIOD_MIN,
            factor: 1.0,
            due: Duration::ZERO,
        }
    }

    /// Whom to open a talk with now, and when to ask again at the latest; to be asked also when the reachable peers change and
    /// after [`Pace::finished`], which must follow for each peer that is returned here.
    pub fn next(&mut self, now: Duration, reachable: &BTreeSet<NodeId>, rng: &mut impl Rng) -> (Vec<NodeId>, Duration) {
        self.meet(reachable);
        let talking = self.peers.values().filter(|peer| peer.talking).count();
        let room = RECONCILE_TALKS_MAX.saturating_sub(talking);
        let mut free: Vec<NodeId> = self.free(now).map(|(id, _)| id).collect();
        // No order that many nodes share: or they would all begin with the same peer.
        free.shuffle(rng);
        let mut talks: Vec<NodeId> = free.iter().copied().filter(|id| self.is_awaited(id)).collect();
        if now >= self.due {
            self.factor = rng.random_range(1.0 - RECONCILE_PERIOD_JITTER..=1.0 + RECONCILE_PERIOD_JITTER);
            self.due = now + self.period.mul_f64(self.factor);
            if talks.is_empty() {
                talks.extend(free.first());
            }
        }
        talks.truncate(room);
        for id in &talks {
            if let Some(peer) = self.peers.get_mut(id) {
                (peer.talking, peer.at_once) = (true, false);
            }
        }
        let kept_away = self
            .peers
            .values()
            .filter(|peer| peer.at_once && peer.reachable && !peer.talking);
        let wakeup = kept_away
            .map(|peer| peer.not_before)
            .filter(|moment| *moment > now)
            .fold(self.due, Duration::min);
        (talks, wakeup)
    }

    fn meet(&mut self, reachable: &BTreeSet<NodeId>) {
        self.peers
            .iter_mut()
            .for_each(|(id, peer)| peer.reachable &= reachable.contains(id));
        self.peers.retain(|_, peer| peer.reachable || peer.talking);
        for id in reachable {
            let peer = self.peers.entry(*id).or_default();
            if !peer.reachable {
                (peer.reachable, peer.at_once) = (true, true);
            }
        }
    }

    fn free(&self, now: Duration) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers
            .iter()
            .filter(move |(_, peer)| peer.is_free(now))
            .map(|(id, peer)| (*id, peer))
    }

    fn is_awaited(&self, id: &NodeId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.at_once)
    }

    /// A talk that [`Pace::next`] asked for is over.
    pub fn finished(&mut self, peer: &NodeId, ended: Ended, now: Duration) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.talking = false;
            peer.penalty = match ended {
                Ended::Failed => (peer.penalty * 2).clamp(RECONCILE_PERIOD_MIN, RECONCILE_PERIOD_MAX),
                Ended::Moved | Ended::Quiet => Duration::ZERO,
            };
            peer.not_before = now + peer.penalty;
            peer.at_once |= ended == Ended::Failed;
        }
        match ended {
            Ended::Moved => self.stir(now),
            Ended::Quiet => self.period = (self.period * 2).min(RECONCILE_PERIOD_MAX),
            Ended::Failed => {}
        }
    }

    /// Something was accepted here: others may lack it, so talks are frequent again.
    pub fn stir(&mut self, now: Duration) {
        self.period = RECONCILE_PERIOD_MIN;
        self.due = self.due.min(now + self.period.mul_f64(self.factor));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn peers(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<NodeId> {
        numbers.into_iter().map(|number| NodeId([number; 32])).collect()
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    /// The moments at which talks begin, when each takes no time and ends as `ended` says.
    fn moments(pace: &mut Pace, from: Duration, count: usize, ended: Ended, rng: &mut ChaCha8Rng) -> Vec<Duration> {
        let reachable = peers(0..5);
        let (mut now, mut moments) = (from, Vec::new());
        while moments.len() < count {
            let (talks, wakeup) = pace.next(now, &reachable, rng);
            for peer in talks {
                moments.push(now);
                pace.finished(&peer, ended, now);
            }
            assert!(wakeup > now, "time goes on");
            now = wakeup;
        }
        moments
    }

    fn gaps(moments: &[Duration]) -> Vec<f64> {
        moments
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    }

    #[test]
    fn a_peer_that_becomes_reachable_is_talked_with_at_once_and_again_when_it_comes_back() {
        let (mut pace, mut rng) = (Pace::new(), rng());
        let second = Duration::from_secs(1);
        let (talks, _) = pace.next(second, &peers(1..4), &mut rng);
        assert_eq!(BTreeSet::from_iter(talks.clone()), peers(1..4));
        assert_eq!(
            pace.next(second, &peers(1..5), &mut rng).0,
            Vec::from_iter(peers([4])),
            "others are being talked with"
        );
        talks.iter().for_each(|peer| pace.finished(peer, Ended::Quiet, second));
        assert!(
            pace.next(second, &peers(1..5), &mut rng).0.is_empty(),
            "the next talk is not due"
        );
        pace.next(second, &peers(2..5), &mut rng);
        assert_eq!(pace.next(second, &peers(1..5), &mut rng).0, Vec::from_iter(peers([1])));
    }

    #[test]
    fn talks_come_every_second_while_something_moves_and_every_fifteen_while_all_agree() {
        let (mut pace, mut rng) = (Pace::new(), rng());
        let moving = moments(&mut pace, Duration::ZERO, 50, Ended::Moved, &mut rng);
        let moving_gaps = gaps(&moving[5..]);
        assert!(
            moving_gaps.iter().all(|gap| (0.8..=1.2).contains(gap)),
            "{moving_gaps:?}"
        );
        assert!(moving_gaps.windows(2).any(|pair| pair[0] != pair[1]), "they vary");
        let quiet = moments(&mut pace, moving[49], 50, Ended::Quiet, &mut rng);
        let quiet_gaps = gaps(&quiet);
        assert!(
            quiet_gaps[10..].iter().all(|gap| (12.0..=18.0).contains(gap)),
            "{quiet_gaps:?}"
        );
        assert!(quiet_gaps[1] < 3.0, "not at once: {quiet_gaps:?}");
        // Something is accepted here: the next talk comes within a second.
        pace.stir(quiet[49]);
        let after = moments(&mut pace, quiet[49], 2, Ended::Moved, &mut rng);
        assert!(after[0] - quiet[49] <= Duration::from_millis(1200), "{after:?}");
    }

    #[test]
    fn a_peer_whose_talks_fail_is_tried_again_more_and_more_rarely() {
        let (mut pace, mut rng) = (Pace::new(), rng());
        let reachable = peers([1]);
        let (mut now, mut tries) = (Duration::ZERO, Vec::new());
        while tries.len() < 8 {
            let (talks, wakeup) = pace.next(now, &reachable, &mut rng);
            for peer in talks {
                tries.push(now);
                pace.finished(&peer, Ended::Failed, now);
            }
            now = wakeup.max(now + Duration::from_millis(1));
        }
        let seconds: Vec<u64> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 15, 15, 15]);
    }

    proptest! {
        #[test]
        fn there_is_one_talk_with_a_peer_at_a_time_and_few_at_all(
            seed in any::<u64>(),
            events in prop::collection::vec((0_u64..3000, 0_u8..40, 0_u8..3, any::<bool>()), 1..200),
        ) {
            let (mut pace, mut rng) = (Pace::new(), ChaCha8Rng::seed_from_u64(seed));
            let mut now = Duration::ZERO;
            let mut open: Vec<NodeId> = Vec::new();
            for (wait, reachable, ended, end) in events {
                now += Duration::from_millis(wait);
                let reachable = peers((0..reachable).map(|peer| peer * 3 % 41));
                let (talks, wakeup) = pace.next(now, &reachable, &mut rng);
                prop_assert!(talks.iter().all(|peer| reachable.contains(peer) && !open.contains(peer)));
                prop_assert!(wakeup > now);
                open.extend(talks);
                prop_assert!(open.len() <= RECONCILE_TALKS_MAX);
                if end && !open.is_empty() {
                    let ended = [Ended::Moved, Ended::Quiet, Ended::Failed][usize::from(ended)];
                    pace.finished(&open.remove(0), ended, now);
                }
            }
        }
    }
}
