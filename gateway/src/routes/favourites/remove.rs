//! `DELETE /api/v1/favourites/{session}/{message}`

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use crdt::records::account::AccountEdit;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Path,
        sessions::{document_id, message_id},
    },
};

#[utoipa::path(delete, path = "/api/v1/favourites/{session}/{message}",
    params(("session" = String, Path), ("message" = String, Path)), responses(
    (status = 204, description = "It is none any more"), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    person: Person,
    Path((session, message)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (session, message) = (document_id(&session)?, message_id(&message)?);
    let favourites = &person.account.favourites;
    if !favourites
        .iter()
        .any(|known| known.session == session && known.message == message)
    {
        return Err(ApiError::NotFound);
    }
    app.people
        .edit(person.id, AccountEdit::RemoveFavourite(message))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
