//! `POST /api/v1/account/delete`: everything of the person is erased on every node, for good.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use crdt::{
    erasure::EraseTarget,
    records::account::{Account, Role},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::{Person, devices, passwords},
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Json,
};

/// The password, and a code where there is a second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteRequest {
    password: String,
    #[schema(example = "123456")]
    code: Option<String>,
}

/// Where one can see that it is done.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeleteAnswer {
    /// Names the erasure: `GET /api/v1/erasures/{id}` tells which nodes have carried it out.
    erasure: String,
}

#[utoipa::path(post, path = "/api/v1/account/delete", request_body = DeleteRequest, responses(
    (status = 202, body = DeleteAnswer, description = "Erased here; the other nodes follow, each with a receipt"),
    (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<DeleteRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let (document, credential) = passwords::check_again(&app, person.id, request.password).await?;
    if credential.totp.is_some() {
        let code = request.code.ok_or(ApiError::SecondFactorRequired)?;
        passwords::use_code(&app, document, &credential, &code).await?;
    }
    if person.account.roles.contains(Role::Administrator) && is_only_administrator(&app, &person).await? {
        return Err(ApiError::Conflict);
    }
    // The log keeps that it was done, and of the person only the account's id, which says nothing any more.
    app.audit
        .note(Act {
            by: None,
            action: "account.delete",
            subject: person.id.to_string(),
            detail: "by the person".into(),
            peer,
        })
        .await?;
    let erasure = app.store.erase(EraseTarget::Account(person.id)).await?;
    app.people.gone(person.id);
    let answer = DeleteAnswer {
        erasure: erasure.to_string(),
    };
    Ok((StatusCode::ACCEPTED, devices::leaving(&app)?, Json(answer)))
}

async fn is_only_administrator(app: &App, person: &Person) -> Result<bool, ApiError> {
    let accounts = app.store.list::<Account>().await?;
    let mut others = accounts
        .iter()
        .filter(|(id, account)| *id != person.id && account.roles.contains(Role::Administrator));
    Ok(others.next().is_none())
}
