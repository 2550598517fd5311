//! A gateway is killed at a random word in the middle of an answer, and the page goes on at another one from where it was. Neither
//! has a model: a third node says the answer. The killed gateway is started again before the next kill, which is the other one's.
//!
//! Measured in a release build on two cores on which others were building, one run of 201 kills, in 19 minutes: the next token after 34 ms
//! (p95; 6 ms in the middle, 140 ms at most), no token lost or doubled, no answer broken off or stored otherwise. Three runs of 67 before:
//! 31, 32 and 32 ms (p95; 5 ms in the middle, 106 ms at most), and none either.

use std::{collections::HashMap, time::Duration};

use ::tests::{
    client::{Client, Socket},
    gateways::{Heard, NAME, PASSWORD, another_gateway, mock_answer, two_gateways, wait_for_mock},
    process::NodeProcess,
};
use keys::identity::random_bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::figure::{Figure, Report, percentile};

/// Words a second.
const RATE: u32 = 60;
/// Words of an answer.
const WORDS: u32 = 150;
/// The last word after which a gateway is killed: two thirds of a second before the answer's end.
const KILLED_AFTER_MAX: u32 = 110;
/// How long one kill may take, with its question and what comes after, before it counts as an answer that did not go on.
const PATIENCE: Duration = Duration::from_secs(30);
/// A device is signed in for ten minutes at a time; here it signs in again well before.
const SIGNED_IN_FOR: Duration = Duration::from_secs(300);
/// Between two looks for what replication brings; few enough for the limit of requests.
const LOOK: Duration = Duration::from_millis(100);

struct Gateway {
    process: NodeProcess,
    person: Client,
}

/// What came of the kills.
#[derive(Default)]
struct Seen {
    next_word_ms: Vec<f64>,
    /// Kills after which the answer did not come to its end.
    broken_off: u32,
    lost: usize,
    doubled: usize,
    /// Answers that are stored otherwise than they were heard.
    differing: u32,
}

/// Measures the row.
pub async fn run(kills: u32, report: &mut Report) {
    let (process, model, person, mut at_model) = two_gateways(RATE).await;
    let mut victim = Gateway { process, person };
    let (process, person) = another_gateway(&model, "C", &at_model).await;
    let mut other = Gateway { process, person };
    let (mut seen, mut signed_in) = (Seen::default(), Instant::now());
    for kill in 0..kills {
        if signed_in.elapsed() > SIGNED_IN_FOR {
            at_model
                .post("/api/v1/sign-in", json!({"name": NAME, "password": PASSWORD}))
                .await;
            for gateway in [&mut victim, &mut other] {
                gateway.person = at_model.at(gateway.process.http);
            }
            signed_in = Instant::now();
        }
        let after = 1 + u32::from_le_bytes(random_bytes()) % KILLED_AFTER_MAX;
        match timeout(PATIENCE, one(&mut victim, &other, after, &mut seen)).await {
            Ok(Ok(next)) => eprintln!("kill {kill} after word {after}: the next word came after {next:?}"),
            Ok(Err(error)) => seen.break_off(kill, after, &error),
            Err(_) => seen.break_off(kill, after, "it takes too long"),
        }
        // A kill that came to nothing has not ended it.
        victim.process.kill();
        victim.process.start();
        wait_for_mock(&mut victim.process);
        std::mem::swap(&mut victim, &mut other);
    }
    say(kills, seen, report);
}

/// Asks at one gateway, kills it after so many words, and hears the rest at the other one; how long the next word took.
async fn one(victim: &mut Gateway, other: &Gateway, after: u32, seen: &mut Seen) -> Result<Duration, String> {
    let session = victim.person.first_chat().await;
    other.shows(&session, |_| true).await;
    let question = format!("Say something. [tokens {WORDS}]");
    let (mut heard, mut socket) = (Heard::default(), victim.person.socket().await);
    socket.say(&session, "question", &question).await;
    while heard.text.split_whitespace().count() < after as usize {
        hear(&mut socket, &mut heard).await?;
    }
    let (before, killed) = (heard.characters(), Instant::now());
    victim.process.kill();
    let mut socket = other.person.socket().await;
    socket.send(heard.open_frame(&session)).await;
    let mut next = None;
    loop {
        let frame = hear(&mut socket, &mut heard).await?;
        if heard.characters() > before {
            next.get_or_insert_with(|| killed.elapsed());
        }
        if frame["type"] == "answer_finished" {
            break;
        }
    }
    let next = next.ok_or("it is finished without a further word")?;
    seen.next_word_ms.push(next.as_secs_f64() * 1000.0);
    let stored = other.shows(&session, |message| message["id"] == heard.answer).await;
    seen.compare(&heard.text, &mock_answer(&question, WORDS as usize), &stored["text"]);
    Ok(next)
}

async fn hear(socket: &mut Socket, heard: &mut Heard) -> Result<Value, String> {
    let frame = socket.next_within(PATIENCE).await.ok_or("the socket is gone")?;
    // Whether it joins is seen in the end by the words.
    heard.take(&frame);
    match frame["type"].as_str() {
        Some("error" | "answer_waiting" | "answer_refused") => Err(frame.to_string()),
        _ => Ok(frame),
    }
}

impl Gateway {
    /// Waits until a chat is here with such a message, or, as a new one, with none; the message.
    async fn shows(&self, session: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let path = format!("/api/v1/sessions/{session}");
            let (status, page) = self.person.request(Method::GET, &path, None).await;
            let messages = page["messages"].as_array().cloned().unwrap_or_default();
            if status.is_success() && messages.is_empty() && wanted(&Value::Null) {
                return Value::Null;
            }
            if let Some(message) = messages.into_iter().find(&wanted) {
                return message;
            }
            sleep(LOOK).await;
        }
    }
}

impl Seen {
    fn break_off(&mut self, kill: u32, after: u32, error: &str) {
        eprintln!("kill {kill} after word {after}: the answer broke off: {error}");
        self.broken_off += 1;
    }

    /// No two words of an answer are alike.
    fn compare(&mut self, heard: &str, said: &str, stored: &Value) {
        let mut times: HashMap<&str, usize> = HashMap::new();
        for word in heard.split_whitespace() {
            *times.entry(word).or_default() += 1;
        }
        self.doubled += times.values().map(|times| times - 1).sum::<usize>();
        self.lost += said.split_whitespace().filter(|word| !times.contains_key(word)).count();
        self.differing += u32::from(stored != heard || heard != said);
    }
}

fn say(kills: u32, mut seen: Seen, report: &mut Report) {
    let details = json!({
        "kills": kills, "median": percentile(&mut seen.next_word_ms, 0.5), "highest": percentile(&mut seen.next_word_ms, 1.0),
        "resumed": seen.next_word_ms.len(),
    });
    report.say(Figure {
        details,
        ..Figure::lower(
            "a gateway is killed in the middle of an answer: time to the next token at another one, p95",
            percentile(&mut seen.next_word_ms, 0.95),
            "ms",
            1000.0,
        )
    });
    for (what, value, unit) in [
        ("tokens lost", seen.lost, "tokens"),
        ("tokens doubled", seen.doubled, "tokens"),
        ("stored otherwise than heard", seen.differing as usize, "answers"),
        ("broken off", seen.broken_off as usize, "answers"),
    ] {
        report.say(Figure {
            details: json!({"kills": kills}),
            ..Figure::lower(
                format!("a gateway is killed in the middle of an answer: {what}"),
                value as f64,
                unit,
                0.0,
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_is_doubled_is_counted() {
        let said = mock_answer("Say. [tokens 20]", 20);
        let mut seen = Seen::default();
        seen.compare(&said, &said, &json!(said));
        assert_eq!((seen.lost, seen.doubled, seen.differing), (0, 0, 0), "the control");
        let (begin, rest) = said.split_at(said.find(" it4").unwrap());
        seen.compare(&format!("{begin} {begin}{rest}"), &said, &json!(said));
        assert_eq!((seen.lost, seen.doubled, seen.differing), (0, 4, 1));
        seen.compare(rest, &said, &json!(said));
        assert_eq!((seen.lost, seen.doubled, seen.differing), (4, 4, 2));
        seen.compare(&said, &said, &json!("otherwise"));
        assert_eq!((seen.lost, seen.doubled, seen.differing), (4, 4, 3));
    }
}
