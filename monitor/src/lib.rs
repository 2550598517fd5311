//! How are we, and should someone be told?
//!
//! `monitor` samples this machine once a second and announces the newest figures to the neighbours over the mesh's direct links
//! (never through gossip). A GPU is read through NVML when a driver is there; without one the node says so once and goes on.
//!
//! ## Journey: a figure becomes visible
//! The sampling thread owns `sysinfo` and NVML (both block) -> [`Load`] in a `watch` -> announced under [`SECTION`] -> another
//! node's [`mesh::MeshView`] -> [`parse`] -> its gateway's page, with the age of the news.
//!
//! ## Journey: a letter leaves
//! Somebody writes an outbox record -> every node that could send it looks whose turn it is -> one takes the lease and sends
//! ([`mail`]).

pub mod mail;
mod sample;

use std::{path::Path, time::Duration};

use mesh::Mesh;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use sample::Sampler;

/// The section under which load is announced.
pub const SECTION: &str = "load";
/// First byte of an announced load.
const VERSION: u8 = 1;
/// How often this machine is sampled and announced.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// GPUs of one node that are told; a machine with more is not a home or a VPS.
const GPUS_MAX: usize = 16;

/// What a machine is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// All cores together, 0 to 100.
    pub cpu_percent: f32,
    /// Memory in use.
    pub memory_used_bytes: u64,
    /// Memory there is.
    pub memory_total_bytes: u64,
    /// Free space where the node keeps its data.
    pub disk_free_bytes: u64,
    /// Size of that file system.
    pub disk_total_bytes: u64,
    /// Received over all real network interfaces.
    pub network_received_bytes_per_second: u64,
    /// Sent over all real network interfaces.
    pub network_sent_bytes_per_second: u64,
    /// Each GPU that NVML knows.
    pub gpus: Vec<Gpu>,
}

/// What a GPU is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Product name.
    pub name: String,
    /// 0 to 100.
    pub busy_percent: f32,
    /// Memory in use.
    pub memory_used_bytes: u64,
    /// Memory there is.
    pub memory_total_bytes: u64,
    /// Degrees.
    pub temperature_celsius: Option<u32>,
}

/// Handle to the monitor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Monitor {
    load: watch::Receiver<Option<Load>>,
}

/// The machine cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The sampling thread could not be started.
    #[error("the sampling thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The system does not tell what is needed.
    #[error("this machine cannot be watched: {0}")]
    Unsupported(String),
}

impl Monitor {
    /// Starts sampling the machine, with the disk on which `data_directory` lies. The thread ends when every handle is gone.
    ///
    /// # Errors
    /// When the machine cannot be watched.
    pub fn start(data_directory: &Path) -> Result<Self, MonitorError> {
        let (sender, load) = watch::channel(None);
        let sampler = Sampler::new(data_directory).map_err(|error| MonitorError::Unsupported(error.to_string()))?;
        std::thread::Builder::new()
            .name("starling-monitor".into())
            .spawn(move || run(sampler, &sender))?;
        Ok(Self { load })
    }

    /// The newest sample; `None` in the first second.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        self.load.borrow().clone()
    }

    /// Announces each new sample to the neighbours, until the monitor ends.
    pub async fn announce(mut self, mesh: Mesh) {
        while self.load.changed().await.is_ok() {
            let Some(load) = self.load.borrow_and_update().clone() else {
                continue;
            };
            if let Err(error) = mesh.announce(SECTION, encode(&load)) {
                tracing::error!(%error, "the load cannot be announced");
            }
        }
    }
}

fn run(mut sampler: Sampler, sender: &watch::Sender<Option<Load>>) {
    while !sender.is_closed() {
        sampler.wait();
        sender.send_replace(Some(sampler.sample()));
    }
}

fn encode(load: &Load) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(load, vec![VERSION]).unwrap_or_default()
}

/// Reads what a neighbour announced; `None` when it is malformed or of another version.
#[must_use]
pub fn parse(section: &[u8]) -> Option<Load> {
    match section.split_first()? {
        (&VERSION, body) => {
            let (mut load, rest): (Load, _) = postcard::take_from_bytes(body).ok()?;
            load.gpus.truncate(GPUS_MAX);
            rest.is_empty().then_some(load)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_sampled_within_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let mut monitor = Monitor::start(directory.path()).unwrap();
        let sampled = monitor.load.wait_for(Option::is_some);
        let load = tokio::time::timeout(Duration::from_secs(10), sampled)
            .await
            .unwrap()
            .unwrap()
            .clone()
            .unwrap();
        assert!((0.0..=100.0).contains(&load.cpu_percent), "{load:?}");
        assert!(
            load.memory_used_bytes > 0 && load.memory_used_bytes <= load.memory_total_bytes,
            "{load:?}"
        );
        assert!(
            load.disk_total_bytes > 0 && load.disk_free_bytes <= load.disk_total_bytes,
            "{load:?}"
        );
    }

    #[test]
    fn announced_loads_round_trip_and_garbage_is_no_load() {
        let load = Load {
            cpu_percent: 12.5,
            gpus: vec![Gpu {
                name: "RTX 4070".into(),
                ..Gpu::default()
            }],
            ..Load::default()
        };
        let bytes = encode(&load);
        assert_eq!(parse(&bytes), Some(load));
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None);
        }
        assert_eq!(parse(&[9; 40]), None);
    }
}
