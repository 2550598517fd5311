//! `GET /api/v1/sessions`: the chats of the person, newest first.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::session::Session;
use serde::Serialize;
use utoipa::ToSchema;

use super::SessionBody;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::SESSIONS_LISTED_MAX,
    routes::Json,
};

/// The chats of the person.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionsAnswer {
    sessions: Vec<SessionBody>,
}

#[utoipa::path(get, path = "/api/v1/sessions", responses(
    (status = 200, body = SessionsAnswer), (status = 401, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Arc<App>>, person: Person) -> Result<Json<SessionsAnswer>, ApiError> {
    let own = app.store.list_of::<Session>(person.id).await?;
    let mut sessions: Vec<_> = own
        .into_iter()
        .filter(|(_, session)| session.account == person.id && !session.archived)
        .map(|(id, session)| SessionBody::of(id, &session))
        .collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.updated_at));
    sessions.truncate(SESSIONS_LISTED_MAX);
    Ok(Json(SessionsAnswer { sessions }))
}
