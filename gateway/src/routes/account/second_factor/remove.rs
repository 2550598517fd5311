//! `POST /api/v1/account/second-factor/remove`: the person takes the second factor off, with the password and a last code.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::credential::CredentialEdit;
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

/// Password and code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveRequest {
    password: String,
    #[schema(example = "123456")]
    code: String,
}

#[utoipa::path(post, path = "/api/v1/account/second-factor/remove", request_body = RemoveRequest, responses(
    (status = 204, description = "There is no second factor any more"), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<RemoveRequest>,
) -> Result<StatusCode, ApiError> {
    let (document, credential) = passwords::check_again(&app, person.id, request.password).await?;
    passwords::use_code(&app, document, &credential, &request.code).await?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.second-factor-remove",
            subject: person.id.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    app.store.edit(document, CredentialEdit::SetTotp(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
