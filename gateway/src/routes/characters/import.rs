//! `POST /api/v1/characters/import`: a card becomes a draft; the file is kept byte for byte.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::IntoResponse,
};
use crdt::records::character::Character;
use keys::{ContentId, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    bodies::{EditorBody, checked},
    original::{self, Original},
    read, uniqueness,
};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    may, picture,
    routes::{Json, Query},
};

/// How the character shall be called.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportQuery {
    /// In place of the card's name, when another character has that.
    #[param(min_length = 2, max_length = 50)]
    name: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/characters/import", params(ImportQuery),
request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A PNG, APNG, JSON or CHARX"), responses(
    (status = 201, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn import(
    State(app): State<Arc<App>>,
    person: Person,
    Query(query): Query<ImportQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, ApiError> {
    may::make_characters(&person)?;
    let bytes = body?.to_vec();
    let original = original::parse(&app, ContentId::of(&bytes), bytes).await?;
    let mut draft = original.content().definition;
    if let Some(name) = query.name {
        name.trim().clone_into(&mut draft.name);
    }
    let mut draft = checked(draft)?;
    uniqueness::check(&app, None, &draft).await?;
    draft.avatar = avatar(&app, &original).await?;
    app.files.keep(original.bytes).await?;
    let character = Character::new(draft.clone(), Some(person.id), Timestamp::now());
    let id = app.store.create(character.clone()).await?;
    uniqueness::claim(&app, id, &draft).await?;
    Ok((StatusCode::CREATED, Json(read::editor(&app, id, &character).await?)))
}

/// The picture of the card, if it has one that can be unpacked.
async fn avatar(app: &App, original: &Original) -> Result<Option<ContentId>, ApiError> {
    let Some(bytes) = original.card.picture(&original.bytes) else {
        return Ok(None);
    };
    match app.in_workshop(move || picture::cleaned(&bytes)).await? {
        Ok(picture) => Ok(Some(app.files.keep(picture).await?)),
        Err(picture::NoPicture) => Ok(None),
    }
}
