//! Row 7: two nodes that were apart, with a thousand chats that went on meanwhile, over a link that takes its time.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crdt::{
    Store,
    records::session::SessionEdit,
    set::{Ended, Pace, says_moved, says_same},
};
use keys::ContentId;

use crate::{
    Bench,
    figure::{Figure, Report},
    fixture::{Home, agree, message, person_with_chats, rng},
};

/// Half of the round trip of the goal.
const ONE_WAY: Duration = Duration::from_millis(10);
/// How often it is looked whether both hold the same.
const LOOK: Duration = Duration::from_millis(10);

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let directory = bench.scratch.fresh();
    let home = Home(directory.path().join("before"));
    let chats = bench.block_on(async {
        let (store, _outputs, _) = home.open(1);
        let (_, chats) = person_with_chats(&store, bench.scale.split).await;
        store.stop().await;
        chats
    });
    for (sides, remembered) in [(1, true), (2, true), (1, false), (2, false)] {
        let directory = bench.scratch.fresh();
        let homes = ["a", "b"].map(|name| home.copy(&directory.path().join(name)));
        let took = bench.block_on(heal(&homes, &chats, sides, remembered));
        let name = format!(
            "{} documents changed on {} during a split, healed at a round trip of 20 ms{}",
            chats.len(),
            if sides == 1 { "one side" } else { "both sides" },
            if remembered {
                ""
            } else {
                ", without the lists of what the other missed"
            },
        );
        report.say(Figure::lower(name, took.as_secs_f64(), "s").goal(2.0));
    }
}

/// Lets chats go on at one or both nodes while they are apart, joins them again, and says how long it took until both held the same.
async fn heal(homes: &[Home; 2], chats: &[ContentId], sides: usize, remembered: bool) -> Duration {
    let (a, _a_outputs, _) = homes[0].open(1);
    let (b, _b_outputs, _) = homes[1].open(2);
    assert!(agree(&a, &b).await, "before the split both hold the same");
    for (store, other) in [(&a, &b), (&b, &a)] {
        let away = BTreeSet::from_iter(remembered.then(|| other.node()));
        store.set_away(away).await.expect("the other side is away");
    }
    for (side, store) in [&a, &b].into_iter().enumerate().take(sides) {
        for group in chats.chunks(200) {
            let edits = group.iter().map(|chat| {
                let message = message(*chat, side as u64, None);
                store.edit(*chat, SessionEdit::PutMessage(message))
            });
            futures::future::try_join_all(edits)
                .await
                .expect("messages are written");
        }
    }
    let began = Instant::now();
    for store in [&a, &b] {
        store.set_away(BTreeSet::new()).await.expect("the other side is back");
    }
    let (first, second) = (
        tokio::spawn(open_talks(a.clone(), b.clone())),
        tokio::spawn(open_talks(b.clone(), a.clone())),
    );
    while !agree(&a, &b).await {
        tokio::time::sleep(LOOK).await;
        assert!(began.elapsed() < Duration::from_secs(120), "the split does not heal");
    }
    let took = began.elapsed();
    for opener in [first, second] {
        opener.abort();
        // It was cut short, which is no failure.
        let _ = opener.await;
    }
    a.stop().await;
    b.stop().await;
    took
}

/// What a node does about one peer: opens talks when their time has come, as `node` has it.
async fn open_talks(store: Store, peer: Store) {
    let (mut pace, mut rng) = (Pace::new(), rng(u64::from(store.node().0[0])));
    let (began, reachable) = (Instant::now(), BTreeSet::from([peer.node()]));
    loop {
        let (due, wake) = pace.next(began.elapsed(), &reachable, &mut rng);
        for node in due {
            let ended = if talk(&store, &peer).await {
                Ended::Moved
            } else {
                Ended::Quiet
            };
            pace.finished(&node, ended, began.elapsed());
        }
        tokio::time::sleep(wake.saturating_sub(began.elapsed())).await;
    }
}

/// One talk over the link; whether anything moved.
async fn talk(opener: &Store, answerer: &Store) -> bool {
    let mut moved = false;
    let mut frame = opener.reconcile_start(answerer.node()).await.expect("a talk begins");
    for (side, other) in [(answerer, opener), (opener, answerer)].iter().cycle() {
        moved |= says_moved(&frame);
        tokio::time::sleep(ONE_WAY).await;
        if says_same(&frame) {
            break;
        }
        match side.reconcile_step(other.node(), frame).await.expect("an honest frame") {
            Some(answer) => frame = answer,
            None => break,
        }
    }
    moved
}
