//! `POST /api/v1/characters`: begins a draft that nobody else sees yet.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use crdt::records::character::{Character, Definition};
use keys::Timestamp;

use super::{
    bodies::{DraftRequest, EditorBody, with_fields},
    read, uniqueness,
};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    may,
    routes::Json,
};

#[utoipa::path(post, path = "/api/v1/characters", request_body = DraftRequest, responses(
    (status = 201, body = EditorBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    person: Person,
    Json(request): Json<DraftRequest>,
) -> Result<impl IntoResponse, ApiError> {
    may::make_characters(&person)?;
    let draft = with_fields(Definition::new("", "", "", ""), &request.fields()?)?;
    uniqueness::check(&app, None, &draft).await?;
    let character = Character::new(draft.clone(), Some(person.id), Timestamp::now());
    let id = app.store.create(character.clone()).await?;
    uniqueness::claim(&app, id, &draft).await?;
    Ok((StatusCode::CREATED, Json(read::editor(&app, id, &character).await?)))
}
