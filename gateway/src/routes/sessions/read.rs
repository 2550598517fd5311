//! `GET /api/v1/sessions/{id}`: a page of a chat.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::session::MessageId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{message_id, title};
use crate::{
    app::App,
    auth::Person,
    chats::Chat,
    error::{ApiError, ErrorBody},
    limits::PAGE_MESSAGES,
    routes::{Json, Path, Query, chat::messages::MessageBody},
};

/// Which page. At most one of these.
#[derive(Deserialize, IntoParams)]
pub(crate) struct PageQuery {
    /// Messages before this one; without any of these the newest.
    before: Option<String>,
    /// Messages after this one.
    after: Option<String>,
    /// Messages from this time on, in milliseconds since the Unix epoch.
    at: Option<u64>,
    /// The page in whose middle this message stands.
    around: Option<String>,
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
    /// Whether there are newer ones.
    has_newer: bool,
    /// The newest message that the person has read.
    read_id: Option<String>,
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
    let chat = app.chats.own(&app, &person, &id).await?;
    let (from, to) = range(&chat, &query)?;
    let shown = chat.shown();
    let count = shown.len();
    let messages = shown.skip(from).take(to - from).collect();
    let messages = MessageBody::of_all(&app, &chat, messages).await?;
    Ok(Json(SessionAnswer {
        id: chat.document.to_string(),
        character_id: chat.session.character.to_string(),
        title: title(&chat),
        messages,
        has_more: from > 0,
        has_newer: to < count,
        read_id: chat.session.read.map(|read| read.to_string()),
    }))
}

/// Which of the shown messages the page holds.
fn range(chat: &Chat, query: &PageQuery) -> Result<(usize, usize), ApiError> {
    let asked = [&query.before, &query.after, &query.around]
        .into_iter()
        .flatten()
        .count()
        + usize::from(query.at.is_some());
    if asked > 1 {
        return Err(ApiError::BodyInvalid(
            "at most one of `before`, `after`, `around` and `at`".into(),
        ));
    }
    let count = chat.shown().len();
    // Shown messages stand in the order of the conversation, which is nearly, but not always, that of their ids.
    let place = |id: MessageId| {
        let found = chat.shown().position(|message| message.id == id);
        found.unwrap_or_else(|| chat.shown().take_while(|message| message.id < id).count())
    };
    let until = |to: usize| (to.saturating_sub(PAGE_MESSAGES), to);
    let since = |from: usize| (from, (from + PAGE_MESSAGES).min(count));
    Ok(match query {
        PageQuery {
            before: Some(before), ..
        } => until(place(message_id(before)?)),
        PageQuery { after: Some(after), .. } => since((place(message_id(after)?) + 1).min(count)),
        PageQuery {
            around: Some(around), ..
        } => since(place(message_id(around)?).saturating_sub(PAGE_MESSAGES / 2)),
        PageQuery { at: Some(at), .. } => since(chat.shown().take_while(|message| message.id.at().0 < *at).count()),
        _ => until(count),
    })
}
