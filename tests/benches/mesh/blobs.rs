//! A verified blob of 64 MiB: from one seeder of 100 Mbit and from three, from three of which one is killed at half, and from one that
//! nothing holds back.

use std::time::Instant;

use keys::{NodeId, identity::random_bytes};
use mesh::{
    Protocol,
    blobs::{BlobId, BlobLimits, BlobStore, Fetched, Pace, Progress, Rate, fetch, serve},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Figure,
    nodes::{Founder, Running, linked, loopback, runtime},
    print, print_as,
};

const MIB: usize = 1024 * 1024;
const SIZE: usize = 64 * MIB;
const HUNDRED_MBIT: Rate = Rate::BytesPerSecond(12_500_000.0);

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

    fn seed(&mut self, rate: Rate) -> JoinHandle<()> {
        let streams = self.running.inputs.streams.remove(&Protocol::BLOB).unwrap();
        let pace = Pace::new(rate, self.running.mesh.token_streams());
        tokio::spawn(serve(streams, self.store.clone(), pace))
    }
}

/// A node that fetches, and seeders.
struct Scene {
    home: Keeper,
    seeders: Vec<Keeper>,
    serving: Vec<JoinHandle<()>>,
}

impl Scene {
    async fn new(seeders: usize, rate: Rate) -> Self {
        let founder = Founder::start(loopback());
        let mut scene = Vec::new();
        for _ in 0..seeders {
            scene.push(Keeper::new(founder.second().await));
        }
        let ids: Vec<NodeId> = scene.iter().map(|seeder| seeder.running.key.id()).collect();
        linked(&founder.running.mesh, &ids).await;
        let serving = scene.iter_mut().map(|seeder| seeder.seed(rate)).collect();
        Self {
            home: Keeper::new(founder.running),
            seeders: scene,
            serving,
        }
    }

    /// Gives every seeder a new blob, fetches it from the first `from`, and says how long that took. At half, one is killed if asked.
    async fn fetch(&self, from: usize, kill: bool) -> (f64, Fetched) {
        let seed: [u8; 8] = random_bytes();
        let content: Vec<u8> = seed.iter().copied().cycle().take(SIZE).collect();
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
                seen.wait_for(|progress| progress.bytes > SIZE as u64 / 2)
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
        let scene = Scene::new(3, HUNDRED_MBIT).await;
        let (one, _) = scene.fetch(1, false).await;
        let (three, _) = scene.fetch(3, false).await;
        let (_, killed) = scene.fetch(3, true).await;
        print_as(
            &figure(
                "verified blob of 64 MiB from 3 seeders of 100 Mbit against one",
                one / three,
                "x",
                Some(2.5),
            ),
            "higher",
        );
        let again = killed.again as f64 / MIB as f64;
        print(&figure(
            "of it fetched again when a seeder is killed at half, in ranges of 1 MiB",
            again,
            "ranges",
            Some(1.0),
        ));
        drop(scene);
        let scene = Scene::new(1, Rate::Measured).await;
        let (seconds, _) = scene.fetch(1, false).await;
        print_as(
            &figure(
                "verified blob from one seeder on loopback",
                64.0 / seconds,
                "MiB/s",
                None,
            ),
            "higher",
        );
    });
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
