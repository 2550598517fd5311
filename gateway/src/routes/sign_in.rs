//! `POST /api/v1/sign-in`: name and password become a session cookie.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, State},
    http::header,
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Json, PersonAnswer};
use crate::{
    app::App,
    auth::{self, Person},
    error::{ApiError, ErrorBody},
    idle::Peer,
};

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInRequest {
    #[schema(example = "Рита")]
    name: String,
    password: String,
}

#[utoipa::path(post, path = "/api/v1/sign-in", request_body = SignInRequest, responses(
    (status = 200, body = PersonAnswer, description = "Signed in by a cookie"),
    (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<SignInRequest>,
) -> Result<impl IntoResponse, ApiError> {
    rate_limit(&app, peer, Instant::now())?;
    let (id, account) = auth::check_password(&app, &request.name, request.password).await?;
    let answer = PersonAnswer {
        person: (&Person { id, account }).into(),
    };
    Ok(([(header::SET_COOKIE, auth::session_cookie(&app, id)?)], Json(answer)))
}

/// What costs a password hash is limited per address.
pub(super) fn rate_limit(app: &App, peer: Peer, now: Instant) -> Result<(), ApiError> {
    let seconds = |wait: Duration| wait.as_secs() + 1;
    app.sign_ins
        .take(peer.0.ip(), now)
        .map_err(|wait| ApiError::TooManyRequests { seconds: seconds(wait) })
}
