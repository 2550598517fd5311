//! `POST /api/v1/complaints/{id}/take`: a moderator looks at it, so that no other need to. Who is away is relieved by the next one.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::complaint::{ComplaintEdit, Taken};
use keys::Timestamp;

use super::{complaint, effect};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Path,
};

#[utoipa::path(post, path = "/api/v1/complaints/{id}/take", params(("id" = String, Path)), responses(
    (status = 204, description = "The caller looks at it"), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, complaint) = complaint(&app, &id).await?;
    if complaint.decided().is_some() {
        return Err(ApiError::ComplaintDecided);
    }
    effect::check_reading(&person, &complaint)?;
    app.audit.note_of(&person, peer, "complaint.take", id, "").await?;
    let taken = Taken {
        by: person.id,
        at: Timestamp::now(),
    };
    app.store.edit(id, ComplaintEdit::Take(taken)).await?;
    Ok(StatusCode::NO_CONTENT)
}
