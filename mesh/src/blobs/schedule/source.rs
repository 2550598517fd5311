//! What the schedule knows of one source.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::{Elapsed, Standing};
use crate::{
    blobs::groups::Groups,
    limits::{BLOB_AHEAD, BLOB_ASKS_AHEAD_MAX, BLOB_PIECE_GROUPS, BLOB_RATE_WINDOW, BLOB_RETRY_FIRST, BLOB_RETRY_MAX},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected; tried again then.
    Away {
        until: Elapsed,
        busy: bool,
    },
    Connecting {
        since: Elapsed,
    },
    /// It answers. A stalled one has shown nothing for a while.
    Ready {
        stalled: bool,
    },
    /// Never asked again.
    Bad,
}

/// A range that a source was asked for. It sends in order.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) id: u32,
    pub(super) range: Range<u64>,
    pub(super) next: u64,
}

impl Ask {
    pub(super) fn new(id: u32, range: Range<u64>) -> Self {
        Self {
            id,
            next: range.start,
            range,
        }
    }
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) state: State,
    pub(super) holds: Groups,
    pub(super) asks: VecDeque<Ask>,
    /// When it last sent something, or was first asked.
    pub(super) progress: Elapsed,
    /// When it was last asked what it holds.
    pub(super) queried: Elapsed,
    failures: u32,
    /// Groups a second, smoothed; zero before anything was measured.
    smoothed: f64,
    window: (Elapsed, u32),
}

/// Groups a second before anything was measured: a modest line.
const RATE_ASSUMED: f64 = 100.0;

impl Source {
    pub(super) fn new(now: Elapsed) -> Self {
        Self {
            state: State::Away {
                until: now,
                busy: false,
            },
            holds: Groups::none(0),
            asks: VecDeque::new(),
            progress: now,
            queried: now,
            failures: 0,
            smoothed: 0.0,
            window: (now, 0),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.state {
            State::Away { busy: true, .. } => Standing::Busy,
            State::Away { busy: false, .. } => Standing::Away,
            State::Connecting { .. } => Standing::Connecting,
            State::Ready { stalled: true } => Standing::Stalled,
            State::Ready { .. } if self.asks.is_empty() => Standing::Waiting,
            State::Ready { .. } => Standing::Sending,
            State::Bad => Standing::Bad,
        }
    }

    pub(super) fn holds(&mut self, groups: Groups, now: Elapsed) {
        self.holds = groups;
        self.queried = now;
        if !matches!(self.state, State::Ready { .. }) {
            self.state = State::Ready { stalled: false };
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, now: Elapsed) {
        if self.asks.is_empty() {
            self.progress = now;
            self.window = (now, 0);
        }
        self.asks.push_back(ask);
    }

    pub(super) fn arrived(&mut self, group: u64, now: Elapsed) {
        self.progress = now;
        self.failures = 0;
        if let State::Ready { stalled } = &mut self.state {
            *stalled = false;
        }
        if let Some(place) = self
            .asks
            .iter()
            .position(|ask| (ask.next..ask.range.end).contains(&group))
        {
            let ask = &mut self.asks[place];
            ask.next = group + 1;
            if ask.next == ask.range.end {
                self.asks.remove(place);
            }
        }
        self.window.1 += 1;
        let (since, groups) = self.window;
        let passed = now.saturating_sub(since);
        if passed >= BLOB_RATE_WINDOW {
            let measured = f64::from(groups) / passed.as_secs_f64();
            self.smoothed = if self.smoothed > 0.0 {
                (self.smoothed + measured) / 2.0
            } else {
                measured
            };
            self.window = (now, 0);
        }
    }

    /// It is gone. Gives what it was asked for.
    pub(super) fn leave(&mut self, wait: Option<Duration>, now: Elapsed) -> VecDeque<Ask> {
        let growing = (BLOB_RETRY_FIRST * 2_u32.saturating_pow(self.failures.min(10))).min(BLOB_RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Away {
            until: now + wait.unwrap_or(growing),
            busy: wait.is_some(),
        };
        std::mem::take(&mut self.asks)
    }

    pub(super) fn is_asked(&self, group: u64) -> bool {
        self.asks.iter().any(|ask| (ask.next..ask.range.end).contains(&group))
    }

    /// Groups that it was asked for and has not sent.
    pub(super) fn outstanding(&self) -> u64 {
        self.asks.iter().map(|ask| ask.range.end - ask.next).sum()
    }

    /// Whether it should be asked for more: two pieces, or what it sends in a moment.
    pub(super) fn wants_more(&self) -> bool {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small and positive"
        )]
        let ahead = (self.smoothed * BLOB_AHEAD.as_secs_f64()) as u64;
        self.state == State::Ready { stalled: false }
            && self.asks.len() < BLOB_ASKS_AHEAD_MAX
            && self.outstanding() < ahead.max(BLOB_PIECE_GROUPS + 1)
    }

    /// Groups a second, less while it is silent.
    pub(super) fn rate(&self, now: Elapsed) -> f64 {
        let rate = if self.smoothed > 0.0 {
            self.smoothed
        } else {
            RATE_ASSUMED
        };
        let silent = now.saturating_sub(self.progress).as_secs_f64();
        if self.asks.is_empty() || silent < BLOB_RATE_WINDOW.as_secs_f64() {
            rate
        } else {
            rate.min(1.0 / silent)
        }
    }

    /// Seconds until it has sent all that it was asked for; nothing when there is nothing.
    pub(super) fn time_to_finish(&self, now: Elapsed) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)]
        let outstanding = self.outstanding() as f64;
        (outstanding > 0.0).then(|| outstanding / self.rate(now))
    }
}
