//! `GET /api/v1/characters/{id}/difference`: what differs between two versions, or between one and the draft.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::{
    EntryId,
    character::{Character, Definition},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{bodies::value, own_character};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path, Query},
};

/// What is compared: ids of versions, or `draft`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DifferenceQuery {
    from: String,
    /// The draft unless told otherwise.
    to: Option<String>,
}

/// The fields that differ.
#[derive(Serialize, ToSchema)]
pub(crate) struct DifferenceAnswer {
    fields: Vec<DifferingField>,
}

/// A field that differs.
#[derive(Serialize, ToSchema)]
pub(crate) struct DifferingField {
    #[schema(example = "prompt")]
    field: &'static str,
    before: Value,
    after: Value,
}

#[utoipa::path(get, path = "/api/v1/characters/{id}/difference", params(("id" = String, Path), DifferenceQuery), responses(
    (status = 200, body = DifferenceAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<DifferenceQuery>,
) -> Result<Json<DifferenceAnswer>, ApiError> {
    let (_, character) = own_character(&app, &person, &id).await?;
    let before = side(&character, &query.from)?;
    let after = side(&character, query.to.as_deref().unwrap_or("draft"))?;
    let pairs = after.difference(before).into_iter().zip(before.difference(after));
    let fields = pairs.map(|(old, new)| DifferingField {
        field: new.name(),
        before: value(&old),
        after: value(&new),
    });
    Ok(Json(DifferenceAnswer {
        fields: fields.collect(),
    }))
}

fn side<'a>(character: &'a Character, name: &str) -> Result<&'a Definition, ApiError> {
    if name == "draft" {
        return Ok(&character.draft);
    }
    let version = EntryId::parse(name).and_then(|id| character.version(id));
    version.map(|version| &version.definition).ok_or(ApiError::NotFound)
}
