//! The watch over the engine thread: says a few times a second that the process is alive, and ends the process when a step hangs or the node
//! is gone. A hung decode cannot be interrupted in any other way.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::write;
use crate::{
    engine::protocol::FromWorker,
    limits::{BEAT_EVERY, ORPHAN_GRACE, STEP_HANG},
};

/// Not in a step, or no end in sight.
const NEVER: u64 = u64::MAX;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    began: Instant,
    /// When the running step counts as hung, in milliseconds.
    step_ends: Arc<AtomicU64>,
    /// When the process ends in any case.
    process_ends: Arc<AtomicU64>,
}

impl Watch {
    pub(super) fn start() -> io::Result<Self> {
        let watch = Self {
            began: Instant::now(),
            step_ends: Arc::new(AtomicU64::new(NEVER)),
            process_ends: Arc::new(AtomicU64::new(NEVER)),
        };
        let watcher = watch.clone();
        std::thread::Builder::new()
            .name("starling-engine-watch".into())
            .spawn(move || watcher.run())?;
        Ok(watch)
    }

    fn run(&self) {
        loop {
            std::thread::park_timeout(BEAT_EVERY);
            let now = self.now();
            if now >= self.process_ends.load(Ordering::Relaxed) {
                die("the node is gone");
            }
            if now >= self.step_ends.load(Ordering::Relaxed) {
                die("a step hangs");
            }
            // The node is gone when it reads no more: the end of the input says so, too.
            if write(&FromWorker::Beat).is_err() {
                self.end_soon();
            }
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(NEVER)
    }

    /// Time since the process began.
    pub(super) fn moment(&self) -> Duration {
        self.began.elapsed()
    }

    /// Computes a step under watch.
    pub(super) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let hang = u64::try_from(STEP_HANG.as_millis()).unwrap_or(NEVER);
        self.step_ends.store(self.now().saturating_add(hang), Ordering::Relaxed);
        let result = step();
        self.step_ends.store(NEVER, Ordering::Relaxed);
        result
    }

    /// The process ends soon, whatever its engine thread does.
    pub(super) fn end_soon(&self) {
        let grace = u64::try_from(ORPHAN_GRACE.as_millis()).unwrap_or(0);
        let at = self.now().saturating_add(grace);
        self.process_ends.fetch_min(at, Ordering::Relaxed);
    }
}

/// Ends the process at once: no handler of the library may wait for the thread that hangs.
fn die(reason: &str) -> ! {
    eprintln!("engine: {reason}");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
