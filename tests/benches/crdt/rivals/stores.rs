//! Embedded databases, each written to as its documentation says that it is durable.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use crdt::replica::Kept;
use rand::Rng;

use crate::{
    Bench,
    fixture::{copy, files, rng},
    rot::{Damage, spoil},
};

/// What was measured of a database.
pub struct Measured {
    pub puts_per_second: f64,
    pub disk_bytes: u64,
}

type Puts = fn(&tempfile::TempDir, &[Kept], usize) -> Measured;
type Pair = ([u8; 40], Vec<u8>);

/// Every database that is measured.
pub const ALL: [(&str, Puts); 2] = [("sled", puts::<Sled>), ("redb", puts::<Redb>)];

/// As much of a database as is measured.
trait Database: Sized + Send + 'static {
    fn open(directory: &Path) -> Option<Self>;
    /// Durable when it returns.
    fn write(&self, pairs: &[Pair]) -> Option<()>;
    fn read(&self) -> Option<Vec<(Vec<u8>, Vec<u8>)>>;
}

fn puts<D: Database>(directory: &tempfile::TempDir, kept: &[Kept], group: usize) -> Measured {
    let pairs: Vec<Pair> = kept.iter().map(pair).collect();
    let database = D::open(directory.path()).expect("an empty database");
    let began = Instant::now();
    for group in pairs.chunks(group) {
        database.write(group).expect("it writes");
    }
    let seconds = began.elapsed().as_secs_f64();
    drop(database);
    let sizes = files(directory.path())
        .into_iter()
        .filter_map(|file| Some(std::fs::metadata(file).ok()?.len()));
    Measured {
        puts_per_second: pairs.len() as f64 / seconds,
        disk_bytes: sizes.sum(),
    }
}

fn pair(kept: &Kept) -> Pair {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&kept.entry.group.0);
    key[8..].copy_from_slice(&kept.entry.id.0);
    (key, kept.bytes.clone())
}

/// In how many damaged copies a database gives wrong answers or leaves something out without a word; half of the copies with a bit
/// flipped, half with a page zeroed.
pub fn misled(bench: &Bench, copies: usize) -> Vec<(&'static str, usize)> {
    vec![
        ("sled", misled_by::<Sled>(bench, copies)),
        ("redb", misled_by::<Redb>(bench, copies)),
    ]
}

fn misled_by<D: Database>(bench: &Bench, copies: usize) -> usize {
    let mut rng = rng(88);
    let mut pairs: Vec<Pair> = (0..5000)
        .map(|_| {
            let mut pair = ([0; 40], vec![0; 300]);
            rng.fill_bytes(&mut pair.0);
            rng.fill_bytes(&mut pair.1);
            pair
        })
        .collect();
    let whole = bench.scratch.fresh();
    {
        let database = D::open(whole.path()).expect("an empty database");
        pairs
            .chunks(100)
            .for_each(|group| database.write(group).expect("it writes"));
    }
    pairs.sort();
    let truth: Vec<(Vec<u8>, Vec<u8>)> = pairs.into_iter().map(|(key, value)| (key.to_vec(), value)).collect();
    assert_eq!(
        D::open(whole.path()).and_then(|database| database.read()).as_ref(),
        Some(&truth),
        "control: undamaged"
    );
    let mut misled = 0;
    for damage in [Damage::Bit, Damage::Page] {
        for _ in 0..copies {
            let scratch = bench.scratch.fresh();
            copy(whole.path(), scratch.path());
            spoil(scratch.path(), damage, &mut rng);
            let path = scratch.path().to_owned();
            // An error or a panic is a word; a database whose own thread died may never let go, so it is left to itself.
            let read = catch_unwind(AssertUnwindSafe(|| {
                let database = D::open(&path)?;
                let read = database.read();
                std::thread::spawn(move || drop(database));
                read
            }));
            misled += usize::from(matches!(read, Ok(Some(shown)) if shown != truth));
        }
    }
    misled
}

struct Sled(sled::Db, std::path::PathBuf);

impl Database for Sled {
    fn open(directory: &Path) -> Option<Self> {
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(64 * 1024 * 1024)
            .flush_every_ms(Some(500));
        Some(Self(config.open().ok()?, directory.join("db")))
    }

    /// Its flush is no sync on Linux, so the file is synced, too.
    fn write(&self, pairs: &[Pair]) -> Option<()> {
        let mut batch = sled::Batch::default();
        pairs
            .iter()
            .for_each(|(key, value)| batch.insert(key.as_slice(), value.as_slice()));
        self.0.apply_batch(batch).ok()?;
        self.0.flush().ok()?;
        std::fs::File::open(&self.1).ok()?.sync_all().ok()
    }

    fn read(&self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let pairs = self
            .0
            .iter()
            .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
        pairs.collect::<Result<_, _>>().ok()
    }
}

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("pairs");

struct Redb(redb::Database);

impl Database for Redb {
    fn open(directory: &Path) -> Option<Self> {
        redb::Database::create(directory.join("db")).ok().map(Self)
    }

    fn write(&self, pairs: &[Pair]) -> Option<()> {
        let transaction = self.0.begin_write().ok()?;
        {
            let mut table = transaction.open_table(TABLE).ok()?;
            for (key, value) in pairs {
                table.insert(key.as_slice(), value.as_slice()).ok()?;
            }
        }
        transaction.commit().ok()
    }

    fn read(&self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        use redb::{ReadableDatabase, ReadableTable};
        let transaction = self.0.begin_read().ok()?;
        let table = transaction.open_table(TABLE).ok()?;
        let pairs = table
            .iter()
            .ok()?
            .map(|pair| pair.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())));
        pairs.collect::<Result<_, _>>().ok()
    }
}
