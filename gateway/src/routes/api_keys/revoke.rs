//! `DELETE /api/v1/keys/{id}`: a key is taken back, on every node, for good.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::{EntryId, account::AccountEdit};

use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Path,
};

#[utoipa::path(delete, path = "/api/v1/keys/{id}", params(("id" = String, Path)), responses(
    (status = 204, description = "It counts no longer"), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let key = EntryId::parse(&id).ok_or(ApiError::NotFound)?;
    if !person.account.api_keys.iter().any(|known| known.id == key) {
        return Err(ApiError::NotFound);
    }
    app.audit
        .note(Act {
            by: Some(&person),
            action: "key.revoke",
            subject: id,
            detail: String::new(),
            peer,
        })
        .await?;
    app.people.edit(person.id, AccountEdit::RemoveApiKey(key)).await?;
    Ok(StatusCode::NO_CONTENT)
}
