//! Row 4: what a message weighs as it is pushed to the others, signed and sealed.

use crdt::records::session::SessionEdit;

use crate::{
    Bench,
    figure::{Figure, Report, percentile},
    fixture::{Home, message_saying, person_with_chats, text},
};

/// Messages that are weighed.
const MESSAGES: u64 = 100;

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let weights = bench.block_on(weights(bench, false));
    let figure = || {
        Figure::lower(
            "a message of 200 characters, signed and sealed, pushed",
            percentile(&weights, 0.5),
            "B",
        )
        .goal(560.0)
        .with("heaviest", percentile(&weights, 1.0))
    };
    #[cfg(feature = "rivals")]
    for (rival, bytes) in crate::rivals::documents::message_bytes() {
        report.say(figure().rival(format!("{rival}, neither signed nor sealed"), bytes));
    }
    if !cfg!(feature = "rivals") {
        report.say(figure());
    }
    let cyrillic = bench.block_on(self::weights(bench, true));
    report.say(Figure::lower(
        "the same with 200 Cyrillic letters, of two bytes each",
        percentile(&cyrillic, 0.5),
        "B",
    ));
}

async fn weights(bench: &Bench, cyrillic: bool) -> Vec<f64> {
    let directory = bench.scratch.fresh();
    let (store, mut outputs, _) = Home(directory.path().to_owned()).open(1);
    let (_, chats) = person_with_chats(&store, 1).await;
    while outputs.outgoing.try_recv().is_ok() {}
    let mut parent = None;
    let mut weights = Vec::new();
    for number in 0..MESSAGES {
        let message = message_saying(chats[0], number, parent, &text(number, 200, cyrillic));
        parent = Some(message.id);
        store
            .edit(chats[0], SessionEdit::PutMessage(message))
            .await
            .expect("a message is written");
        let pushed = outputs.outgoing.recv().await.expect("a message is pushed");
        weights.push(pushed.len() as f64);
    }
    store.stop().await;
    weights
}
