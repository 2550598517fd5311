//! `POST /v1/embeddings`: the meaning of texts as numbers, by a model of the mesh.

use std::sync::Arc;

use axum::{Json, extract::State};
use data_encoding::BASE64;
use inference::limits::EMBEDDING_BYTES_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    asked_for,
    body::{Body, Parameters},
    error::{ProgramError, ProgramErrorBody},
    run::{Place, within},
};
use crate::{
    app::App,
    limits::{EMBEDDING_TEXTS_MAX, PROGRAM_TIMEOUT},
};

/// Texts whose meaning is asked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsRequest {
    /// One of `GET /v1/models`.
    model: String,
    input: Texts,
    #[serde(default)]
    encoding_format: Encoding,
}

impl Parameters for EmbeddingsRequest {
    const NAMES: &'static [&'static str] = &["model", "input", "encoding_format"];
}

/// One or up to 64, each of 512 tokens at most.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Texts {
    One(String),
    Many(Vec<String>),
}

/// How the numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    #[default]
    Float,
    /// The bytes of 32-bit numbers, lowest first.
    Base64,
}

/// The numbers of one text.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Numbers {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingBody {
    #[schema(example = "embedding")]
    object: &'static str,
    index: usize,
    embedding: Numbers,
}

/// All of them, in the order of the texts.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsAnswer {
    #[schema(example = "list")]
    object: &'static str,
    model: String,
    data: Vec<EmbeddingBody>,
    usage: EmbeddingsUsage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsUsage {
    prompt_tokens: u32,
    total_tokens: u32,
}

fn written(values: Vec<f32>, encoding: Encoding) -> Numbers {
    match encoding {
        Encoding::Float => Numbers::Float(values),
        Encoding::Base64 => {
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            Numbers::Base64(BASE64.encode(&bytes))
        }
    }
}

impl EmbeddingsRequest {
    fn texts(self) -> Result<Vec<String>, ProgramError> {
        let texts = match self.input {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        };
        let fits = |text: &String| (1..=EMBEDDING_BYTES_MAX).contains(&text.len());
        if (1..=EMBEDDING_TEXTS_MAX).contains(&texts.len()) && texts.iter().all(fits) {
            return Ok(texts);
        }
        Err(ProgramError::ParameterInvalid {
            name: "input".into(),
            why: format!("1 to {EMBEDDING_TEXTS_MAX} texts of 1 to {EMBEDDING_BYTES_MAX} bytes"),
        })
    }
}

#[utoipa::path(post, path = "/v1/embeddings", operation_id = "program_embeddings", request_body = EmbeddingsRequest, responses(
    (status = 200, body = EmbeddingsAnswer), (status = 400, body = ProgramErrorBody), (status = 401, body = ProgramErrorBody),
    (status = 403, body = ProgramErrorBody), (status = 404, body = ProgramErrorBody), (status = 413, body = ProgramErrorBody),
    (status = 429, body = ProgramErrorBody), (status = 502, body = ProgramErrorBody), (status = 503, body = ProgramErrorBody),
    (status = 504, body = ProgramErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    _place: Place,
    Body(request): Body<EmbeddingsRequest>,
) -> Result<Json<EmbeddingsAnswer>, ProgramError> {
    let model = request.model.clone();
    asked_for(&app, &model)?;
    let encoding = request.encoding_format;
    let texts = request.texts()?;
    let computing = async {
        let (mut data, mut tokens) = (Vec::with_capacity(texts.len()), 0_u32);
        for (index, text) in texts.iter().enumerate() {
            let embedding = app.desk.embed_by(&model, text).await?;
            tokens = tokens.saturating_add(embedding.tokens);
            data.push(EmbeddingBody {
                object: "embedding",
                index,
                embedding: written(embedding.values, encoding),
            });
        }
        Ok((data, tokens))
    };
    let (data, tokens) = within(PROGRAM_TIMEOUT, computing).await?;
    Ok(Json(EmbeddingsAnswer {
        object: "list",
        model,
        data,
        usage: EmbeddingsUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_bounded_and_numbers_are_written_as_asked() {
        let texts = |input: serde_json::Value| {
            let request: EmbeddingsRequest = serde_json::from_value(json!({"model": "m", "input": input})).unwrap();
            request.texts()
        };
        assert_eq!(texts(json!("a")), Ok(vec!["a".to_owned()]));
        assert_eq!(texts(json!(["a", "b"])).unwrap().len(), 2);
        for wrong in [
            json!([]),
            json!(""),
            json!(vec!["a"; 65]),
            json!("x".repeat(EMBEDDING_BYTES_MAX + 1)),
        ] {
            assert!(texts(wrong).is_err());
        }
        let written = |encoding| serde_json::to_value(written(vec![1.0, -2.0], encoding)).unwrap();
        assert_eq!(written(Encoding::Float), json!([1.0, -2.0]));
        assert_eq!(written(Encoding::Base64), json!("AACAPwAAAMA="));
    }
}
