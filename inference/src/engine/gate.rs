//! Whether a person's line is outside what a small model knows: pure. A model whose file names a threshold is asked how surprised it is
//! by the line; where that is too much, it gives the honest answer of its file instead of a phrase that has nothing to do with it.
//!
//! The built-in model has learnt that answer, too, for what it was shown to be outside; the gate is for what nobody thought of.

use std::collections::VecDeque;

use super::cache::TokenId;
use crate::limits::SURPRISES_KNOWN_MAX;

/// Keys of the model's file.
const THRESHOLD: &str = "starling.gate.nats";
const ANSWER_RUSSIAN: &str = "starling.gate.answer.ru";
const ANSWER_ENGLISH: &str = "starling.gate.answer.en";
/// Fewer tokens say nothing: a greeting with a typing error is no reason.
const TOKENS_MIN: u32 = 4;

/// The gate of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Surprise for each token of a line, in nats, above which it is outside.
    threshold: f32,
    russian: String,
    english: String,
}

/// How surprised a model was by the tokens of a line so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surprise {
    nats: f32,
    tokens: u32,
}

impl Gate {
    /// The gate that a model's metadata describe; none where a part is missing or makes no sense.
    #[must_use]
    pub fn from_metadata(value: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let threshold: f32 = value(THRESHOLD)?.trim().parse().ok()?;
        let answer = |key| value(key).filter(|text| !text.trim().is_empty());
        (threshold.is_finite() && threshold > 0.0).then_some(())?;
        Some(Self {
            threshold,
            russian: answer(ANSWER_RUSSIAN)?,
            english: answer(ANSWER_ENGLISH)?,
        })
    }

    /// Whether a line that surprised the model so much is outside.
    #[must_use]
    pub fn is_outside(&self, surprise: Surprise) -> bool {
        surprise.tokens >= TOKENS_MIN && surprise.mean() > self.threshold
    }

    /// The honest answer in the language of a line.
    #[must_use]
    pub fn answer(&self, line: &str) -> &str {
        let is_russian = line
            .chars()
            .any(|letter| matches!(letter, 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё'));
        if is_russian { &self.russian } else { &self.english }
    }
}

impl Surprise {
    /// Counts a token that the model gave these logits.
    pub fn count(&mut self, logits: &[f32], token: usize) {
        let Some(own) = logits.get(token) else { return };
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        let nats = most + sum.ln() - own;
        if nats.is_finite() {
            self.nats += nats;
            self.tokens += 1;
        }
    }

    /// Nats for each token.
    #[must_use]
    pub fn mean(self) -> f32 {
        if self.tokens == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a line has few tokens")]
        let tokens = self.tokens as f32;
        self.nats / tokens
    }
}

/// How surprising the last lines were, each after what was said before it: a line that is asked again need not be computed again for that.
#[derive(Clone, Debug, Default)]
pub struct Surprises(VecDeque<([u8; 32], Surprise)>);

impl Surprises {
    /// The surprise at a line, where it was counted lately: the end of these tokens, from `start` on.
    #[must_use]
    pub fn find(&self, tokens: &[TokenId], start: usize) -> Option<Surprise> {
        let line = hash(tokens, start);
        let found = self.0.iter().find(|(known, _)| *known == line);
        found.map(|(_, surprise)| *surprise)
    }

    /// Keeps the surprise at a line, instead of the oldest where there are many.
    pub fn keep(&mut self, tokens: &[TokenId], start: usize, surprise: Surprise) {
        let line = hash(tokens, start);
        self.0.retain(|(known, _)| *known != line);
        if self.0.len() >= SURPRISES_KNOWN_MAX {
            self.0.pop_front();
        }
        self.0.push_back((line, surprise));
    }
}

fn hash(tokens: &[TokenId], start: usize) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&start.to_le_bytes());
    for token in tokens {
        hasher.update(&token.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(threshold: &str) -> Option<Gate> {
        Gate::from_metadata(|key| {
            Some(match key {
                THRESHOLD => threshold.into(),
                ANSWER_RUSSIAN => "не умею".into(),
                ANSWER_ENGLISH => "cannot".into(),
                _ => return None,
            })
        })
    }

    #[test]
    fn a_surprising_line_is_outside_and_a_short_or_likely_one_is_not() {
        let gate = gate("1.5").unwrap();
        let said = |probability: f32, tokens: u32| {
            let mut surprise = Surprise::default();
            for _ in 0..tokens {
                surprise.count(&[probability.ln(), (1.0 - probability).ln()], 0);
            }
            surprise
        };
        assert!((said(0.25, 1).mean() - 0.25f32.ln().abs()).abs() < 1e-5);
        assert!(gate.is_outside(said(0.1, TOKENS_MIN)));
        assert!(!gate.is_outside(said(0.1, TOKENS_MIN - 1)));
        assert!(!gate.is_outside(said(0.5, 20)));
        assert!(!gate.is_outside(Surprise::default()));
    }

    #[test]
    fn tokens_that_are_not_in_the_vocabulary_and_logits_that_are_no_numbers_count_nothing() {
        let mut surprise = Surprise::default();
        surprise.count(&[0.0, 1.0], 2);
        surprise.count(&[f32::NAN, 1.0], 0);
        surprise.count(&[], 0);
        assert_eq!(surprise, Surprise::default());
    }

    #[test]
    fn a_surprise_is_known_again_for_the_same_line_after_the_same_words_only() {
        let (mut known, mut surprise) = (Surprises::default(), Surprise::default());
        surprise.count(&[0.0, 1.0], 0);
        known.keep(&[1, 2, 3], 1, surprise);
        assert_eq!(known.find(&[1, 2, 3], 1), Some(surprise));
        assert_eq!(known.find(&[1, 2, 3], 2), None, "another line");
        assert_eq!(known.find(&[4, 2, 3], 1), None, "after other words");
        let mut last = Surprise::default();
        last.count(&[0.0, 1.0], 1);
        known.keep(&[1, 2, 3], 1, last);
        assert_eq!(known.find(&[1, 2, 3], 1), Some(last), "what was counted last");
        for token in 0..SURPRISES_KNOWN_MAX {
            known.keep(&[i32::try_from(token).unwrap()], 0, surprise);
        }
        assert_eq!(known.find(&[1, 2, 3], 1), None, "the oldest goes");
        assert_eq!(known.0.len(), SURPRISES_KNOWN_MAX);
    }

    #[test]
    fn the_answer_is_in_the_language_of_the_line() {
        let gate = gate("1.5").unwrap();
        assert_eq!(gate.answer("Что такое entropy?"), "не умею");
        assert_eq!(gate.answer("What is entropy?"), "cannot");
    }

    #[test]
    fn a_file_without_a_sound_threshold_has_no_gate() {
        for threshold in ["", "much", "NaN", "inf", "-1", "0"] {
            assert_eq!(gate(threshold), None, "{threshold}");
        }
        let missing = Gate::from_metadata(|key| (key != ANSWER_ENGLISH).then(|| "2".into()));
        assert_eq!(missing, None);
    }
}
