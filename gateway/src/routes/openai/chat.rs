//! `POST /v1/chat/completions`: a model answers a chat, whole or piece by piece.

mod request;
mod wording;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use self::{
    request::{Asked, ChatRequest},
    wording::Pieces,
};
use super::{
    answer::{self, FINGERPRINT, Head, Logprobs, Usage},
    asked_for,
    body::Body,
    error::{ProgramError, ProgramErrorBody},
    run::{self, Made, Place},
    stream,
    tool_calls::{ToolCall, ToolReader},
};
use crate::{app::App, auth::programs::Program};

/// The whole answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    #[schema(example = "chatcmpl-0123456789abcdef01234567")]
    id: String,
    #[schema(example = "chat.completion")]
    object: &'static str,
    /// Seconds since the Unix epoch.
    created: u64,
    model: String,
    system_fingerprint: &'static str,
    choices: [ChatChoice; 1],
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    index: u32,
    message: ChatAnswer,
    logprobs: Option<Logprobs>,
    /// `stop`, `length` or `tool_calls`.
    finish_reason: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ChatAnswer {
    #[schema(example = "assistant")]
    role: &'static str,
    /// `null` where the model said nothing but calls.
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
}

#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "program_chat", request_body = ChatRequest, responses(
    (status = 200, content((ChatCompletion = "application/json"), (String = "text/event-stream")), description = "With `stream`, events of `chat.completion.chunk` and `[DONE]`"),
    (status = 400, body = ProgramErrorBody), (status = 401, body = ProgramErrorBody), (status = 403, body = ProgramErrorBody),
    (status = 404, body = ProgramErrorBody), (status = 413, body = ProgramErrorBody), (status = 429, body = ProgramErrorBody),
    (status = 502, body = ProgramErrorBody), (status = 503, body = ProgramErrorBody), (status = 504, body = ProgramErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    program: Program,
    place: Place,
    Body(request): Body<ChatRequest>,
) -> Result<Response, ProgramError> {
    let model = request.choosing.model.clone();
    asked_for(&app, &model)?;
    let is_streamed = request.choosing.stream;
    let includes_usage = request.choosing.includes_usage();
    let Asked {
        input,
        sampling,
        has_tools,
        beginning,
    } = request.asked(run::random_seed())?;
    let running = run::begin(&app, (&program, &model), &beginning, input, sampling).await?;
    let head = Head::new("chatcmpl", &model);
    let reader = has_tools.then(ToolReader::default);
    if is_streamed {
        return stream::answer(running, Pieces::new(head, includes_usage, reader), place).await;
    }
    let made = run::gather(running).await?;
    Ok(Json(whole(head, made, reader)).into_response())
}

fn whole(head: Head, made: Made, reader: Option<ToolReader>) -> ChatCompletion {
    let (text, calls) = match reader {
        Some(mut reader) => {
            let (mut text, calls) = reader.push(&made.text);
            text.push_str(&reader.finish());
            (text, calls)
        }
        None => (made.text, Vec::new()),
    };
    let finish_reason = if calls.is_empty() {
        answer::reason(made.finished.reason)
    } else {
        "tool_calls"
    };
    ChatCompletion {
        id: head.id,
        object: "chat.completion",
        created: head.created,
        model: head.model,
        system_fingerprint: FINGERPRINT,
        choices: [ChatChoice {
            index: 0,
            message: ChatAnswer {
                role: "assistant",
                content: Some(text).filter(|text| calls.is_empty() || !text.is_empty()),
                refusal: None,
                tool_calls: calls,
            },
            logprobs: Logprobs::of(&made.probabilities),
            finish_reason,
        }],
        usage: Usage::from(&made.finished),
    }
}
