//! What all answers to programs have in common: their names, times, numbers of tokens and probabilities.

use inference::engine::{FinishReason, Finished, TokenProbability};
use keys::{Timestamp, identity::random_bytes};
use serde::Serialize;
use utoipa::ToSchema;

/// What names an answer, and when and by what it was made.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

/// Changes when the program changes: equal seeds are worth something only under an equal one.
pub(super) const FINGERPRINT: &str = concat!("starling-", env!("CARGO_PKG_VERSION"));

impl Head {
    pub(super) fn new(prefix: &str, model: &str) -> Self {
        let number = data_encoding::HEXLOWER.encode(&random_bytes::<12>());
        Self {
            id: format!("{prefix}-{number}"),
            created: Timestamp::now().0 / 1000,
            model: model.to_owned(),
        }
    }
}

/// Numbers of tokens.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct PromptDetails {
    /// Computed for an earlier request of the same conversation.
    cached_tokens: u32,
}

impl From<&Finished> for Usage {
    fn from(finished: &Finished) -> Self {
        Self {
            prompt_tokens: finished.prompt_tokens,
            completion_tokens: finished.generated_tokens,
            total_tokens: finished.prompt_tokens.saturating_add(finished.generated_tokens),
            prompt_tokens_details: PromptDetails {
                cached_tokens: finished.reused_tokens,
            },
        }
    }
}

/// Why an answer ended, in OpenAI's words.
pub(super) const fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Complete | FinishReason::Stopped => "stop",
        FinishReason::Length => "length",
    }
}

/// How likely a token was.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LikelyToken {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// How likely a token was, and what else was.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChosenToken {
    #[serde(flatten)]
    chosen: LikelyToken,
    top_logprobs: Vec<LikelyToken>,
}

/// How likely the answer was, token by token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Logprobs {
    content: Vec<ChosenToken>,
}

fn likely((token, logprob): (&str, f32)) -> LikelyToken {
    LikelyToken {
        token: token.to_owned(),
        logprob,
        bytes: token.as_bytes().to_vec(),
    }
}

impl Logprobs {
    /// `None` where none were asked for.
    pub(super) fn of(probabilities: &[TokenProbability]) -> Option<Self> {
        let chosen = |probability: &TokenProbability| ChosenToken {
            chosen: likely((&probability.text, probability.logprob)),
            top_logprobs: probability
                .alternatives
                .iter()
                .map(|(token, logprob)| likely((token, *logprob)))
                .collect(),
        };
        let content: Vec<_> = probabilities.iter().map(chosen).collect();
        (!content.is_empty()).then_some(Self { content })
    }
}
