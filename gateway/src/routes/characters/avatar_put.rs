//! `PUT /api/v1/characters/{id}/avatar`: another picture for the draft, written anew so that nothing but its pixels is left.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use crdt::records::character::{CharacterEdit, DefinitionField};

use super::{error::CharacterError, own_character};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    picture,
    routes::Path,
};

#[utoipa::path(put, path = "/api/v1/characters/{id}/avatar", params(("id" = String, Path)),
request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "PNG, JPEG, WebP or GIF; 2 MB"), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let (id, _) = own_character(&app, &person, &id).await?;
    let bytes = body.map_err(|rejection| match rejection.into() {
        ApiError::BodyTooLarge => CharacterError::PictureTooLarge.into(),
        other => other,
    })?;
    let cleaned = app.in_workshop(move || picture::cleaned(&bytes)).await?;
    let picture = app.files.keep(cleaned.map_err(|_| CharacterError::Picture)?).await?;
    let field = DefinitionField::Avatar(Some(picture));
    app.store.edit(id, CharacterEdit::SetDraft(vec![field])).await?;
    Ok(StatusCode::NO_CONTENT)
}
