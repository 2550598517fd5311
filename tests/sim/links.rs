//! Links between nodes: how long a frame takes, and whether it arrives at all.
//!
//! Each direction of each link has its own latency, which stays the same for a whole run; it is derived from the seed, so that a
//! thousand nodes need no table of a million links. Frames of gossip can be lost, doubled and held up; what belongs to a stream is
//! only delayed, because QUIC sends it again.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::Micros;

/// What all links are like.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest latency of one direction of a link.
    pub nearest: Micros,
    /// Longest.
    pub farthest: Micros,
    /// Part of the frames that get lost.
    pub loss: f64,
    /// Part of the frames that arrive twice.
    pub duplicates: f64,
    /// Part of the frames that are held up, so that later ones overtake them.
    pub held_up: f64,
    /// By how much, at most.
    pub held_up_for: Micros,
}

impl Weather {
    /// Links of 10 to 100 ms that lose nothing.
    pub const FAIR: Self = Self {
        nearest: 10_000,
        farthest: 100_000,
        loss: 0.0,
        duplicates: 0.0,
        held_up: 0.0,
        held_up_for: 0,
    };

    /// Everything that can happen to a frame, often.
    pub const FOUL: Self = Self {
        loss: 0.5,
        duplicates: 0.1,
        held_up: 0.2,
        held_up_for: 800_000,
        ..Self::FAIR
    };
}

/// How often each fault hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Frames that got lost.
    pub lost: u64,
    /// Frames that arrived twice.
    pub doubled: u64,
    /// Frames that were held up.
    pub held_up: u64,
    /// Frames and pieces of streams that met a cut link.
    pub cut: u64,
}

/// All links.
pub struct Links {
    seed: u64,
    /// What they are like.
    pub weather: Weather,
    /// Directions in which nothing gets through.
    cuts: BTreeSet<(usize, usize)>,
    /// How often each fault hit.
    pub hits: Hits,
}

impl Links {
    /// Whole links.
    #[must_use]
    pub const fn new(seed: u64, weather: Weather) -> Self {
        Self {
            seed,
            weather,
            cuts: BTreeSet::new(),
            hits: Hits {
                lost: 0,
                doubled: 0,
                held_up: 0,
                cut: 0,
            },
        }
    }

    /// Cuts one direction; whether it was whole.
    pub fn cut(&mut self, from: usize, to: usize) -> bool {
        self.cuts.insert((from, to))
    }

    /// Mends one direction; whether it was cut.
    pub fn mend(&mut self, from: usize, to: usize) -> bool {
        self.cuts.remove(&(from, to))
    }

    /// Whether frames get through.
    #[must_use]
    pub fn is_whole(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Every direction that is cut.
    #[must_use]
    pub fn all_cuts(&self) -> Vec<(usize, usize)> {
        self.cuts.iter().copied().collect()
    }

    /// How long one direction takes.
    #[must_use]
    pub fn latency(&self, from: usize, to: usize) -> Micros {
        let span = self.weather.farthest - self.weather.nearest + 1;
        self.weather.nearest + mix(mix(self.seed ^ from as u64) ^ ((to as u64) << 32)) % span
    }

    /// There and back.
    #[must_use]
    pub fn round_trip(&self, from: usize, to: usize) -> Micros {
        self.latency(from, to) + self.latency(to, from)
    }

    /// After how long a frame arrives: once, not at all, or twice.
    pub fn carry(&mut self, from: usize, to: usize, rng: &mut ChaCha8Rng) -> [Option<Micros>; 2] {
        if !self.is_whole(from, to) {
            self.hits.cut += 1;
            return [None, None];
        }
        if self.weather.loss > 0.0 && rng.random_bool(self.weather.loss) {
            self.hits.lost += 1;
            return [None, None];
        }
        let first = self.delay(from, to, rng);
        let second = (self.weather.duplicates > 0.0 && rng.random_bool(self.weather.duplicates)).then(|| {
            self.hits.doubled += 1;
            self.delay(from, to, rng)
        });
        [Some(first), second]
    }

    fn delay(&mut self, from: usize, to: usize, rng: &mut ChaCha8Rng) -> Micros {
        let mut delay = self.latency(from, to);
        if self.weather.held_up > 0.0 && rng.random_bool(self.weather.held_up) {
            self.hits.held_up += 1;
            delay += rng.random_range(0..=self.weather.held_up_for);
        }
        delay
    }

    /// After how long a piece of a stream arrives, sent again as often as it gets lost; `None` while the link is cut.
    pub fn stream(&mut self, from: usize, to: usize, rng: &mut ChaCha8Rng) -> Option<Micros> {
        if !self.is_whole(from, to) {
            self.hits.cut += 1;
            return None;
        }
        let mut delay = self.latency(from, to);
        while self.weather.loss > 0.0 && rng.random_bool(self.weather.loss) {
            // QUIC takes a packet for lost a little later than a round trip.
            delay += self.round_trip(from, to) * 9 / 8;
        }
        Some(delay)
    }
}

/// A number that looks random, from another (SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
