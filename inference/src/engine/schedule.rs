//! What the engine computes next: pure, with time and costs as arguments.
//!
//! Each step gives one token to every generating sequence and what is left of the step's time to prompts, the shortest remaining
//! one first. Waiting makes a prompt look shorter, by as much as it has waited, so that a long one is never starved. Deadlines and
//! cancellations take effect between steps. The driver (`worker/batch.rs`) computes what is planned here and reports what it took.

use std::{collections::BTreeMap, time::Duration};

use crate::limits::PROMPT_CHUNK_MAX;

/// A moment, counted from any fixed one.
pub type Moment = Duration;

/// How long parts of a step take, smoothed over what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speeds {
    /// One token of a prompt.
    pub prompt_token: Duration,
    /// One token of a generating sequence, when as many run as lately.
    pub generated_token: Duration,
}

impl Speeds {
    /// From tokens per second; nonsense counts as very slow.
    #[must_use]
    pub fn from_rates(prefill: f64, decode: f64) -> Self {
        let time = |rate: f64| {
            let rate = if rate.is_finite() && rate > 0.1 { rate } else { 0.1 };
            Duration::from_secs_f64(1.0 / rate)
        };
        Self {
            prompt_token: time(prefill),
            generated_token: time(decode),
        }
    }

    /// Takes a step's time in: of so many generated and prompt tokens.
    fn observe(&mut self, generated: usize, prompt: usize, took: Duration) {
        let parts = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if prompt == 0 {
            if generated > 0 {
                self.generated_token = smooth(self.generated_token, took / parts(generated));
            }
            return;
        }
        // A step with a few tokens of prompt says more about the step than about them.
        let others = self.generated_token * parts(generated);
        if others * 2 < took {
            self.prompt_token = smooth(self.prompt_token, (took - others) / parts(prompt));
        }
    }
}

/// Quicker to believe that things got slower than that they got faster: a step that is too long is felt, one too short is not.
fn smooth(old: Duration, new: Duration) -> Duration {
    if new > old {
        (old + new) / 2
    } else {
        (old * 3 + new) / 4
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not yet begun.
    Waiting,
    /// With so many prompt tokens left, of which so many belong to the card and are computed apart.
    /// The last ones of them may be an answer's, to be computed one by one as they were when they were made.
    Prefilling {
        remaining: usize,
        card: usize,
        replay: usize,
    },
    /// Gets a token in every step.
    Generating,
}

#[derive(Clone, Debug)]
struct Entry {
    arrived: Moment,
    deadline: Moment,
    prompt: usize,
    phase: Phase,
}

/// What one generation computes in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which generation.
    pub id: u64,
    /// How many tokens.
    pub tokens: usize,
    /// Whether they are tokens of the prompt.
    pub is_prompt: bool,
}

/// The generations of an engine, waiting and running.
#[derive(Clone, Debug)]
pub struct Scheduler {
    step_target: Duration,
    speeds: Speeds,
    entries: BTreeMap<u64, Entry>,
    concurrent: usize,
}

impl Scheduler {
    /// For so many generations at once and a step that may take so long.
    #[must_use]
    pub const fn new(concurrent: usize, step_target: Duration, speeds: Speeds) -> Self {
        Self {
            step_target,
            speeds,
            entries: BTreeMap::new(),
            concurrent,
        }
    }

    /// A generation arrives, with the tokens of its prompt and the moment when it must be over.
    pub fn arrive(&mut self, id: u64, prompt: usize, now: Moment, deadline: Moment) {
        let entry = Entry {
            arrived: now,
            deadline,
            prompt,
            phase: Phase::Waiting,
        };
        self.entries.insert(id, entry);
    }

    /// A generation is over, for whatever reason. False for one that is not here.
    pub fn remove(&mut self, id: u64) -> bool {
        self.entries.remove(&id).is_some()
    }

    /// Generations whose deadline has passed.
    #[must_use]
    pub fn overdue(&self, now: Moment) -> Vec<u64> {
        let overdue = self.entries.iter().filter(|(_, entry)| entry.deadline <= now);
        overdue.map(|(id, _)| *id).collect()
    }

    /// Whether one more may begin.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let running = self.entries.values().filter(|entry| entry.phase != Phase::Waiting);
        running.count() < self.concurrent
    }

    /// How many generate, their prompts being computed.
    #[must_use]
    pub fn generating(&self) -> usize {
        let generating = self.entries.values().filter(|entry| entry.phase == Phase::Generating);
        generating.count()
    }

    /// Those that have not begun, the most urgent first.
    #[must_use]
    pub fn waiting(&self, now: Moment) -> Vec<u64> {
        let waiting = self.entries.iter().filter(|(_, entry)| entry.phase == Phase::Waiting);
        let mut waiting: Vec<_> = waiting
            .map(|(id, entry)| (self.urgency(entry.prompt, entry.arrived, now), *id))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    /// Begins a waiting generation. So much of its prompt is not yet computed, of which so much belongs to the card.
    /// The last `replay` tokens are computed one by one.
    pub fn admit(&mut self, id: u64, remaining: usize, card: usize, replay: usize) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.phase = Phase::Prefilling {
                remaining,
                card,
                replay,
            };
        }
    }

    /// The next step; empty when there is nothing to compute.
    #[must_use]
    pub fn plan(&self, now: Moment) -> Vec<Share> {
        let mut shares = Vec::new();
        let mut prompts = Vec::new();
        for (&id, entry) in &self.entries {
            match entry.phase {
                Phase::Waiting => {}
                Phase::Generating => shares.push(Share {
                    id,
                    tokens: 1,
                    is_prompt: false,
                }),
                Phase::Prefilling {
                    remaining,
                    card,
                    replay,
                } => {
                    // What is computed apart ends its share, so that the rest can build on it.
                    let most = match remaining.saturating_sub(replay) {
                        _ if card > 0 => card,
                        0 => 1,
                        before => before,
                    };
                    prompts.push((self.urgency(remaining, entry.arrived, now), id, most));
                }
            }
        }
        prompts.sort_unstable();
        let mut left = self.prompt_chunk(shares.len());
        for (_, id, most) in prompts {
            let tokens = most.min(left);
            left -= tokens;
            if tokens > 0 {
                shares.push(Share {
                    id,
                    tokens,
                    is_prompt: true,
                });
            }
        }
        shares
    }

    /// A step was computed and took so long.
    pub fn computed(&mut self, shares: &[Share], took: Duration) {
        let is_prompt = |share: &&Share| share.is_prompt && !self.is_replay(share.id);
        let prompt: usize = shares.iter().filter(is_prompt).map(|share| share.tokens).sum();
        // One by one, tokens of an answer take as long as when they were made.
        let generated = shares.iter().filter(|share| !is_prompt(share)).count();
        self.speeds.observe(generated, prompt, took);
        for share in shares.iter().filter(|share| share.is_prompt) {
            let Some(entry) = self.entries.get_mut(&share.id) else {
                continue;
            };
            if let Phase::Prefilling { remaining, card, .. } = &mut entry.phase {
                *remaining = remaining.saturating_sub(share.tokens);
                *card = card.saturating_sub(share.tokens);
                if *remaining == 0 {
                    entry.phase = Phase::Generating;
                }
            }
        }
    }

    fn is_replay(&self, id: u64) -> bool {
        let phase = self.entries.get(&id).map(|entry| entry.phase);
        matches!(phase, Some(Phase::Prefilling { remaining, card: 0, replay }) if remaining <= replay)
    }

    /// How long parts of a step take lately.
    #[must_use]
    pub const fn speeds(&self) -> Speeds {
        self.speeds
    }

    /// Whether there is no generation, waiting or running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many prompt tokens fit into a step beside so many generating sequences: at least one, so that everything gets on.
    fn prompt_chunk(&self, generating: usize) -> usize {
        let others = self.speeds.generated_token * u32::try_from(generating).unwrap_or(u32::MAX);
        let left = self.step_target.saturating_sub(others);
        let fitting = left.as_nanos() / self.speeds.prompt_token.as_nanos().max(1);
        usize::try_from(fitting)
            .unwrap_or(PROMPT_CHUNK_MAX)
            .clamp(1, PROMPT_CHUNK_MAX)
    }

    /// Time that a prompt still needs less the time it has waited, in nanoseconds: least first.
    fn urgency(&self, remaining: usize, arrived: Moment, now: Moment) -> i128 {
        let nanoseconds = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 2);
        let needs =
            nanoseconds(self.speeds.prompt_token).saturating_mul(i128::try_from(remaining).unwrap_or(i128::MAX));
        needs - nanoseconds(now.saturating_sub(arrived))
    }
}

#[cfg(test)]
mod tests;
