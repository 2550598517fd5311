//! What a gateway takes, each figure one JSON line on standard output; words go to standard error. `./x bench gateway` runs every row,
//! `./x bench gateway ROW...` some; `people=N`, `idle-seconds=N`, `talk-seconds=N` and `kills=N` change how much.
//!
//! The node is a process of its own, as people run it, and the load generator runs beside it on the same cores. What answers is the
//! mock engine, which says twenty words a second and needs no time for its first: so the time to the first word is what everything
//! around an engine adds. Each line says so by `"mock": true`.
//!
//! Rows: `sockets-100` and `sockets-1000` (pages whose answers never pause), `idle` (10,000 pages that only stay), `reads` (what a
//! page asks for when it opens), `chat` (the newest messages of a long chat), `kills` (a gateway is killed in the middle of an
//! answer, and the page goes on at another one).
//!
//! In all but `kills` the people, their chats and the access tokens are written into the node's store before it starts: signing in costs a password
//! hash each and is no part of any row. The limits of requests are set to the highest that an administrator can set.

mod chat;
mod idle;
mod kills;
mod people;
mod reads;
mod request;
mod talk;

use std::{process::ExitCode, time::Duration};

use crate::figure::Report;
use people::Prepared;

const ROWS: [&str; 6] = ["sockets-100", "sockets-1000", "idle", "reads", "chat", "kills"];

/// How much is measured, and for how long.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Five devices of each stay in `idle`.
    people: usize,
    idle: Duration,
    talk: Duration,
    kills: u32,
}

impl Scale {
    /// Takes one in; none when it is unknown or not above zero.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let number: u32 = value.parse().ok().filter(|number| *number > 0)?;
        let seconds = Duration::from_secs(number.into());
        match name {
            "people" => self.people = number as usize,
            "idle-seconds" => self.idle = seconds,
            "talk-seconds" => self.talk = seconds,
            "kills" => self.kills = number,
            _ => return None,
        }
        Some(())
    }
}

/// Runs the rows that were asked for.
pub fn run(arguments: &[String]) -> ExitCode {
    let mut scale = Scale {
        people: 2000,
        idle: Duration::from_secs(300),
        talk: Duration::from_secs(45),
        kills: 200,
    };
    let mut rows: Vec<&str> = Vec::new();
    for argument in arguments {
        let known = match argument.split_once('=') {
            Some((name, value)) => scale.set(name, value),
            None => ROWS.iter().find(|row| *row == argument).map(|row| rows.push(row)),
        };
        if known.is_none() {
            let rows = ROWS.join(" ");
            eprintln!(
                "bench gateway: there is no '{argument}'. There are: {rows} people=N idle-seconds=N talk-seconds=N kills=N"
            );
            return ExitCode::from(2);
        }
    }
    if rows.is_empty() {
        rows.extend(ROWS);
    }
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut report = Report::new("gateway", true);
    runtime.block_on(async {
        if rows.iter().any(|row| *row != "kills") {
            measure_prepared(&rows, scale, &mut report).await;
        }
        if rows.contains(&"kills") {
            kills::run(scale.kills, &mut report).await;
        }
    });
    report.finish()
}

/// The rows that are measured on one node with prepared people.
async fn measure_prepared(rows: &[&str], scale: Scale, report: &mut Report) {
    let long_chats = if rows.contains(&"chat") { people::LONG_CHATS } else { 0 };
    let mut prepared = Prepared::make(scale.people, long_chats).await;
    if rows.contains(&"sockets-100") {
        talk::run(&mut prepared, 100, 50.0, scale.talk, report).await;
    }
    if rows.contains(&"sockets-1000") {
        talk::run(&mut prepared, 1000, 200.0, scale.talk, report).await;
    }
    if rows.contains(&"idle") {
        idle::run(&mut prepared, scale.idle, report).await;
    }
    if rows.contains(&"reads") {
        reads::run(&mut prepared, report).await;
    }
    if rows.contains(&"chat") {
        chat::run(&mut prepared, report).await;
    }
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
