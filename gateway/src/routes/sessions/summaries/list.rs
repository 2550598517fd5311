//! `GET /api/v1/sessions/{id}/summaries`: newest first.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SummaryBody;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::PAGE_SUMMARIES,
    routes::{Json, Path, Query, sessions::message_id},
};

/// Which page.
#[derive(Deserialize, IntoParams)]
pub(crate) struct SummariesQuery {
    /// Summaries that end before this message.
    before: Option<String>,
}

/// The summaries of a chat.
#[derive(Serialize, ToSchema)]
pub(crate) struct SummariesAnswer {
    summaries: Vec<SummaryBody>,
    /// Whether there are older ones.
    has_more: bool,
}

#[utoipa::path(get, path = "/api/v1/sessions/{id}/summaries", params(("id" = String, Path), SummariesQuery), responses(
    (status = 200, body = SummariesAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<SummariesQuery>,
) -> Result<Json<SummariesAnswer>, ApiError> {
    let before = query.before.as_deref().map(message_id).transpose()?;
    let chat = app.chats.own(&app, &person, &id).await?;
    let summaries = chat.session.summaries.iter().rev();
    let readable = summaries.filter(|summary| summary.text.is_readable());
    let mut found = readable.filter(|summary| before.is_none_or(|before| summary.last < before));
    let summaries: Vec<SummaryBody> = found.by_ref().take(PAGE_SUMMARIES).map(Into::into).collect();
    Ok(Json(SummariesAnswer {
        summaries,
        has_more: found.next().is_some(),
    }))
}
