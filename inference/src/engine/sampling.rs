//! How tokens are chosen: the settings of a generation, checked before they reach a sampler.

use serde::{Deserialize, Serialize};

use crate::limits::{ANSWER_TOKENS_MAX, GRAMMAR_BYTES_MAX, LOGPROBS_MAX, STOP_BYTES_MAX, STOPS_MAX};

/// How to choose tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Only so many of the likeliest; 0 for all.
    pub top_k: u32,
    /// Only the likeliest that make up this probability together; 1 for all.
    pub top_p: f32,
    /// Only those at least this fraction as likely as the likeliest; 0 for all.
    pub min_p: f32,
    /// Makes what was said less likely; 1 changes nothing.
    pub repetition: f32,
    /// Over so many tokens back.
    pub repetition_window: u32,
    /// Against repeating whole phrases.
    pub dry: Option<Dry>,
    /// Against the obvious.
    pub xtc: Option<Xtc>,
    /// Makes a generation repeatable on equal builds.
    pub seed: u32,
    /// Tokens at most, thoughts included.
    pub tokens_max: u32,
    /// Characters of the answer at most, thoughts not counted.
    pub characters_max: u32,
    /// The answer ends before any of these texts.
    pub stops: Vec<String>,
    /// What shape the answer must have.
    pub shape: Option<Shape>,
    /// How many alternatives to report with each token; `None` reports nothing.
    pub logprobs: Option<u8>,
    /// Goes on where the model would end; for measurements of equal length.
    pub ignores_end: bool,
}

/// "Don't repeat yourself": a penalty that grows with the length of what would be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dry {
    /// How strong.
    pub multiplier: f32,
    /// How it grows.
    pub base: f32,
    /// Repetitions up to so many tokens are free.
    pub allowed_length: u32,
}

/// "Exclude top choices": now and then the likeliest tokens are left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Xtc {
    /// How often.
    pub probability: f32,
    /// Those at least this likely, but for the least of them.
    pub threshold: f32,
}

/// A shape that the answer must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// A JSON schema.
    JsonSchema(String),
    /// A grammar in llama.cpp's notation, beginning with the rule `root`.
    Gbnf(String),
}

impl Default for Sampling {
    /// What is usual for chats.
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition: 1.0,
            repetition_window: 64,
            dry: None,
            xtc: None,
            seed: 0,
            tokens_max: ANSWER_TOKENS_MAX,
            characters_max: u32::MAX,
            stops: Vec::new(),
            shape: None,
            logprobs: None,
            ignores_end: false,
        }
    }
}

/// A setting that no sampler can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SamplingError {
    /// Not a number, or outside its range.
    #[error("{name} must be a number from {least} to {most}")]
    Range {
        /// Which setting.
        name: String,
        /// From.
        least: String,
        /// To.
        most: String,
    },
    /// Too many or too long texts to stop at.
    #[error("at most {STOPS_MAX} stop texts of 1 to {STOP_BYTES_MAX} bytes")]
    Stops,
    /// Too large a grammar or schema.
    #[error("a grammar or schema may have {GRAMMAR_BYTES_MAX} bytes")]
    ShapeTooLarge,
}

impl Sampling {
    /// Whether a sampler can work with these settings.
    ///
    /// # Errors
    /// Which of them is wrong.
    pub fn check(&self) -> Result<(), SamplingError> {
        let range = |name: &str, value: f32, least: f32, most: f32| {
            // Not a number is in no range.
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(SamplingError::Range {
                name: name.to_owned(),
                least: least.to_string(),
                most: most.to_string(),
            })
        };
        range("temperature", self.temperature, 0.0, 5.0)?;
        range("top_p", self.top_p, 0.0, 1.0)?;
        range("min_p", self.min_p, 0.0, 1.0)?;
        range("repetition", self.repetition, 0.1, 5.0)?;
        range("repetition window", self.repetition_window as f32, 0.0, 8192.0)?;
        range("top_k", self.top_k as f32, 0.0, 1_000_000.0)?;
        range("tokens at most", self.tokens_max as f32, 1.0, ANSWER_TOKENS_MAX as f32)?;
        range(
            "logprobs",
            f32::from(self.logprobs.unwrap_or(0)),
            0.0,
            f32::from(LOGPROBS_MAX),
        )?;
        if let Some(dry) = self.dry {
            range("dry multiplier", dry.multiplier, 0.0, 10.0)?;
            range("dry base", dry.base, 1.0, 10.0)?;
            range("dry length", dry.allowed_length as f32, 0.0, 1024.0)?;
        }
        if let Some(xtc) = self.xtc {
            range("xtc probability", xtc.probability, 0.0, 1.0)?;
            range("xtc threshold", xtc.threshold, 0.0, 1.0)?;
        }
        let stop_fits = |stop: &String| (1..=STOP_BYTES_MAX).contains(&stop.len());
        if self.stops.len() > STOPS_MAX || !self.stops.iter().all(stop_fits) {
            return Err(SamplingError::Stops);
        }
        match &self.shape {
            Some(Shape::Gbnf(text) | Shape::JsonSchema(text)) if text.len() > GRAMMAR_BYTES_MAX => {
                Err(SamplingError::ShapeTooLarge)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_named_and_the_usual_passes() {
        assert_eq!(Sampling::default().check(), Ok(()));
        let wrong: [fn(&mut Sampling); 8] = [
            |s| s.temperature = f32::NAN,
            |s| s.temperature = f32::INFINITY,
            |s| s.top_p = -0.1,
            |s| s.min_p = f32::NAN,
            |s| s.repetition = 0.0,
            |s| s.tokens_max = 0,
            |s| {
                s.dry = Some(Dry {
                    multiplier: 1.0,
                    base: f32::NAN,
                    allowed_length: 2,
                })
            },
            |s| {
                s.xtc = Some(Xtc {
                    probability: 2.0,
                    threshold: 0.1,
                })
            },
        ];
        for change in wrong {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            assert!(
                matches!(sampling.check(), Err(SamplingError::Range { .. })),
                "{sampling:?}"
            );
        }
        let mut sampling = Sampling {
            stops: vec![String::new()],
            ..Sampling::default()
        };
        assert_eq!(sampling.check(), Err(SamplingError::Stops));
        sampling.stops = vec!["x".into(); STOPS_MAX + 1];
        assert_eq!(sampling.check(), Err(SamplingError::Stops));
        let shape = Some(Shape::Gbnf("x".repeat(GRAMMAR_BYTES_MAX + 1)));
        assert_eq!(
            Sampling {
                shape,
                ..Sampling::default()
            }
            .check(),
            Err(SamplingError::ShapeTooLarge)
        );
    }
}
