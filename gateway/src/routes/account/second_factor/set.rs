//! `PUT /api/v1/account/second-factor`: the app has the secret, as a code of it shows. This device has shown a second factor by it.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    response::IntoResponse,
};
use crdt::records::credential::CredentialEdit;
use keys::{Timestamp, totp};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::{
        Person,
        devices::{self, SignedInAnswer},
        passwords,
    },
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Json,
};

/// The secret with a code of it, and the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRequest {
    secret: String,
    #[schema(example = "123456")]
    code: String,
    password: String,
}

#[utoipa::path(put, path = "/api/v1/account/second-factor", request_body = SecretRequest, responses(
    (status = 200, body = SignedInAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<SecretRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let (document, credential) = passwords::check_again(&app, person.id, request.password).await?;
    if credential.totp.is_some() {
        return Err(ApiError::Conflict);
    }
    let now = Timestamp::now();
    let step = totp::check(&request.secret, &request.code, now, 0).ok_or(ApiError::SecondFactorWrong)?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.second-factor-set",
            subject: person.id.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    app.store
        .edit(document, CredentialEdit::SetTotp(Some(request.secret)))
        .await?;
    app.store.edit(document, CredentialEdit::UseTotpStep(step)).await?;
    let (cookies, answer) = devices::with_second_factor(&app, person, now)?;
    Ok((cookies, Json(answer)))
}
