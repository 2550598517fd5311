//! `GET /api/v1/sessions/{id}/messages/{message}/choice`: why this node was asked for an answer, in terms that add up.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use crdt::records::session::{AnswerChoice, ChoiceCost, ChoiceHow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{Json, NodeBody, Path, sessions::message_id},
};

/// Why a node was asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChoiceAnswer {
    /// How many could be asked.
    #[schema(example = 3)]
    candidates: u32,
    /// `cheapest` (it was expected to be the soonest), `stayed` (it has the conversation computed, and no other was clearly better) or
    /// `drawn` (from those that could not be told apart).
    #[schema(example = "cheapest")]
    how: &'static str,
    winner: ScoredBody,
    /// Who would have been asked instead.
    runner_up: Option<ScoredBody>,
}

/// A node with what asking it was expected to cost.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScoredBody {
    node: NodeBody,
    #[schema(example = "built-in")]
    model: String,
    /// The sum of the terms, in milliseconds.
    #[schema(example = 1234.5)]
    total_ms: f64,
    /// The terms that are not nothing, in milliseconds: `round_trip`, `reload` (until the model is in memory), `queue`, `prefill` (reading),
    /// `decode` (saying), `displaced` (what others wait longer), `slowdown` (what it takes longer than it claims), `risk`, `battery`, `heat`
    /// and `trust`.
    terms_ms: BTreeMap<&'static str, f64>,
}

impl ScoredBody {
    fn of(app: &App, cost: &ChoiceCost) -> Self {
        Self {
            node: NodeBody::of(app, &cost.node),
            model: cost.model.clone(),
            total_ms: cost.total(),
            terms_ms: cost
                .terms()
                .map(|(term, milliseconds)| (term.name(), milliseconds))
                .collect(),
        }
    }
}

impl ChoiceAnswer {
    fn of(app: &App, choice: &AnswerChoice) -> Self {
        Self {
            candidates: choice.candidates,
            how: match choice.how {
                ChoiceHow::Cheapest => "cheapest",
                ChoiceHow::Stayed => "stayed",
                ChoiceHow::Drawn => "drawn",
            },
            winner: ScoredBody::of(app, &choice.winner),
            runner_up: choice.runner_up.as_ref().map(|cost| ScoredBody::of(app, cost)),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/sessions/{id}/messages/{message}/choice",
    params(("id" = String, Path), ("message" = String, Path)), responses(
    (status = 200, body = ChoiceAnswer), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    person: Person,
    Path((id, message)): Path<(String, String)>,
) -> Result<Json<ChoiceAnswer>, ApiError> {
    let chat = app.chats.own(&app, &person, &id).await?;
    let answer = chat.message(message_id(&message)?)?.id;
    let choice = chat.session.choices.get(&answer).ok_or(ApiError::NotFound)?;
    Ok(Json(ChoiceAnswer::of(&app, choice)))
}
