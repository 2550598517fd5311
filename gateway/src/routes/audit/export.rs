//! `GET /api/v1/audit/export`: the whole log as lines of JSON, each with its hash and that of the one before.

use std::sync::Arc;

use axum::{extract::State, http::header, response::IntoResponse};
use crdt::records::audit::Audit;
use serde::Serialize;

use super::ActBody;
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
};

#[derive(Serialize)]
struct Line {
    chain: String,
    number: u32,
    hash: String,
    previous: String,
    #[serde(flatten)]
    act: ActBody,
}

fn hexadecimal(hash: [u8; 32]) -> String {
    keys::ContentId(hash).to_string()
}

#[utoipa::path(get, path = "/api/v1/audit/export", responses(
    (status = 200, body = String, content_type = "application/x-ndjson", description = "One act a line"),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, _person: Person) -> Result<impl IntoResponse, ApiError> {
    let mut chains = app.store.list::<Audit>().await?;
    chains.sort_by_key(|(id, chain)| (chain.node, chain.created, *id));
    let mut text = String::new();
    for (id, chain) in &chains {
        for entry in &chain.entries {
            let line = Line {
                chain: id.to_string(),
                number: entry.number,
                hash: hexadecimal(entry.hash),
                previous: hexadecimal(entry.previous),
                act: ActBody::of(&entry.event, chain.node.map(|node| node.to_string())),
            };
            // Plain data with string keys always serialises.
            text.push_str(&serde_json::to_string(&line).unwrap_or_default());
            text.push('\n');
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"starling-audit.ndjson\"",
        ),
    ];
    Ok((headers, text))
}
