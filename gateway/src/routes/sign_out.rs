//! `POST /api/v1/sign-out`: clears the session cookie.

use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::auth;

#[utoipa::path(post, path = "/api/v1/sign-out", responses((status = 204, description = "The cookie is cleared")))]
pub(crate) async fn post() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, auth::no_cookie())])
}
