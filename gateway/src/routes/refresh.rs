//! `POST /api/v1/refresh`: the refresh token in the cookie becomes another access token, and another refresh token.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::IntoResponse};

use super::Json;
use crate::{
    app::App,
    auth::devices::{self, SignedInAnswer},
    error::{ApiError, ErrorBody},
};

#[utoipa::path(post, path = "/api/v1/refresh", responses(
    (status = 200, body = SignedInAnswer, description = "Signed in for ten minutes more; both cookies are new"),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<impl IntoResponse, ApiError> {
    let (cookies, answer) = devices::refresh(&app, &headers).await?;
    Ok((cookies, Json(answer)))
}
