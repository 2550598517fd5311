//! `GET /api/v1/sessions/{id}`: a page of a chat.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use crdt::records::session::MessageId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{own_session, title, visible};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::PAGE_MESSAGES,
    routes::{Json, chat::messages::MessageBody},
};

/// Which page.
#[derive(Deserialize, IntoParams)]
pub(crate) struct PageQuery {
    /// Messages before this one; without it the newest.
    before: Option<String>,
}

/// A page of a chat, oldest message first.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionAnswer {
    id: String,
    character_id: String,
    title: String,
    messages: Vec<MessageBody>,
    /// Whether there are older ones.
    has_more: bool,
}

#[utoipa::path(get, path = "/api/v1/sessions/{id}", params(("id" = String, Path), PageQuery), responses(
    (status = 200, body = SessionAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<SessionAnswer>, ApiError> {
    let before = match &query.before {
        Some(text) => {
            Some(MessageId::parse(text).ok_or_else(|| ApiError::BodyInvalid("`before` is no message id".into()))?)
        }
        None => None,
    };
    let (document, session) = own_session(&app, &person, &id).await?;
    let older: Vec<_> = visible(&session)
        .filter(|message| before.is_none_or(|before| message.id < before))
        .collect();
    let from = older.len().saturating_sub(PAGE_MESSAGES);
    let messages = older[from..]
        .iter()
        .map(|message| MessageBody::of(&app, &session, message))
        .collect();
    Ok(Json(SessionAnswer {
        id: document.to_string(),
        character_id: session.character.to_string(),
        title: title(&session),
        messages,
        has_more: from > 0,
    }))
}
