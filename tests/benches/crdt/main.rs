//! What the replicated state costs and what it survives, on real disks and in real bytes: each figure one JSON line on standard
//! output, words on standard error. `./x bench crdt` runs every row, `./x bench crdt ROW...` some.
//!
//! This is a package of its own for two reasons: it needs neither the node nor llama.cpp, so that it builds in a minute, and the
//! libraries that run beside in the same run (feature `rivals`) are built for nobody else. `--small` runs the same rows with little
//! of everything; `./x test` does so, to see that they work and that no promise is broken.

mod append;
mod differ;
mod figure;
mod fixture;
mod heal;
mod kill;
mod message;
mod million;
mod one_more;
mod open;
mod puts;
#[cfg(feature = "rivals")]
mod rivals;
mod rot;

use std::process::ExitCode;

use crate::{
    figure::Report,
    fixture::{Scale, Scratch},
};

/// A row of the table: its name, what it is about, and what measures it.
type Row = (&'static str, &'static str, fn(&Bench, &mut Report));

/// In the order in which they run; the numbers of the command line count from 1.
const ROWS: [Row; 10] = [
    ("puts", "100,000 puts, group commit", puts::run),
    ("append", "local append to durable acknowledgement", append::run),
    ("open", "cold open of a session", open::run),
    ("message", "one message as it is pushed", message::run),
    (
        "one-more",
        "one more message for a peer that keeps no state",
        one_more::run,
    ),
    ("differ", "which documents differ", differ::run),
    ("heal", "healing after a split", heal::run),
    ("rot", "silent corruption", rot::run),
    ("kill", "kill -9", kill::run),
    ("million", "a million documents", million::run),
];

/// What every row is given.
pub struct Bench {
    /// How much of everything.
    pub scale: Scale,
    /// Where files go: on a real disk, or the figures say nothing.
    pub scratch: Scratch,
}

impl Bench {
    /// Runs what waits, on a runtime as the node has one.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(work)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The bench is its own child where a process must be killed or measured from outside.
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child-writer", directory, round, mode] => return kill::child(directory, round, mode),
        ["child-holder", directory] => return million::child(directory),
        _ => {}
    }
    let small = arguments.iter().any(|argument| argument == "--small");
    let wanted: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|one| *one != "--small")
        .collect();
    let rows: Vec<&Row> = match wanted.is_empty() {
        true => ROWS.iter().collect(),
        false => match wanted.iter().map(|wanted| row(wanted)).collect() {
            Some(rows) => rows,
            None => {
                let names: Vec<&str> = ROWS.iter().map(|(name, _, _)| *name).collect();
                eprintln!(
                    "bench crdt: say which rows, by name or by number from 1: {}",
                    names.join(", ")
                );
                return ExitCode::from(2);
            }
        },
    };
    let scale = if small { Scale::small() } else { Scale::full() };
    let bench = Bench {
        scale,
        scratch: Scratch::new(),
    };
    let mut report = Report::default();
    for (name, about, run) in rows {
        eprintln!("== {name}: {about}, load {}", figure::load());
        run(&bench, &mut report);
    }
    report.finish(small)
}

fn row(wanted: &str) -> Option<&'static Row> {
    let numbered = wanted
        .parse::<usize>()
        .ok()
        .and_then(|number| ROWS.get(number.checked_sub(1)?));
    numbered.or_else(|| ROWS.iter().find(|(name, _, _)| *name == wanted))
}
