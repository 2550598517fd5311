//! `POST /api/v1/characters/{id}/roll-back`: makes an old version the newest one again, and the draft equal to it.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use crdt::records::{
    EntryId,
    character::{Character, CharacterEdit},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{bodies::EditorBody, next_version, own_character, read, uniqueness};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::{Json, Path},
};

/// The old version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollBackRequest {
    version: String,
}

#[utoipa::path(post, path = "/api/v1/characters/{id}/roll-back", params(("id" = String, Path)),
request_body = RollBackRequest, responses(
    (status = 200, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<RollBackRequest>,
) -> Result<Json<EditorBody>, ApiError> {
    let (id, character) = own_character(&app, &person, &id).await?;
    let to = EntryId::parse(&request.version).ok_or(ApiError::NotFound)?;
    let old = character.version(to).ok_or(ApiError::NotFound)?.definition.clone();
    // Somebody may have taken the old name or prompt meanwhile.
    uniqueness::check(&app, Some(id), &old).await?;
    app.audit
        .note_of(&person, peer, "character.roll_back", id, &request.version)
        .await?;
    let edit = CharacterEdit::RollBack {
        to,
        id: next_version(&character),
        by: Some(person.id),
    };
    app.store.edit(id, edit).await?;
    uniqueness::claim(&app, id, &old).await?;
    let character: Character = app.store.read(id).await?;
    Ok(Json(read::editor(&app, id, &character).await?))
}
