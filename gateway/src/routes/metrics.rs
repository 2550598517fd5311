//! `GET /metrics`: this node's own figures for Prometheus. They name nobody. Programs on the same machine may read them; from elsewhere it
//! takes a key of an administrator with the scope `metrics`.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::{HeaderMap, header},
    response::IntoResponse,
};
use crdt::records::account::{ApiScope, Role};

use super::health;
use crate::{
    app::App,
    auth::{self, programs},
    error::ApiError,
    figures::Exposition,
    idle::Peer,
    limits::{PROGRAM_REQUESTS_MAX, SOCKETS_MAX},
};

/// The version of Prometheus' text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if !is_from_this_machine(peer, &headers) {
        let program = programs::program(&app, &headers, ApiScope::Metrics).await?;
        let account = auth::account(&app, program.person).await?;
        if !account.roles.contains(Role::Administrator) {
            return Err(ApiError::NotAllowed);
        }
    }
    Ok(([(header::CONTENT_TYPE, FORMAT)], exposition(&app).await))
}

/// Behind a proxy everybody comes from this machine; proxies say for whom they ask.
fn is_from_this_machine(peer: Peer, headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    peer.0.ip().to_canonical().is_loopback() && !forwarded.iter().any(|name| headers.contains_key(*name))
}

#[expect(clippy::cast_precision_loss, reason = "figures far below 2^53")]
async fn exposition(app: &App) -> String {
    let mut text = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.figure("build_info", "gauge", "The program that runs.");
    text.value("build_info", &version, 1.0);
    let ready = health::readiness(app).await.is_ready();
    text.single(
        "ready",
        "gauge",
        "Whether people may be sent here.",
        f64::from(u8::from(ready)),
    );
    text.figure(
        "http_answers_total",
        "counter",
        "Requests answered, by class of status.",
    );
    for (class, count) in app.figures.answers() {
        text.value("http_answers_total", &[("class", &class)], count as f64);
    }
    let taken = |most: usize, left: usize| (most - left.min(most)) as f64;
    let sockets = taken(SOCKETS_MAX, app.sockets.available_permits());
    text.single("sockets", "gauge", "Open sockets of pages.", sockets);
    let programs = taken(PROGRAM_REQUESTS_MAX, app.programs.available_permits());
    text.single("program_requests", "gauge", "Requests of programs under way.", programs);
    engine(app, &mut text);
    handoffs(app, &mut text);
    if let Ok(summary) = app.store.summary().await {
        let changes = summary.envelopes as f64;
        text.single("store_changes", "gauge", "Signed changes that are held here.", changes);
    }
    machine(app, &mut text);
    text.into_text()
}

#[expect(clippy::cast_precision_loss, reason = "figures far below 2^53")]
fn engine(app: &App, text: &mut Exposition) {
    let (load, is_ready) = (app.desk.engine_load(), app.desk.is_model_loaded());
    let ready = f64::from(u8::from(is_ready));
    text.single(
        "engine_ready",
        "gauge",
        "Whether the model that answers chats is loaded.",
        ready,
    );
    let under_way = f64::from(load.generations);
    text.single(
        "engine_generations",
        "gauge",
        "Generations running or waiting.",
        under_way,
    );
    let finished = load.finished as f64;
    text.single(
        "engine_finished_total",
        "counter",
        "Generations finished since the node started.",
        finished,
    );
    let restarts = load.restarts as f64;
    text.single(
        "engine_restarts_total",
        "counter",
        "How often the engine had to be started again.",
        restarts,
    );
}

/// Conversations that came from other nodes, with what was computed of them or without.
#[expect(clippy::cast_precision_loss, reason = "figures far below 2^53")]
fn handoffs(app: &App, text: &mut Exposition) {
    let counts = app.desk.handoffs();
    text.figure(
        "kv_handoffs_total",
        "counter",
        "Conversations computed on another node before: adopted as they were, or computed from their text, by the reason.",
    );
    for (outcome, count) in [
        ("adopted", counts.adopted),
        ("not_worth", counts.not_worth),
        ("refused", counts.refused),
        ("broken", counts.broken),
        ("false", counts.false_states),
    ] {
        text.value("kv_handoffs_total", &[("outcome", outcome)], count as f64);
    }
    let (bytes, tokens) = (counts.bytes as f64, counts.tokens as f64);
    text.single("kv_handoff_bytes_total", "counter", "Bytes of what was adopted.", bytes);
    text.single(
        "kv_handoff_tokens_total",
        "counter",
        "Tokens that were not computed again because of it.",
        tokens,
    );
}

/// This machine, and how many members there are in which state.
#[expect(clippy::cast_precision_loss, reason = "bytes of a machine are below 2^53")]
fn machine(app: &App, text: &mut Exposition) {
    let nodes = app.surroundings.nodes();
    let own = nodes
        .iter()
        .find(|node| node.is_self)
        .and_then(|node| node.load.as_ref());
    if let Some(load) = own {
        text.single(
            "cpu_percent",
            "gauge",
            "All cores together.",
            f64::from(load.cpu_percent),
        );
        for (name, help, bytes) in [
            ("memory_used_bytes", "Memory in use.", load.memory_used_bytes),
            ("memory_total_bytes", "Memory there is.", load.memory_total_bytes),
            ("disk_free_bytes", "Free space where the data is.", load.disk_free_bytes),
            ("disk_total_bytes", "Size of that file system.", load.disk_total_bytes),
        ] {
            text.single(name, "gauge", help, bytes as f64);
        }
    }
    text.figure("members", "gauge", "Members of the mesh by what they are ready for.");
    for state in ["joining", "serving", "draining", "maintenance", "suspect", "gone"] {
        let count = nodes.iter().filter(|node| node.liveness == state).count();
        text.value("members", &[("state", state)], count as f64);
    }
    let linked = nodes.iter().filter(|node| node.connected && !node.is_self).count();
    text.single("links", "gauge", "Members that are reached now.", linked as f64);
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn whoever_comes_through_a_proxy_is_not_of_this_machine() {
        let peer = |text: &str| Peer(text.parse().unwrap());
        let (own, proxied) = (HeaderMap::new(), {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
            headers
        });
        assert!(is_from_this_machine(peer("127.0.0.1:5"), &own));
        assert!(is_from_this_machine(peer("[::ffff:127.0.0.1]:5"), &own));
        assert!(!is_from_this_machine(peer("192.0.2.1:5"), &own));
        assert!(!is_from_this_machine(peer("127.0.0.1:5"), &proxied));
    }
}
