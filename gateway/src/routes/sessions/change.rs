//! `PATCH /api/v1/sessions/{id}`: another title, out of the list, another branch to look at.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::session::SessionEdit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{SessionBody, message_id};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path},
};

/// What is changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionChange {
    /// Up to 120 characters; empty to call it after its first message again.
    title: Option<String>,
    archived: Option<bool>,
    /// The chat is shown through this message: another answer or another branch.
    current_id: Option<String>,
}

#[utoipa::path(patch, path = "/api/v1/sessions/{id}", params(("id" = String, Path)), request_body = SessionChange, responses(
    (status = 200, body = SessionBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Json(change): Json<SessionChange>,
) -> Result<Json<SessionBody>, ApiError> {
    let chat = app.chats.own(&app, &person, &id).await?;
    let current = change.current_id.as_deref().map(message_id).transpose()?;
    if let Some(current) = current {
        chat.message(current)?;
    }
    let edits = [
        change.title.map(SessionEdit::SetTitle),
        change.archived.map(SessionEdit::SetArchived),
        current.map(SessionEdit::SetCurrent),
    ];
    for edit in edits.into_iter().flatten() {
        app.chats.edit(&app, chat.document, edit).await?;
    }
    let chat = app.chats.get(&app, chat.document).await?;
    Ok(Json(SessionBody::of(&chat)))
}
