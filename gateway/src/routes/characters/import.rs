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
    routes::Json,
};

#[utoipa::path(post, path = "/api/v1/characters/import",
request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A PNG, APNG, JSON or CHARX"), responses(
    (status = 201, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn import(
    State(app): State<Arc<App>>,
    person: Person,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, ApiError> {
    may::make_characters(&person)?;
    let bytes = body?.to_vec();
    let original = original::parse(ContentId::of(&bytes), bytes).await?;
    let mut draft = checked(original.content().definition)?;
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
    let cleaned = tokio::task::spawn_blocking(move || picture::cleaned(&bytes));
    match cleaned.await.map_err(|_| ApiError::StorageUnavailable)? {
        Ok(picture) => Ok(Some(app.files.keep(picture).await?)),
        Err(picture::NoPicture) => Ok(None),
    }
}
