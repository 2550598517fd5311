//! `POST /api/v1/people/{id}/approve`: an administrator lets somebody in who asked for an account.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::account::{AccountEdit, Role};

use super::account;
use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Path,
};

#[utoipa::path(post, path = "/api/v1/people/{id}/approve", params(("id" = String, Path)), responses(
    (status = 204, description = "The person may sign in"), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, account) = account(&app, &id).await?;
    if account.roles.highest().is_some() {
        return Err(ApiError::Conflict);
    }
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.approve",
            subject: id.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    let edit = AccountEdit::SetRole {
        role: Role::User,
        granted: true,
    };
    app.people.edit(id, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}
