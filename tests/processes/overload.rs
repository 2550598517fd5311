//! More is asked than a node can do, through another node's gateway: who waits hears where they stand, and one person with many questions
//! does not keep the others waiting. The engine is the mock, which answers two at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    client::{Client, Socket},
    process::NodeProcess,
};

/// Twenty words a second, two answers at once: with twenty words for each, two answers a second.
const MODEL: &str = "mock:20:2";
const QUESTION: &str = "[tokens 20]";
/// Nobody hears nothing for longer than this.
const SILENCE: Duration = Duration::from_secs(2);
/// Of one person at once, over so many sockets.
const SOCKETS: usize = 2;
const QUESTIONS_EACH: usize = 10;

struct Person {
    client: Client,
    session: String,
}

/// What one socket saw of its questions.
#[derive(Default)]
struct Seen {
    /// Since when nothing was heard of a question that waits.
    silent: HashMap<String, Instant>,
    longest: Duration,
    /// How many were told to go before, at most, and the longest wait that was foretold.
    ahead: u64,
    foretold: u64,
    answered: usize,
}

impl Seen {
    fn take(&mut self, frame: &Value) {
        let question = frame["question_id"].as_str().or(frame["message"]["id"].as_str());
        let question = question.unwrap_or_default().to_owned();
        match frame["type"].as_str() {
            Some("accepted") => drop(self.silent.insert(question, Instant::now())),
            Some("answer_waiting") => {
                if let Some(heard) = self.silent.get_mut(&question) {
                    self.longest = self.longest.max(heard.elapsed());
                    *heard = Instant::now();
                }
                self.ahead = self.ahead.max(frame["ahead"].as_u64().unwrap());
                self.foretold = self.foretold.max(frame["expected_seconds"].as_u64().unwrap());
            }
            Some("answer_started") => {
                if let Some(heard) = self.silent.remove(&question) {
                    self.longest = self.longest.max(heard.elapsed());
                }
            }
            Some("answer_finished") => self.answered += 1,
            _ => {}
        }
    }
}

async fn person(first: &NodeProcess, founder: &mut Client, gateway: &NodeProcess, name: &str) -> Person {
    let link = founder.post("/api/v1/people/links", json!({"role": "user"})).await;
    let token = link["path"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
    let mut there = Client::new(first.http);
    let welcome = json!({"token": token, "name": name, "password": "скворец-летит"});
    there.post("/api/v1/welcome", welcome).await;
    let mut client = there.at(gateway.http);
    let known = async {
        while !client
            .request(reqwest::Method::GET, "/api/v1/me", None)
            .await
            .0
            .is_success()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(tests::process::PATIENCE, known)
        .await
        .expect("the account reaches the gateway");
    let session = client.first_chat().await;
    Person { client, session }
}

/// Asks everything at once and listens for so long.
async fn flood(mut socket: Socket, session: String, name: usize, listen: Duration) -> Seen {
    let (mut seen, until) = (Seen::default(), Instant::now() + listen);
    for number in 0..QUESTIONS_EACH {
        socket.say(&session, &format!("flood-{name}-{number}"), QUESTION).await;
    }
    while let Some(frame) = socket
        .next_within(until.saturating_duration_since(Instant::now()))
        .await
    {
        seen.take(&frame);
    }
    seen
}

/// Asks one question after the other; with how long the slowest took to begin.
async fn talk(mut socket: Socket, session: String, questions: usize) -> (Seen, Duration) {
    let (mut seen, mut slowest) = (Seen::default(), Duration::ZERO);
    for number in 0..questions {
        let asked = Instant::now();
        socket.say(&session, &format!("question-{number}"), QUESTION).await;
        while seen.answered <= number {
            let frame = socket.next_within(tests::process::PATIENCE).await;
            let frame = frame.expect("it is answered");
            if frame["type"] == "answer_started" {
                slowest = slowest.max(asked.elapsed());
            }
            seen.take(&frame);
        }
    }
    (seen, slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_with_many_questions_waits_for_the_others_and_everybody_hears_where_they_stand() {
    let mut first = NodeProcess::init("B", MODEL);
    first.start();
    let mut gateway = NodeProcess::join(&first.invite(&[]), "A", "none").unwrap();
    gateway.start();
    let mut founder = Client::new(first.http);
    let welcome = json!({"token": first.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    founder.post("/api/v1/welcome", welcome).await;
    let abuser = person(&first, &mut founder, &gateway, "Лавина").await;
    let one = person(&first, &mut founder, &gateway, "Тихий").await;
    let other = person(&first, &mut founder, &gateway, "Добрый").await;
    gateway.wait_for_status("the gateway sees the model", |status| {
        let members = status["members"].as_array().unwrap();
        members.iter().any(|member| member["models"][0] == "mock")
    });
    let listen = Duration::from_secs(10);
    let mut floods = Vec::new();
    for number in 0..SOCKETS {
        let socket = abuser.client.socket().await;
        floods.push(tokio::spawn(flood(socket, abuser.session.clone(), number, listen)));
    }
    let mut talks = Vec::new();
    for quiet in [&one, &other] {
        talks.push(tokio::spawn(talk(
            quiet.client.socket().await,
            quiet.session.clone(),
            3,
        )));
    }
    for quiet in talks {
        let (seen, slowest) = quiet.await.unwrap();
        assert!(seen.longest <= SILENCE, "{:?}", seen.longest);
        // The two that run end within a second, and then it is their turn; in the order of arrival they would wait for ten.
        assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    }
    let mut answered = 0;
    for flood in floods {
        let seen = flood.await.unwrap();
        assert!(seen.longest <= SILENCE, "{:?}", seen.longest);
        assert!(
            seen.ahead >= 5 && seen.foretold >= 2,
            "{} ahead, {} s",
            seen.ahead,
            seen.foretold
        );
        answered = answered.max(seen.answered);
    }
    assert!(answered >= 5, "it is answered, too: {answered}");
}
