//! `GET /v1/models`: the models that take work now, here or on a node within reach, at once or after they were loaded.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ProgramErrorBody;
use crate::app::App;

/// A model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelBody {
    #[schema(example = "built-in")]
    pub(super) id: String,
    #[schema(example = "model")]
    pub(super) object: &'static str,
    /// Always 0: a mesh does not know when a model was made.
    pub(super) created: u64,
    #[schema(example = "starling")]
    pub(super) owned_by: &'static str,
}

impl ModelBody {
    pub(super) fn of(name: &str) -> Self {
        Self {
            id: name.to_owned(),
            object: "model",
            created: 0,
            owned_by: "starling",
        }
    }
}

/// All of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelsAnswer {
    #[schema(example = "list")]
    object: &'static str,
    data: Vec<ModelBody>,
}

#[utoipa::path(get, path = "/v1/models", operation_id = "program_models", responses(
    (status = 200, body = ModelsAnswer), (status = 401, body = ProgramErrorBody), (status = 403, body = ProgramErrorBody),
    (status = 429, body = ProgramErrorBody), (status = 503, body = ProgramErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>) -> Json<ModelsAnswer> {
    let data = app.desk.models().iter().map(|model| ModelBody::of(model)).collect();
    Json(ModelsAnswer { object: "list", data })
}
