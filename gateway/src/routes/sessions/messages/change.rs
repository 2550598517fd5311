//! `PATCH /api/v1/sessions/{id}/messages/{message}`: deletes a message and restores it, pins it, keeps it from the model.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::session::SessionEdit;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path, chat::messages::MessageBody, sessions::message_id},
};

/// What is changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageChange {
    /// Out of the chat, or back into it.
    deleted: Option<bool>,
    /// Always in the model's context.
    pinned: Option<bool>,
    /// Never in the model's context.
    excluded: Option<bool>,
}

#[utoipa::path(patch, path = "/api/v1/sessions/{id}/messages/{message}",
    params(("id" = String, Path), ("message" = String, Path)), request_body = MessageChange, responses(
    (status = 200, body = MessageBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    person: Person,
    Path((id, message)): Path<(String, String)>,
    Json(change): Json<MessageChange>,
) -> Result<Json<MessageBody>, ApiError> {
    let chat = app.chats.own(&app, &person, &id).await?;
    let message = chat.message(message_id(&message)?)?.id;
    let edits = [
        change
            .deleted
            .map(|deleted| SessionEdit::SetDeleted { message, deleted }),
        change.pinned.map(|pinned| SessionEdit::SetPinned { message, pinned }),
        change
            .excluded
            .map(|excluded| SessionEdit::SetExcluded { message, excluded }),
    ];
    for edit in edits.into_iter().flatten() {
        app.chats.edit(&app, chat.document, edit).await?;
    }
    let chat = app.chats.get(&app, chat.document).await?;
    let body = MessageBody::of(&app, &chat, chat.message(message)?).await?;
    Ok(Json(body))
}
