//! `POST /api/v1/invites/revoke`: nobody joins with an invite any more; whoever did stays a member.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use keys::NodeId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    invites::InviteNamed,
    routes::Json,
};

/// Which one, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeInviteRequest {
    /// Its `id`, or all of it as it was printed.
    invite: String,
    /// Every node shows it: 200 bytes at most, without control characters.
    #[schema(example = "pasted into a chat")]
    reason: String,
}

#[utoipa::path(post, path = "/api/v1/invites/revoke", request_body = RevokeInviteRequest, responses(
    (status = 204, description = "It is out, at every node as soon as it hears of it"), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<RevokeInviteRequest>,
) -> Result<StatusCode, ApiError> {
    let said = request.invite.trim();
    let named = match NodeId::parse(said) {
        Some(ticket) => InviteNamed::Ticket(ticket),
        None => InviteNamed::Text(said.to_owned()),
    };
    let ticket = app.surroundings.revoke_invite(named, request.reason.clone()).await?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "invite.revoke",
            subject: ticket.to_string(),
            detail: request.reason,
            peer,
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
