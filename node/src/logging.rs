//! The log: to standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// Goes before the configured level, which may name the library again: what it says of itself calls nodes by names that nobody else uses.
const QUIET: &str = "libp2p_swarm=warn";

/// Starts logging. `RUST_LOG` goes before the configured level; a broken filter falls back to `info` and says so.
pub fn start(config: &LogConfig) {
    let (filter, broken) = match std::env::var("RUST_LOG").ok().map_or_else(
        || EnvFilter::try_new(format!("{QUIET},{}", config.level)),
        EnvFilter::try_new,
    ) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let set = match config.format {
        LogFormat::Human => registry
            .with(
                fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init(),
    };
    // Already set only in tests that run several nodes in one process.
    drop(set);
    if let Some(error) = broken {
        tracing::warn!(%error, "the log filter is wrong; logging at info");
    }
}
