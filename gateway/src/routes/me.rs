//! `GET /api/v1/me`: who is signed in, and at which node.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Json, NodeBody, PersonBody};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
};

/// The person and the node that answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeAnswer {
    person: PersonBody,
    node: NodeBody,
}

#[utoipa::path(get, path = "/api/v1/me", responses(
    (status = 200, body = MeAnswer), (status = 401, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, person: Person) -> Result<Json<MeAnswer>, ApiError> {
    Ok(Json(MeAnswer {
        person: (&person).into(),
        node: NodeBody::of(&app, &app.key.id()),
    }))
}
