//! `POST /api/v1/people/{id}/block`: a moderator shuts somebody out, or lets them in again.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::account::{Account, AccountEdit, Role};
use keys::ContentId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::account;
use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::{Json, Path},
};

/// Whether, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockRequest {
    blocked: bool,
    /// For the audit log.
    #[schema(example = "спам")]
    reason: String,
}

#[utoipa::path(post, path = "/api/v1/people/{id}/block", params(("id" = String, Path)), request_body = BlockRequest, responses(
    (status = 204, description = "Done; open sockets are closed within two seconds"), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<BlockRequest>,
) -> Result<StatusCode, ApiError> {
    let (id, account) = account(&app, &id).await?;
    may_block(&person, id, &account)?;
    let action = if request.blocked {
        "account.block"
    } else {
        "account.unblock"
    };
    app.audit
        .note(Act {
            by: Some(&person),
            action,
            subject: id.to_string(),
            detail: request.reason,
            peer,
        })
        .await?;
    app.people.edit(id, AccountEdit::SetBlocked(request.blocked)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses whoever is not to shut this account out.
pub(crate) fn may_block(person: &Person, id: ContentId, account: &Account) -> Result<(), ApiError> {
    if id == person.id {
        return Err(ApiError::Conflict);
    }
    // Who looks after people is looked after by administrators alone.
    let is_keeper = account.roles.contains(Role::Moderator) || account.roles.contains(Role::Administrator);
    if is_keeper && !person.account.roles.contains(Role::Administrator) {
        return Err(ApiError::NotAllowed);
    }
    Ok(())
}
