//! `POST /v1/completions`: a model goes on with a text as it is, without any chat template.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use inference::engine::{Finished, Input, TokenProbability};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    answer::{self, FINGERPRINT, Head, Usage},
    asked_for,
    body::{Body, Parameters},
    error::{ProgramError, ProgramErrorBody},
    parameters::{Choosing, alternatives, choosing},
    run::{self, Place},
    stream::{self, Wording},
};
use crate::{app::App, auth::programs::Program};

/// Tokens unless said otherwise: what OpenAI's interface says of this endpoint.
const TOKENS_USUAL: u32 = 16;

/// A text that a model shall go on with.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct CompletionRequest {
    #[serde(flatten)]
    choosing: Choosing,
    prompt: Prompt,
    /// How many alternatives to tell with each token.
    #[schema(maximum = 20)]
    logprobs: Option<u32>,
    /// Whether the answer begins with the prompt.
    #[serde(default)]
    echo: bool,
    /// 1: one answer is made.
    best_of: Option<u32>,
}

impl Parameters for CompletionRequest {
    const NAMES: &'static [&'static str] = choosing!["prompt", "logprobs", "echo", "best_of"];
}

/// One text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Prompt {
    Text(String),
    /// With one element.
    Texts(Vec<String>),
}

/// The whole answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Completion {
    id: String,
    #[schema(example = "text_completion")]
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: &'static str,
    choices: [CompletionChoice; 1],
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CompletionChoice {
    index: u32,
    text: String,
    logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`.
    finish_reason: Option<&'static str>,
}

/// How likely the answer was, token by token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CompletionLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    #[schema(value_type = Vec<Object>)]
    top_logprobs: Vec<Map<String, Value>>,
    /// Where each begins, in characters.
    text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    /// `at` is where the first one begins; it becomes where the next one will.
    fn of(probabilities: &[TokenProbability], at: &mut usize) -> Option<Self> {
        let mut told = Self {
            tokens: Vec::new(),
            token_logprobs: Vec::new(),
            top_logprobs: Vec::new(),
            text_offset: Vec::new(),
        };
        for probability in probabilities {
            told.tokens.push(probability.text.clone());
            told.token_logprobs.push(probability.logprob);
            let alternatives = probability.alternatives.iter();
            told.top_logprobs.push(
                alternatives
                    .map(|(text, logprob)| (text.clone(), json!(logprob)))
                    .collect(),
            );
            told.text_offset.push(*at);
            *at += probability.text.chars().count();
        }
        (!told.tokens.is_empty()).then_some(told)
    }
}

impl CompletionRequest {
    fn prompt(&self) -> Result<String, ProgramError> {
        let unsupported = |name, why| Err(ProgramError::ParameterUnsupported { name, why });
        if self.best_of.is_some_and(|count| count != 1) {
            return unsupported("best_of", "one answer is made for each request");
        }
        match &self.prompt {
            Prompt::Text(text) => Ok(text.clone()),
            Prompt::Texts(texts) => match &texts[..] {
                [text] => Ok(text.clone()),
                _ => unsupported("prompt", "one text in each request"),
            },
        }
    }
}

#[utoipa::path(post, path = "/v1/completions", operation_id = "program_completion", request_body = CompletionRequest, responses(
    (status = 200, content((Completion = "application/json"), (String = "text/event-stream")), description = "With `stream`, events of the same in pieces and `[DONE]`"),
    (status = 400, body = ProgramErrorBody), (status = 401, body = ProgramErrorBody), (status = 403, body = ProgramErrorBody),
    (status = 404, body = ProgramErrorBody), (status = 413, body = ProgramErrorBody), (status = 429, body = ProgramErrorBody),
    (status = 502, body = ProgramErrorBody), (status = 503, body = ProgramErrorBody), (status = 504, body = ProgramErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    program: Program,
    place: Place,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, ProgramError> {
    let model = request.choosing.model.clone();
    asked_for(&app, &model)?;
    let prompt = request.prompt()?;
    let mut sampling = request.choosing.sampling(None, run::random_seed())?;
    if !request.choosing.limits_tokens() {
        sampling.tokens_max = TOKENS_USUAL;
    }
    if let Some(count) = request.logprobs {
        sampling.logprobs = Some(alternatives("logprobs", count)?);
    }
    let input = Input::Text {
        prompt: prompt.clone(),
        card_bytes: 0,
    };
    let beginning: String = prompt.chars().take(200).collect();
    let running = run::begin(&app, (&program, &model), beginning.as_bytes(), input, sampling).await?;
    let echoed = if request.echo { prompt } else { String::new() };
    let head = Head::new("cmpl", &model);
    if request.choosing.stream {
        let pieces = Pieces {
            head,
            includes_usage: request.choosing.includes_usage(),
            at: echoed.chars().count(),
            echoed,
        };
        return stream::answer(running, pieces, place).await;
    }
    let made = run::gather(running).await?;
    let mut at = echoed.chars().count();
    Ok(Json(Completion {
        id: head.id,
        object: "text_completion",
        created: head.created,
        model: head.model,
        system_fingerprint: FINGERPRINT,
        choices: [CompletionChoice {
            index: 0,
            text: echoed + &made.text,
            logprobs: CompletionLogprobs::of(&made.probabilities, &mut at),
            finish_reason: Some(answer::reason(made.finished.reason)),
        }],
        usage: Usage::from(&made.finished),
    })
    .into_response())
}

/// The answer in pieces.
struct Pieces {
    head: Head,
    includes_usage: bool,
    echoed: String,
    /// Characters said so far.
    at: usize,
}

impl Pieces {
    fn chunk(&self, choices: &[CompletionChoice], usage: Option<Usage>) -> Value {
        let mut chunk = json!({
            "id": self.head.id, "object": "text_completion", "created": self.head.created, "model": self.head.model,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        });
        if self.includes_usage {
            chunk["usage"] = json!(usage);
        }
        chunk
    }

    fn text(&self, text: &str, logprobs: Option<CompletionLogprobs>, finish_reason: Option<&'static str>) -> Value {
        let choice = CompletionChoice {
            index: 0,
            text: text.to_owned(),
            logprobs,
            finish_reason,
        };
        self.chunk(&[choice], None)
    }
}

impl Wording for Pieces {
    fn head(&mut self) -> Vec<Value> {
        let echoed = std::mem::take(&mut self.echoed);
        let has_any = !echoed.is_empty();
        has_any.then(|| self.text(&echoed, None, None)).into_iter().collect()
    }

    fn said(&mut self, text: &str, probabilities: &[TokenProbability]) -> Vec<Value> {
        let logprobs = CompletionLogprobs::of(probabilities, &mut self.at);
        vec![self.text(text, logprobs, None)]
    }

    fn end(&mut self, finished: &Finished) -> Vec<Value> {
        let mut chunks = vec![self.text("", None, Some(answer::reason(finished.reason)))];
        if self.includes_usage {
            chunks.push(self.chunk(&[], Some(Usage::from(finished))));
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_goes_in_and_offsets_are_those_of_the_answer() {
        let request = |prompt: Value| -> CompletionRequest {
            serde_json::from_value(json!({"model": "m", "prompt": prompt})).unwrap()
        };
        assert_eq!(request(json!("a")).prompt(), Ok("a".into()));
        assert_eq!(request(json!(["a"])).prompt(), Ok("a".into()));
        assert!(request(json!(["a", "b"])).prompt().is_err());
        let token = |text: &str| TokenProbability {
            text: text.into(),
            logprob: -0.5,
            alternatives: vec![("x".into(), -1.5)],
        };
        let mut at = 3;
        let told = CompletionLogprobs::of(&[token("При"), token("вет")], &mut at).unwrap();
        assert_eq!((told.text_offset, at), (vec![3, 6], 9));
        assert_eq!(told.top_logprobs[0]["x"], json!(-1.5));
        assert!(CompletionLogprobs::of(&[], &mut at).is_none());
    }
}
