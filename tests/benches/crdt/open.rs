//! Row 3: how long the first look at a long chat takes after a start.

use std::{fs, time::Instant};

use crdt::records::session::Session;
use keys::ContentId;

use crate::{
    Bench,
    figure::{Figure, Report, ms, percentile},
    fixture::{Home, copy, person_with_chats, say_many},
};

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let directory = bench.scratch.fresh();
    let home = Home(directory.path().join("node"));
    let messages = bench.scale.opened;
    let chat = bench.block_on(async {
        let (store, _outputs, _) = home.open(1);
        let (_, chats) = person_with_chats(&store, 1).await;
        say_many(&store, chats[0], 0, messages).await;
        // What a crash would leave: the last snapshot is a while ago, and the index begins anew.
        for part in ["store/journal", "store/snapshots", "keys"] {
            let from = home.0.join(part);
            // A short chat has no snapshot before it is closed.
            if from.exists() {
                copy(&from, &directory.path().join("crashed").join(part));
            }
        }
        store.stop().await;
        chats[0]
    });
    let crashed = Home(directory.path().join("crashed"));
    let bare = home.copy(&directory.path().join("bare"));
    fs::remove_dir_all(bare.0.join("store/snapshots")).ok();
    let name = format!("cold open of a session of {messages} messages");
    let orderly = openings(bench, &home, chat);
    let figure = || {
        Figure::lower(name.clone(), percentile(&orderly, 0.5), "ms")
            .goal(5.0)
            .with("openings", orderly.len())
            .with("fastest", percentile(&orderly, 0.0))
            .with("slowest", percentile(&orderly, 1.0))
    };
    #[cfg(feature = "rivals")]
    for (rival, took) in crate::rivals::documents::openings(messages, bench.scale.openings) {
        report.say(figure().rival(rival, percentile(&took, 0.5)));
    }
    if !cfg!(feature = "rivals") {
        report.say(figure());
    }
    for (what, home) in [("after a crash", &crashed), ("without its snapshot", &bare)] {
        // Each opening keeps a snapshot when it stops, so each begins with a copy.
        let mut took = Vec::new();
        for _ in 0..bench.scale.openings {
            let fresh = bench.scratch.fresh();
            took.extend(openings_once(bench, &home.copy(fresh.path()), chat));
        }
        report.say(Figure::lower(format!("{name}, {what}"), percentile(&took, 0.5), "ms").with("openings", took.len()));
    }
    assert_eq!(
        length(bench, &home, chat),
        messages,
        "what was opened was the whole chat"
    );
}

fn openings(bench: &Bench, home: &Home, chat: ContentId) -> Vec<f64> {
    (0..bench.scale.openings)
        .flat_map(|_| openings_once(bench, home, chat))
        .collect()
}

fn openings_once(bench: &Bench, home: &Home, chat: ContentId) -> Option<f64> {
    bench.block_on(async {
        let (store, _outputs, _) = home.open(1);
        let began = Instant::now();
        let session: Result<Session, _> = store.read(chat).await;
        let took = ms(began.elapsed());
        store.stop().await;
        session.is_ok().then_some(took)
    })
}

fn length(bench: &Bench, home: &Home, chat: ContentId) -> usize {
    bench.block_on(async {
        let (store, _outputs, _) = home.open(1);
        let session: Session = store.read(chat).await.expect("the chat is there");
        session.messages.len()
    })
}
