//! Complaints: a person says what is wrong with an answer or a character, and moderators decide.
//!
//! A moderator sees what the person saw and no more of the chat. Whatever moderators do is in the audit log, reading included.

pub(crate) mod decide;
mod effect;
pub(crate) mod list;
pub(crate) mod make;
pub(crate) mod mine;
pub(crate) mod show;
pub(crate) mod take;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use crdt::records::complaint::{Complaint, ComplaintReason, ComplaintState, Decided, Decision};
use keys::ContentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{app::App, error::ApiError};

/// The endpoints under `/api/v1/complaints`.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/complaints", get(list::get).post(make::post))
        .route("/complaints/mine", get(mine::get))
        .route("/complaints/{id}", get(show::get))
        .route("/complaints/{id}/take", post(take::post))
        .route("/complaints/{id}/decide", post(decide::post))
}

/// Why a person complains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReasonBody {
    Harmful,
    Sexual,
    Violent,
    Hateful,
    PersonalData,
    Deceptive,
    Other,
}

/// What was decided, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DecisionBody {
    /// Nothing is wrong.
    Dismissed,
    /// The character's author is told.
    AuthorWarned,
    /// The character is not offered until its author publishes it again.
    CharacterHidden,
    /// The character is not offered any more.
    CharacterBlocked,
    /// Its author is shut out, and the character is not offered any more.
    AuthorBlocked,
}

/// Where a complaint has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateBody {
    Open,
    Taken,
    Decided,
}

/// What a complaint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AboutBody {
    Answer,
    Character,
}

impl From<ReasonBody> for ComplaintReason {
    fn from(reason: ReasonBody) -> Self {
        match reason {
            ReasonBody::Harmful => Self::Harmful,
            ReasonBody::Sexual => Self::Sexual,
            ReasonBody::Violent => Self::Violent,
            ReasonBody::Hateful => Self::Hateful,
            ReasonBody::PersonalData => Self::PersonalData,
            ReasonBody::Deceptive => Self::Deceptive,
            ReasonBody::Other => Self::Other,
        }
    }
}

impl From<ComplaintReason> for ReasonBody {
    fn from(reason: ComplaintReason) -> Self {
        match reason {
            ComplaintReason::Harmful => Self::Harmful,
            ComplaintReason::Sexual => Self::Sexual,
            ComplaintReason::Violent => Self::Violent,
            ComplaintReason::Hateful => Self::Hateful,
            ComplaintReason::PersonalData => Self::PersonalData,
            ComplaintReason::Deceptive => Self::Deceptive,
            ComplaintReason::Other => Self::Other,
        }
    }
}

impl From<DecisionBody> for Decision {
    fn from(decision: DecisionBody) -> Self {
        match decision {
            DecisionBody::Dismissed => Self::Dismissed,
            DecisionBody::AuthorWarned => Self::AuthorWarned,
            DecisionBody::CharacterHidden => Self::CharacterHidden,
            DecisionBody::CharacterBlocked => Self::CharacterBlocked,
            DecisionBody::AuthorBlocked => Self::AuthorBlocked,
        }
    }
}

impl From<Decision> for DecisionBody {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Dismissed => Self::Dismissed,
            Decision::AuthorWarned => Self::AuthorWarned,
            Decision::CharacterHidden => Self::CharacterHidden,
            Decision::CharacterBlocked => Self::CharacterBlocked,
            Decision::AuthorBlocked => Self::AuthorBlocked,
        }
    }
}

impl From<ComplaintState> for StateBody {
    fn from(state: ComplaintState) -> Self {
        match state {
            ComplaintState::Open => Self::Open,
            ComplaintState::Taken => Self::Taken,
            ComplaintState::Decided => Self::Decided,
        }
    }
}

impl AboutBody {
    pub(crate) const fn of(complaint: &Complaint) -> Self {
        if complaint.answer.is_some() {
            Self::Answer
        } else {
            Self::Character
        }
    }
}

/// An account with the name that it has now.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoBody {
    id: String,
    /// `null` when the account is gone.
    #[schema(example = "Рита")]
    name: Option<String>,
}

impl WhoBody {
    pub(crate) async fn of(app: &App, id: ContentId) -> Result<Self, ApiError> {
        Ok(Self {
            id: id.to_string(),
            name: app.people.name(id).await?,
        })
    }
}

/// A decision and who made it.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecidedBody {
    decision: DecisionBody,
    by: WhoBody,
    /// Milliseconds since the Unix epoch.
    at: u64,
}

impl DecidedBody {
    async fn of(app: &App, decided: &Decided) -> Result<Self, ApiError> {
        Ok(Self {
            decision: decided.decision.into(),
            by: WhoBody::of(app, decided.by).await?,
            at: decided.id.at().0,
        })
    }
}

/// A complaint in the list of moderators; without the words and without what is complained of.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComplaintRow {
    id: String,
    state: StateBody,
    about: AboutBody,
    reason: ReasonBody,
    character_id: String,
    /// As it was shown to the person.
    #[schema(example = "Лис")]
    character_name: String,
    /// Milliseconds since the Unix epoch.
    created_at: u64,
    /// Who looks at it.
    taken_by: Option<WhoBody>,
    /// What was decided: the strictest, where moderators of both sides of a split decided.
    decided: Option<DecidedBody>,
}

impl ComplaintRow {
    async fn of(app: &App, id: ContentId, complaint: &Complaint) -> Result<Self, ApiError> {
        let taken_by = match &complaint.taken {
            Some(taken) => Some(WhoBody::of(app, taken.by).await?),
            None => None,
        };
        let decided = match complaint.decided() {
            Some(decided) => Some(DecidedBody::of(app, decided).await?),
            None => None,
        };
        Ok(Self {
            id: id.to_string(),
            state: complaint.state().into(),
            about: AboutBody::of(complaint),
            reason: complaint.reason.into(),
            character_id: complaint.character.to_string(),
            character_name: complaint.name.text().to_owned(),
            created_at: complaint.created.0,
            taken_by,
            decided,
        })
    }
}

/// The complaint that a path names.
async fn complaint(app: &App, id: &str) -> Result<(ContentId, Complaint), ApiError> {
    let id = ContentId::parse(id).ok_or(ApiError::NotFound)?;
    Ok((id, app.store.read(id).await?))
}

/// A name as the API says it, for the log.
fn word(body: &impl Serialize) -> String {
    match serde_json::to_value(body) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
