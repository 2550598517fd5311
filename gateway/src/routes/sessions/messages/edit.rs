//! `POST /api/v1/sessions/{id}/messages/{message}/edits`: a changed form of a message begins another branch; what was stays.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use crdt::records::session::{Message, Place, SessionEdit, Version};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer_of;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Json, Path,
        chat::messages::{MessageBody, check_outbox, check_visible, now_in, store},
        sessions::message_id,
    },
};

/// The changed text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditRequest {
    /// Made by the client, 8 to 64 characters: sent again, it stores nothing twice.
    #[schema(example = "edit-4711")]
    outbox_id: String,
    text: String,
}

#[utoipa::path(post, path = "/api/v1/sessions/{id}/messages/{message}/edits",
    params(("id" = String, Path), ("message" = String, Path)), request_body = EditRequest, responses(
    (status = 201, body = MessageBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    person: Person,
    Path((id, message)): Path<(String, String)>,
    Json(request): Json<EditRequest>,
) -> Result<impl IntoResponse, ApiError> {
    check_outbox(&request.outbox_id)?;
    check_visible(&request.text)?;
    let chat = app.chats.own(&app, &person, &id).await?;
    let (document, outbox, text) = (chat.document, request.outbox_id.as_str(), request.text.trim_end());
    let original = chat.message(message_id(&message)?)?;
    if !original.is_from_person() {
        // An answer is mended in place: what was asked after it still follows it.
        let (answer, _) = answer_of(&chat, original.id)?;
        let version = Version::new(crdt::records::EntryId::new(now_in(&chat), 0), text);
        // What is sent again is no further change.
        if MessageBody::of(&app, &chat, answer).await?.text != version.text.text() {
            let edit = SessionEdit::PutVersion {
                message: answer.id,
                version,
            };
            app.chats.edit(&app, document, edit).await?;
        }
        let chat = app.chats.get(&app, document).await?;
        let body = MessageBody::of(&app, &chat, chat.message(answer.id)?).await?;
        return Ok((StatusCode::CREATED, Json(body)));
    }
    let make = |at| Message {
        place: Place::Replaces(original.id),
        ..Message::from_person(text, outbox, &document, original.parent, at)
    };
    let (_, body) = store(&app, &chat, outbox, make).await?;
    let edited = message_id(&body.id)?;
    app.chats.edit(&app, document, SessionEdit::SetCurrent(edited)).await?;
    let chat = app.chats.get(&app, document).await?;
    let body = MessageBody::of(&app, &chat, chat.message(edited)?).await?;
    Ok((StatusCode::CREATED, Json(body)))
}
