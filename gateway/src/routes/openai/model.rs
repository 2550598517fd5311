//! `GET /v1/models/{model}`: one model that takes work now.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{
    asked_for,
    error::{ProgramError, ProgramErrorBody},
    models::ModelBody,
};
use crate::{app::App, error::ApiError, routes::Path};

#[utoipa::path(get, path = "/v1/models/{model}", operation_id = "program_model", params(("model" = String, Path)), responses(
    (status = 200, body = ModelBody), (status = 400, body = ProgramErrorBody), (status = 401, body = ProgramErrorBody), (status = 403, body = ProgramErrorBody),
    (status = 404, body = ProgramErrorBody), (status = 429, body = ProgramErrorBody), (status = 503, body = ProgramErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    model: Result<Path<String>, ApiError>,
) -> Result<Json<ModelBody>, ProgramError> {
    let Path(model) = model?;
    asked_for(&app, &model)?;
    Ok(Json(ModelBody::of(&model)))
}
