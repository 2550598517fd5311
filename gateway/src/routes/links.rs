//! `POST /api/v1/people/links`: an administrator makes a one-time link for another person.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use keys::{Timestamp, token::PersonRole};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::App,
    auth::{self, Person},
    error::{ApiError, ErrorBody},
    guard::require_code,
};

/// The role of the account that the link makes.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LinkRole {
    User,
    Manager,
    Moderator,
    Administrator,
}

/// What link is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkRequest {
    role: LinkRole,
}

/// The link.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkAnswer {
    /// Path and token; valid at every gateway of the mesh.
    #[schema(example = "/welcome#AQ...")]
    pub(crate) path: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) expires_at: u64,
}

#[utoipa::path(post, path = "/api/v1/people/links", request_body = LinkRequest, responses(
    (status = 201, body = LinkAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    person: Person,
    Json(request): Json<LinkRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let role = match request.role {
        LinkRole::User => PersonRole::User,
        LinkRole::Manager => PersonRole::Manager,
        LinkRole::Moderator => PersonRole::Moderator,
        LinkRole::Administrator => PersonRole::Administrator,
    };
    // To hand out power is a dangerous act; to let a person in is not.
    if role != PersonRole::User {
        require_code(&person, Timestamp::now())?;
    }
    let (path, expires) = auth::link_path(&app.key, app.mesh, role, false).ok_or(ApiError::StorageUnavailable)?;
    Ok((
        StatusCode::CREATED,
        Json(LinkAnswer {
            path,
            expires_at: expires.0,
        }),
    ))
}
