//! What a gateway takes, each figure one JSON line on standard output; words go to standard error. `./x bench gateway` runs every row,
//! `./x bench gateway ROW...` some; `people=N`, `idle-seconds=N` and `talk-seconds=N` change how much.
//!
//! The node is a process of its own, as people run it, and the load generator runs beside it on the same cores. What answers is the
//! mock engine, which says twenty words a second and needs no time for its first: so the time to the first word is what everything
//! around an engine adds. Each line says so by `"mock": true`.
//!
//! Rows: `sockets-100` and `sockets-1000` (pages whose answers never pause), `idle` (10,000 pages that only stay), `reads` (what a
//! page asks for when it opens), `chat` (the newest messages of a long chat).
//!
//! The people, their chats and the access tokens are written into the node's store before it starts: signing in costs a password
//! hash each and is no part of any row. The limits of requests are set to the highest that an administrator can set.

mod chat;
mod idle;
mod people;
mod reads;
mod request;
mod talk;

use std::{process::ExitCode, time::Duration};

use crate::figure::Report;
use people::Prepared;

const ROWS: [&str; 5] = ["sockets-100", "sockets-1000", "idle", "reads", "chat"];

/// How much is measured, and for how long.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Five devices of each stay in `idle`.
    people: usize,
    idle: Duration,
    talk: Duration,
}

/// Runs the rows that were asked for.
pub fn run(arguments: &[String]) -> ExitCode {
    let mut scale = Scale {
        people: 2000,
        idle: Duration::from_secs(300),
        talk: Duration::from_secs(45),
    };
    let mut rows: Vec<&str> = Vec::new();
    for argument in arguments {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let seconds = |text: &str| number(text).map(Duration::from_secs);
        let known = match argument.split_once('=') {
            Some(("idle-seconds", text)) => seconds(text).map(|seconds| scale.idle = seconds),
            Some(("talk-seconds", text)) => seconds(text).map(|seconds| scale.talk = seconds),
            Some(("people", text)) => number(text)
                .and_then(|people| usize::try_from(people).ok())
                .map(|people| scale.people = people),
            Some(_) => None,
            None => ROWS.iter().find(|row| *row == argument).map(|row| rows.push(row)),
        };
        if known.is_none() {
            let rows = ROWS.join(" ");
            eprintln!(
                "bench gateway: there is no '{argument}'. There are: {rows} people=N idle-seconds=N talk-seconds=N"
            );
            return ExitCode::from(2);
        }
    }
    let is_wanted = |row: &str| rows.is_empty() || rows.contains(&row);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut report = Report::new("gateway", true);
    runtime.block_on(async {
        let mut prepared = Prepared::make(scale.people, if is_wanted("chat") { people::LONG_CHATS } else { 0 }).await;
        if is_wanted("sockets-100") {
            talk::run(&mut prepared, 100, 50.0, scale.talk, &mut report).await;
        }
        if is_wanted("sockets-1000") {
            talk::run(&mut prepared, 1000, 200.0, scale.talk, &mut report).await;
        }
        if is_wanted("idle") {
            idle::run(&mut prepared, scale.idle, &mut report).await;
        }
        if is_wanted("reads") {
            reads::run(&mut prepared, &mut report).await;
        }
        if is_wanted("chat") {
            chat::run(&mut prepared, &mut report).await;
        }
    });
    report.finish()
}

/// Ten thousand sockets are ten thousand files here, too.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}
