//! What the engine computes next, as a pure function: every running sequence gets its next token, and what is left of the step
//! goes to prompts, the shortest first, with ageing so that a long one is not passed over for ever.

use std::time::Duration;

use crate::limits::{PROMPT_CHUNK_MAX, PROMPT_CHUNK_MIN, STEP_TARGET};

/// One sequence as the schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// Nothing to do.
    Idle,
    /// Its prompt is computed: it generates.
    Generating,
    /// So many prompt tokens are left, and it has been passed over so many times.
    Prefilling {
        /// Tokens left.
        remaining: usize,
        /// Steps in which it got nothing.
        passed_over: usize,
    },
}

/// How many tokens each sequence computes in the next step, by index.
#[must_use]
pub fn next_step(sequences: &[Sequence], prompt_chunk: usize) -> Vec<usize> {
    let mut step = vec![0; sequences.len()];
    let mut prompts: Vec<(usize, usize, usize)> = Vec::new();
    for (index, sequence) in sequences.iter().enumerate() {
        match *sequence {
            Sequence::Idle => {}
            Sequence::Generating => step[index] = 1,
            Sequence::Prefilling { remaining, passed_over } => {
                // Each step without a share makes a prompt look one chunk shorter.
                let urgency = remaining.saturating_sub(passed_over.saturating_mul(prompt_chunk));
                prompts.push((urgency, index, remaining));
            }
        }
    }
    prompts.sort_unstable();
    let mut left = prompt_chunk;
    for (_, index, remaining) in prompts {
        let share = remaining.min(left);
        step[index] = share;
        left -= share;
    }
    step
}

/// How many prompt tokens fit a step, from the measured time per prompt token.
#[must_use]
pub fn prompt_chunk(per_token: Duration) -> usize {
    let fitting = STEP_TARGET.as_nanos() / per_token.as_nanos().max(1);
    usize::try_from(fitting)
        .unwrap_or(PROMPT_CHUNK_MAX)
        .clamp(PROMPT_CHUNK_MIN, PROMPT_CHUNK_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn prompt(remaining: usize, passed_over: usize) -> Sequence {
        Sequence::Prefilling { remaining, passed_over }
    }

    #[test]
    fn running_sequences_always_get_a_token_and_short_prompts_go_first() {
        let sequences = [
            Sequence::Generating,
            prompt(400, 0),
            prompt(30, 0),
            Sequence::Idle,
            Sequence::Generating,
        ];
        assert_eq!(next_step(&sequences, 64), [1, 34, 30, 0, 1]);
    }

    #[test]
    fn a_long_prompt_is_not_passed_over_for_ever() {
        let mut passed_over = 0;
        // A stream of short prompts, one new in each step.
        while next_step(&[prompt(400, passed_over), prompt(64, 0)], 64)[0] == 0 {
            passed_over += 1;
            assert!(passed_over < 20, "starved");
        }
        assert!(passed_over > 0, "the short one goes first at first");
    }

    #[test]
    fn the_chunk_follows_the_machine() {
        assert_eq!(prompt_chunk(Duration::from_micros(50)), PROMPT_CHUNK_MAX);
        assert_eq!(prompt_chunk(Duration::from_millis(10)), 25);
        assert_eq!(prompt_chunk(Duration::from_secs(1)), PROMPT_CHUNK_MIN);
    }
}
