//! `PATCH /api/v1/characters/{id}`: sets fields of the draft; what people chat with stays as it is.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::character::{Character, CharacterEdit};

use super::{
    bodies::{DraftRequest, EditorBody, with_fields},
    own_character, read, uniqueness,
};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path},
};

#[utoipa::path(patch, path = "/api/v1/characters/{id}", params(("id" = String, Path)), request_body = DraftRequest,
responses(
    (status = 200, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<DraftRequest>,
) -> Result<Json<EditorBody>, ApiError> {
    let (id, character) = own_character(&app, &person, &id).await?;
    let fields = request.fields()?;
    let draft = with_fields(character.draft.clone(), &fields)?;
    // Who lost a name to the other half of a split keeps it until it is changed.
    let is_renamed = draft.name != character.draft.name || draft.prompt != character.draft.prompt;
    if is_renamed {
        uniqueness::check(&app, Some(id), &draft).await?;
    }
    app.store.edit(id, CharacterEdit::SetDraft(fields)).await?;
    if is_renamed {
        uniqueness::claim(&app, id, &draft).await?;
    }
    let character: Character = app.store.read(id).await?;
    Ok(Json(read::editor(&app, id, &character).await?))
}
