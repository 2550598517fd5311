//! Row 9: a process that writes is killed at random moments; what it had acknowledged must be there afterwards.
//!
//! The child is this program. It says each message that the store has acknowledged on its standard output, which outlives it. Every
//! tenth time the index's directory is deleted before the store is opened again.
//!
//! What this cannot show is the loss of power: the system's cache survives the process, so a write that was never synced would be
//! there, too. The control is therefore a child that answers too early, before the commit: of what it acknowledges, some is lost.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use crdt::{
    disk::DiskShelf,
    keyring::Keyring,
    records::session::{MessageId, Session, SessionEdit},
    replica::{Recoveries, Replica, ReplicaSettings},
};
use keys::{ContentId, Timestamp};
use rand::RngExt;

use crate::{
    Bench,
    figure::{Figure, Report},
    fixture::{Home, message, person_with_chats, rng},
};

/// Writers of the child, each of whom waits for its answer.
const WRITERS: u64 = 8;
/// Acknowledgements of the control between two commits.
const EARLY: u64 = 64;
/// Kills of the control.
const CONTROLS: usize = 10;
/// The longest a child writes before it is killed.
const LIFE: Duration = Duration::from_millis(250);
/// The longest until a child writes at all.
const PATIENCE: Duration = Duration::from_secs(60);
/// So often the index is deleted, too.
const WITHOUT_INDEX: usize = 10;

const HONEST: &str = "honest";
const EARLY_MODE: &str = "early";

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let kills = bench.scale.kills;
    let (acknowledged, lost) = rounds(bench, kills, HONEST);
    report.say(
        Figure::lower(
            format!("acknowledged writes lost in {kills} kills"),
            lost as f64,
            "writes",
        )
        .promise(0.0)
        .with("acknowledged", acknowledged)
        .with("without_the_index", kills / WITHOUT_INDEX),
    );
    let (acknowledged, lost) = rounds(bench, CONTROLS.min(kills), EARLY_MODE);
    report.say(
        Figure::higher(
            "control: lost where writes are acknowledged before they are committed",
            lost as f64,
            "writes",
        )
        .promise(1.0)
        .with("acknowledged", acknowledged),
    );
}

/// Kills that many children on one store; how much was acknowledged and how much of it is gone.
fn rounds(bench: &Bench, kills: usize, mode: &str) -> (usize, usize) {
    let directory = bench.scratch.fresh();
    let home = Home(directory.path().to_owned());
    let chats = bench.block_on(async {
        let (store, _outputs, _) = home.open(1);
        let (_, chats) = person_with_chats(&store, kills).await;
        store.stop().await;
        chats
    });
    let (mut rng, mut acknowledged) = (rng(9), Vec::new());
    let mut lost = 0;
    for (round, chat) in chats.iter().enumerate() {
        let life = LIFE.mul_f64(rng.random_range(0.0..1.0));
        // Some die before they have written, while they open the store.
        let from_the_start = mode == HONEST && rng.random_ratio(1, 4);
        let numbers = kill_one(&home, *chat, mode, life, from_the_start);
        if round % WITHOUT_INDEX == WITHOUT_INDEX - 1 {
            fs::remove_dir_all(home.0.join("store/index")).expect("the index is deleted");
        }
        acknowledged.push((*chat, numbers));
        lost += bench.block_on(missing(&home, &acknowledged[round..]));
    }
    // What was there once stays there.
    lost += bench.block_on(missing(&home, &acknowledged[..chats.len() - 1]));
    (acknowledged.iter().map(|(_, numbers)| numbers.len()).sum(), lost)
}

/// Runs a child and kills it; what it acknowledged.
fn kill_one(home: &Home, chat: ContentId, mode: &str, life: Duration, from_the_start: bool) -> Vec<u64> {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg("child-writer")
        .arg(&home.0)
        .args([&chat.to_string(), mode])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let (sender, lines) = mpsc::sync_channel(1024);
    let reader = std::thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let mut numbers: Vec<u64> = Vec::new();
    let mut note = |line: String| numbers.push(line.parse().expect("a number"));
    if !from_the_start {
        note(lines.recv_timeout(PATIENCE).expect("the child writes"));
    }
    let end = Instant::now() + life;
    while let Ok(line) = lines
        .recv_timeout(end.saturating_duration_since(Instant::now()))
        .map_err(|error| {
            assert_eq!(
                error,
                RecvTimeoutError::Timeout,
                "the child ends only when it is killed"
            );
        })
    {
        note(line);
    }
    child.kill().expect("the child is killed");
    // What it said before it died counts.
    lines.iter().for_each(&mut note);
    child.wait().expect("the child is gone");
    reader.join().expect("the reader ends").ok();
    numbers
}

/// How many of the acknowledged messages are not there, or not as they were written.
async fn missing(home: &Home, acknowledged: &[(ContentId, Vec<u64>)]) -> usize {
    let (store, _outputs, _) = home.open(1);
    let mut missing = 0;
    for (chat, numbers) in acknowledged {
        let session: Session = store.read(*chat).await.expect("the chat was there before");
        let held: BTreeSet<(MessageId, String)> = session
            .messages
            .iter()
            .map(|held| (held.id, held.text.text().to_owned()))
            .collect();
        let is_there = |number: &u64| {
            let written = message(*chat, *number, None);
            held.contains(&(written.id, written.text.text().to_owned()))
        };
        missing += numbers.iter().filter(|number| !is_there(number)).count();
    }
    store.stop().await;
    missing
}

/// The child: writes until it is killed.
pub fn child(directory: &str, chat: &str, mode: &str) -> ExitCode {
    let home = Home(PathBuf::from(directory));
    let Some(chat) = ContentId::parse(chat) else {
        return ExitCode::from(2);
    };
    if mode == EARLY_MODE {
        write_early(&home, chat);
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (store, _outputs, _) = home.open(1);
        let writers = (0..WRITERS).map(|writer| {
            let store = store.clone();
            async move {
                for number in (writer..).step_by(WRITERS as usize) {
                    let edit = SessionEdit::PutMessage(message(chat, number, None));
                    match store.edit(chat, edit).await {
                        Ok(()) => acknowledge(number),
                        Err(error) => return eprintln!("the child cannot write: {error}"),
                    }
                }
            }
        });
        futures::future::join_all(writers).await;
    });
    ExitCode::FAILURE
}

/// The control: answers as soon as a change is in memory.
fn write_early(home: &Home, chat: ContentId) {
    let settings = home.settings(1);
    let (shelf, _) = DiskShelf::open(&settings.directory).expect("a shelf");
    let keyring = Keyring::open(&settings.keys).expect("a keyring");
    let replica = ReplicaSettings {
        key: settings.key,
        right: settings.right,
        boot: keys::identity::random_bytes(),
        recoveries: Recoveries::default(),
    };
    let mut replica = Replica::new(replica, shelf, Box::new(keyring));
    for number in 0.. {
        let edit = SessionEdit::PutMessage(message(chat, number, None));
        if let Err(error) = replica.edit(chat, &edit, Timestamp(number)) {
            return eprintln!("the child cannot write: {error}");
        }
        acknowledge(number);
        if number % EARLY == EARLY - 1 {
            replica.commit(Timestamp(number)).expect("a commit");
            replica.take_events();
        }
    }
}

/// One line, with one write.
fn acknowledge(number: u64) {
    let mut output = std::io::stdout().lock();
    // A parent that is gone does not want it.
    let _ = output
        .write_all(format!("{number}\n").as_bytes())
        .and_then(|()| output.flush());
}
