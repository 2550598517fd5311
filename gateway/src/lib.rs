//! What does a person see?
//!
//! `gateway` serves the page and its API on any node: one file per endpoint under `routes`, the WebSocket under `routes/chat`, the
//! embedded page in `pages`. It knows no network of nodes: what it tells of the mesh it is given through [`Surroundings`].
//!
//! ## Journey: a message
//! `routes/chat/socket` reads a `send` frame -> `routes/chat/messages` checks it and writes it into the session (on disk before it
//! is accepted) -> [`inference::Desk::ask`] -> the hub (`rooms`) takes the desk's notices and the store's changes into the person's
//! room -> every socket there reads the running answer at its own pace (`routes/chat/streams`) and tells what changed.

mod access;
mod app;
mod archive;
mod audit;
mod auth;
mod chats;
mod error;
mod figures;
mod files;
mod forgetting;
mod guard;
mod idle;
mod invites;
mod letters;
pub mod limits;
mod may;
mod openapi;
mod pages;
mod people;
mod picture;
mod policy;
mod rate;
mod rooms;
mod routes;
mod search;
mod serve;
mod terms;
mod tls;

use std::time::Duration;

use tokio::{net::TcpListener, sync::watch};

pub use app::{GatewayAddress, GatewaySettings, Inviting, NodeView, ServesNobody, Surroundings};
pub use auth::{first_administrator_path, has_administrator};
pub use files::{FileError, Filed, Files};
pub use invites::{InviteFate, InviteGrant, InviteNamed, InviteRefusal, InviteWish, InvitedNode, MadeInvite};
pub use openapi::document as openapi;
pub use tls::{CertificateError, CertificateFiles, Certificates};

use crate::{
    app::{App, stopped},
    serve::Service,
};

/// Serves people on `listener` until `stopping` becomes true; open requests then get a moment to finish.
pub async fn serve(listener: TcpListener, settings: GatewaySettings, mut stopping: watch::Receiver<bool>) {
    let app = App::start(settings, stopping.clone());
    let hub = rooms::run(app.clone());
    let certificates = app.certificates.clone();
    let service = Service::new(routes::router(app), certificates);
    let serving = serve::run(listener, service, stopping.clone());
    let give_up = async {
        stopped(&mut stopping).await;
        tokio::time::sleep(limits::STOP_TIMEOUT + Duration::from_millis(500)).await;
    };
    let hub = async {
        hub.await;
        // Store or desk are gone, so the node stops; open requests end by themselves.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = hub => {}
        () = give_up => {}
    }
}
