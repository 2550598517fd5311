//! How fast bulk may go: a leaky bucket that gives way to tokens.
//!
//! A person who waits for words must not notice that a model is being copied. While a token stream is open on this node, bulk goes
//! at 30 % of what the line can do; otherwise at all of it. What the line can do is either set or measured: the best of the last ten
//! seconds in which bulk went unhindered and without a pause.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::limits::{BLOB_PACE_ASSUMED, BLOB_PACE_BURST, BLOB_PACE_PAUSE, BLOB_PACE_SECONDS, BLOB_PACE_UNDER_TOKENS};

/// Counts the token streams that are open on this node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TokenStreams(Arc<AtomicUsize>);

/// Counts for as long as it lives.
#[derive(Debug)]
pub(crate) struct TokenStream(Arc<AtomicUsize>);

impl TokenStreams {
    /// Counts one more until the guard is dropped.
    pub(crate) fn enter(&self) -> TokenStream {
        // Relaxed: the number stands alone, no other memory depends on it.
        self.0.fetch_add(1, Ordering::Relaxed);
        TokenStream(self.0.clone())
    }

    /// How many are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the line can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many bytes a second.
    BytesPerSecond(f64),
    /// As much as it turned out to carry.
    Measured,
}

/// The bucket itself; pure.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// When all that was let through so far has leaked.
    level: Duration,
    second: u64,
    bytes: f64,
    /// Whether there was no pause in this second so far: a small picture now and then says nothing of the line.
    busy: bool,
    last: Duration,
    /// Bytes of the last seconds that were unhindered and busy.
    best: VecDeque<f64>,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            level: Duration::ZERO,
            second: 0,
            bytes: 0.0,
            busy: false,
            last: Duration::ZERO,
            best: VecDeque::new(),
        }
    }

    /// Puts `bytes` in and says how long to wait before they go.
    fn take(&mut self, now: Duration, bytes: u64, tokens_flow: bool) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "a few bytes in a petabyte are no matter")]
        let bytes = bytes as f64;
        let share = if tokens_flow { BLOB_PACE_UNDER_TOKENS } else { 1.0 };
        let rate = match self.rate {
            Rate::BytesPerSecond(rate) => rate * share,
            Rate::Measured if tokens_flow => self.line() * share,
            Rate::Measured => {
                self.measure(now, bytes);
                return Duration::ZERO;
            }
        };
        let start = self.level.max(now.saturating_sub(BLOB_PACE_BURST));
        // A rate that somebody set to nearly nothing still ends one day.
        self.level = start + Duration::from_secs_f64((bytes / rate.max(1.0)).min(3600.0));
        start.saturating_sub(now)
    }

    fn measure(&mut self, now: Duration, bytes: f64) {
        let paused = now.saturating_sub(self.last) > BLOB_PACE_PAUSE;
        self.last = now;
        if now.as_secs() != self.second {
            if self.busy && !paused {
                self.best.push_back(self.bytes);
            }
            if self.best.len() > BLOB_PACE_SECONDS {
                self.best.pop_front();
            }
            (self.second, self.bytes, self.busy) = (now.as_secs(), 0.0, true);
        }
        self.busy &= !paused;
        self.bytes += bytes;
    }

    fn line(&self) -> f64 {
        let best = self.best.iter().copied().fold(0.0, f64::max);
        if best > 0.0 { best } else { BLOB_PACE_ASSUMED }
    }
}

/// Lets bulk through at its pace. Cheap to clone; those who share one share its rate.
#[derive(Clone, Debug)]
pub struct Pace {
    tokens: TokenStreams,
    started: Instant,
    // A plain lock: held for a few instructions, never across an await.
    bucket: Arc<Mutex<Bucket>>,
}

impl Pace {
    /// A pace that gives way to `tokens`.
    #[must_use]
    pub fn new(rate: Rate, tokens: TokenStreams) -> Self {
        Self {
            tokens,
            started: Instant::now(),
            bucket: Arc::new(Mutex::new(Bucket::new(rate))),
        }
    }

    /// Waits until `bytes` may go.
    pub(super) async fn take(&self, bytes: u64) {
        let wait = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(self.started.elapsed(), bytes, self.tokens.open() > 0)
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Sends 16 KiB at a time for ten seconds and says how many bytes went in the last nine.
    fn run(bucket: &mut Bucket, from: Duration, tokens_flow: bool) -> f64 {
        let mut now = from;
        let mut sent = 0.0;
        while now < from + Duration::from_secs(10) {
            now += bucket.take(now, 16_384, tokens_flow).max(Duration::from_micros(100));
            if now >= from + Duration::from_secs(1) {
                sent += 16_384.0;
            }
        }
        sent / 9.0
    }

    #[test]
    fn a_set_rate_is_kept_and_falls_to_thirty_percent_while_tokens_flow() {
        let mut bucket = Bucket::new(Rate::BytesPerSecond(12_500_000.0));
        let alone = run(&mut bucket, Duration::ZERO, false);
        assert!((alone / 12_500_000.0 - 1.0).abs() < 0.01, "{alone}");
        let beside = run(&mut bucket, Duration::from_secs(20), true);
        assert!((beside / 3_750_000.0 - 1.0).abs() < 0.01, "{beside}");
    }

    #[test]
    fn a_measured_line_is_not_hindered_until_tokens_flow() {
        let mut bucket = Bucket::new(Rate::Measured);
        let alone = run(&mut bucket, Duration::ZERO, false);
        assert!(alone > 100_000_000.0, "{alone}");
        let beside = run(&mut bucket, Duration::from_secs(20), true);
        assert!((0.25..0.35).contains(&(beside / alone)), "{beside} of {alone}");
        // Nothing was measured yet: a modest line is assumed.
        let beside = run(&mut Bucket::new(Rate::Measured), Duration::ZERO, true);
        assert!((beside / (BLOB_PACE_ASSUMED * BLOB_PACE_UNDER_TOKENS) - 1.0).abs() < 0.01);
    }

    #[test]
    fn small_pictures_now_and_then_do_not_make_the_line_a_slow_one() {
        let mut bucket = Bucket::new(Rate::Measured);
        for second in 0..30 {
            assert!(
                bucket
                    .take(Duration::from_millis(second * 900), 50_000, false)
                    .is_zero()
            );
        }
        let beside = run(&mut bucket, Duration::from_secs(40), true);
        assert!(
            (beside / (BLOB_PACE_ASSUMED * BLOB_PACE_UNDER_TOKENS) - 1.0).abs() < 0.01,
            "{beside}"
        );
    }

    #[test]
    fn a_pause_does_not_save_up_more_than_a_burst() {
        let mut bucket = Bucket::new(Rate::BytesPerSecond(MIB as f64));
        let late = Duration::from_secs(100);
        let mut burst = 0;
        while bucket.take(late, 1024, false).is_zero() {
            burst += 1024;
        }
        assert!(
            burst as f64 <= MIB as f64 * BLOB_PACE_BURST.as_secs_f64() + 1024.0,
            "{burst}"
        );
    }

    #[test]
    fn token_streams_are_counted_while_they_live() {
        let tokens = TokenStreams::default();
        let (one, two) = (tokens.enter(), tokens.enter());
        assert_eq!(tokens.open(), 2);
        drop(one);
        assert_eq!(tokens.open(), 1);
        drop(two);
        assert_eq!(tokens.open(), 0);
    }
}
