//! `GET /api/v1/account`: what the node keeps of the person who asks, beside devices and consents.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::account::Role;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::{Person, passwords},
    error::{ApiError, ErrorBody},
    routes::Json,
};

/// The person's own account.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountAnswer {
    #[schema(example = "Рита")]
    name: String,
    /// `null` for who came in by a one-time link.
    #[schema(example = "rita@example.org")]
    email: Option<String>,
    /// Of `user`, `manager`, `moderator`, `administrator`.
    roles: Vec<&'static str>,
    /// Milliseconds since the Unix epoch.
    created_at: u64,
    /// Whether there is a second factor.
    second_factor: bool,
}

#[utoipa::path(get, path = "/api/v1/account", responses(
    (status = 200, body = AccountAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, person: Person) -> Result<Json<AccountAnswer>, ApiError> {
    let credential = passwords::credential(&app, person.id).await?;
    let account = &person.account;
    Ok(Json(AccountAnswer {
        name: account.name.text().to_owned(),
        email: account.email.as_ref().map(|email| email.text().to_owned()),
        roles: account.roles.iter().map(Role::name).collect(),
        created_at: account.created.0,
        second_factor: credential.is_some_and(|(_, credential)| credential.totp.is_some()),
    }))
}
