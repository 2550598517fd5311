//! `POST /api/v1/sign-up/confirm`: the link of the letter was opened.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::account::{AccountEdit, Role};
use keys::token::AccountLinkPurpose;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    error::{ApiError, ErrorBody},
    idle::Peer,
    letters,
    routes::{Json, sign_in::rate_limit},
};

/// The link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRequest {
    /// What stands behind `#`.
    token: String,
}

#[utoipa::path(post, path = "/api/v1/sign-up/confirm", request_body = ConfirmRequest, responses(
    (status = 204, description = "The account is confirmed; sign in"), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<ConfirmRequest>,
) -> Result<StatusCode, ApiError> {
    rate_limit(&app, peer, Instant::now())?;
    let link = letters::open(&app, &request.token, AccountLinkPurpose::ConfirmAddress)?;
    let account = app.people.read(link.account).await.map_err(|_| ApiError::LinkInvalid)?;
    // A link confirms once: who has a role has been confirmed.
    if account.roles.highest().is_some() || account.blocked {
        return Err(ApiError::LinkInvalid);
    }
    let edit = AccountEdit::SetRole {
        role: Role::User,
        granted: true,
    };
    app.people.edit(link.account, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}
