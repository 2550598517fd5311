//! `starling run`: the node's life from start to a clean stop.

use std::{net::SocketAddr, path::Path};

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::CommandError;
use crate::{
    banner,
    config::{self, LogFormat},
    data_directory::DataDirectory,
    logging,
    node::Node,
};

/// Settings of one run; they go before the configuration file.
#[derive(Args)]
pub struct Overrides {
    /// Serve the page here.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Serve the page without encryption beyond this machine, in a network you trust.
    #[arg(long)]
    pub plain_http: bool,
    /// Listen for other nodes here.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub mesh_listen: Option<SocketAddr>,
    /// `built-in`, `none`, or a GGUF file.
    #[arg(long)]
    pub model: Option<String>,
    /// How to write the log.
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Runs the node until SIGTERM or SIGINT.
///
/// # Errors
/// Why it does not start.
pub fn run(path: &Path, settings: &Overrides) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let mut config = config::load(&directory.config_path())?;
    if let Some(http) = settings.http {
        config.gateway.listen = http;
    }
    config.gateway.plain_http |= settings.plain_http;
    if let Some(listen) = settings.mesh_listen {
        config.mesh.listen = listen;
    }
    if let Some(model) = &settings.model {
        config.inference.model.clone_from(model);
    }
    if let Some(format) = settings.log_format {
        config.log.format = format;
    }
    logging::start(&config.log);
    raise_file_limit();
    if !config.gateway.listen.ip().is_loopback()
        && config.gateway.tls_certificate.is_none()
        && config.gateway.plain_http
    {
        tracing::warn!(listen = %config.gateway.listen, "the page is served without encryption beyond this machine");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(live(directory, config));
    // Threads that are still busy (a password hash) must not hold the process.
    runtime.shutdown_background();
    result
}

/// Every page with its socket is a file, and many systems allow a process 1024 unless it asks for more.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, files = limit.current, "the limit of open files stays as it is");
    }
}

async fn live(directory: DataDirectory, config: config::Config) -> Result<(), CommandError> {
    // Before anything starts, so that a stop during the start is not lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let node = tokio::select! {
        node = Box::pin(Node::start(directory, config)) => node?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    if let Err(error) = node.first_load().await {
        node.stop().await;
        return Err(error.into());
    }
    println!("{}", banner::text(&node).await);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stop: asked by SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stop: asked by SIGINT"),
    }
    node.stop().await;
    Ok(())
}
