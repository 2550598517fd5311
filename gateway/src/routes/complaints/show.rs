//! `GET /api/v1/complaints/{id}`: all of a complaint. What the person copied out of a chat is shown, so it is noted who looked.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ComplaintRow, DecidedBody, DecisionBody, WhoBody, complaint, effect};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::{Json, Path},
};

/// A complaint.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComplaintDetailAnswer {
    complaint: ComplaintRow,
    /// Who complains.
    person: WhoBody,
    /// What they say.
    words: String,
    /// What they saw: the answer, or description and greeting of the character.
    excerpt: String,
    /// Who made the character; `null` for those that a mesh begins with.
    author: Option<WhoBody>,
    /// Every decision, the one that stands first. Several were made on both sides of a split.
    decisions: Vec<DecidedBody>,
    /// What the caller may decide; nothing any more when it is decided.
    may_decide: Vec<DecisionBody>,
}

#[utoipa::path(get, path = "/api/v1/complaints/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = ComplaintDetailAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Json<ComplaintDetailAnswer>, ApiError> {
    let (id, complaint) = complaint(&app, &id).await?;
    effect::check_reading(&person, &complaint)?;
    app.audit.note_of(&person, peer, "complaint.open", id, "").await?;
    let author = match complaint.author {
        Some(author) => Some(WhoBody::of(&app, author).await?),
        None => None,
    };
    let mut decisions = Vec::with_capacity(complaint.decisions.len());
    for decided in &complaint.decisions {
        decisions.push(DecidedBody::of(&app, decided).await?);
    }
    let may_decide = if complaint.decided().is_some() {
        Vec::new()
    } else {
        effect::allowed(&app, &person, &complaint).await?
    };
    Ok(Json(ComplaintDetailAnswer {
        complaint: ComplaintRow::of(&app, id, &complaint).await?,
        person: WhoBody::of(&app, complaint.account).await?,
        words: complaint.words.text().to_owned(),
        excerpt: complaint.excerpt.text().to_owned(),
        author,
        decisions,
        may_decide: may_decide.into_iter().map(DecisionBody::from).collect(),
    }))
}
