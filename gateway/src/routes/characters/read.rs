//! `GET /api/v1/characters/{id}`: a character as its maker sees it.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::character::Character;
use keys::ContentId;

use super::{
    bodies::EditorBody,
    original::original,
    own_character,
    uniqueness::{self, Standings},
};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path},
};

#[utoipa::path(get, path = "/api/v1/characters/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Json<EditorBody>, ApiError> {
    let (id, character) = own_character(&app, &person, &id).await?;
    Ok(Json(editor(&app, id, &character).await?))
}

/// Everything that the editor shows.
pub(super) async fn editor(app: &App, id: ContentId, character: &Character) -> Result<EditorBody, ApiError> {
    let standings = Standings::read(app).await?;
    // A card that cannot be had now does not keep anybody from editing.
    let too_long = match original(app, &character.draft).await {
        Ok(Some(original)) => original.still_too_long(&character.draft),
        Ok(None) | Err(_) => Vec::new(),
    };
    // What is taken was refused or is a conflict; here only the warning counts.
    let twin = uniqueness::check(app, Some(id), &character.draft).await.unwrap_or(None);
    Ok(EditorBody {
        id: id.to_string(),
        shown_name: standings.shown_name(id, &character.draft.name),
        draft: (&character.draft).into(),
        published: character.published.map(|version| version.to_string()),
        is_changed: character.definition() != Some(&character.draft),
        versions: character.versions.len(),
        retired: character.retired,
        created_at: character.created.0,
        has_avatar: character.draft.avatar.is_some(),
        has_card: character.draft.card.is_some(),
        too_long: too_long.into_iter().map(Into::into).collect(),
        conflicts: standings.conflicts(app, id).await?,
        twin: twin.map(Into::into),
    })
}
