//! `POST /api/v1/complaints/{id}/decide`: a moderator decides, and it is done at once.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::{
    EntryId,
    complaint::{ComplaintEdit, Decided, Decision},
};
use keys::{Timestamp, identity::random_bytes};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{DecisionBody, complaint, effect, word};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::{Json, Path},
};

/// What is decided.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecideRequest {
    decision: DecisionBody,
}

#[utoipa::path(post, path = "/api/v1/complaints/{id}/decide", params(("id" = String, Path)), request_body = DecideRequest, responses(
    (status = 204, description = "It is decided and done"), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<DecideRequest>,
) -> Result<StatusCode, ApiError> {
    let (id, complaint) = complaint(&app, &id).await?;
    let decision = Decision::from(request.decision);
    if let Some(decided) = complaint.decided() {
        // Whoever decided so and did not hear that it is done asks once more.
        return if (decided.by, decided.decision) == (person.id, decision) {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(ApiError::ComplaintDecided)
        };
    }
    effect::check(&app, &person, &complaint, decision).await?;
    app.audit
        .note_of(&person, peer, "complaint.decide", id, &word(&request.decision))
        .await?;
    // First it is done, then it is said to be: what was interrupted is decided once more, which changes nothing that is done already.
    effect::apply(&app, &person, peer, id, &complaint, decision).await?;
    let decided = Decided {
        id: EntryId::new(Timestamp::now(), u128::from_le_bytes(random_bytes())),
        decision,
        by: person.id,
    };
    app.store.edit(id, ComplaintEdit::Decide(decided)).await?;
    Ok(StatusCode::NO_CONTENT)
}
