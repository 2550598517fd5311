//! `POST /api/v1/account/password`: another password, by whoever knows the old one. Every other device is signed out.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::{account::AccountEdit, credential::CredentialEdit};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::{Person, passwords},
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Json,
};

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRequest {
    old: String,
    #[schema(min_length = 8)]
    new: String,
}

#[utoipa::path(post, path = "/api/v1/account/password", request_body = PasswordRequest, responses(
    (status = 204, description = "Changed; the other devices are signed out"), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<PasswordRequest>,
) -> Result<StatusCode, ApiError> {
    let (document, _) = passwords::check_again(&app, person.id, request.old).await?;
    let hash = passwords::hash(&app, request.new).await?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.password-change",
            subject: person.id.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    app.store.edit(document, CredentialEdit::SetPassword(hash)).await?;
    let others: Vec<_> = person.account.live_devices().iter().map(|device| device.id).collect();
    for other in others.into_iter().filter(|device| *device != person.device) {
        app.people.edit(person.id, AccountEdit::SignOut(other)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
