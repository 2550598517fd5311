//! How a program wants tokens to be chosen: pure, from OpenAI's parameters to the engine's.

use inference::{
    engine::{Sampling, sampling::Shape},
    limits::{ANSWER_TOKENS_MAX, LOGPROBS_MAX},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::ProgramError;

/// Names of the fields of [`Choosing`].
macro_rules! choosing {
    ($($own:literal),* $(,)?) => {
        &[
            "model", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "max_tokens", "n",
            "presence_penalty", "frequency_penalty", "logit_bias", $($own),*
        ]
    };
}
pub(super) use choosing;

/// What chat and completions have in common.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Choosing {
    /// One of `GET /v1/models`.
    #[schema(example = "built-in")]
    pub(super) model: String,
    /// Piece by piece, as server-sent events.
    #[serde(default)]
    pub(super) stream: bool,
    stream_options: Option<StreamOptions>,
    /// 1 unless given; 0 always takes the likeliest token.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    /// 1 unless given.
    top_p: Option<f32>,
    /// 40 unless given; 0 for all.
    top_k: Option<u32>,
    /// 0.05 unless given; 0 for all.
    min_p: Option<f32>,
    /// The same answer again, on the same build of the same model.
    seed: Option<i64>,
    stop: Option<Stop>,
    /// Tokens of the answer at most.
    max_tokens: Option<u32>,
    /// 1: one answer is made.
    n: Option<u32>,
    /// 0: not supported.
    presence_penalty: Option<f32>,
    /// 0: not supported.
    frequency_penalty: Option<f32>,
    /// Empty: not supported.
    #[schema(value_type = Option<Object>)]
    logit_bias: Option<Map<String, Value>>,
}

/// What a stream says beside the answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    /// A last piece with the numbers of tokens.
    #[serde(default)]
    include_usage: bool,
}

/// Texts before which the answer ends.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

impl Choosing {
    /// Whether the numbers of tokens are wanted at the end of a stream.
    pub(super) fn includes_usage(&self) -> bool {
        self.stream_options.is_some_and(|options| options.include_usage)
    }

    /// Whether it says how long the answer may become.
    pub(super) const fn limits_tokens(&self) -> bool {
        self.max_tokens.is_some()
    }

    /// The engine's settings. `random` is the seed of an answer that need not come again.
    pub(super) fn sampling(&self, tokens_max: Option<u32>, random: u32) -> Result<Sampling, ProgramError> {
        self.check()?;
        let usual = Sampling::default();
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Many(stops)) => stops.clone(),
        };
        Ok(Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(usual.top_k),
            min_p: self.min_p.unwrap_or(usual.min_p),
            seed: self.seed.map_or(random, folded),
            stops,
            // A program that allows more gets what there is, and hears that the length ended it.
            tokens_max: tokens_max
                .or(self.max_tokens)
                .unwrap_or(ANSWER_TOKENS_MAX)
                .min(ANSWER_TOKENS_MAX),
            ..usual
        })
    }

    fn check(&self) -> Result<(), ProgramError> {
        let unsupported = |name, why| Err(ProgramError::ParameterUnsupported { name, why });
        if self.temperature.is_some_and(|temperature| temperature > 2.0) {
            return Err(ProgramError::ParameterInvalid {
                name: "temperature".into(),
                why: "a number from 0 to 2".into(),
            });
        }
        if self.n.is_some_and(|n| n != 1) {
            return unsupported("n", "one answer is made for each request");
        }
        if self.presence_penalty.is_some_and(|penalty| penalty != 0.0) {
            return unsupported("presence_penalty", "the engine has no such penalty");
        }
        if self.frequency_penalty.is_some_and(|penalty| penalty != 0.0) {
            return unsupported("frequency_penalty", "the engine has no such penalty");
        }
        if self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()) {
            return unsupported("logit_bias", "the engine has no such bias");
        }
        Ok(())
    }
}

/// A seed of 64 bits in the engine's 32; small ones stay what they are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both halves are used"
)]
const fn folded(seed: i64) -> u32 {
    let seed = seed as u64;
    (seed ^ (seed >> 32)) as u32
}

/// How many alternatives to report with each token.
pub(super) fn alternatives(name: &'static str, count: u32) -> Result<u8, ProgramError> {
    let fits = u8::try_from(count).ok().filter(|count| *count <= LOGPROBS_MAX);
    fits.ok_or_else(|| ProgramError::ParameterInvalid {
        name: name.into(),
        why: format!("a number from 0 to {LOGPROBS_MAX}"),
    })
}

/// What shape the answer shall have.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ResponseFormat {
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that obeys a schema.
    JsonSchema {
        json_schema: NamedSchema,
    },
}

/// A schema.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct NamedSchema {
    #[schema(value_type = Object)]
    schema: Option<Value>,
}

impl ResponseFormat {
    /// The same for the engine. It always obeys a schema strictly.
    pub(super) fn shape(&self) -> Option<Shape> {
        match self {
            Self::Text => None,
            Self::JsonObject
            | Self::JsonSchema {
                json_schema: NamedSchema { schema: None },
            } => Some(Shape::JsonSchema(r#"{"type":"object"}"#.into())),
            Self::JsonSchema {
                json_schema: NamedSchema { schema: Some(schema) },
            } => Some(Shape::JsonSchema(schema.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choosing(fields: Value) -> Choosing {
        let mut body = json!({"model": "m"});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn what_is_given_is_followed_and_the_rest_is_as_the_libraries_expect() {
        let usual = choosing(json!({})).sampling(None, 7).unwrap();
        assert_eq!((usual.temperature, usual.top_p, usual.seed), (1.0, 1.0, 7));
        let given = json!({"temperature": 0.0, "top_p": 0.5, "seed": 5, "stop": ["a", "b"], "max_tokens": 3, "n": 1,
            "presence_penalty": 0, "logit_bias": {}, "stream_options": {"include_usage": true}});
        let choosing_given = choosing(given);
        let sampling = choosing_given.sampling(None, 7).unwrap();
        assert_eq!((sampling.temperature, sampling.top_p, sampling.seed), (0.0, 0.5, 5));
        assert_eq!((sampling.stops.len(), sampling.tokens_max), (2, 3));
        assert!(choosing_given.includes_usage());
        assert_eq!(choosing_given.sampling(Some(9), 7).unwrap().tokens_max, 9);
        assert_eq!(choosing(json!({"stop": "x"})).sampling(None, 7).unwrap().stops, ["x"]);
        assert_ne!(folded(-1), folded(-2));
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_name() {
        for (name, value) in [
            ("n", json!(2)),
            ("presence_penalty", json!(0.5)),
            ("frequency_penalty", json!(-1)),
            ("logit_bias", json!({"5": 100})),
        ] {
            let refused = choosing(json!({name: value})).sampling(None, 0).unwrap_err();
            assert!(matches!(refused, ProgramError::ParameterUnsupported { name: is, .. } if is == name));
        }
        let hot = choosing(json!({"temperature": 2.5})).sampling(None, 0).unwrap_err();
        assert!(matches!(hot, ProgramError::ParameterInvalid { .. }));
        assert_eq!(alternatives("top_logprobs", 20), Ok(20));
        assert!(alternatives("top_logprobs", 21).is_err());
    }

    #[test]
    fn a_schema_reaches_the_engine() {
        let format: ResponseFormat = serde_json::from_value(json!({"type": "json_schema", "json_schema":
            {"name": "x", "strict": true, "schema": {"type": "integer"}}}))
        .unwrap();
        assert_eq!(format.shape(), Some(Shape::JsonSchema(r#"{"type":"integer"}"#.into())));
        let format: ResponseFormat = serde_json::from_value(json!({"type": "json_object"})).unwrap();
        assert!(format.shape().is_some());
        let format: ResponseFormat = serde_json::from_value(json!({"type": "text"})).unwrap();
        assert_eq!(format.shape(), None);
    }
}
