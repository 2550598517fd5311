//! `DELETE /api/v1/characters/{id}`: offers the character no longer: its name and prompt are free, dialogues with it go on.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use crdt::records::character::CharacterEdit;

use super::{own_character, uniqueness};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::Path,
};

#[utoipa::path(delete, path = "/api/v1/characters/{id}", params(("id" = String, Path)), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn retire(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, _) = own_character(&app, &person, &id).await?;
    app.store.edit(id, CharacterEdit::SetRetired(true)).await?;
    uniqueness::release(&app, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
