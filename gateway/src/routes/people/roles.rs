//! `PUT /api/v1/people/{id}/roles`: what somebody may do from now on, on open sockets, too.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::account::{Account, AccountEdit, Role};
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

/// Every role that the person shall have; at least one. To shut somebody out is to block them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolesRequest {
    #[schema(example = json!(["user", "manager"]))]
    roles: Vec<String>,
}

#[utoipa::path(put, path = "/api/v1/people/{id}/roles", params(("id" = String, Path)), request_body = RolesRequest, responses(
    (status = 204, description = "The person has these roles and no others"), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<RolesRequest>,
) -> Result<StatusCode, ApiError> {
    let wanted: Option<Vec<Role>> = request.roles.iter().map(|name| Role::from_name(name)).collect();
    let wanted = wanted.filter(|wanted| !wanted.is_empty()).ok_or_else(|| {
        ApiError::BodyInvalid("`roles` are user, manager, moderator and administrator, at least one".into())
    })?;
    let (id, account) = account(&app, &id).await?;
    let loses_power = account.roles.contains(Role::Administrator) && !wanted.contains(&Role::Administrator);
    if loses_power && is_last_administrator(&app, id).await? {
        return Err(ApiError::Conflict);
    }
    let detail = format!("{} -> {}", words(account.roles.iter()), words(wanted.iter().copied()));
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.roles",
            subject: id.to_string(),
            detail,
            peer,
        })
        .await?;
    for role in Role::ALL {
        let granted = wanted.contains(&role);
        if granted != account.roles.contains(role) {
            app.people.edit(id, AccountEdit::SetRole { role, granted }).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn words(roles: impl Iterator<Item = Role>) -> String {
    roles.map(Role::name).collect::<Vec<_>>().join(" ")
}

/// A mesh without an administrator could never get one again.
async fn is_last_administrator(app: &App, id: keys::ContentId) -> Result<bool, ApiError> {
    let accounts = app.store.list::<Account>().await?;
    let mut others = accounts
        .iter()
        .filter(|(other, account)| *other != id && account.roles.contains(Role::Administrator) && !account.blocked);
    Ok(others.next().is_none())
}
