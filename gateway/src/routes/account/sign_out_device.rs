//! `DELETE /api/v1/account/devices/{id}`: another device of the person leaves.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use crdt::records::{EntryId, account::AccountEdit};

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::Path,
};

#[utoipa::path(delete, path = "/api/v1/account/devices/{id}", params(("id" = String, Path)), responses(
    (status = 204, description = "The device is signed out everywhere"), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let device = EntryId::parse(&id).ok_or(ApiError::NotFound)?;
    let is_live = person.account.live_devices().iter().any(|live| live.id == device);
    if !is_live {
        return Err(ApiError::NotFound);
    }
    app.people.edit(person.id, AccountEdit::SignOut(device)).await?;
    Ok(StatusCode::NO_CONTENT)
}
