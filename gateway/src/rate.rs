//! Token buckets: so many in a burst, so many in the long run.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::limits::RATE_ADDRESSES_MAX;

/// One bucket; pure in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) const fn new(burst: f64, per_second: f64, now: Instant) -> Self {
        Self {
            tokens: burst,
            burst,
            per_second,
            at: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.burst);
        self.at = now;
    }

    /// Takes one; otherwise says how long until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
}

/// A bucket for each address, or for each person.
pub(crate) struct RateLimit<K> {
    // A plain lock: held for a few instructions, never across an await.
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K> Default for RateLimit<K> {
    fn default() -> Self {
        Self {
            buckets: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash + Copy> RateLimit<K> {
    /// Takes one; the limit may be another one than a moment ago.
    pub(crate) fn take(&self, key: K, burst: f64, per_second: f64, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= RATE_ADDRESSES_MAX && !buckets.contains_key(&key) {
            // Full buckets hold no memory of anything: forget them, and if too few were, the fuller half of the rest.
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < bucket.burst
            });
            if buckets.len() > RATE_ADDRESSES_MAX / 2 {
                let mut tokens: Vec<f64> = buckets.values().map(|bucket| bucket.tokens).collect();
                let middle = tokens.len() / 2;
                let (_, median, _) = tokens.select_nth_unstable_by(middle, f64::total_cmp);
                let median = *median;
                buckets.retain(|_, bucket| bucket.tokens < median);
            }
        }
        let bucket = buckets
            .entry(key)
            .or_insert_with(|| Bucket::new(burst, per_second, now));
        bucket.refill(now);
        (bucket.burst, bucket.per_second) = (burst, per_second);
        bucket.take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::limits::{SIGN_IN_BURST, SIGN_IN_PER_SECOND};

    #[test]
    fn a_burst_is_allowed_and_then_the_long_run_rate() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let take = |address, now| limit.take(address, SIGN_IN_BURST, SIGN_IN_PER_SECOND, now);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..10 {
            assert_eq!(take(one, start), Ok(()));
        }
        let wait = take(one, start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        assert_eq!(take(other, start), Ok(()), "another address is not affected");
        assert_eq!(take(one, start + wait), Ok(()));
        assert!(take(one, start + wait).is_err());
        // An administrator allows more.
        assert_eq!(
            limit.take(one, 100.0, 10.0, start + wait + Duration::from_secs(2)),
            Ok(())
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        for number in 0..RATE_ADDRESSES_MAX as u32 + 100 {
            let _ = limit.take(IpAddr::from(number.to_be_bytes()), 10.0, 0.5, start);
        }
        assert!(limit.buckets.lock().unwrap().len() <= RATE_ADDRESSES_MAX);
    }
}
