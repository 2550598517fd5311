//! What this process uses: processor time and memory.

pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory now.
pub fn resident_kib() -> usize {
    status("VmRSS:")
}

/// Resident memory at its highest since the last [`forget_peak`].
pub fn peak_kib() -> usize {
    status("VmHWM:")
}

/// The peak is counted anew from here on, so that what ran before does not count.
pub fn forget_peak() {
    // Where that is not allowed, the peak is that of all: too high, never too low.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
