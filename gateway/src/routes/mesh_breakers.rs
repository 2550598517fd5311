//! `GET /api/v1/mesh/breakers`: when this gateway left other nodes alone, tried and trusted them again, the newest first.

use std::sync::Arc;

use axum::extract::State;
use inference::swarm::router::{BreakerEvent, Operation, breaker::BreakerState};
use keys::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
};

/// The last changes.
#[derive(Serialize, ToSchema)]
pub(crate) struct BreakersAnswer {
    changes: Vec<BreakerBody>,
}

/// A change of the breaker before a node.
#[derive(Serialize, ToSchema)]
pub(crate) struct BreakerBody {
    /// Milliseconds since the Unix epoch.
    at: u64,
    node_id: String,
    #[schema(example = "pc-home")]
    node_name: String,
    #[schema(example = "built-in")]
    model: String,
    /// `generate` (an answer) or `continue` (to go on with what another node has begun).
    #[schema(example = "generate")]
    operation: &'static str,
    /// `closed` (it is asked), `open` (it is not) or `half_open` (one question tries it).
    #[schema(example = "closed")]
    from: &'static str,
    #[schema(example = "open")]
    to: &'static str,
    /// For how long it is left alone, where it opened.
    pause_ms: Option<u64>,
}

impl BreakerBody {
    fn of(app: &App, at: Timestamp, event: &BreakerEvent) -> Self {
        let state = |state| match state {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        };
        let pause = event.transition.pause;
        Self {
            at: at.0,
            node_id: event.node.to_string(),
            node_name: app.surroundings.name_of(&event.node),
            model: event.model.clone(),
            operation: match event.operation {
                Operation::Generate => "generate",
                Operation::Continue => "continue",
            },
            from: state(event.transition.from),
            to: state(event.transition.to),
            pause_ms: pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/mesh/breakers", responses(
    (status = 200, body = BreakersAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, _person: Person) -> Result<Json<BreakersAnswer>, ApiError> {
    let events = app.desk.breaker_events();
    let changes = events.iter().rev().map(|(at, event)| BreakerBody::of(&app, *at, event));
    Ok(Json(BreakersAnswer {
        changes: changes.collect(),
    }))
}
