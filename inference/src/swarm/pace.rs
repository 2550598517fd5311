//! Whether a node that says nothing is only slow: judged by its own pace. Pure; the time is an argument.
//!
//! While it works, a generating node says something at every beat that it announced, whatever it computes: a prompt of half a minute has
//! as many beats as an answer. It counts as frozen when it is silent for [`BEATS_MISSED`] beats, or for much longer than its beats
//! really come, whichever is more; that is how retransmission timers judge a network (Jacobson, "Congestion avoidance and control",
//! 1988). Being wrong costs little: the answer goes on elsewhere and loses nothing.

use std::time::{Duration, Instant};

use crate::limits::{SILENCE_MAX, SILENCE_MIN};

/// Beats that a node may miss.
const BEATS_MISSED: u32 = 5;
/// Deviations that a gap may be longer than the mean.
const DEVIATIONS: f64 = 8.0;

/// The pace of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    heard: Instant,
    beat: Duration,
    /// The gaps between what was heard, in seconds: the mean and the mean deviation.
    gap: f64,
    deviation: f64,
}

impl Pace {
    /// Of a node that was asked now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            heard: now,
            beat: Duration::ZERO,
            gap: 0.0,
            deviation: 0.0,
        }
    }

    /// It said how often it will say something.
    pub const fn announced(&mut self, beat: Duration) {
        self.beat = beat;
    }

    /// It said something.
    pub fn heard(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.heard).as_secs_f64();
        self.heard = now;
        // Tokens come faster than beats; how late the beats are shows only in the long gaps.
        if gap * 2.0 < self.beat.as_secs_f64() {
            return;
        }
        self.deviation += ((gap - self.gap).abs() - self.deviation) / 4.0;
        self.gap += (gap - self.gap) / 8.0;
    }

    /// When it counts as frozen unless it says something before.
    #[must_use]
    pub fn frozen_at(&self) -> Instant {
        let usual = Duration::from_secs_f64(self.gap + DEVIATIONS * self.deviation);
        self.heard + (self.beat * BEATS_MISSED).max(usual).clamp(SILENCE_MIN, SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const BEAT: Duration = Duration::from_millis(200);

    /// Half a minute of prompt over a network that loses 2 of 100 and delays by up to 100 ms, many times: nobody is taken for frozen.
    /// What is lost comes again after a while, and what was sent after it waits for it.
    #[test]
    fn an_honest_prefill_over_a_bad_network_is_not_taken_for_a_freeze_and_a_freeze_is_seen_soon() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut seen_after = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            let mut pace = Pace::new(start);
            pace.announced(BEAT);
            let mut last = start;
            for beat in 1..=150_u32 {
                let sent = start + BEAT * beat;
                let mut arrives = sent + Duration::from_millis(random.random_range(0..100));
                while random.random_bool(0.02) {
                    arrives += Duration::from_millis(350);
                }
                let arrives = arrives.max(last);
                assert!(arrives < pace.frozen_at(), "beat {beat}: {:?}", arrives - last);
                pace.heard(arrives);
                last = arrives;
            }
            seen_after.push(pace.frozen_at() - (start + BEAT * 150));
        }
        seen_after.sort();
        let late = seen_after[190];
        assert!(late <= Duration::from_millis(1400), "{late:?}");
    }

    /// The control: one fixed limit as short as the shortest would have been wrong on a slow, jittery beat that this one learns.
    #[test]
    fn a_slow_beat_is_learned_within_the_longest_silence() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.announced(BEAT);
        let mut now = start;
        for step in 0..40 {
            now += Duration::from_millis(if step % 2 == 0 { 200 } else { 900 });
            pace.heard(now);
        }
        assert!(
            pace.frozen_at() - now > Duration::from_millis(1500),
            "{:?}",
            pace.frozen_at() - now
        );
        assert!(pace.frozen_at() - now <= SILENCE_MAX);
    }
}
