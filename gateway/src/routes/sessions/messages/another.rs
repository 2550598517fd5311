//! `POST /api/v1/sessions/{id}/messages/{message}/answers`: another answer beside this one.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use crdt::records::session::{MessageId, another_answer_id, is_another_answer_id};
use inference::desk::{Order, Wish};

use super::{WishAnswer, WishRequest, accepted, answer_of};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Json, Path,
        chat::messages::{check_outbox, now_in},
        sessions::message_id,
    },
};

#[utoipa::path(post, path = "/api/v1/sessions/{id}/messages/{message}/answers",
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
    let (shown, question) = answer_of(&chat, message_id(&message)?)?;
    let is_asked_for = |id: &MessageId| is_another_answer_id(*id, question, &request.outbox_id);
    let mut said = chat.session.messages.iter().map(|message| message.id);
    if let Some(answer) = said.find(is_asked_for) {
        return Ok(accepted(question, answer));
    }
    let running = app.desk.live(chat.document);
    let mut running = running.iter().filter(|live| !live.is_over());
    let answer = match running.rfind(|live| live.lease().question == question) {
        // One at a time: whoever presses twice sees the one that is coming.
        Some(live) => live.lease().answer,
        None => {
            // One that is wished for already, but of which nobody has begun to say anything, keeps its id.
            let wished = chat.session.current.filter(is_asked_for);
            let answer = wished.unwrap_or_else(|| another_answer_id(question, &request.outbox_id, now_in(&chat)));
            let order = Order {
                session: chat.document,
                question,
                answer,
                wish: Wish::Another,
            };
            // It is shown as soon as it is there.
            app.chats.wish(&app, chat.document, answer, shown.id).await?;
            app.desk.ask(order).await;
            answer
        }
    };
    Ok(accepted(question, answer))
}
