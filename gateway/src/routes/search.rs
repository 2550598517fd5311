//! `GET /api/v1/search`: messages of the person with some words, newest first.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Json, Query, sessions::message_id};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::SEARCH_CHARACTERS_MAX,
    search::Hit,
};

/// What is looked for.
#[derive(Deserialize, IntoParams)]
pub(crate) struct SearchQuery {
    /// Words in Russian or English, in any form; all of them must be there.
    q: String,
    /// Messages older than this one.
    before: Option<String>,
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchAnswer {
    hits: Vec<HitBody>,
    /// Whether there are older ones.
    has_more: bool,
    /// Whether every chat was searched; else the index is being made, and asking again in a moment finds more.
    is_complete: bool,
}

/// A message that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct HitBody {
    session_id: String,
    message_id: String,
    /// `person` or `character`.
    role: &'static str,
    /// Milliseconds since the Unix epoch.
    at: u64,
    #[schema(example = "летают ли скворцы зимой")]
    snippet: String,
    /// Where the words stand in the snippet: first character and number of characters.
    marks: Vec<(usize, usize)>,
}

impl From<Hit> for HitBody {
    fn from(hit: Hit) -> Self {
        Self {
            session_id: hit.chat.to_string(),
            message_id: hit.message.to_string(),
            role: if hit.is_from_person { "person" } else { "character" },
            at: hit.at,
            snippet: hit.snippet,
            marks: hit.marks,
        }
    }
}

#[utoipa::path(get, path = "/api/v1/search", params(SearchQuery), responses(
    (status = 200, body = SearchAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    person: Person,
    Query(query): Query<SearchQuery>,
) -> Result<Json<SearchAnswer>, ApiError> {
    if query.q.chars().count() > SEARCH_CHARACTERS_MAX {
        return Err(ApiError::BodyInvalid(format!(
            "`q` has at most {SEARCH_CHARACTERS_MAX} characters"
        )));
    }
    let before = query.before.as_deref().map(message_id).transpose()?;
    let found = app.search.find(&app, person.id, &query.q, before).await?;
    Ok(Json(SearchAnswer {
        hits: found.hits.into_iter().map(Into::into).collect(),
        has_more: found.has_more,
        is_complete: found.is_complete,
    }))
}
