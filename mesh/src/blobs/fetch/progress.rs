//! How a download goes on, for people.

use std::{collections::VecDeque, fmt, time::Duration};

use keys::NodeId;

use super::Fetched;
use crate::{blobs::schedule::Standing, limits::BLOB_PROGRESS_WINDOW};

/// How one source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It is being reached.
    Connecting,
    /// It sends.
    Sending,
    /// It has nothing that is missing, or nothing is left to ask.
    Waiting,
    /// It was asked and is silent.
    Stalled,
    /// It cannot be reached now.
    Away,
    /// It serves too many others now.
    Busy,
    /// It sent what is not the blob, and is not asked any more.
    Bad,
}

impl From<Standing> for SourceState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Connecting => Self::Connecting,
            Standing::Sending => Self::Sending,
            Standing::Waiting => Self::Waiting,
            Standing::Stalled => Self::Stalled,
            Standing::Away => Self::Away,
            Standing::Busy => Self::Busy,
            Standing::Bad => Self::Bad,
        }
    }
}

impl fmt::Display for SourceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connecting => "is being reached",
            Self::Sending => "sends",
            Self::Waiting => "does not have it",
            Self::Stalled => "is silent",
            Self::Away => "cannot be reached",
            Self::Busy => "is busy",
            Self::Bad => "sent wrong bytes",
        })
    }
}

/// One source of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceProgress {
    /// The node.
    pub node: NodeId,
    /// How it stands.
    pub state: SourceState,
    /// Bytes that came from it and were true.
    pub bytes: u64,
}

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes of the blob; zero until its size is proven.
    pub total: u64,
    /// Bytes a second, over the last few seconds.
    pub bytes_per_second: u64,
    /// Bytes that came although they were here already.
    pub again: u64,
    /// The sources, as they were given.
    pub sources: Vec<SourceProgress>,
}

/// Counts.
pub(super) struct Meter {
    size: u64,
    resumed: u64,
    received: u64,
    again: u64,
    by_source: Vec<u64>,
    /// When there were how many bytes.
    samples: VecDeque<(Duration, u64)>,
    talks: u64,
}

impl Meter {
    pub(super) fn new(size: u64, resumed: u64, sources: usize) -> Self {
        Self {
            size,
            resumed,
            received: 0,
            again: 0,
            by_source: vec![0; sources],
            samples: VecDeque::new(),
            talks: 0,
        }
    }

    pub(super) fn next_talk(&mut self) -> u64 {
        self.talks += 1;
        self.talks
    }

    pub(super) fn received(&mut self, source: usize, bytes: u64, new: bool) {
        self.received += bytes;
        self.again += if new { 0 } else { bytes };
        if let Some(own) = self.by_source.get_mut(source) {
            *own += bytes;
        }
    }

    pub(super) fn fetched(&self) -> Fetched {
        Fetched {
            size: self.size,
            resumed: self.resumed,
            received: self.received,
            again: self.again,
        }
    }

    pub(super) fn progress(&mut self, states: impl Iterator<Item = (NodeId, SourceState)>, now: Duration) -> Progress {
        let bytes = self.resumed + self.received - self.again;
        self.samples.push_back((now, bytes));
        while self.samples.len() > 2 && now.saturating_sub(self.samples[0].0) > BLOB_PROGRESS_WINDOW {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, bytes));
        let passed = u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX);
        let sources = states
            .zip(&self.by_source)
            .map(|((node, state), bytes)| SourceProgress {
                node,
                state,
                bytes: *bytes,
            });
        Progress {
            bytes,
            total: self.size,
            bytes_per_second: ((bytes - before) * 1000).checked_div(passed).unwrap_or_default(),
            again: self.again,
            sources: sources.collect(),
        }
    }
}
