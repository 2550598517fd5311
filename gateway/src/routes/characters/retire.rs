//! `DELETE /api/v1/characters/{id}`: offers the character no longer: its name and prompt are free, dialogues with it go on.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::character::CharacterEdit;

use super::{own_character, uniqueness};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Path,
};

#[utoipa::path(delete, path = "/api/v1/characters/{id}", params(("id" = String, Path)), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn retire(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, character) = own_character(&app, &person, &id).await?;
    app.audit
        .note_of(&person, peer, "character.delete", id, &character.draft.name)
        .await?;
    app.store.edit(id, CharacterEdit::SetRetired(true)).await?;
    uniqueness::release(&app, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
