//! What a base spares: settings overwritten 10,000 times, on a real disk, before and after. Prints one JSON line for each figure.

use std::{
    collections::BTreeMap,
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crdt::{
    disk::DiskShelf,
    ingress::Right,
    records::settings::{Setting, Settings, SettingsEdit},
    replica::{MemoryKeys, MemoryShelf, Recoveries, Replica, ReplicaSettings, Shelf},
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};

type Failure = Box<dyn Error>;

const NOW: Timestamp = Timestamp(1_000_000);
const TIMES: u64 = 10_000;
/// Edits that share one sync, as they do under load.
const BATCH: u64 = 250;
/// How often a document is opened; the best time counts, because the machine has other work.
const OPENED: usize = 9;

fn replica<S: Shelf>(seed: u8, boot: u8, shelf: S) -> Replica<S> {
    let settings = ReplicaSettings {
        key: NodeKey::from_seed(&[seed; 32]),
        right: Arc::new(|_| Right::Member),
        boot: [boot; 16],
        recoveries: Recoveries::default(),
    };
    Replica::new(settings, shelf, Box::new(MemoryKeys::default()))
}

fn bytes_below(directory: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

fn overwrite<S: Shelf>(replica: &mut Replica<S>) -> Result<ContentId, Failure> {
    let settings = Settings {
        values: BTreeMap::new(),
    };
    let document = replica.create(&settings, NOW)?;
    for number in 0..TIMES {
        let edit = SettingsEdit::Set("limit.load".to_owned(), Setting::Number(number));
        replica.edit(document, &edit, NOW)?;
        if number % BATCH == 0 {
            replica.commit(NOW)?;
            replica.take_events();
        }
    }
    replica.commit(NOW)?;
    Ok(document)
}

/// How long it takes to read the document in a process that has just begun, and whether it says what it should.
fn opened(directory: &Path, document: ContentId, with_snapshots: bool) -> Result<Duration, Failure> {
    let mut best = Duration::MAX;
    for boot in 0..OPENED {
        if !with_snapshots && directory.join("snapshots").exists() {
            std::fs::remove_dir_all(directory.join("snapshots"))?;
        }
        let (shelf, _) = DiskShelf::open(directory)?;
        let mut again = replica(1, u8::try_from(boot)? + 100, shelf);
        let began = Instant::now();
        let read: Settings = again.read(document)?;
        best = best.min(began.elapsed());
        if read.values.get("limit.load") != Some(&Setting::Number(TIMES - 1)) {
            return Err("the document does not say what was written last".into());
        }
    }
    Ok(best)
}

/// Bytes that a node takes in which has nothing yet.
fn bytes_to_a_newcomer<S: Shelf>(from: &mut Replica<S>) -> Result<u64, Failure> {
    let mut newcomer = replica(2, 2, MemoryShelf::default());
    let mut bytes = 0;
    let mut frame = newcomer.talk_start(from.node(), NOW);
    while let Some(answer) = from.talk_step(newcomer.node(), &frame, NOW)? {
        bytes += answer.len() as u64;
        let next = newcomer.talk_step(from.node(), &answer, NOW)?;
        newcomer.commit(NOW)?;
        match next {
            Some(next) if !says_same(&next) => frame = next,
            _ => break,
        }
    }
    match newcomer.summary() == from.summary() {
        true => Ok(bytes),
        false => Err("the newcomer does not hold the same".into()),
    }
}

fn figure(name: &str, value: f64, unit: &str, before: f64) {
    println!(
        "{{\"bench\":\"crdt\",\"name\":\"{name}\",\"value\":{value},\"unit\":\"{unit}\",\"goal\":null,\"better\":\"lower\",\
         \"rival\":{{\"name\":\"whole history\",\"value\":{before}}},\"mock\":false}}"
    );
}

fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let (shelf, _) = DiskShelf::open(directory)?;
    let mut node = replica(1, 1, shelf);
    let document = overwrite(&mut node)?;
    node.save_views();
    let newcomer_before = bytes_to_a_newcomer(&mut node)?;
    drop(node);
    let journal_before = bytes_below(&directory.join("journal"))?;
    let snapshots_before = bytes_below(&directory.join("snapshots"))?;
    let snapshot_before = opened(directory, document, true)?;
    let open_before = opened(directory, document, false)?;

    let (shelf, _) = DiskShelf::open(directory)?;
    let mut node = replica(1, 3, shelf);
    let began = Instant::now();
    let rebased = node.rebase_long();
    node.commit(NOW)?;
    let took = began.elapsed();
    if rebased != 1 {
        return Err("the document was not rebased".into());
    }
    let newcomer_after = bytes_to_a_newcomer(&mut node)?;
    drop(node);
    let journal_after = bytes_below(&directory.join("journal"))?;
    let snapshots_after = match directory.join("snapshots").exists() {
        true => bytes_below(&directory.join("snapshots"))?,
        false => 0,
    };
    let open_after = opened(directory, document, true)?;

    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    figure(
        "journal of a value overwritten 10,000 times",
        journal_after as f64,
        "B",
        journal_before as f64,
    );
    figure("snapshots of it", snapshots_after as f64, "B", snapshots_before as f64);
    figure(
        "bytes of it to a node that has nothing",
        newcomer_after as f64,
        "B",
        newcomer_before as f64,
    );
    figure("opening it", milliseconds(open_after), "ms", milliseconds(open_before));
    figure(
        "opening it, with a snapshot before",
        milliseconds(open_after),
        "ms",
        milliseconds(snapshot_before),
    );
    figure("rebasing it, once", milliseconds(took), "ms", 0.0);
    Ok(())
}
