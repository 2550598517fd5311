//! `POST /api/v1/sign-out/everywhere`: every device of the person leaves, this one among them.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use crdt::records::account::AccountEdit;
use keys::Timestamp;

use crate::{
    app::App,
    auth::{Person, devices},
    error::{ApiError, ErrorBody},
};

#[utoipa::path(post, path = "/api/v1/sign-out/everywhere", responses(
    (status = 204, description = "Every device is signed out everywhere, and the cookies are cleared"),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(State(app): State<Arc<App>>, person: Person) -> Result<impl IntoResponse, ApiError> {
    // Later than every device that is known, even one that signed in where the clock is ahead.
    let newest = person.account.devices.iter().map(|device| device.id.at().plus(1)).max();
    let now = Timestamp::now().max(newest.unwrap_or_default());
    app.people.edit(person.id, AccountEdit::SignOutEverywhere(now)).await?;
    Ok((StatusCode::NO_CONTENT, devices::leaving(&app)?))
}
