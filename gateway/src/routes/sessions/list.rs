//! `GET /api/v1/sessions`: the chats of the person, newest first.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SessionBody;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::SESSIONS_LISTED_MAX,
    routes::{Json, Query},
};

/// Which of them.
#[derive(Deserialize, IntoParams)]
pub(crate) struct SessionsQuery {
    /// Chats that changed before this one; without it the newest.
    before: Option<String>,
    /// The archived ones instead of the others.
    #[serde(default)]
    archived: bool,
}

/// The chats of the person.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionsAnswer {
    sessions: Vec<SessionBody>,
    /// Whether there are older ones.
    has_more: bool,
}

#[utoipa::path(get, path = "/api/v1/sessions", params(SessionsQuery), responses(
    (status = 200, body = SessionsAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    person: Person,
    Query(query): Query<SessionsQuery>,
) -> Result<Json<SessionsAnswer>, ApiError> {
    let mut sessions = Vec::new();
    for document in app.store.documents_owned_by(person.id).await? {
        // What is no chat is another record of the person.
        if let Ok(chat) = app.chats.get(&app, document).await
            && chat.session.account == person.id
            && chat.session.archived == query.archived
        {
            sessions.push(SessionBody::of(&chat));
        }
    }
    sessions.sort_by(|left, right| (right.updated_at, &right.id).cmp(&(left.updated_at, &left.id)));
    if let Some(before) = &query.before {
        let place = sessions
            .iter()
            .position(|session| session.id == *before)
            .ok_or(ApiError::NotFound)?;
        sessions.drain(..=place);
    }
    let has_more = sessions.len() > SESSIONS_LISTED_MAX;
    sessions.truncate(SESSIONS_LISTED_MAX);
    Ok(Json(SessionsAnswer { sessions, has_more }))
}
