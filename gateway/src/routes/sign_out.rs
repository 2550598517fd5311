//! `POST /api/v1/sign-out`: this device leaves.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use crdt::records::account::AccountEdit;

use crate::{
    app::App,
    auth::{self, devices},
    error::{ApiError, ErrorBody},
};

#[utoipa::path(post, path = "/api/v1/sign-out", responses(
    (status = 204, description = "The device is signed out everywhere, and its cookies are cleared"),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<impl IntoResponse, ApiError> {
    let device = match auth::person(&app, &headers).await {
        Ok(person) => Some((person.id, person.device)),
        // After ten minutes without a request only the other token still says which device it is.
        Err(_) => devices::of_refresh_token(&app, &headers),
    };
    if let Some((person, device)) = device
        && let Err(error) = app.people.edit(person, AccountEdit::SignOut(device)).await
    {
        // One that is not known here has nothing to be signed out of; any other trouble must be told.
        match ApiError::from(error) {
            ApiError::StorageUnavailable => return Err(ApiError::StorageUnavailable),
            _ => tracing::debug!(device = %device, "a device that is not known signs out"),
        }
    }
    Ok((StatusCode::NO_CONTENT, devices::leaving(&app)?))
}
