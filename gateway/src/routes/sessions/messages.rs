//! What a person can do with one message.

pub(crate) mod another;
pub(crate) mod change;
pub(crate) mod choice;
pub(crate) mod edit;
pub(crate) mod further;

use axum::http::StatusCode;
use crdt::records::session::{Message, MessageId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{chats::Chat, error::ApiError, routes::Json};

/// An answer that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WishRequest {
    /// Made by the client, 8 to 64 characters: asking again with the same one asks for nothing more.
    #[schema(example = "again-4711")]
    outbox_id: String,
}

/// An answer that will come.
#[derive(Serialize, ToSchema)]
pub(crate) struct WishAnswer {
    question_id: String,
    /// Under this id it will be told on the socket and stand in the chat.
    answer_id: String,
}

/// It will come.
fn accepted(question: MessageId, answer: MessageId) -> (StatusCode, Json<WishAnswer>) {
    let body = WishAnswer {
        question_id: question.to_string(),
        answer_id: answer.to_string(),
    };
    (StatusCode::ACCEPTED, Json(body))
}

/// The answer of this id and the question that it answers.
fn answer_of(chat: &Chat, id: MessageId) -> Result<(&Message, MessageId), ApiError> {
    let answer = chat.message(id)?;
    let question = answer
        .parent
        .filter(|_| !answer.is_from_person())
        .ok_or(ApiError::NoAnswer)?;
    let question = chat.message(question)?;
    if !question.is_from_person() {
        return Err(ApiError::NoAnswer);
    }
    Ok((answer, question.id))
}
