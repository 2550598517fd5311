//! Pages that only stay: five devices of each person.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    people::{DEVICES, Prepared, source},
    request::Page,
};
use crate::figure::{Figure, Report};

/// Pages that come at the same time.
const AT_ONCE: usize = 64;

/// Measures the row.
pub async fn run(prepared: &mut Prepared, lasts: Duration, report: &mut Report) {
    prepared.start();
    let (before, _) = prepared.memory();
    let began = Instant::now();
    let people = prepared.people.len();
    let opened: Vec<Page> = {
        let prepared = &*prepared;
        let pages = stream::iter(0..people * DEVICES).map(|number| async move {
            let token = prepared.token(number % people, number / people);
            let page = Page::open(prepared.address(), source(number), &token).await;
            page.unwrap_or_else(|error| panic!("page {number}: {error}"))
        });
        pages.buffer_unordered(AT_ONCE).collect().await
    };
    let opening = began.elapsed();
    eprintln!(
        "{} pages are open after {opening:?}; they stay for {lasts:?}",
        opened.len()
    );
    let (gone, until) = (Arc::new(AtomicUsize::new(0)), Instant::now() + lasts);
    let mut stays = JoinSet::new();
    for mut page in opened {
        let gone = Arc::clone(&gone);
        stays.spawn(async move {
            let stay = async { while page.next().await.is_some() {} };
            if tokio::time::timeout_at(until, stay).await.is_ok() {
                gone.fetch_add(1, Ordering::Relaxed);
            }
            // Nobody leaves before memory is read.
            page
        });
    }
    let pages = stays.join_all().await;
    let (now, highest) = prepared.memory();
    let details = json!({
        "pages": pages.len(), "people": people, "seconds": lasts.as_secs(), "opened_per_second": pages.len() as f64 / opening.as_secs_f64(),
    });
    report.say(Figure {
        details: json!({"at_its_highest": highest, "before_the_first_page": before, "pages": pages.len(), "people": people}),
        ..Figure::lower(format!("{} idle sockets: memory of the node", pages.len()), now, "MB", 400.0)
    });
    report.say(Figure {
        details,
        ..Figure::lower(
            format!("{} idle sockets: dropped", pages.len()),
            gone.load(Ordering::Relaxed) as f64,
            "sockets",
            0.0,
        )
    });
    drop(pages);
    prepared.stop();
}
