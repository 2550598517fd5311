//! What a page asks for when it opens, by many people on connections that stay open, each asking again as soon as it is answered.

use std::time::Duration;

use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    people::{Prepared, source},
    request::Connection,
};
use crate::figure::{Figure, Report, percentile};

/// Enough to keep both cores busy; more only wait for each other.
const CONNECTIONS: usize = 48;
const WARM_UP: Duration = Duration::from_secs(3);
const LASTS: Duration = Duration::from_secs(15);

/// Measures the row.
pub async fn run(prepared: &mut Prepared, report: &mut Report) {
    prepared.start();
    let began = Instant::now();
    let (from, until) = (began + WARM_UP, began + WARM_UP + LASTS);
    let mut readers = JoinSet::new();
    for number in 0..CONNECTIONS {
        // The first person has the long chats, which have a row of their own.
        let (token, session) = (prepared.token(1 + number, 0), prepared.people[1 + number].session);
        let connection = Connection::open(prepared.address(), source(number), &token).await;
        let mut connection = connection.expect("a connection");
        let paths = [
            "/api/v1/me".to_owned(),
            "/api/v1/sessions".to_owned(),
            format!("/api/v1/sessions/{session}"),
            "/api/v1/characters".to_owned(),
        ];
        readers.spawn(async move {
            let mut took = Vec::new();
            for path in paths.iter().cycle() {
                let asked = Instant::now();
                if asked >= until {
                    break;
                }
                connection.get(path).await.unwrap_or_else(|error| panic!("{error}"));
                if asked >= from {
                    took.push(asked.elapsed().as_secs_f64() * 1000.0);
                }
            }
            took
        });
    }
    let mut took: Vec<f64> = readers.join_all().await.into_iter().flatten().collect();
    prepared.stop();
    let details = json!({
        "connections": CONNECTIONS, "seconds": LASTS.as_secs(), "median_ms": percentile(&mut took, 0.5),
        "paths": ["/me", "/sessions", "/sessions/{id}", "/characters"],
    });
    report.say(Figure {
        lower_is_better: false,
        details: details.clone(),
        ..Figure::lower("API reads", took.len() as f64 / LASTS.as_secs_f64(), "1/s", 5000.0)
    });
    report.say(Figure {
        details,
        ..Figure::lower("API reads: time p95", percentile(&mut took, 0.95), "ms", 20.0)
    });
}
