//! `GET /api/v1/characters/{id}/versions`: what was published so far, newest first.

use std::{cmp::Reverse, sync::Arc};

use axum::extract::State;
use crdt::records::{account::Account, character::CharacterVersion};
use serde::Serialize;
use utoipa::ToSchema;

use super::{bodies::DefinitionBody, own_character};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Json, Path, Query,
        page::{PageQuery, page},
    },
};

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionsAnswer {
    versions: Vec<VersionBody>,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

/// A published version.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionBody {
    id: String,
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// Who published it; empty when that is nobody, or nobody any more.
    by: String,
    note: String,
    is_published: bool,
    definition: DefinitionBody,
}

#[utoipa::path(get, path = "/api/v1/characters/{id}/versions", params(("id" = String, Path), PageQuery), responses(
    (status = 200, body = VersionsAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<VersionsAnswer>, ApiError> {
    let (_, mut character) = own_character(&app, &person, &id).await?;
    let published = character.published;
    let newest = character.versions.len();
    character.versions.sort_by_key(|version| Reverse(version.id));
    let numbered: Vec<(usize, CharacterVersion)> = character.versions.into_iter().enumerate().collect();
    // Counted from the oldest, so that a version that is published meanwhile moves nothing.
    let (versions, next) = page(numbered, &query, |(index, _)| {
        format!("{:06}", 999_999 - (newest - index))
    })?;
    let mut bodies = Vec::new();
    for (_, version) in versions {
        let by: Option<Account> = match version.by {
            Some(by) => app.store.read(by).await.ok(),
            None => None,
        };
        bodies.push(VersionBody {
            id: version.id.to_string(),
            at: version.id.at().0,
            by: by.map(|by| by.name.text().to_owned()).unwrap_or_default(),
            note: version.note,
            is_published: published == Some(version.id),
            definition: (&version.definition).into(),
        });
    }
    Ok(Json(VersionsAnswer { versions: bodies, next }))
}
