//! `POST /api/v1/password/forgot`: a letter with a link, if the address is known. Answered at once and always the same.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};

use crate::{
    app::App,
    error::{ApiError, ErrorBody},
    idle::Peer,
    letters::Letter,
    routes::{
        Json,
        sign_in::rate_limit,
        sign_up::{NextAnswer, resend::AddressRequest},
    },
};

#[utoipa::path(post, path = "/api/v1/password/forgot", request_body = AddressRequest, responses(
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
    app.letters.ask(request.email, Letter::Reset)?;
    Ok((StatusCode::ACCEPTED, Json(NextAnswer::of(&app))))
}
