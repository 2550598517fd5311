//! What does a person see?
//!
//! `gateway` serves the page and its API on any node: one file per endpoint under `routes`, the WebSocket under `routes/chat`, the
//! embedded page in `pages`. It knows no network of nodes: what it tells of the mesh it is given through [`Surroundings`].
//!
//! ## Journey: a message
//! `routes/chat/socket` reads a `send` frame -> `routes/chat/messages` checks it and writes it into the session (on disk before it
//! is accepted) -> [`inference::Desk::ask`] -> the desk's notices become `answer_started`, `token` and `answer_finished` frames of
//! every socket of that person here; changes of the session, from wherever they come, become `message` frames.

mod access;
mod app;
mod archive;
mod audit;
mod auth;
mod error;
mod guard;
mod idle;
mod letters;
pub mod limits;
mod openapi;
mod pages;
mod people;
mod policy;
mod rate;
mod routes;
mod terms;

use std::time::Duration;

use tokio::{net::TcpListener, sync::watch};

pub use app::{GatewaySettings, NodeView, ServesNobody, Surroundings};
pub use auth::{first_administrator_path, has_administrator};
pub use openapi::document as openapi;

use crate::{
    app::{App, stopped},
    idle::{PatientListener, Peer},
};

/// Serves people on `listener` until `stopping` becomes true; open requests then get a moment to finish.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    settings: GatewaySettings,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let app = App::start(settings, stopping.clone());
    let service = routes::router(app).into_make_service_with_connect_info::<Peer>();
    let stop = {
        let mut stopping = stopping.clone();
        async move { stopped(&mut stopping).await }
    };
    let serving = axum::serve(PatientListener(listener), service)
        .with_graceful_shutdown(stop)
        .into_future();
    let give_up = async {
        stopped(&mut stopping).await;
        tokio::time::sleep(limits::STOP_TIMEOUT + Duration::from_millis(500)).await;
    };
    tokio::select! {
        result = serving => result,
        () = give_up => Ok(()),
    }
}
