//! Row 1: how fast the shelf takes in what a commit gives it, and how much room that takes afterwards.

use std::{path::Path, time::Instant};

use crdt::{
    disk::DiskShelf,
    envelope::Envelope,
    records::{
        RecordKind,
        session::{MessageId, SessionEdit},
    },
    replica::{Kept, Shelf},
};
use keys::ContentId;
use rand::Rng;

use crate::{
    Bench,
    figure::{Figure, Report},
    fixture::{Home, key, message, person_with_chats, rng},
};

/// Envelopes in one commit: as many commands as share one sync.
const GROUP: usize = crdt::limits::GROUP_COMMIT_MAX;
/// Envelopes of one document.
const PER_DOCUMENT: usize = 100;
/// Bytes of one envelope.
const BYTES: usize = 300;
/// Callers that write through the store at the same time.
const CALLERS: usize = 256;

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let puts = envelopes(bench.scale.puts);
    let data: usize = puts.iter().map(|kept| kept.bytes.len()).sum();
    let directory = bench.scratch.fresh();
    let (mut shelf, _) = DiskShelf::open(directory.path()).expect("an empty shelf");
    let began = Instant::now();
    for group in puts.chunks(GROUP) {
        shelf.keep(group).expect("the shelf keeps");
    }
    let per_second = puts.len() as f64 / began.elapsed().as_secs_f64();
    let before = shelf.disk_bytes().expect("sizes");
    shelf.compact().expect("a compaction");
    let (journal, index) = shelf.disk_bytes().expect("sizes");
    drop(shelf);
    let figure = || {
        Figure::higher(
            format!("{} puts in groups of {GROUP}", puts.len()),
            per_second,
            "puts/s",
        )
        .goal(30_000.0)
        .with("bytes_each", BYTES)
    };
    let times = |bytes: u64| bytes as f64 / data as f64;
    let room = || {
        Figure::lower(
            "disk after compaction, as a multiple of the data",
            times(journal + index),
            "times",
        )
        .goal(3.0)
        .with("journal_bytes", journal)
        .with("index_bytes", index)
        .with("before_compaction", times(before.0 + before.1))
    };
    #[cfg(feature = "rivals")]
    for (name, rival) in crate::rivals::stores::ALL {
        let measured = rival(&bench.scratch.fresh(), &puts, GROUP);
        report.say(figure().rival(format!("{name}, synced for each group"), measured.puts_per_second));
        report.say(room().rival(name, times(measured.disk_bytes)));
    }
    if !cfg!(feature = "rivals") {
        report.say(figure());
        report.say(room());
    }
    let directory = bench.scratch.fresh();
    let (count, seconds) = bench.block_on(through_the_store(directory.path(), bench.scale.puts / 5));
    report.say(
        Figure::higher(
            "messages of 200 characters through the store, durable",
            count as f64 / seconds,
            "messages/s",
        )
        .with("callers", CALLERS)
        .with("messages", count),
    );
}

/// Envelopes as the journal holds them, of documents with a hundred each. What stands in the change nobody reads here.
fn envelopes(count: usize) -> Vec<Kept> {
    let (key, owner) = (key(1), ContentId([7; 32]));
    let mut rng = rng(1);
    let mut document = None;
    let mut length = BYTES;
    (0..count)
        .map(|number| {
            let begins = number % PER_DOCUMENT == 0;
            let of = document.filter(|_| !begins);
            let sealed = loop {
                let mut change = vec![0; length];
                rng.fill_bytes(&mut change);
                let owner = begins.then_some(owner);
                let sealed = Envelope::seal(&key, RecordKind::Session, of, owner, change, Vec::new());
                let bytes = sealed.expect("a short envelope").to_bytes();
                if bytes.len() == BYTES {
                    break bytes;
                }
                length = length + BYTES - bytes.len();
            };
            let kept = Kept::from_stored(sealed).expect("an envelope");
            document = Some(kept.document);
            kept
        })
        .collect()
}

/// Messages of many people at once, each of whom waits for an answer before the next one.
async fn through_the_store(directory: &Path, count: usize) -> (usize, f64) {
    let (store, _outputs, _) = Home(directory.to_owned()).open(1);
    let (_, chats) = person_with_chats(&store, CALLERS).await;
    let each = count.div_ceil(CALLERS);
    let began = Instant::now();
    let callers = chats.into_iter().map(|chat| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut parent: Option<MessageId> = None;
            for number in 0..each as u64 {
                let message = message(chat, number, parent);
                parent = Some(message.id);
                store
                    .edit(chat, SessionEdit::PutMessage(message))
                    .await
                    .expect("a message is written");
            }
        })
    });
    futures::future::try_join_all(callers).await.expect("callers end");
    let seconds = began.elapsed().as_secs_f64();
    store.stop().await;
    (each * CALLERS, seconds)
}
