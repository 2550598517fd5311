//! `POST /api/v1/sign-up/resend`: the letter did not come. Answered at once and always the same.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::NextAnswer;
use crate::{
    app::App,
    error::{ApiError, ErrorBody},
    idle::Peer,
    letters::Letter,
    routes::{Json, sign_in::rate_limit},
};

/// To which address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressRequest {
    #[schema(example = "rita@example.org")]
    pub(crate) email: String,
}

#[utoipa::path(post, path = "/api/v1/sign-up/resend", request_body = AddressRequest, responses(
    (status = 202, body = NextAnswer, description = "Also for an address that is not known"),
    (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<AddressRequest>,
) -> Result<impl IntoResponse, ApiError> {
    rate_limit(&app, peer, Instant::now())?;
    app.letters.ask(request.email, Letter::Confirm)?;
    Ok((StatusCode::ACCEPTED, Json(NextAnswer::of(&app))))
}
