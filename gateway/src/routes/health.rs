//! `GET /healthz`: the process serves. `GET /readyz`: people may be sent here now.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;

use crate::{app::App, limits::READY_PATIENCE};

/// What is asked of a node before people are sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Readiness {
    /// All of the others.
    ready: bool,
    /// It has the role of a gateway.
    gateway: bool,
    /// Its store answers.
    store: bool,
    /// It neither stops nor drains, nor is kept from working.
    open: bool,
}

impl Readiness {
    const fn new(gateway: bool, store: bool, open: bool) -> Self {
        Self {
            ready: gateway && store && open,
            gateway,
            store,
            open,
        }
    }
}

pub(crate) async fn alive() -> &'static str {
    "ok"
}

pub(crate) async fn readiness(app: &App) -> Readiness {
    let answers = tokio::time::timeout(READY_PATIENCE, app.store.summary()).await;
    Readiness::new(
        app.surroundings.serves_nobody().is_none(),
        matches!(answers, Ok(Ok(_))),
        !*app.stopping.borrow() && app.desk.takes_work(),
    )
}

impl Readiness {
    pub(crate) const fn is_ready(self) -> bool {
        self.ready
    }
}

pub(crate) async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    let readiness = readiness(&app).await;
    let status = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_only_when_nothing_is_missing() {
        for missing in 0..4 {
            let readiness = Readiness::new(missing != 1, missing != 2, missing != 3);
            assert_eq!(readiness.is_ready(), missing == 0);
        }
    }
}
