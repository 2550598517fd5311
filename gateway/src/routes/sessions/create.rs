//! `POST /api/v1/sessions`: a new dialogue with a character.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use crdt::records::{character::Character, session::Session};
use keys::{ContentId, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use super::SessionBody;
use crate::{
    app::App,
    auth::Person,
    chats::Chat,
    error::{ApiError, ErrorBody},
    routes::Json,
};

/// With whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSessionRequest {
    character_id: String,
}

#[utoipa::path(post, path = "/api/v1/sessions", request_body = NewSessionRequest, responses(
    (status = 201, body = SessionBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    person: Person,
    Json(request): Json<NewSessionRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let character = ContentId::parse(&request.character_id).ok_or(ApiError::NotFound)?;
    // What its author withdrew or a moderator took away is begun by nobody; chats with it go on.
    if app.store.read::<Character>(character).await?.offered().is_none() {
        return Err(ApiError::NotFound);
    }
    let session = Session::new(person.id, character, Timestamp::now());
    let id = app.store.create(session.clone()).await?;
    app.chats.remember_owner(id, person.id);
    app.search.begun(id, person.id);
    Ok((StatusCode::CREATED, Json(SessionBody::of(&Chat::of(id, session)))))
}
