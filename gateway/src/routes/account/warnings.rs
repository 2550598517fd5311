//! `GET /api/v1/account/warnings`: what moderators decided about the person's characters, the newest first. Never who complained.

use std::sync::Arc;

use axum::extract::State;
use crdt::{
    StoreError,
    records::{
        character::Character,
        complaint::{Complaint, Decision},
    },
};
use keys::{ContentId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Json, Query,
        complaints::{AboutBody, DecisionBody, ReasonBody},
        page::{PageQuery, newest_first, page},
    },
};

/// A page of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct WarningsAnswer {
    warnings: Vec<WarningBody>,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

/// What was decided about a character of the person.
#[derive(Serialize, ToSchema)]
pub(crate) struct WarningBody {
    /// Names the decision.
    id: String,
    character_id: String,
    /// `null` when the character is gone.
    #[schema(example = "Лис")]
    character_name: Option<String>,
    /// Whether it was an answer, or what the character says of itself.
    about: AboutBody,
    reason: ReasonBody,
    decision: DecisionBody,
    /// Milliseconds since the Unix epoch.
    at: u64,
}

#[utoipa::path(get, path = "/api/v1/account/warnings", params(PageQuery), responses(
    (status = 200, body = WarningsAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    person: Person,
    Query(query): Query<PageQuery>,
) -> Result<Json<WarningsAnswer>, ApiError> {
    let mut found = app.store.list::<Complaint>().await?;
    found.retain(|(_, complaint)| {
        let is_blamed = complaint
            .decided()
            .is_some_and(|decided| decided.decision != Decision::Dismissed);
        is_blamed && complaint.author == Some(person.id)
    });
    found.sort_by_cached_key(cursor);
    let (found, next) = page(found, &query, cursor)?;
    let mut warnings = Vec::with_capacity(found.len());
    for (_, complaint) in &found {
        let Some(decided) = complaint.decided() else { continue };
        let character_name = match app.store.read::<Character>(complaint.character).await {
            Ok(character) => Some(character.draft.name),
            Err(StoreError::NotFound | StoreError::Erased) => None,
            Err(error) => return Err(error.into()),
        };
        warnings.push(WarningBody {
            id: decided.id.to_string(),
            character_id: complaint.character.to_string(),
            character_name,
            about: AboutBody::of(complaint),
            reason: complaint.reason.into(),
            decision: decided.decision.into(),
            at: decided.id.at().0,
        });
    }
    Ok(Json(WarningsAnswer { warnings, next }))
}

fn cursor((id, complaint): &(ContentId, Complaint)) -> String {
    let at = complaint.decided().map_or(Timestamp(0), |decided| decided.id.at());
    newest_first(at, id)
}
