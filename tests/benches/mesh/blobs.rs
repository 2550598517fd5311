//! Verified blobs: over a line of 50 ms that loses packets, from one seeder of 100 Mbit and from three, from three of which one is killed at
//! half, from one that nothing holds back; and tokens while a blob fills a line of 100 Mbit.

use std::time::{Duration, Instant};

use keys::{NodeId, identity::random_bytes};
use mesh::{
    Protocol,
    blobs::{BlobId, BlobLimits, BlobStore, Fetched, Pace, Progress, Rate, fetch, serve},
    frame,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Figure,
    nodes::{Running, acquainted, linked, loopback, runtime, start},
    print, print_as, quantile,
    wire::{Line, Wire},
};

const MIB: usize = 1024 * 1024;
const SIZE: usize = 64 * MIB;
/// The blob that goes over the long line: it has to find out first how much that carries.
const LONG_SIZE: usize = 256 * MIB;
/// A line of 100 Mbit whose router keeps what takes 50 ms to send.
const HUNDRED_MBIT: Line = Line {
    rate: Some(12_500_000.0),
    queue: Duration::from_millis(50),
    delay: Duration::from_millis(5),
    loss: 0.0,
};
/// A long line of which every two hundredth packet gets lost; 50 ms there and back.
const LONG: Line = Line {
    rate: None,
    queue: Duration::from_millis(50),
    delay: Duration::from_millis(25),
    loss: 0.005,
};
const TOKEN_BYTES: usize = 100;
const TOKEN_EVERY: Duration = Duration::from_millis(20);
/// Tokens without bulk beside them.
const TOKENS_ALONE: usize = 250;

/// A node with a store of blobs.
struct Keeper {
    running: Running,
    directory: tempfile::TempDir,
    store: BlobStore,
}

impl Keeper {
    fn new(running: Running) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&directory.path().join("blobs"), BlobLimits::default()).unwrap();
        Self {
            running,
            directory,
            store,
        }
    }

    fn seed(&mut self) -> JoinHandle<()> {
        let streams = self.running.inputs.streams.remove(&Protocol::BLOB).unwrap();
        let pace = Pace::new(Rate::Measured, self.running.mesh.token_streams());
        tokio::spawn(serve(streams, self.store.clone(), pace))
    }
}

/// A node that fetches, and seeders, each behind a line of its own.
struct Scene {
    home: Keeper,
    seeders: Vec<Keeper>,
    serving: Vec<JoinHandle<()>>,
    _wires: Vec<Wire>,
}

impl Scene {
    async fn new(count: usize, line: Option<Line>) -> Self {
        let (_, mut keys, roster) = acquainted(count + 1);
        let home = keys.remove(0);
        let (mut seeders, mut wires, mut ways) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            let seeder = Keeper::new(start(key, roster.clone(), loopback(), vec![]));
            let (id, address) = (seeder.running.key.id(), seeder.running.address);
            wires.extend(line.map(|line| Wire::to(address, line)));
            ways.push((id, wires.last().map_or(address, |wire| wire.near)));
            seeders.push(seeder);
        }
        let ids: Vec<NodeId> = ways.iter().map(|(id, _)| *id).collect();
        let home = Keeper::new(start(home, roster, loopback(), ways));
        linked(&home.running.mesh, &ids).await;
        let serving = seeders.iter_mut().map(Keeper::seed).collect();
        Self {
            home,
            seeders,
            serving,
            _wires: wires,
        }
    }

    /// Gives every seeder a new blob, fetches it from the first `from`, and says how long that took. At half, one is killed if asked.
    async fn fetch(&self, size: usize, from: usize, kill: bool) -> (f64, Fetched) {
        let seed: [u8; 8] = random_bytes();
        let content: Vec<u8> = seed.iter().copied().cycle().take(size).collect();
        let mut blob = BlobId::of(b"");
        for seeder in &self.seeders {
            let file = seeder.directory.path().join("file");
            std::fs::write(&file, &content).unwrap();
            blob = seeder.store.add(&file).unwrap();
        }
        let ids: Vec<NodeId> = self
            .seeders
            .iter()
            .take(from)
            .map(|seeder| seeder.running.key.id())
            .collect();
        let mesh = &self.home.running.mesh;
        let pace = Pace::new(Rate::Measured, mesh.token_streams());
        let (progress, mut seen) = watch::channel(Progress::default());
        let began = Instant::now();
        let fetching = fetch(mesh, (&self.home.store, &pace), blob, &ids, &progress);
        let killing = async {
            if kill {
                seen.wait_for(|progress| progress.bytes > size as u64 / 2)
                    .await
                    .unwrap();
                self.serving[from - 1].abort();
            }
        };
        let (fetched, ()) = tokio::join!(fetching, killing);
        let seconds = began.elapsed().as_secs_f64();
        self.home.store.remove(blob).unwrap();
        for seeder in &self.seeders {
            seeder.store.remove(blob).unwrap();
        }
        (seconds, fetched.unwrap())
    }
}

pub fn run() {
    runtime().block_on(async {
        tokens_under_bulk().await;
        over_a_long_line().await;
        several_seeders().await;
        let scene = Scene::new(1, None).await;
        let (seconds, _) = scene.fetch(SIZE, 1, false).await;
        let name = "verified blob from one seeder on loopback";
        print_as(&figure(name, 64.0 / seconds, "MiB/s", None), "higher");
    });
}

async fn over_a_long_line() {
    let scene = Scene::new(1, Some(LONG)).await;
    let (seconds, _) = scene.fetch(LONG_SIZE, 1, false).await;
    let speed = LONG_SIZE as f64 / MIB as f64 / seconds;
    let name = "verified blob of 256 MiB over a line of 50 ms with 0.5 % loss";
    print_as(&figure(name, speed, "MiB/s", Some(35.0)), "higher");
}

async fn several_seeders() {
    let scene = Scene::new(3, Some(HUNDRED_MBIT)).await;
    let (one, _) = scene.fetch(SIZE, 1, false).await;
    let (three, _) = scene.fetch(SIZE, 3, false).await;
    let (_, killed) = scene.fetch(SIZE, 3, true).await;
    eprintln!(
        "blobs: {:.1} MiB/s from one, {:.1} from three",
        64.0 / one,
        64.0 / three
    );
    let name = "verified blob of 64 MiB from 3 seeders on lines of 100 Mbit against one";
    print_as(&figure(name, one / three, "x", Some(2.5)), "higher");
    let again = killed.again as f64 / MIB as f64;
    let name = "of it fetched again when a seeder is killed at half, in ranges of 1 MiB";
    print(&figure(name, again, "ranges", Some(1.0)));
}

/// The seeder also generates: its tokens come over the line that the blob fills.
async fn tokens_under_bulk() {
    let mut scene = Scene::new(1, Some(HUNDRED_MBIT)).await;
    let home = scene.home.running.key.id();
    let mut inbound = scene.home.running.inputs.streams.remove(&Protocol::GENERATE).unwrap();
    let mut outbound = scene.seeders[0]
        .running
        .mesh
        .open(home, Protocol::GENERATE)
        .await
        .unwrap();
    let (_, mut stream) = inbound.recv().await.unwrap();
    let epoch = Instant::now();
    let sending = tokio::spawn(async move {
        let mut pace = tokio::time::interval(TOKEN_EVERY);
        loop {
            pace.tick().await;
            let mut token = [0; TOKEN_BYTES];
            token[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
            frame::write_frame(&mut outbound, &token, 256).await.unwrap();
        }
    });
    let mut next = async || {
        let token = frame::read_frame(&mut stream, 256).await.unwrap().unwrap();
        let sent = Duration::from_nanos(u64::from_le_bytes(token[..8].try_into().unwrap()));
        (epoch.elapsed() - sent).as_secs_f64() * 1000.0
    };
    let mut alone = Vec::new();
    while alone.len() < TOKENS_ALONE {
        alone.push(next().await);
    }
    let mut beside = Vec::new();
    let fetching = scene.fetch(SIZE, 1, false);
    tokio::pin!(fetching);
    let seconds = loop {
        tokio::select! {
            biased;
            (seconds, _) = &mut fetching => break seconds,
            late = next() => beside.push(late),
        }
    };
    sending.abort();
    let (before, under) = (quantile(&mut alone, 0.9), quantile(&mut beside, 0.9));
    eprintln!(
        "blobs: {} tokens beside a blob at {:.1} MiB/s: p90 {under:.1} ms, without it {before:.1} ms",
        beside.len(),
        64.0 / seconds,
    );
    let name = "token on a line of 100 Mbit that a blob fills, p90 above that without";
    print(&figure(name, under - before, "ms", Some(20.0)));
}

fn figure<'a>(name: &'a str, value: f64, unit: &'static str, goal: Option<f64>) -> Figure<'a> {
    Figure {
        name,
        value,
        unit,
        goal,
        rival: None,
    }
}
