//! A long chat is opened. Four of them by turns hold more messages than a gateway keeps as read: so each opening reads its chat from
//! the store, as after a change. The time is taken at the other end of a loopback connection: the server's, and a little more.

use serde_json::json;
use tokio::time::Instant;

use super::{
    people::{LONG_CHATS, LONG_MESSAGES, Prepared, source},
    request::Connection,
};
use crate::figure::{Figure, Report, percentile};

/// Openings of each chat.
const OPENINGS: usize = 25;

/// Measures the row.
pub async fn run(prepared: &mut Prepared, report: &mut Report) {
    prepared.start();
    let token = prepared.token(0, 0);
    let connection = Connection::open(prepared.address(), source(0), &token).await;
    let mut connection = connection.expect("a connection");
    let (mut first, mut anew, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for round in 0..=OPENINGS {
        for chat in &prepared.long_chats {
            let path = format!("/api/v1/sessions/{chat}");
            for took in [if round == 0 { &mut first } else { &mut anew }, &mut again] {
                let asked = Instant::now();
                let answer = connection.get(&path).await.unwrap_or_else(|error| panic!("{error}"));
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
                bytes = bytes.max(answer.len());
            }
        }
    }
    prepared.stop();
    let rivals = |value| Some(("Open WebUI 0.12.4 at 5,000 messages, measured at another time", value));
    let details = json!({"chats": LONG_CHATS, "openings": anew.len()});
    report.say(Figure {
        rival: rivals(5800.0),
        details,
        ..Figure::lower(
            format!("the last 50 of {LONG_MESSAGES} messages: answer"),
            bytes as f64 / 1000.0,
            "KB",
            100.0,
        )
    });
    report.say(Figure {
        rival: rivals(3900.0),
        details: json!({
            "chats": LONG_CHATS, "openings": anew.len(), "median": percentile(&mut anew, 0.5),
            "first_after_a_start_highest": percentile(&mut first, 1.0), "unchanged_since_p95": percentile(&mut again, 0.95),
        }),
        ..Figure::lower(
            format!("the last 50 of {LONG_MESSAGES} messages: time p95"),
            percentile(&mut anew, 0.95),
            "ms",
            50.0,
        )
    });
}
