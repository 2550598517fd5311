//! A breaker: whether a node is asked at all, after it failed. Pure; the time is an argument.
//!
//! Closed: it is asked. After [`FAILURES`] failures in a row it opens: nobody is sent there for a while that doubles with each further
//! failure. Then it is half open: one question goes there, and how that ends decides. (Nygard, "Release It!", 2007.)

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Failures in a row that open a breaker: one can be chance.
pub const FAILURES: u32 = 3;
/// The first pause of an open breaker.
pub const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// The longest one.
pub const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long a trial may go without an end before another one is allowed: whoever tried may have been stopped.
pub const TRIAL_MAX: Duration = Duration::from_secs(60);

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The node is asked.
    Closed,
    /// It is not.
    Open,
    /// One question tries it.
    HalfOpen,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// How it stood.
    pub from: BreakerState,
    /// How it stands.
    pub to: BreakerState,
    /// Until it may be tried, where it opened.
    pub pause: Option<Duration>,
}

/// One breaker.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: BreakerState,
    /// Failures in a row.
    failures: u32,
    /// When it opened or when the trial began.
    since: Instant,
    pause: Duration,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            state: BreakerState::Closed,
            failures: 0,
            since: now,
            pause: PAUSE_FIRST,
        }
    }

    /// How it stands.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Whether a question may go there now. Changes nothing.
    #[must_use]
    pub fn allows(&self, now: Instant) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => now.saturating_duration_since(self.since) >= self.pause,
            BreakerState::HalfOpen => now.saturating_duration_since(self.since) >= TRIAL_MAX,
        }
    }

    /// A question goes there.
    pub fn began(&mut self, now: Instant) -> Option<Transition> {
        match self.state {
            BreakerState::Closed => None,
            BreakerState::Open => {
                self.since = now;
                self.change(BreakerState::HalfOpen)
            }
            BreakerState::HalfOpen => {
                self.since = now;
                None
            }
        }
    }

    /// It was answered.
    pub fn succeeded(&mut self) -> Option<Transition> {
        self.failures = 0;
        self.pause = PAUSE_FIRST;
        self.change(BreakerState::Closed)
    }

    /// It came to nothing.
    pub fn failed(&mut self, now: Instant) -> Option<Transition> {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            BreakerState::Closed if self.failures < FAILURES => None,
            // Others that were on their way when it opened say nothing new.
            BreakerState::Open => None,
            BreakerState::Closed => self.open(now),
            BreakerState::HalfOpen => {
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.open(now)
            }
        }
    }

    fn open(&mut self, now: Instant) -> Option<Transition> {
        self.since = now;
        let pause = self.pause;
        self.change(BreakerState::Open).map(|transition| Transition {
            pause: Some(pause),
            ..transition
        })
    }

    fn change(&mut self, to: BreakerState) -> Option<Transition> {
        let from = std::mem::replace(&mut self.state, to);
        (from != to).then_some(Transition { from, to, pause: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(from: BreakerState, to: BreakerState, pause: Option<u64>) -> Option<Transition> {
        let pause = pause.map(Duration::from_secs);
        Some(Transition { from, to, pause })
    }

    #[test]
    fn three_failures_open_it_and_one_trial_decides() {
        use BreakerState::{Closed, HalfOpen, Open};
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(start);
        assert_eq!((breaker.failed(start), breaker.failed(start)), (None, None));
        assert_eq!(breaker.succeeded(), None);
        assert_eq!((breaker.failed(start), breaker.failed(start)), (None, None));
        assert!(breaker.allows(start));
        assert_eq!(breaker.failed(start), change(Closed, Open, Some(5)));
        assert_eq!(breaker.failed(start), None, "one that was on its way");
        assert!(!breaker.allows(at(4)) && breaker.allows(at(5)));
        assert_eq!(breaker.began(at(5)), change(Open, HalfOpen, None));
        assert!(!breaker.allows(at(6)), "one trial at a time");
        assert!(
            breaker.allows(at(65)),
            "a trial that never ends does not close the way for ever"
        );
        assert_eq!(breaker.failed(at(7)), change(HalfOpen, Open, Some(10)));
        assert!(!breaker.allows(at(16)) && breaker.allows(at(17)));
        assert_eq!(breaker.began(at(17)), change(Open, HalfOpen, None));
        assert_eq!(breaker.succeeded(), change(HalfOpen, Closed, None));
        assert!(breaker.allows(at(17)));
    }

    #[test]
    fn the_pause_has_an_end() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..20 {
            for _ in 0..FAILURES {
                breaker.failed(now);
            }
            now += PAUSE_MAX;
            assert!(breaker.allows(now));
            breaker.began(now);
        }
    }
}
