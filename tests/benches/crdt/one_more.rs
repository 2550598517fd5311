//! Row 5: one more message of a long chat, for a peer that keeps no state between two talks.

use std::time::Duration;

use crdt::records::session::SessionEdit;

use crate::{
    Bench,
    differ::documents,
    figure::{Figure, Report},
    fixture::{Cost, Home, agree, message, person_with_chats, say_many, talk},
};

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let messages = bench.scale.long;
    let name = format!("one more message of a session of {messages}, both ways");
    let directory = bench.scratch.fresh();
    let cost = bench.block_on(measure(&Home(directory.path().join("one")), messages));
    let figure = || {
        with_cost(
            Figure::lower(name.clone(), cost.bytes() as f64, "B").goal(1500.0),
            &cost,
        )
    };
    #[cfg(feature = "rivals")]
    for (rival, bytes) in crate::rivals::documents::one_more(messages) {
        report.say(figure().rival(rival, bytes));
    }
    if !cfg!(feature = "rivals") {
        report.say(figure());
    }
    let directory = bench.scratch.fresh();
    let home = Home(directory.path().join("one"));
    documents(&home, bench.scale.documents);
    let cost = bench.block_on(measure(&home, messages));
    let name = format!("{name}, beside {} documents", bench.scale.documents);
    report.say(with_cost(Figure::lower(name, cost.bytes() as f64, "B"), &cost));
}

fn with_cost(figure: Figure, cost: &Cost) -> Figure {
    figure
        .with("round_trips", cost.round_trips())
        .with("frames", cost.frames.clone())
}

/// Two nodes with the same long chat, one of which then has one message more.
async fn measure(home: &Home, messages: usize) -> Cost {
    let (a, outputs, _) = home.open(1);
    let (_, chats) = person_with_chats(&a, 1).await;
    let last = say_many(&a, chats[0], 0, messages).await;
    a.stop().await;
    drop(outputs);
    let other = home.copy(&home.0.with_file_name("other"));
    let ((a, _a_outputs, _), (b, _b_outputs, _)) = (home.open(1), other.open(2));
    assert!(agree(&a, &b).await, "the copy is one");
    let message = message(chats[0], messages as u64, last);
    a.edit(chats[0], SessionEdit::PutMessage(message))
        .await
        .expect("a message is written");
    let cost = talk(&a, &b, Duration::ZERO).await;
    assert!(agree(&a, &b).await, "the message arrived");
    a.stop().await;
    b.stop().await;
    cost
}
