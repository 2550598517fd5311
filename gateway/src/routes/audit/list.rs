//! `GET /api/v1/audit`: what was done on all nodes, the newest first.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::audit::Audit;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ActBody;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::AUDIT_PAGE,
    routes::{Json, Query},
};

/// Which page.
#[derive(Deserialize, IntoParams)]
pub(crate) struct AuditQuery {
    /// How many of the newest are passed over.
    #[serde(default)]
    skip: usize,
    /// Only acts whose name begins so, such as `account.`.
    action: Option<String>,
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditAnswer {
    acts: Vec<ActBody>,
    /// How many there are on all pages.
    total: usize,
    /// Nodes whose chain of hashes is broken, with where.
    broken: Vec<String>,
}

#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery), responses(
    (status = 200, body = AuditAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    _person: Person,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditAnswer>, ApiError> {
    let chains = app.store.list::<Audit>().await?;
    let name = |chain: &Audit| chain.node.map(|node| app.surroundings.name_of(&node));
    let broken = chains.iter().filter_map(|(_, chain)| {
        let error = chain.verify().err()?;
        Some(format!("{}: {error}", name(chain).unwrap_or_default()))
    });
    let broken = broken.collect();
    let wanted = query.action.unwrap_or_default();
    let mut acts: Vec<_> = chains
        .iter()
        .flat_map(|(_, chain)| chain.entries.iter().map(move |entry| (chain, entry)))
        .filter(|(_, entry)| entry.event.action.starts_with(&wanted))
        .collect();
    acts.sort_by_key(|(_, entry)| std::cmp::Reverse((entry.event.at, entry.number)));
    let total = acts.len();
    let mut page = Vec::new();
    for (chain, entry) in acts.into_iter().skip(query.skip).take(AUDIT_PAGE) {
        page.push(ActBody::of(&entry.event, name(chain)).with_names(&app).await?);
    }
    Ok(Json(AuditAnswer {
        acts: page,
        total,
        broken,
    }))
}
