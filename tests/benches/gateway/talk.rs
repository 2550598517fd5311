//! Pages whose answers never pause: each asks again as soon as it has its answer.

use std::time::Duration;

use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    people::{Prepared, source},
    request::Page,
};
use crate::figure::{Figure, Report, percentile};

/// Words of an answer: ten seconds of talk.
const WORDS: u32 = 200;
const ANSWER: Duration = Duration::from_secs(10);

/// What one page saw.
#[derive(Default)]
struct Seen {
    first_ms: Vec<f64>,
    /// Of whole answers.
    words_per_second: Vec<f64>,
    bytes: usize,
    text_bytes: usize,
}

/// Measures so many pages at a time.
pub async fn run(prepared: &mut Prepared, pages: usize, goal: f64, lasts: Duration, report: &mut Report) {
    assert!(pages <= prepared.people.len(), "there are fewer people than {pages}");
    prepared.start();
    let (idle, _) = prepared.memory();
    let mut opened = Vec::new();
    for number in 0..pages {
        let token = prepared.token(number, 0);
        let page = Page::open(prepared.address(), source(number), &token).await;
        opened.push(page.unwrap_or_else(|error| panic!("page {number}: {error}")));
    }
    // One after the other within the length of an answer, so that questions come evenly.
    let began = Instant::now();
    let (from, until) = (began + ANSWER, began + ANSWER + lasts);
    let mut talks = JoinSet::new();
    for (number, page) in opened.into_iter().enumerate() {
        let session = prepared.people[number].session.to_string();
        let start = began + ANSWER * u32::try_from(number).unwrap_or(0) / u32::try_from(pages).unwrap_or(1);
        talks.spawn(talk(page, session, pages, [start, from, until]));
    }
    let mut all = Seen::default();
    while let Some(seen) = talks.join_next().await {
        let seen = seen.expect("a page talks").unwrap_or_else(|error| panic!("{error}"));
        all.first_ms.extend(seen.first_ms);
        all.words_per_second.extend(seen.words_per_second);
        all.bytes += seen.bytes;
        all.text_bytes += seen.text_bytes;
    }
    let (now, highest) = prepared.memory();
    prepared.stop();
    let measured = all.first_ms.len();
    report.say(Figure {
        rival: (pages == 100).then_some(("Open WebUI 0.12.4, measured at another time", 1900.0)),
        details: json!({
            "median": percentile(&mut all.first_ms, 0.5), "highest": percentile(&mut all.first_ms, 1.0),
            "questions": measured, "seconds": lasts.as_secs(),
            "words_per_second_of_an_answer": percentile(&mut all.words_per_second, 0.5),
            "words_per_second_of_the_slowest": percentile(&mut all.words_per_second, 0.0),
            "bytes_for_a_byte_of_text": all.bytes as f64 / all.text_bytes.max(1) as f64,
        }),
        ..Figure::lower(
            format!("{pages} sockets x 20 tokens/s: added first-token time p95"),
            percentile(&mut all.first_ms, 0.95),
            "ms",
            goal,
        )
    });
    if pages == 1000 {
        report.say(Figure {
            details: json!({"at_the_end": now, "before_the_first_page": idle}),
            ..Figure::lower(
                "1000 sockets x 20 tokens/s: memory of the node at its highest",
                highest,
                "MB",
                150.0,
            )
        });
    }
}

async fn talk(mut page: Page, session: String, row: usize, times: [Instant; 3]) -> Result<Seen, String> {
    let [start, from, until] = times;
    tokio::time::sleep_until(start).await;
    let mut seen = Seen::default();
    for number in 0.. {
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        // The same person may have asked in another row already, and the same id asks nothing twice.
        let outbox = format!("question-{row}-{number}");
        let text = format!("Say something. [tokens {WORDS}]");
        let question = json!({
            "type": "send", "outbox_id": outbox, "session_id": session, "text": text,
        });
        page.send(question.to_string()).await?;
        let answer = hear(&mut page).await?;
        if asked >= from {
            seen.first_ms.push((answer.first - asked).as_secs_f64() * 1000.0);
            seen.bytes += answer.bytes;
            seen.text_bytes += answer.text_bytes;
            let seconds = (answer.last - answer.first).as_secs_f64();
            seen.words_per_second.push(f64::from(WORDS - 1) / seconds);
        }
    }
    Ok(seen)
}

/// A whole answer.
struct Answer {
    first: Instant,
    last: Instant,
    bytes: usize,
    text_bytes: usize,
}

async fn hear(page: &mut Page) -> Result<Answer, String> {
    let (mut first, mut last) = (None, Instant::now());
    let (mut bytes, mut text_bytes) = (0, 0);
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(60), page.next()).await;
        let frame = frame
            .map_err(|_| "no frame came for a minute")?
            .ok_or("the socket is gone")?;
        if frame.starts_with('[') {
            last = Instant::now();
            first.get_or_insert(last);
            bytes += frame.len();
            // [stream,at,"text"]
            text_bytes += frame.splitn(3, ',').nth(2).map_or(0, |text| text.len() - 3);
        } else if frame.contains("\"answer_finished\"") {
            let first = first.ok_or("an answer without a word")?;
            return Ok(Answer {
                first,
                last,
                bytes,
                text_bytes,
            });
        } else if frame.contains("\"error\"") || frame.contains("\"answer_waiting\"") {
            return Err(frame.to_string());
        }
    }
}
