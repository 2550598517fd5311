//! What a model takes of the machine's memory, and whether it gives it back: the resident memory of the processes, as the system tells it.

use std::time::{Duration, Instant};

use inference::{Engine, ModelSource};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
    time::Timespec,
};
use tokio::task::JoinHandle;

use super::{filler, follow, generation, say, shape::Shape, start, start_within};

/// What may stay resident in this process after a model left.
const STAYS_MAX: f64 = 50.0;
/// The most of the shape of a 1.7B model with four bits, on a machine that can give models so many bytes: one of 2 GB.
const PEAK_MAX: f64 = 1400.0;
const SMALL_MACHINE: u64 = 1_600_000_000;
const CYCLES: usize = 4;
/// An engine whose handle is gone has ended after this time.
const END_MAX: Duration = Duration::from_secs(10);

pub async fn memory() {
    unload().await;
    peak_of_shape().await;
}

/// The shape of a 0.6B model is loaded, computes and leaves, some times over. What it took is its process's, which is gone; what is
/// told is what stayed in this one, and it is measured that nothing of the other one is left.
async fn unload() {
    let path = Shape::QWEN_600M.file();
    let directory = tempfile::tempdir().expect("a directory");
    let before = figure(std::process::id(), "VmRSS:").expect("this process has memory");
    let (mut most, mut slowest) = (0.0_f64, Duration::ZERO);
    for cycle in 0..CYCLES {
        let engine = start(directory.path(), ModelSource::File(path.clone()), 1, 1024).await;
        answer(&engine, 20, 2).await;
        let process = engine.load().borrow().process.expect("it is a process");
        most = most.max(figure(process, "VmRSS:").expect("it lives"));
        let end = end_of(process);
        drop(engine);
        let began = Instant::now();
        let has_ended = end.await.expect("nothing panics");
        assert!(has_ended, "process {process} is there after {END_MAX:?}");
        assert_eq!(figure(process, "VmRSS:"), None, "it has given its memory back");
        slowest = slowest.max(began.elapsed());
        eprintln!(
            "memory: cycle {cycle}, {most:.0} MB while it was loaded, gone after {:?}",
            began.elapsed()
        );
    }
    let stays = figure(std::process::id(), "VmRSS:").expect("this process has memory") - before;
    say(
        "unload-stays",
        stays,
        "MB",
        Some(STAYS_MAX),
        "lower",
        Some(("resident while it was loaded", most)),
    );
    say("unload-time", slowest.as_secs_f64() * 1000.0, "ms", None, "lower", None);
}

/// Whether a process that lives now ends within [`END_MAX`].
fn end_of(process: u32) -> JoinHandle<bool> {
    let process = pidfd_open(pid(process), PidfdFlags::empty()).expect("it lives");
    tokio::task::spawn_blocking(move || {
        // It can be read once the process has ended.
        let mut ends = [PollFd::new(&process, PollFlags::IN)];
        let most = Timespec::try_from(END_MAX).expect("a short time");
        poll(&mut ends, Some(&most)).expect("it can be waited for") == 1
    })
}

/// Loaded as on a small machine, with a context of 4096 tokens in two sequences.
async fn peak_of_shape() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = ModelSource::File(Shape::QWEN_1700M.file());
    let engine = start_within(directory.path(), model, (2, 2048), Some(SMALL_MACHINE)).await;
    answer(&engine, 400, 8).await;
    let peak = peak(&engine).expect("it lives");
    say("peak-resident-1.7b-q4_k", peak, "MB", Some(PEAK_MAX), "lower", None);
}

async fn answer(engine: &Engine, words: usize, tokens: u32) {
    let running = engine.generate(generation(1, filler(words, 1), 0, tokens)).await;
    follow(running.expect("it begins")).await;
}

/// The most memory that the engine's process had, in megabytes.
pub fn peak(engine: &Engine) -> Option<f64> {
    figure(engine.load().borrow().process?, "VmHWM:")
}

/// The process with a number.
pub fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().expect("a number of a process")).expect("not 0")
}

/// A figure of a process, in megabytes; nothing when it is gone.
fn figure(process: u32, name: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}
