//! One sequence of the context and the generation that uses it.

use llama_cpp_2::{sampling::LlamaSampler, token::LlamaToken};

use crate::engine::{FinishReason, Finished, Sampling, schedule::Sequence};

/// A sequence: what is computed in it stays for the next turn of the same conversation.
#[derive(Default)]
pub(super) struct Slot {
    /// The conversation whose tokens are computed.
    pub(super) key: u64,
    /// Tokens that are computed, in order.
    pub(super) computed: Vec<LlamaToken>,
    /// When it was last used, in steps.
    pub(super) used: u64,
    pub(super) job: Option<Job>,
}

/// A generation in a slot.
pub(super) struct Job {
    pub(super) id: u64,
    /// Prompt tokens still to compute; then the one token that was generated last.
    pub(super) pending: Vec<LlamaToken>,
    pub(super) sampler: LlamaSampler,
    pub(super) sampling: Sampling,
    pub(super) prompt_tokens: u32,
    pub(super) reused_tokens: u32,
    pub(super) generated_tokens: u32,
    pub(super) characters: u32,
    pub(super) generating: bool,
    pub(super) passed_over: usize,
    /// Bytes that are not yet a whole character.
    pub(super) partial: Vec<u8>,
}

impl Slot {
    pub(super) fn sequence(&self) -> Sequence {
        match &self.job {
            None => Sequence::Idle,
            Some(job) if job.generating => Sequence::Generating,
            Some(job) => Sequence::Prefilling {
                remaining: job.pending.len(),
                passed_over: job.passed_over,
            },
        }
    }
}

impl Job {
    /// Adds the bytes of a token and returns the whole characters that are complete now.
    pub(super) fn text(&mut self, piece: &[u8]) -> String {
        self.partial.extend_from_slice(piece);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.partial) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.partial.clear();
                    break;
                }
                Err(error) => {
                    let (valid, rest) = self.partial.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    // Bytes that can never become a character are dropped; an unfinished one waits for the next token.
                    let rest = rest[error.error_len().unwrap_or(0)..].to_vec();
                    let unfinished = error.error_len().is_none();
                    self.partial = rest;
                    if unfinished {
                        break;
                    }
                }
            }
        }
        self.characters = self
            .characters
            .saturating_add(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
        text
    }

    pub(super) fn is_at_limit(&self) -> bool {
        self.generated_tokens >= self.sampling.tokens_max || self.characters >= self.sampling.characters_max
    }

    pub(super) const fn finished(&self, reason: FinishReason) -> Finished {
        Finished {
            reason,
            prompt_tokens: self.prompt_tokens,
            reused_tokens: self.reused_tokens,
            generated_tokens: self.generated_tokens,
        }
    }
}

/// The usual chain: truncate, warm, draw. Temperature 0 always takes the likeliest token.
pub(super) fn sampler(sampling: &Sampling) -> LlamaSampler {
    if sampling.temperature <= 0.0 {
        return LlamaSampler::greedy();
    }
    let chain = [
        LlamaSampler::top_k(40),
        LlamaSampler::top_p(0.95, 1),
        LlamaSampler::min_p(0.05, 1),
        LlamaSampler::temp(sampling.temperature),
        LlamaSampler::dist(sampling.seed),
    ];
    LlamaSampler::chain_simple(chain)
}
