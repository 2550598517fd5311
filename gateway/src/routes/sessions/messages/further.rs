//! `POST /api/v1/sessions/{id}/messages/{message}/continuation`: the answer is said further.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use crdt::records::session::ANSWER_CHARACTERS_MAX;
use inference::desk::{FurtherWish, Order, Wish};

use super::{WishAnswer, WishRequest, accepted, answer_of};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path, chat::messages::check_outbox, sessions::message_id},
};

#[utoipa::path(post, path = "/api/v1/sessions/{id}/messages/{message}/continuation",
    params(("id" = String, Path), ("message" = String, Path)), request_body = WishRequest, responses(
    (status = 202, body = WishAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    person: Person,
    Path((id, message)): Path<(String, String)>,
    Json(request): Json<WishRequest>,
) -> Result<impl IntoResponse, ApiError> {
    check_outbox(&request.outbox_id)?;
    let chat = app.chats.own(&app, &person, &id).await?;
    let (answer, question) = answer_of(&chat, message_id(&message)?)?;
    let wish = FurtherWish::of(answer.id, &request.outbox_id);
    if wish.came_true(answer) {
        return Ok(accepted(question, answer.id));
    }
    let answer = app.chats.open(&app, &chat, vec![answer]).await?.remove(0);
    if answer.text.text().chars().count() >= ANSWER_CHARACTERS_MAX {
        return Err(ApiError::AnswerFull);
    }
    let order = Order {
        session: chat.document,
        question,
        answer: answer.id,
        wish: Wish::Further(wish),
    };
    app.desk.ask(order).await;
    Ok(accepted(question, answer.id))
}
