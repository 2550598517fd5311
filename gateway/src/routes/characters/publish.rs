//! `POST /api/v1/characters/{id}/publish`: makes the draft a version, and lets people chat with it.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use crdt::{
    cards::content::KEPT_IN_CARD,
    records::character::{Character, CharacterEdit, NOTE_CHARACTERS_MAX},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    bodies::EditorBody, error::CharacterError, next_version, original::original, own_character, read, uniqueness,
};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::{Json, Path},
};

/// What is noted beside the version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishRequest {
    #[schema(example = "Speaks shorter", max_length = 200)]
    note: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/characters/{id}/publish", params(("id" = String, Path)),
request_body = PublishRequest, responses(
    (status = 201, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<PublishRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, character) = own_character(&app, &person, &id).await?;
    let note = request.note.unwrap_or_default();
    if note.chars().count() > NOTE_CHARACTERS_MAX {
        return Err(CharacterError::Field("note").into());
    }
    refuse_what_is_too_long(&app, &character).await?;
    // A conflict that came of a split does not keep it from people: they see the suffix.
    match uniqueness::check(&app, Some(id), &character.draft).await {
        Err(ApiError::Character(CharacterError::NameTaken(_) | CharacterError::PromptTaken(_))) | Ok(_) => {}
        Err(error) => return Err(error),
    }
    app.audit.note_of(&person, peer, "character.publish", id, &note).await?;
    let edit = CharacterEdit::Publish {
        id: next_version(&character),
        by: Some(person.id),
        note,
    };
    app.store.edit(id, edit).await?;
    let character: Character = app.store.read(id).await?;
    Ok((StatusCode::CREATED, Json(read::editor(&app, id, &character).await?)))
}

/// Nobody chats with a character whose name or prompt is a mark that stands for something too long.
async fn refuse_what_is_too_long(app: &App, character: &Character) -> Result<(), ApiError> {
    let mut is_marked = character.draft.prompt == KEPT_IN_CARD;
    if character.draft.card.is_some() && !is_marked && character.draft.name.starts_with("card ") {
        let original = original(app, &character.draft).await?;
        let too_long = original.map(|original| original.still_too_long(&character.draft));
        is_marked = too_long.is_some_and(|fields| fields.iter().any(|field| field.field == "name"));
    }
    if is_marked {
        Err(CharacterError::FieldsTooLong.into())
    } else {
        Ok(())
    }
}
