//! `GET /api/v1/characters/{id}/avatar`: the picture that people see; its maker sees that of the draft.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::character;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    may, picture,
    routes::Path,
};

#[utoipa::path(get, path = "/api/v1/characters/{id}/avatar", params(("id" = String, Path)), responses(
    (status = 200, content_type = "image/jpeg", body = Vec<u8>), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (_, character) = character(&app, &id).await?;
    let is_maker = may::change_character(&person, &character).is_ok();
    let definition = if is_maker {
        Some(&character.draft)
    } else {
        character.definition()
    };
    let avatar = definition
        .and_then(|definition| definition.avatar)
        .ok_or(ApiError::NotFound)?;
    let bytes = app.files.find(avatar).await?;
    let headers = [
        (header::CONTENT_TYPE, picture::content_type(&bytes)),
        (header::CACHE_CONTROL, "private, max-age=60"),
    ];
    Ok((headers, bytes).into_response())
}
