//! `GET /api/v1/mesh`: what this node knows of the others, each figure with its age.

use std::sync::Arc;

use axum::extract::State;
use inference::swarm::models::NodeModel;
use monitor::Load;
use serde::Serialize;
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::{App, NodeView},
    auth::Person,
    error::{ApiError, ErrorBody},
};

/// Every member.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeshAnswer {
    nodes: Vec<NodeRow>,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeRow {
    id: String,
    #[schema(example = "pc-home")]
    name: String,
    is_self: bool,
    /// `connected` or `unreachable`, from the node that answers.
    state: &'static str,
    /// `joining`, `serving`, `draining` (it takes nothing new because it stops), `maintenance` (a person keeps it from working), `suspect`
    /// (perhaps gone) or `gone`.
    #[schema(example = "serving")]
    liveness: &'static str,
    /// For how long it has been so.
    liveness_ms_ago: u64,
    /// Whether two processes run with its key, as when a data directory was copied: one of them must be stopped.
    doubled: bool,
    heard_ms_ago: Option<u64>,
    round_trip_ms: Option<f64>,
    /// `quic` or `tcp`.
    path: Option<&'static str>,
    load: Option<LoadBody>,
    models: Vec<NodeModelBody>,
}

/// What a machine is doing.
#[derive(Serialize, ToSchema)]
pub(crate) struct LoadBody {
    cpu_percent: f32,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
    disk_free_bytes: u64,
    disk_total_bytes: u64,
    network_received_bytes_per_second: u64,
    network_sent_bytes_per_second: u64,
    gpus: Vec<GpuBody>,
}

/// What a GPU is doing.
#[derive(Serialize, ToSchema)]
pub(crate) struct GpuBody {
    name: String,
    busy_percent: f32,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
    temperature_celsius: Option<u32>,
}

/// A model of a node.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeModelBody {
    #[schema(example = "built-in")]
    name: String,
    /// Whether the node answers chats with it; others only programs ask for.
    is_main: bool,
    /// `loaded`, `loading`, `on_disk` (it is loaded when it is asked) or `failed`.
    #[schema(example = "loaded")]
    state: &'static str,
    /// Why it does not work, for the operator.
    reason: Option<String>,
    /// Until it can be asked; 0 when it can.
    reload_ms: u32,
    /// Memory that is set aside for it, or that it needs at least.
    estimated_bytes: u64,
    /// Memory that it has; 0 while it has none.
    measured_bytes: u64,
    slots: u32,
    busy: u32,
    decode_tokens_per_second: f32,
}

impl From<Load> for LoadBody {
    fn from(load: Load) -> Self {
        let gpus = load.gpus.into_iter().map(|gpu| GpuBody {
            name: gpu.name,
            busy_percent: gpu.busy_percent,
            memory_used_bytes: gpu.memory_used_bytes,
            memory_total_bytes: gpu.memory_total_bytes,
            temperature_celsius: gpu.temperature_celsius,
        });
        Self {
            cpu_percent: load.cpu_percent,
            memory_used_bytes: load.memory_used_bytes,
            memory_total_bytes: load.memory_total_bytes,
            disk_free_bytes: load.disk_free_bytes,
            disk_total_bytes: load.disk_total_bytes,
            network_received_bytes_per_second: load.network_received_bytes_per_second,
            network_sent_bytes_per_second: load.network_sent_bytes_per_second,
            gpus: gpus.collect(),
        }
    }
}

impl From<NodeModel> for NodeModelBody {
    fn from(model: NodeModel) -> Self {
        let NodeModel {
            offer,
            state,
            estimated_bytes,
            measured_bytes,
        } = model;
        Self {
            name: offer.model,
            is_main: offer.is_main,
            state: state.word(),
            reason: state.reason().map(str::to_owned),
            reload_ms: offer.reload_ms,
            estimated_bytes,
            measured_bytes,
            slots: offer.slots,
            busy: offer.generations,
            decode_tokens_per_second: offer.decode_tokens_per_second,
        }
    }
}

impl From<NodeView> for NodeRow {
    fn from(view: NodeView) -> Self {
        Self {
            id: view.node.to_string(),
            name: view.name,
            is_self: view.is_self,
            state: if view.connected { "connected" } else { "unreachable" },
            liveness: view.liveness,
            liveness_ms_ago: view.liveness_ms_ago,
            doubled: view.doubled,
            heard_ms_ago: view.heard_ms_ago,
            round_trip_ms: view.round_trip_ms,
            path: view.path,
            load: view.load.map(Into::into),
            models: view.models.into_iter().map(Into::into).collect(),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/mesh", responses(
    (status = 200, body = MeshAnswer), (status = 401, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, _person: Person) -> Result<Json<MeshAnswer>, ApiError> {
    Ok(Json(MeshAnswer {
        nodes: app.surroundings.nodes().into_iter().map(Into::into).collect(),
    }))
}
