//! `POST /api/v1/password/reset`: another password, by the link of a letter. Every device is signed out.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::{account::AccountEdit, credential::CredentialEdit};
use keys::{Timestamp, token::AccountLinkPurpose};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::passwords,
    error::{ApiError, ErrorBody},
    idle::Peer,
    letters,
    routes::{Json, sign_in::rate_limit},
};

/// The link and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetRequest {
    /// What stands behind `#` in the link.
    token: String,
    #[schema(min_length = 8)]
    password: String,
}

#[utoipa::path(post, path = "/api/v1/password/reset", request_body = ResetRequest, responses(
    (status = 204, description = "The password is changed; sign in"), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<ResetRequest>,
) -> Result<StatusCode, ApiError> {
    rate_limit(&app, peer, Instant::now())?;
    let link = letters::open(&app, &request.token, AccountLinkPurpose::ResetPassword)?;
    let (document, credential) = passwords::credential(&app, link.account)
        .await?
        .ok_or(ApiError::LinkInvalid)?;
    // Used up by the change that it made, or older than another one.
    if credential.generation != link.generation {
        return Err(ApiError::LinkInvalid);
    }
    let hash = passwords::hash(&app, request.password).await?;
    app.audit
        .note(Act {
            by: None,
            action: "account.password-reset",
            subject: link.account.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    app.store.edit(document, CredentialEdit::SetPassword(hash)).await?;
    app.people
        .edit(link.account, AccountEdit::SignOutEverywhere(Timestamp::now()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
