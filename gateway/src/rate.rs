//! Token buckets: so many in a burst, so many in the long run.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::limits::{RATE_ADDRESSES_MAX, SIGN_IN_BURST, SIGN_IN_PER_SECOND};

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

/// A bucket per address for what costs a password hash.
#[derive(Default)]
pub(crate) struct RateLimit {
    // A plain lock: held for a few instructions, never across an await.
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl RateLimit {
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= RATE_ADDRESSES_MAX && !buckets.contains_key(&address) {
            // Full buckets hold no memory of anything: forget them, and if there are none, whoever has been quiet longest.
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < bucket.burst
            });
            if buckets.len() >= RATE_ADDRESSES_MAX {
                let fullest = buckets
                    .iter()
                    .max_by(|(_, a), (_, b)| a.tokens.total_cmp(&b.tokens))
                    .map(|(address, _)| *address);
                fullest.map(|address| buckets.remove(&address));
            }
        }
        buckets
            .entry(address)
            .or_insert_with(|| Bucket::new(SIGN_IN_BURST, SIGN_IN_PER_SECOND, now))
            .take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_long_run_rate() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..10 {
            assert_eq!(limit.take(one, start), Ok(()));
        }
        let wait = limit.take(one, start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        assert_eq!(limit.take(other, start), Ok(()), "another address is not affected");
        assert_eq!(limit.take(one, start + wait), Ok(()));
        assert!(limit.take(one, start + wait).is_err());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        for number in 0..RATE_ADDRESSES_MAX as u32 + 100 {
            let _ = limit.take(IpAddr::from(number.to_be_bytes()), start);
        }
        assert!(limit.buckets.lock().unwrap().len() <= RATE_ADDRESSES_MAX);
    }
}
