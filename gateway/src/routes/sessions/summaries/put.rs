//! `PUT /api/v1/sessions/{id}/summaries/{last}`: what the model is told of everything up to a message, in the person's words.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::session::{Coverage, MessageId, SessionEdit, Summary, SummaryOrigin};
use serde::Deserialize;
use utoipa::ToSchema;

use super::SummaryBody;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, Path, chat::messages::check_visible, sessions::message_id},
};

/// The person's words.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SummaryRequest {
    /// Up to 4000 characters.
    text: String,
}

#[utoipa::path(put, path = "/api/v1/sessions/{id}/summaries/{last}",
    params(("id" = String, Path), ("last" = String, Path, description = "The last message that it covers")),
    request_body = SummaryRequest, responses(
    (status = 200, body = SummaryBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    person: Person,
    Path((id, last)): Path<(String, String)>,
    Json(request): Json<SummaryRequest>,
) -> Result<Json<SummaryBody>, ApiError> {
    check_visible(&request.text)?;
    let chat = app.chats.own(&app, &person, &id).await?;
    let last = chat.message(message_id(&last)?)?.id;
    let known = chat.session.summaries.iter().find(|summary| summary.last == last);
    let (first, covers) = match known {
        Some(known) => (known.first, known.covers.clone()),
        None => {
            let covered: Vec<MessageId> = chat.tree.path_to(last);
            // Messages of a split can stand in another order than their ids.
            let first = covered.iter().copied().min().unwrap_or(last).min(last);
            (first, Coverage::of(covered.into_iter().chain([first, last])))
        }
    };
    let summary = Summary {
        first,
        last,
        covers,
        origin: SummaryOrigin::Person,
        text: request.text.as_str().into(),
    };
    let body = SummaryBody::from(&summary);
    app.chats
        .edit(&app, chat.document, SessionEdit::PutSummary(summary))
        .await?;
    Ok(Json(body))
}
