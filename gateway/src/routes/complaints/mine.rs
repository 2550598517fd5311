//! `GET /api/v1/complaints/mine`: what the person complained of and what became of it, the newest first.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::complaint::Complaint;
use keys::ContentId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{AboutBody, DecisionBody, ReasonBody, StateBody};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Json, Query,
        page::{PageQuery, newest_first, page},
    },
};

/// A complaint as whoever made it sees it. Who decided stays among moderators.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnComplaintBody {
    id: String,
    state: StateBody,
    about: AboutBody,
    reason: ReasonBody,
    character_id: String,
    #[schema(example = "Лис")]
    character_name: String,
    /// Of an answer: in which chat.
    session_id: Option<String>,
    /// Of an answer: which one.
    message_id: Option<String>,
    words: String,
    /// What was copied.
    excerpt: String,
    /// Milliseconds since the Unix epoch.
    created_at: u64,
    decision: Option<DecisionBody>,
    /// Milliseconds since the Unix epoch.
    decided_at: Option<u64>,
}

impl OwnComplaintBody {
    pub(super) fn of(id: ContentId, complaint: &Complaint) -> Self {
        let decided = complaint.decided();
        Self {
            id: id.to_string(),
            state: complaint.state().into(),
            about: AboutBody::of(complaint),
            reason: complaint.reason.into(),
            character_id: complaint.character.to_string(),
            character_name: complaint.name.text().to_owned(),
            session_id: complaint.answer.map(|(session, _)| session.to_string()),
            message_id: complaint.answer.map(|(_, message)| message.to_string()),
            words: complaint.words.text().to_owned(),
            excerpt: complaint.excerpt.text().to_owned(),
            created_at: complaint.created.0,
            decision: decided.map(|decided| decided.decision.into()),
            decided_at: decided.map(|decided| decided.id.at().0),
        }
    }
}

/// A page of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnComplaintsAnswer {
    complaints: Vec<OwnComplaintBody>,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/complaints/mine", params(PageQuery), responses(
    (status = 200, body = OwnComplaintsAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    person: Person,
    Query(query): Query<PageQuery>,
) -> Result<Json<OwnComplaintsAnswer>, ApiError> {
    let mut own = app.store.list_of::<Complaint>(person.id).await?;
    own.sort_by_cached_key(cursor);
    let (own, next) = page(own, &query, cursor)?;
    let complaints = own.iter().map(|(id, complaint)| OwnComplaintBody::of(*id, complaint));
    Ok(Json(OwnComplaintsAnswer {
        complaints: complaints.collect(),
        next,
    }))
}

fn cursor((id, complaint): &(ContentId, Complaint)) -> String {
    newest_first(complaint.created, id)
}
