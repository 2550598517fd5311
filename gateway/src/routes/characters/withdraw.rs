//! `POST /api/v1/characters/{id}/withdraw`: lets nobody chat with it any more, until it is published again; dialogues go on.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::character::CharacterEdit;

use super::own_character;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Path,
};

#[utoipa::path(post, path = "/api/v1/characters/{id}/withdraw", params(("id" = String, Path)), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, _) = own_character(&app, &person, &id).await?;
    app.audit.note_of(&person, peer, "character.withdraw", id, "").await?;
    app.store.edit(id, CharacterEdit::Withdraw).await?;
    Ok(StatusCode::NO_CONTENT)
}
