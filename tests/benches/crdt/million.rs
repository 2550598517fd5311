//! Row 10: a million documents on one node: how much memory that takes, and how long it takes to make the index anew.
//!
//! Making them takes minutes, so they stay below the bench's directory for the next run.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Instant,
};

use crate::{
    Bench,
    differ::documents,
    figure::{Figure, Report},
    fixture::Home,
};

/// Says that the documents are all there: the last that is written.
const COMPLETE: &str = "complete-1";

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let count = bench.scale.million;
    let home = Home(bench.scratch.kept(&format!("{count}-documents")));
    if !home.0.join(COMPLETE).exists() {
        fs::remove_dir_all(&home.0).ok();
        let began = Instant::now();
        documents(&home, count);
        let per_second = count as f64 / began.elapsed().as_secs_f64();
        fs::write(home.0.join(COMPLETE), "").expect("a mark");
        report.say(Figure::higher(
            format!("{count} documents begun, durable, by one caller"),
            per_second,
            "documents/s",
        ));
    }
    let opened = Holder::open(&home.0);
    report.say(memory(
        &format!("memory of a store with {count} documents, idle"),
        &opened.idle,
    ));
    report.say(memory(
        &format!("memory of a store with {count} documents, its root computed"),
        &opened.with_root,
    ));
    report.say(
        Figure::lower(format!("opening a store with {count} documents"), opened.seconds, "s")
            .with("journal_bytes", bytes_below(&home.0.join("store/journal")))
            .with("index_bytes", bytes_below(&home.0.join("store/index"))),
    );
    fs::remove_dir_all(home.0.join("store/index")).expect("the index is deleted");
    let rebuilt = Holder::open(&home.0);
    let millions = rebuilt.envelopes as f64 / 1e6;
    report.say(
        Figure::lower(
            "index made anew, for each million envelopes",
            rebuilt.seconds / millions,
            "s",
        )
        .goal(60.0)
        .with("envelopes", rebuilt.envelopes)
        .with("index_bytes", bytes_below(&home.0.join("store/index"))),
    );
    // A node that has just made its index anew holds more than one that found it: no goal is set for it.
    let name = format!("memory of a store with {count} documents, its index just made anew");
    report.say(Figure::lower(name, rebuilt.with_root.resident, "MB").with("peak", rebuilt.with_root.peak));
    assert_eq!(opened.root, rebuilt.root, "the new index says the same as the old one");
}

fn memory(name: &str, memory: &Memory) -> Figure {
    Figure::lower(name, memory.resident, "MB")
        .goal(300.0)
        .with("peak", memory.peak)
}

/// What a process takes, in millions of bytes.
struct Memory {
    resident: f64,
    peak: f64,
}

impl Memory {
    fn of(process: &Child) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("what the system says of it");
        let field = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
            kibibytes.expect("a number of kibibytes") * 1024.0 / 1e6
        };
        Self {
            resident: field("VmRSS"),
            peak: field("VmHWM"),
        }
    }
}

/// A fresh process that opened the store.
struct Holder {
    seconds: f64,
    envelopes: usize,
    root: String,
    idle: Memory,
    with_root: Memory,
}

impl Holder {
    fn open(directory: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg("child-holder")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut next = || lines.next().and_then(Result::ok).expect("the child says a line");
        let seconds = next().parse().expect("seconds");
        let envelopes = next().parse().expect("a number");
        let idle = Memory::of(&child);
        // It goes on when its input has something.
        let mut input = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut input, b"\n").expect("the child listens");
        let root = next();
        let with_root = Memory::of(&child);
        drop(input);
        child.wait().expect("the child ends");
        Self {
            seconds,
            envelopes,
            root,
            idle,
            with_root,
        }
    }
}

/// The child: opens the store, and says how long that took; then, when it is told to, computes the root.
pub fn child(directory: &str) -> ExitCode {
    let began = Instant::now();
    let (store, _outputs, report) = Home(PathBuf::from(directory)).open(1);
    println!("{}\n{}", began.elapsed().as_secs_f64(), report.envelopes);
    let mut input = std::io::stdin();
    let mut one = [0];
    if input.read_exact(&mut one).is_err() {
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let summary = runtime.block_on(store.summary()).expect("a summary");
    println!("{}", summary.root);
    // Until the other side closes it.
    let rest = input.read_to_end(&mut Vec::new());
    runtime.block_on(store.stop());
    if rest.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn bytes_below(directory: &Path) -> u64 {
    let sizes = crate::fixture::files(directory)
        .into_iter()
        .filter_map(|file| Some(fs::metadata(file).ok()?.len()));
    sizes.sum()
}
