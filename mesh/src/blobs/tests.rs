//! Real nodes on loopback that fetch blobs from each other: speed from several, a killed one, a poisoned one, and going on.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use keys::{
    NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles, Roster},
};
use tokio::{
    io::AsyncReadExt,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    fetch::{Checks, fetch_with},
    wire::{self, Answer, Request},
    *,
};
use crate::{
    Inputs, Mesh, MeshSettings, Protocol, Stream,
    frame::{read_frame, write_frame},
    free_address::free_address,
    limits::{BLOB_FRAME_BYTES_MAX, BLOB_PIECE_GROUPS, BLOB_REQUEST_BYTES_MAX, BLOB_UPLOADS_MAX},
};

/// Generous: these tests wait for events, and a deadline only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;
const HUNDRED_MBIT: Rate = Rate::BytesPerSecond(12_500_000.0);

struct Node {
    id: NodeId,
    mesh: Mesh,
    blobs: Option<mpsc::Receiver<(NodeId, Stream)>>,
    inputs: Inputs,
    directory: tempfile::TempDir,
    store: BlobStore,
}

impl Node {
    fn start(key: &NodeKey, listen: SocketAddr, bootstrap: Vec<(NodeId, SocketAddr)>, roster: Roster) -> Self {
        let settings = MeshSettings {
            bootstrap,
            ..MeshSettings::at(listen)
        };
        let (mesh, mut inputs) = Mesh::start(&settings, key, roster).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(&directory.path().join("blobs"), BlobLimits::default()).unwrap();
        Self {
            id: key.id(),
            mesh,
            blobs: inputs.streams.remove(&Protocol::BLOB),
            inputs,
            directory,
            store,
        }
    }

    /// Serves its store at `rate` until the handle is aborted.
    fn serve(&mut self, rate: Rate) -> JoinHandle<()> {
        let streams = self.blobs.take().unwrap();
        let pace = Pace::new(rate, self.mesh.token_streams());
        tokio::spawn(serve(streams, self.store.clone(), pace))
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn bad_store(&self, blob: BlobId) {
        // A member that lies: its store says that it has the blob, and gives other bytes.
        use std::os::unix::fs::FileExt;
        let data = self.store.path(blob).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(data).unwrap();
        file.write_all_at(b"poison", 40 * GROUP_BYTES + 5000).unwrap();
    }
}

/// One node that fetches, and others it is linked with.
struct Town {
    home: Node,
    others: Vec<Node>,
}

impl Town {
    async fn of(others: usize) -> Self {
        Self::with(NodeKey::generate(), (0..others).map(|_| NodeKey::generate())).await
    }

    async fn with(key: NodeKey, others: impl IntoIterator<Item = NodeKey>) -> Self {
        let root = NodeKey::generate();
        let certificate = Certificate::found(&root, key.id(), "home", random_bytes(), Timestamp::now()).unwrap();
        let address = free_address();
        let home = Node::start(&key, address, vec![], Roster::new(certificate).unwrap());
        let mut town = Self { home, others: vec![] };
        for (number, other) in others.into_iter().enumerate() {
            let terms = Terms::new(Roles::NODE, 1, Timestamp::now().plus(60_000));
            let mesh = town.home.mesh.roster().mesh();
            let invite = Invite::issue(&root, mesh, key.id(), vec![address], random_bytes(), terms).unwrap();
            let joined = crate::join(&other, &invite, &format!("other {number}")).await.unwrap();
            let node = Node::start(&other, free_address(), vec![(key.id(), address)], joined.roster);
            let mut view = town.home.mesh.view();
            let id = other.id();
            let linked = view.wait_for(|view| view.links.get(&id).is_some_and(|link| link.connected));
            tokio::time::timeout(PATIENCE, linked).await.unwrap().unwrap();
            town.others.push(node);
        }
        town
    }

    fn ids(&self) -> Vec<NodeId> {
        self.others.iter().map(|node| node.id).collect()
    }

    /// The same blob at every other node.
    fn give(&self, content: &[u8]) -> BlobId {
        for node in &self.others {
            node.store.add(&node.file(content)).unwrap();
        }
        BlobId::of(content)
    }

    async fn fetch(&self, blob: BlobId, from: &[NodeId], checks: Checks) -> Result<Fetched, BlobError> {
        let pace = Pace::new(Rate::Measured, self.home.mesh.token_streams());
        let progress = watch::channel(Progress::default()).0;
        let fetching = fetch_with(
            &self.home.mesh,
            (&self.home.store, &pace),
            blob,
            from,
            &progress,
            checks,
        );
        tokio::time::timeout(PATIENCE, fetching).await.expect("it ends")
    }
}

fn content(bytes: u64, seed: u64) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut content = vec![0; usize::try_from(bytes).unwrap()];
    reader.fill(&mut content);
    content
}

fn figure(name: &str, value: f64, unit: &str, goal: Option<f64>, better: &str) {
    let goal = goal.map_or("null".to_owned(), |goal| goal.to_string());
    println!(
        r#"{{"bench":"mesh","name":"{name}","value":{value:.3},"unit":"{unit}","goal":{goal},"better":"{better}","rival":null,"mock":false}}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_seeders_are_two_and_a_half_times_as_fast_as_one() {
    let mut town = Town::of(3).await;
    let ids = town.ids();
    let serving: Vec<_> = town.others.iter_mut().map(|node| node.serve(HUNDRED_MBIT)).collect();
    let mut seconds = vec![];
    // The three once more when something else was using the machine.
    for (round, from) in [&ids[..1], &ids[..], &ids[..], &ids[..]].into_iter().enumerate() {
        let blob = town.give(&content(64 * MIB, round as u64));
        let started = Instant::now();
        let fetched = town.fetch(blob, from, Checks::On).await.unwrap();
        seconds.push(started.elapsed().as_secs_f64());
        assert_eq!((fetched.size, fetched.resumed), (64 * MIB, 0));
        town.home.store.verify(blob).unwrap();
        if seconds[0] / seconds[round] >= 2.5 {
            break;
        }
    }
    let ratio = seconds[0] / seconds[seconds.len() - 1];
    let (one, three) = ("one seeder of 100 Mbit", "three seeders of 100 Mbit against one");
    figure(
        &format!("verified blob of 64 MiB, {one}"),
        64.0 / seconds[0],
        "MiB/s",
        None,
        "higher",
    );
    figure(
        &format!("verified blob of 64 MiB, {three}"),
        ratio,
        "x",
        Some(2.5),
        "higher",
    );
    assert!(ratio >= 2.5, "{ratio} ({seconds:?})");
    serving.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_killed_at_half_costs_at_most_one_range_again() {
    let mut town = Town::of(3).await;
    let ids = town.ids();
    let serving: Vec<_> = town.others.iter_mut().map(|node| node.serve(HUNDRED_MBIT)).collect();
    let blob = town.give(&content(24 * MIB, 5));
    let pace = Pace::new(Rate::Measured, town.home.mesh.token_streams());
    let (progress, mut seen) = watch::channel(Progress::default());
    let killing = async {
        let half = seen.wait_for(|progress| progress.bytes >= 12 * MIB && progress.sources[1].bytes > 0);
        half.await.unwrap();
        // No goodbye: its streams are reset and it never answers again.
        serving[1].abort();
    };
    let fetching = fetch(&town.home.mesh, (&town.home.store, &pace), blob, &ids, &progress);
    let (fetched, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(fetching, killing) })
        .await
        .unwrap();
    let fetched = fetched.unwrap();
    let again = fetched.again as f64 / (BLOB_PIECE_GROUPS * GROUP_BYTES) as f64;
    figure(
        "seeder killed at half: ranges of 1 MiB fetched again",
        again,
        "ranges",
        Some(1.0),
        "lower",
    );
    assert!(again <= 1.0, "{again}");
    town.home.store.verify(blob).unwrap();
    let last = progress.borrow();
    assert_eq!((last.bytes, last.total), (24 * MIB, 24 * MIB));
}

/// A member that answers every question with groups of which one is not the blob's.
async fn serve_poison(mut streams: mpsc::Receiver<(NodeId, Stream)>, store: BlobStore) {
    while let Some((_, mut stream)) = streams.recv().await {
        let store = store.clone();
        tokio::spawn(async move { while poison(&mut stream, &store).await.is_some() {} });
    }
}

async fn poison(stream: &mut Stream, store: &BlobStore) -> Option<()> {
    let frame = read_frame(stream, BLOB_REQUEST_BYTES_MAX).await.ok()??;
    let mut answers = vec![];
    match wire::read_request(&frame)? {
        Request::Have { blob } => {
            let holding = store.holding(blob)?;
            answers.push(wire::answer(&wire::holds(holding.size, None)));
        }
        Request::Get {
            ask,
            blob,
            first,
            count,
        } => {
            let reader = store.reader(blob).ok()?;
            let (groups, _) = reader.next(&mut reader.walk(first..first + count), 256);
            answers.push(wire::answer(&Answer::Begin { ask, size: reader.size }));
            for (place, mut group) in groups.into_iter().enumerate() {
                // The proof of the size is honest, and so is the beginning of each range.
                if count > 1 && place == 5 {
                    *group.last_mut()? ^= 1;
                }
                answers.push(wire::answer(&Answer::Group(&group)));
            }
            answers.push(wire::answer(&Answer::End {
                ask,
                end: wire::End::Sent,
            }));
        }
        Request::Keep { .. } => {}
    }
    for answer in answers {
        write_frame(stream, &answer, BLOB_FRAME_BYTES_MAX).await.ok()?;
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_group_is_found_its_source_dropped_and_the_rest_comes_from_others() {
    let mut town = Town::of(2).await;
    let ids = town.ids();
    let honest = town.others[0].serve(HUNDRED_MBIT);
    let streams = town.others[1].blobs.take().unwrap();
    let poisoning = tokio::spawn(serve_poison(streams, town.others[1].store.clone()));
    let truth = content(8 * MIB, 6);
    let blob = town.give(&truth);
    let pace = Pace::new(Rate::Measured, town.home.mesh.token_streams());
    let progress = watch::channel(Progress::default()).0;
    let fetched = fetch(&town.home.mesh, (&town.home.store, &pace), blob, &ids, &progress)
        .await
        .unwrap();
    let bad = progress.borrow().sources[1].clone();
    assert_eq!(bad.state, SourceState::Bad);
    // What it sent before the bad group was true and was kept; not one group more was taken from it.
    assert!(bad.bytes <= 5 * GROUP_BYTES, "{}", bad.bytes);
    assert_eq!(fetched.again, 0);
    assert_eq!(std::fs::read(town.home.store.path(blob).unwrap()).unwrap(), truth);

    // From the liar alone nothing can be had, and one learns why.
    town.home.store.remove(blob).unwrap();
    let error = town.fetch(blob, &ids[1..], Checks::On).await.unwrap_err();
    assert!(
        matches!(&error, BlobError::NoSource { tried, .. } if tried[0].1 == SourceState::Bad),
        "{error}"
    );

    // The control: without the check the poison is taken for the blob.
    town.home.store.remove(blob).unwrap();
    town.fetch(blob, &ids[1..], Checks::Off).await.unwrap();
    assert_ne!(std::fs::read(town.home.store.path(blob).unwrap()).unwrap(), truth);
    honest.abort();
    poisoning.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_was_dropped_in_the_middle_goes_on_where_it_was() {
    let mut town = Town::of(2).await;
    let ids = town.ids();
    let serving: Vec<_> = town.others.iter_mut().map(|node| node.serve(HUNDRED_MBIT)).collect();
    let blob = town.give(&content(16 * MIB, 7));
    let pace = Pace::new(Rate::Measured, town.home.mesh.token_streams());
    let (progress, mut seen) = watch::channel(Progress::default());
    tokio::select! {
        fetched = fetch(&town.home.mesh, (&town.home.store, &pace), blob, &ids, &progress) => panic!("{fetched:?} too soon"),
        _ = seen.wait_for(|progress| progress.bytes >= 8 * MIB) => {}
    }
    let before = seen.borrow().bytes;
    // As the next process finds the directory; the old writer ends by itself.
    let store = BlobStore::open(&town.home.directory.path().join("blobs"), BlobLimits::default()).unwrap();
    assert!(matches!(store.have(blob).unwrap().status, BlobStatus::Partial { bytes } if bytes >= before));
    let fetched = fetch(&town.home.mesh, (&store, &pace), blob, &ids, &progress)
        .await
        .unwrap();
    assert!(fetched.resumed >= before, "{fetched:?} after {before}");
    let again = (before + fetched.received).saturating_sub(fetched.size);
    assert!(again <= MIB, "{again} bytes again");
    store.verify(blob).unwrap();
    assert_eq!(store.have(blob).unwrap().status, BlobStatus::Whole);
    serving.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_small_and_odd_blobs_travel_and_a_damaged_seeder_says_so() {
    let mut town = Town::of(1).await;
    let ids = town.ids();
    let serving = town.others[0].serve(Rate::Measured);
    for size in [0, 1, GROUP_BYTES, GROUP_BYTES + 1, 3 * MIB + 7] {
        let truth = content(size, size);
        let blob = town.give(&truth);
        town.fetch(blob, &ids, Checks::On).await.unwrap();
        assert_eq!(std::fs::read(town.home.store.path(blob).unwrap()).unwrap(), truth);
        // What is here is not fetched again.
        assert_eq!(town.fetch(blob, &[], Checks::On).await.unwrap().received, 0);
    }
    let error = town
        .fetch(BlobId::of(b"nobody has this"), &ids, Checks::On)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, BlobError::NoSource { tried, .. } if tried[0].1 == SourceState::Waiting),
        "{error}"
    );

    // A group that rots on the seeder's disk is found there, not here: the rest still comes, and the source is not called a liar.
    let blob = town.give(&content(2 * MIB, 99));
    town.others[0].bad_store(blob);
    let progress = watch::channel(Progress::default()).0;
    let pace = Pace::new(Rate::Measured, town.home.mesh.token_streams());
    let fetching = fetch(&town.home.mesh, (&town.home.store, &pace), blob, &ids, &progress);
    let mut seen = progress.subscribe();
    tokio::select! {
        fetched = fetching => panic!("{fetched:?} without the bad group"),
        all = seen.wait_for(|progress| progress.bytes == 2 * MIB - GROUP_BYTES) => assert_ne!(all.unwrap().sources[0].state, SourceState::Bad),
    }
    assert_eq!(
        town.others[0].store.have(blob).unwrap().status,
        BlobStatus::Partial {
            bytes: 2 * MIB - GROUP_BYTES
        }
    );
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_given_on_while_it_grows_and_what_is_not_here_is_not_called_damaged() {
    let mut town = Town::of(2).await;
    let ids = town.ids();
    let truth = content(3 * MIB, 80);
    let blob = town.give(&truth);
    // The first has the first half only, the other all but the first MiB.
    let all = town.others[0].store.reader(blob).unwrap();
    let groups = |range: std::ops::Range<u64>| {
        let (frames, _) = all.next(&mut all.walk(range.clone()), 256);
        let mut walk = super::tree::Walk::new(blob, all.size, range);
        let verified: Vec<_> = frames.into_iter().map(|frame| walk.verify(frame).unwrap()).collect();
        verified
    };
    for (node, range) in [(0, 0..100), (1, 64..192)] {
        let part = groups(range);
        town.others[node].store.remove(blob).unwrap();
        let mut partial = town.others[node].store.fill(blob, 3 * MIB).unwrap();
        assert!(part.iter().all(|group| partial.write(group).unwrap()));
    }
    let serving: Vec<_> = town.others.iter_mut().map(|node| node.serve(Rate::Measured)).collect();
    // A question beyond what is here is answered with what is, and an end.
    let mut stream = town.home.mesh.open(ids[0], Protocol::BLOB).await.unwrap();
    let (ask, first, count) = (3, 90, 20);
    let get = wire::request(&Request::Get {
        ask,
        blob,
        first,
        count,
    });
    write_frame(&mut stream, &get, BLOB_REQUEST_BYTES_MAX).await.unwrap();
    let mut came = 0;
    loop {
        let frame = read_frame(&mut stream, BLOB_FRAME_BYTES_MAX).await.unwrap().unwrap();
        match wire::read_answer(&frame).unwrap() {
            Answer::Begin { size, .. } => assert_eq!(size, 3 * MIB),
            Answer::Group(_) => came += 1,
            answer => {
                let end = wire::End::Missing;
                assert_eq!(answer, Answer::End { ask, end });
                break;
            }
        }
    }
    assert_eq!(came, 10);
    let fetched = town.fetch(blob, &ids, Checks::On).await.unwrap();
    // A source that runs dry takes over the end of a slow one's range; what is on the way by then comes twice, a range at most.
    assert_eq!(fetched.received, 3 * MIB + fetched.again);
    assert!(
        fetched.again <= BLOB_PIECE_GROUPS * GROUP_BYTES,
        "{} bytes again",
        fetched.again
    );
    assert_eq!(std::fs::read(town.home.store.path(blob).unwrap()).unwrap(), truth);
    let first = town.others[0].store.have(blob).unwrap();
    assert_eq!(
        first.status,
        BlobStatus::Partial {
            bytes: 100 * GROUP_BYTES
        }
    );
    serving.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_gives_way_while_a_token_stream_is_open() {
    let mut town = Town::of(1).await;
    let ids = town.ids();
    let serving = town.others[0].serve(HUNDRED_MBIT);
    let mut seconds = vec![];
    for (seed, size) in [(1, 6), (2, 6)] {
        // The second time somebody waits for words.
        let tokens = match seed {
            2 => Some(town.home.mesh.open(ids[0], Protocol::GENERATE).await.unwrap()),
            _ => None,
        };
        assert_eq!(town.home.mesh.token_streams().open(), usize::from(tokens.is_some()));
        let blob = town.give(&content(size * MIB, 1000 + seed));
        let started = Instant::now();
        town.fetch(blob, &ids, Checks::On).await.unwrap();
        seconds.push(started.elapsed().as_secs_f64());
        drop(tokens);
    }
    let share = seconds[0] / seconds[1];
    assert!((0.2..0.45).contains(&share), "{share} ({seconds:?})");
    serving.abort();
}

/// One of the two orders of ids in which the node that fetches, which was dialled by the other, may dial a second connection.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_travel_on_a_connection_of_their_own_and_the_link_does_not_notice() {
    for home_is_lower in [false, true] {
        let mut keys = [NodeKey::generate(), NodeKey::generate()];
        keys.sort_by_key(|key| key.id().0);
        let [lower, higher] = keys;
        let (home, other) = if home_is_lower {
            (lower, higher)
        } else {
            (higher, lower)
        };
        let mut town = Town::with(home, [other]).await;
        let ids = town.ids();
        // Opened on the link before there is another connection, by either side.
        let mut there = town.home.mesh.open(ids[0], Protocol::GENERATE).await.unwrap();
        let mut back = town.others[0]
            .mesh
            .open(town.home.id, Protocol::GENERATE)
            .await
            .unwrap();
        let serving = town.others[0].serve(Rate::Measured);
        let blob = town.give(&content(4 * MIB, 70));
        town.fetch(blob, &ids, Checks::On).await.unwrap();
        let counters = town.home.mesh.counters();
        assert_eq!(counters.bulk_dialled, u64::from(!home_is_lower));
        // While it stands, a new stream of the other side does not go there: otherwise it would not close for want of use.
        let mut new = town.others[0]
            .mesh
            .open(town.home.id, Protocol::GENERATE)
            .await
            .unwrap();
        let closed = async {
            let mut look = tokio::time::interval(Duration::from_millis(50));
            while town.home.mesh.counters().bulk_closed < counters.bulk_dialled {
                look.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed)
            .await
            .expect("it closes when nothing uses it");
        // Every stream on the link still carries.
        let mut queue = town.home.inputs.streams.remove(&Protocol::GENERATE).unwrap();
        for stream in [&mut back, &mut new] {
            write_frame(stream, b"word", 16).await.unwrap();
            let (_, mut heard) = queue.recv().await.unwrap();
            assert_eq!(read_frame(&mut heard, 16).await.unwrap().unwrap(), b"word");
        }
        let mut queue = town.others[0].inputs.streams.remove(&Protocol::GENERATE).unwrap();
        write_frame(&mut there, b"word", 16).await.unwrap();
        let (_, mut heard) = queue.recv().await.unwrap();
        assert_eq!(read_frame(&mut heard, 16).await.unwrap().unwrap(), b"word");
        // And blobs come again after it closed.
        let blob = town.give(&content(MIB, 71));
        town.fetch(blob, &ids, Checks::On).await.unwrap();
        assert_eq!(town.home.mesh.counters().bulk_dialled, 2 * u64::from(!home_is_lower));
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_ends_the_stream_and_the_last_one_too_many_is_told_busy() {
    let mut town = Town::of(1).await;
    let seeder = town.others[0].id;
    let serving = town.others[0].serve(Rate::Measured);
    let mut stream = town.home.mesh.open(seeder, Protocol::BLOB).await.unwrap();
    write_frame(&mut stream, &[1, 9, 9, 9], 64).await.unwrap();
    let mut rest = vec![];
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("it ends");
    assert!(rest.is_empty(), "{ended:?}");
    let mut talks = vec![];
    for talk in 0..=BLOB_UPLOADS_MAX {
        let mut stream = town.home.mesh.open(seeder, Protocol::BLOB).await.unwrap();
        let have = Request::Have { blob: BlobId::of(b"") };
        // One that is busy may have closed its ear already.
        let _ = write_frame(&mut stream, &wire::request(&have), BLOB_REQUEST_BYTES_MAX).await;
        let frame = tokio::time::timeout(PATIENCE, read_frame(&mut stream, BLOB_FRAME_BYTES_MAX))
            .await
            .unwrap();
        let frame = frame.unwrap().unwrap();
        let expected = if talk < BLOB_UPLOADS_MAX {
            Answer::Nothing
        } else {
            Answer::Busy
        };
        assert_eq!(wire::read_answer(&frame), Some(expected), "{talk}");
        talks.push(stream);
    }
    serving.abort();
}
