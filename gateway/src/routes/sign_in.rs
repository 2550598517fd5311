//! `POST /api/v1/sign-in`: name and password sign a device in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, State},
    http::HeaderMap,
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::App,
    auth::{
        devices::{self, SignedInAnswer},
        passwords,
    },
    error::{ApiError, ErrorBody},
    idle::Peer,
    limits::{SIGN_IN_BURST, SIGN_IN_PER_SECOND},
    policy::range,
};

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInRequest {
    /// The name, or the e-mail address.
    #[schema(example = "Рита")]
    name: String,
    password: String,
    /// From the authenticator app, for those who have one.
    #[schema(example = "123456")]
    code: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/sign-in", request_body = SignInRequest, responses(
    (status = 200, body = SignedInAnswer, description = "Signed in, by two cookies"),
    (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    Json(request): Json<SignInRequest>,
) -> Result<impl IntoResponse, ApiError> {
    rate_limit(&app, peer, Instant::now())?;
    let code = request.code.as_deref();
    let found = passwords::check(&app, &request.name, request.password, code, peer.0.ip()).await?;
    let label = devices::label(&headers);
    let (cookies, answer) = devices::sign_in(&app, found.account, label, found.second_factor).await?;
    Ok((cookies, Json(answer)))
}

/// What costs a password hash is limited per address.
pub(crate) fn rate_limit(app: &App, peer: Peer, now: Instant) -> Result<(), ApiError> {
    let seconds = |wait: Duration| wait.as_secs() + 1;
    app.sign_ins
        .take(&range(peer.0.ip()), SIGN_IN_BURST, SIGN_IN_PER_SECOND, now)
        .map_err(|wait| ApiError::TooManyRequests { seconds: seconds(wait) })
}
