//! From the configuration to what each part is started with.

use std::time::Duration;

use inference::{EngineSettings, KeeperSettings};
use mesh::MeshSettings;

use super::StartError;
use crate::{
    config::{self, Config},
    data_directory::DataDirectory,
    neighbours::Neighbours,
};

/// Whom it knows from its configuration, and whom it has met.
pub(super) fn mesh_settings(config: &Config, met: &Neighbours) -> MeshSettings {
    let configured = config.mesh.bootstrap.iter().map(|member| (member.node, member.address));
    MeshSettings {
        listen: config.mesh.listen,
        bootstrap: configured
            .chain(met.iter().map(|(node, address)| (*node, *address)))
            .collect(),
        public_addresses: config.mesh.public_addresses.clone(),
        local_discovery: config.mesh.calls_out(),
        congestion: config.mesh.congestion,
        relaying: config.mesh.relaying,
        websocket: config.mesh.websocket,
    }
}

pub(crate) fn engine_settings(config: &Config, directory: &DataDirectory) -> Result<EngineSettings, StartError> {
    let key = config.inference.upstream_key_file.as_ref().map(std::fs::read_to_string);
    let key = key.transpose().map_err(StartError::UpstreamKey)?;
    let key = key.map(|key| key.trim().to_owned());
    Ok(EngineSettings {
        program: std::env::current_exe().map_err(StartError::Program)?,
        model: config::model_source(&config.inference.model, key).map_err(inference::engine::ModelError::from)?,
        models_directory: directory.models_path(),
        slots: config.inference.slots,
        context_tokens: config.inference.context_tokens,
        threads: config.inference.threads,
    })
}

pub(crate) fn keeper_settings(config: &Config) -> KeeperSettings {
    const MEGABYTE: u64 = 1024 * 1024;
    KeeperSettings {
        keep_alive: Duration::from_secs(config.inference.keep_alive_seconds),
        memory: config
            .inference
            .memory_megabytes
            .map(|megabytes| megabytes.saturating_mul(MEGABYTE)),
    }
}
