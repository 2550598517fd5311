//! Row 2: how long a person's message takes until it is on disk. By turns with it, the same bytes are written to a bare file and
//! synced: what the disk takes for itself, of which a busy machine has more.

use std::{fs::File, io::Write, time::Instant};

use crdt::records::session::SessionEdit;

use crate::{
    Bench,
    figure::{Figure, Report, ms, percentile},
    fixture::{Home, message, person_with_chats},
};

/// Chats that are written into by turns.
const CHATS: usize = 20;
/// Callers in the second figure.
const CALLERS: usize = 64;
/// Bytes of a journal record with such a message.
const RECORD: [u8; 570] = [7; 570];

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let name = "append to durable acknowledgement, p95";
    let (took, bare) = bench.block_on(one_caller(bench));
    let bare = percentile(&bare, 0.95);
    report.say(
        figure(name, &took, 1)
            .goal(10.0)
            .rival("the same bytes, written and synced", bare),
    );
    let took = bench.block_on(many_callers(bench));
    report.say(figure(&format!("{name} of many callers"), &took, CALLERS));
}

fn figure(name: &str, took: &[f64], callers: usize) -> Figure {
    Figure::lower(name, percentile(took, 0.95), "ms")
        .with("callers", callers)
        .with("appends", took.len())
        .with("median", percentile(took, 0.5))
        .with("p99", percentile(took, 0.99))
}

async fn one_caller(bench: &Bench) -> (Vec<f64>, Vec<f64>) {
    let directory = bench.scratch.fresh();
    let (store, _outputs, _) = Home(directory.path().join("node")).open(1);
    let (_, chats) = person_with_chats(&store, CHATS).await;
    let mut file = File::create(directory.path().join("bare")).expect("a file");
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    for number in 0..bench.scale.appends {
        let chat = chats[number % CHATS];
        let message = message(chat, number as u64, None);
        let began = Instant::now();
        let edit = SessionEdit::PutMessage(message);
        store.edit(chat, edit).await.expect("a message is written");
        took.push(ms(began.elapsed()));
        let began = Instant::now();
        file.write_all(&RECORD)
            .and_then(|()| file.sync_data())
            .expect("a file is written");
        bare.push(ms(began.elapsed()));
    }
    store.stop().await;
    (took, bare)
}

async fn many_callers(bench: &Bench) -> Vec<f64> {
    let directory = bench.scratch.fresh();
    let (store, _outputs, _) = Home(directory.path().to_owned()).open(1);
    let (_, chats) = person_with_chats(&store, CALLERS).await;
    let each = bench.scale.appends.div_ceil(CALLERS);
    let tasks = chats.into_iter().map(|chat| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut took = Vec::with_capacity(each);
            for number in 0..each {
                let message = message(chat, number as u64, None);
                let began = Instant::now();
                let edit = SessionEdit::PutMessage(message);
                store.edit(chat, edit).await.expect("a message is written");
                took.push(ms(began.elapsed()));
            }
            took
        })
    });
    let took = futures::future::try_join_all(tasks).await.expect("callers end");
    store.stop().await;
    took.concat()
}
