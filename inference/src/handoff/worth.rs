//! Whether a state is worth its way: pure.

use std::time::Duration;

/// Bytes a second at which states are taken out of one context, go through the pipes of both engine processes, and are put into another: 187 MB/s
/// measured by `./x bench inference kv` (115 MB of a model of 0.6B in 614 ms, of which llama.cpp alone takes 83).
const COPIED_BYTES_PER_SECOND: f64 = 180e6;
/// Bytes a second over a link of which nothing is known: 100 Mbit/s. A slower one is found out by its first state, which is given up when it
/// turns out to take longer than computing.
const LINK_BYTES_PER_SECOND: f64 = 12.5e6;
/// Round trips until the first byte of a state: a stream and a question, and the word to send it.
const ROUND_TRIPS: f64 = 3.0;

/// A link, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Link {
    /// Once over it and back.
    pub(super) round_trip: Duration,
    /// What states were measured to travel at.
    pub(super) bytes_per_second: Option<f64>,
}

/// How long a state of so many bytes takes until it is in the context here.
pub(super) fn moving(bytes: u64, link: Link) -> Duration {
    let speed = link.bytes_per_second.unwrap_or(LINK_BYTES_PER_SECOND).max(1.0);
    let bytes = bytes as f64;
    let seconds = link.round_trip.as_secs_f64() * ROUND_TRIPS + bytes / speed + bytes / COPIED_BYTES_PER_SECOND;
    duration(seconds)
}

/// How long so many tokens take to compute; for ever where the speed is not known.
pub(super) fn computing(tokens: u64, prefill_tokens_per_second: f64) -> Duration {
    if !prefill_tokens_per_second.is_finite() || prefill_tokens_per_second <= 0.0 {
        return Duration::ZERO;
    }
    duration(tokens as f64 / prefill_tokens_per_second)
}

/// Whether what has come until now lets the rest come in time.
pub(super) fn comes_in_time(received: u64, bytes: u64, elapsed: Duration, budget: Duration) -> bool {
    // The first bytes say little of a link.
    if received < bytes / 8 {
        return elapsed < budget;
    }
    elapsed.as_secs_f64() * bytes as f64 / received.max(1) as f64 <= budget.as_secs_f64()
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of 1000 tokens of an 8B model.
    const LARGE: u64 = 147_000_000;

    #[test]
    fn a_state_travels_where_computing_takes_longer_and_only_there() {
        let link = |megabits: f64| Link {
            round_trip: Duration::from_millis(20),
            bytes_per_second: Some(megabits * 1e6 / 8.0),
        };
        // Two cores of a rented machine compute 15 tokens a second, a graphics card 2000.
        let (slow, fast) = (computing(1000, 15.0), computing(1000, 2000.0));
        assert!(moving(LARGE, link(100.0)) < slow);
        assert!(moving(LARGE, link(100.0)) > fast);
        assert!(moving(LARGE, link(10.0)) > slow);
        // A small model computes faster than anything travels.
        assert!(moving(3_000_000, link(100.0)) > computing(1000, 20_000.0));
        assert_eq!(
            moving(LARGE, Link::default()),
            moving(
                LARGE,
                Link {
                    round_trip: Duration::ZERO,
                    ..link(100.0)
                }
            )
        );
        assert_eq!(computing(10, 0.0), Duration::ZERO);
        assert_eq!(computing(10, f64::NAN), Duration::ZERO);
    }

    #[test]
    fn a_transfer_that_turns_out_too_slow_is_given_up() {
        let (budget, second) = (Duration::from_secs(10), Duration::from_secs(1));
        assert!(comes_in_time(0, 800, second, budget));
        assert!(comes_in_time(100, 800, second, budget));
        assert!(!comes_in_time(100, 800, second * 2, budget));
        assert!(!comes_in_time(0, 800, budget, budget));
    }
}
