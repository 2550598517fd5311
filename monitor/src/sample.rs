//! Reading the machine: `sysinfo` for processor, memory, disk and network, NVML for NVIDIA GPUs.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use nvml_wrapper::{Nvml, enum_wrappers::device::TemperatureSensor};
use sysinfo::{Disks, Networks, System};

use crate::{GPUS_MAX, Gpu, Load, SAMPLE_EVERY};

pub(crate) struct Sampler {
    system: System,
    disks: Disks,
    networks: Networks,
    nvml: Option<Nvml>,
    directory: PathBuf,
    last: Instant,
}

impl Sampler {
    pub(crate) fn new(directory: &Path) -> Result<Self, sysinfo::Error> {
        let nvml = match Nvml::init() {
            Ok(nvml) => Some(nvml),
            Err(error) => {
                // The usual case on a server: said once, at a level that bothers nobody.
                tracing::debug!(%error, "no NVIDIA driver; GPUs are not watched");
                None
            }
        };
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let mut system = System::new()?;
        system.refresh_cpu_usage();
        let (disks, networks) = (Disks::new_with_refreshed_list()?, Networks::new_with_refreshed_list()?);
        Ok(Self {
            system,
            disks,
            networks,
            nvml,
            directory,
            last: Instant::now(),
        })
    }

    /// Waits for the next sample; a thread of its own, so it may sleep.
    #[expect(
        clippy::disallowed_methods,
        reason = "the sampling thread paces itself; nothing waits for it"
    )]
    pub(crate) fn wait(&self) {
        std::thread::sleep(SAMPLE_EVERY.saturating_sub(self.last.elapsed()));
    }

    pub(crate) fn sample(&mut self) -> Load {
        let seconds = self.last.elapsed().as_secs_f64().max(0.001);
        self.last = Instant::now();
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.disks.refresh(false);
        self.networks.refresh(true);
        let per_second = |bytes: u64| (bytes as f64 / seconds) as u64;
        let real = || {
            self.networks
                .iter()
                .filter(|(name, _)| name.as_os_str() != "lo")
                .map(|(_, network)| network)
        };
        // The file system whose mount point is the longest prefix of the data directory.
        let disk = self
            .disks
            .iter()
            .filter(|disk| self.directory.starts_with(disk.mount_point()))
            .max_by_key(|disk| disk.mount_point().as_os_str().len());
        Load {
            cpu_percent: self.system.global_cpu_usage().clamp(0.0, 100.0),
            memory_used_bytes: self.system.used_memory(),
            memory_total_bytes: self.system.total_memory(),
            disk_free_bytes: disk.map_or(0, sysinfo::Disk::available_space),
            disk_total_bytes: disk.map_or(0, sysinfo::Disk::total_space),
            network_received_bytes_per_second: per_second(real().map(sysinfo::NetworkData::received).sum()),
            network_sent_bytes_per_second: per_second(real().map(sysinfo::NetworkData::transmitted).sum()),
            gpus: self.nvml.as_ref().map_or_else(Vec::new, gpus),
        }
    }
}

/// A GPU that does not answer one of the questions is told with what it did answer.
fn gpus(nvml: &Nvml) -> Vec<Gpu> {
    let count = nvml
        .device_count()
        .unwrap_or(0)
        .min(u32::try_from(GPUS_MAX).unwrap_or(16));
    (0..count)
        .filter_map(|index| nvml.device_by_index(index).ok())
        .map(|device| {
            let memory = device.memory_info().ok();
            Gpu {
                name: device.name().unwrap_or_else(|_| "GPU".into()),
                busy_percent: device.utilization_rates().map_or(0.0, |rates| rates.gpu as f32),
                memory_used_bytes: memory.as_ref().map_or(0, |memory| memory.used),
                memory_total_bytes: memory.as_ref().map_or(0, |memory| memory.total),
                temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
            }
        })
        .collect()
}
