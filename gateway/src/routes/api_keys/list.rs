//! `GET /api/v1/keys`: the keys of the person's programs. There are twenty at most, so the list has one page.

use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::KeyBody;
use crate::{
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::Json,
};

/// All keys, in the order in which they were made.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeysAnswer {
    keys: Vec<KeyBody>,
}

#[utoipa::path(get, path = "/api/v1/keys", responses(
    (status = 200, body = KeysAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(person: Person) -> Result<impl IntoResponse, ApiError> {
    let keys = person.account.api_keys.iter().map(KeyBody::from).collect();
    Ok(Json(KeysAnswer { keys }))
}
