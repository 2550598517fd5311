//! `POST /api/v1/welcome`: a one-time link becomes an account.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use crdt::records::{Record, account::Account, credential::Credential};
use keys::{
    Timestamp,
    token::{self, OneTimeLink},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::App,
    auth::{
        self,
        devices::{self, SignedInAnswer},
        passwords,
    },
    error::{ApiError, ErrorBody},
    idle::Peer,
};

/// What a new person says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WelcomeRequest {
    /// What stands behind `#` in the link.
    token: String,
    #[schema(example = "Рита", min_length = 2, max_length = 50)]
    name: String,
    #[schema(min_length = 8)]
    password: String,
}

#[utoipa::path(post, path = "/api/v1/welcome", request_body = WelcomeRequest, responses(
    (status = 201, body = SignedInAnswer, description = "The account is made and signed in, by two cookies"),
    (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    Json(request): Json<WelcomeRequest>,
) -> Result<impl IntoResponse, ApiError> {
    super::sign_in::rate_limit(&app, peer, Instant::now())?;
    let is_member = |node: &keys::NodeId| app.surroundings.is_member(node);
    let link: OneTimeLink =
        token::verify(&request.token, app.mesh, Timestamp::now(), is_member).map_err(|_| ApiError::LinkInvalid)?;
    let name = request.name.trim().to_owned();
    let account = Account::new(&name, link.role.into(), Timestamp::now(), link.nonce);
    account.validate().map_err(|_| ApiError::NameInvalid)?;
    check_unused(&app, &link).await?;
    if app.people.named(&name).await?.is_some() {
        return Err(ApiError::NameTaken);
    }
    let password_hash = passwords::hash(&app, request.password).await?;
    let id = app.people.create(account).await?;
    app.store.create(Credential::new(id, password_hash)).await?;
    let (cookies, answer) = devices::sign_in(&app, id, devices::label(&headers), None).await?;
    Ok((StatusCode::CREATED, cookies, Json(answer)))
}

async fn check_unused(app: &App, link: &OneTimeLink) -> Result<(), ApiError> {
    let accounts = app.store.list::<Account>().await?;
    let used = accounts.iter().any(|(_, account)| account.link == link.nonce);
    let late = link.first && auth::has_administrator(&app.store).await?;
    if used || late {
        Err(ApiError::LinkInvalid)
    } else {
        Ok(())
    }
}
