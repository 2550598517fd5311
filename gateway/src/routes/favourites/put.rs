//! `PUT /api/v1/favourites/{session}/{message}`: one more, or another note beside one.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use crdt::records::{
    Sealed,
    account::{AccountEdit, Favourite},
};
use keys::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path, sessions::message_id},
};

/// What the person notes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FavouriteRequest {
    /// Up to 500 characters.
    note: Option<String>,
}

#[utoipa::path(put, path = "/api/v1/favourites/{session}/{message}",
    params(("session" = String, Path), ("message" = String, Path)), request_body = FavouriteRequest, responses(
    (status = 204, description = "It is a favourite"), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    person: Person,
    Path((session, message)): Path<(String, String)>,
    Json(request): Json<FavouriteRequest>,
) -> Result<StatusCode, ApiError> {
    let chat = app.chats.own(&app, &person, &session).await?;
    let message = chat.message(message_id(&message)?)?.id;
    let favourite = Favourite {
        message,
        session: chat.document,
        character: chat.session.character,
        added: Timestamp::now(),
        note: request.note.as_deref().map(Sealed::from),
    };
    app.people.edit(person.id, AccountEdit::PutFavourite(favourite)).await?;
    Ok(StatusCode::NO_CONTENT)
}
