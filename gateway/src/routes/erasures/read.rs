//! `GET /api/v1/erasures/{id}`: which nodes have erased an account, and which have not said so yet.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::find;
use crate::{
    app::App,
    error::{ApiError, ErrorBody},
    routes::{Json, NodeBody, Path},
};

/// How far an erasure is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasureAnswer {
    id: String,
    /// When it was asked for, in milliseconds since the Unix epoch.
    at: u64,
    receipts: Vec<ReceiptBody>,
    /// Members that have not said so yet; one that is off does it when it starts, before it shows anything.
    waiting: Vec<NodeBody>,
}

/// What a node signed when it had erased.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptBody {
    node: NodeBody,
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// Stored changes that were dropped.
    envelopes: u64,
    /// Keys that were destroyed.
    keys: u64,
}

#[utoipa::path(get, path = "/api/v1/erasures/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = ErasureAnswer), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<ErasureAnswer>, ApiError> {
    let erasure = find(&app, &id).await?;
    let receipts = erasure.receipts.iter().map(|(node, receipt)| ReceiptBody {
        node: NodeBody::of(&app, node),
        at: receipt.at.0,
        envelopes: receipt.envelopes,
        keys: receipt.keys,
    });
    let members = app.surroundings.nodes();
    let waiting = members.iter().filter(|view| !erasure.receipts.contains_key(&view.node));
    Ok(Json(ErasureAnswer {
        id: erasure.id.to_string(),
        at: erasure.erase.at.0,
        receipts: receipts.collect(),
        waiting: waiting.map(|view| NodeBody::of(&app, &view.node)).collect(),
    }))
}
