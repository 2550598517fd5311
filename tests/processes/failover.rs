//! The node that answers is killed or frozen in the middle of its answer: whoever reads sees one answer, whole, and the chat holds it
//! once. The engine is the mock, whose words take their time; that real models go on byte for byte is tested beside the engine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{
    client::{Client, Socket},
    process::NodeProcess,
};

/// Words per second: an answer takes two seconds.
const MODEL: &str = "mock:20";

struct Mesh {
    gateway: NodeProcess,
    workers: Vec<NodeProcess>,
    client: Client,
    session: String,
}

async fn mesh(workers: usize) -> Mesh {
    let mut first = NodeProcess::init("B", MODEL);
    first.start();
    let mut gateway = NodeProcess::join(&first.invite(&[]), "A", "none").unwrap();
    gateway.start();
    let mut at_first = Client::new(first.http);
    let welcome = json!({"token": first.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    at_first.post("/api/v1/welcome", welcome).await;
    let mut all = vec![first];
    for name in ["C", "D"].iter().take(workers - 1) {
        let mut worker = NodeProcess::join(&all[0].invite(&[]), name, MODEL).unwrap();
        worker.start();
        all.push(worker);
    }
    let mut client = at_first.at(gateway.http);
    let signed_in = async {
        let me = "/api/v1/me";
        while !client.request(reqwest::Method::GET, me, None).await.0.is_success() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(tests::process::PATIENCE, signed_in)
        .await
        .expect("the account reaches the gateway");
    let session = client.first_chat().await;
    let mut mesh = Mesh {
        gateway,
        workers: all,
        client,
        session,
    };
    mesh.see_all();
    mesh
}

impl Mesh {
    /// Until the gateway sees every worker's model.
    fn see_all(&mut self) {
        let wanted = self.workers.len();
        self.gateway.wait_for_status("the gateway sees the models", |status| {
            let members = status["members"].as_array().unwrap();
            let able = members
                .iter()
                .filter(|member| member["state"] == "connected" && member["models"][0] == "mock");
            able.count() == wanted
        });
    }

    fn worker(&mut self, name: &str) -> &mut NodeProcess {
        let number = ["B", "C", "D"]
            .iter()
            .position(|known| *known == name)
            .expect("a worker");
        &mut self.workers[number]
    }

    /// Asks and reads so many words of the answer; the name of the node that makes it, and the pieces.
    async fn begin(&mut self, socket: &mut Socket, outbox: &str, words: usize) -> (String, Vec<Value>) {
        socket.say(&self.session, outbox, &question(outbox)).await;
        let started = socket.wait_for("answer_started").await;
        let node = started["node"]["name"].as_str().unwrap().to_owned();
        let mut read = Vec::new();
        while said(&read).split_whitespace().count() < words {
            read.push(socket.wait_for("token").await);
        }
        (node, read)
    }

    /// The rest of the answer, and the longest time between two pieces of it since `from`.
    async fn rest(&self, socket: &mut Socket, pieces: &mut Vec<Value>, from: Instant) -> (Value, Duration) {
        let (mut last, mut longest) = (from, Duration::ZERO);
        loop {
            let frame = socket
                .next_within(tests::process::PATIENCE)
                .await
                .expect("the answer goes on");
            match frame["type"].as_str() {
                Some("token") => {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                    pieces.push(frame);
                }
                Some("answer_finished") => return (frame, longest),
                _ => {}
            }
        }
    }

    /// Whole, in order, and once in the chat.
    async fn assert_whole(&self, outbox: &str, pieces: &[Value], finished: &Value) {
        let mut at = 0;
        for piece in pieces {
            // Nothing is left out or said twice, and the answer never begins over.
            assert_eq!(
                (&piece["at"], &piece["stream"]),
                (&json!(at), &pieces[0]["stream"]),
                "{pieces:?}"
            );
            at += piece["text"].as_str().unwrap().chars().count();
        }
        let said = said(pieces);
        assert_eq!(said, undisturbed(outbox));
        assert_eq!(finished["message"]["text"], said);
        // Written by the node that made it, it reaches the gateway by replication, which a node that has just come back takes its time for.
        let arrives = async {
            loop {
                let path = format!("/api/v1/sessions/{}", self.session);
                // Whoever asks without a pause is told to wait now and then.
                let (_, chat) = self.client.request(reqwest::Method::GET, &path, None).await;
                let messages = chat["messages"].as_array();
                let same = messages
                    .into_iter()
                    .flatten()
                    .filter(|message| message["text"] == said.as_str())
                    .count();
                if same > 0 {
                    return same;
                }
                tokio::task::yield_now().await;
            }
        };
        let same = tokio::time::timeout(tests::process::PATIENCE, arrives).await;
        assert_eq!(same.expect("the answer is in the chat"), 1, "once");
    }
}

/// Of as many words as the mock repeats.
fn question(outbox: &str) -> String {
    let words: Vec<String> = (0..31).map(|number| format!("слово{number}")).collect();
    format!("{outbox} {}", words.join(" "))
}

/// What pieces say together.
fn said(pieces: &[Value]) -> String {
    pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect()
}

fn undisturbed(outbox: &str) -> String {
    format!("This is a mock; it was asked: {}", question(outbox))
}

#[tokio::test]
async fn the_answer_of_a_killed_node_goes_on_at_another_one() {
    let mut mesh = mesh(2).await;
    let mut socket = mesh.client.socket().await;
    for (round, at) in [1, 12, 30].into_iter().enumerate() {
        let outbox = format!("outbox-{round}");
        let (node, mut pieces) = mesh.begin(&mut socket, &outbox, at).await;
        mesh.worker(&node).kill();
        let (finished, _) = mesh.rest(&mut socket, &mut pieces, Instant::now()).await;
        mesh.assert_whole(&outbox, &pieces, &finished).await;
        assert_ne!(finished["message"]["answered_by"]["node_name"], node.as_str());
        mesh.worker(&node).start();
        mesh.see_all();
    }
}

#[tokio::test]
async fn the_answer_of_a_frozen_node_goes_on_and_its_return_changes_nothing() {
    let mut mesh = mesh(2).await;
    let mut socket = mesh.client.socket().await;
    let (node, mut pieces) = mesh.begin(&mut socket, "outbox-1", 10).await;
    let frozen = Instant::now();
    mesh.worker(&node).freeze();
    let (finished, longest) = mesh.rest(&mut socket, &mut pieces, frozen).await;
    eprintln!("after a freeze the next piece came within {longest:?}");
    // Its own beats, of which it may miss five, and the way to the other one.
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    mesh.assert_whole("outbox-1", &pieces, &finished).await;
    mesh.worker(&node).thaw();
    mesh.see_all();
    // By now it has answered questions again, and what it had in mind of the old one it could not write.
    let (_, mut pieces) = mesh.begin(&mut socket, "outbox-2", 1).await;
    let (second, _) = mesh.rest(&mut socket, &mut pieces, Instant::now()).await;
    mesh.assert_whole("outbox-2", &pieces, &second).await;
    let chat = mesh.client.get(&format!("/api/v1/sessions/{}", mesh.session)).await;
    assert_eq!(chat["messages"].as_array().unwrap().len(), 4, "{chat}");
    let answer = chat["messages"].as_array().unwrap().iter();
    let mut answer = answer.filter(|message| message["text"] == undisturbed("outbox-1").as_str());
    let answered_by = answer.next().map(|answer| answer["answered_by"]["node_name"].clone());
    assert!(
        answered_by
            .as_ref()
            .is_some_and(|name| name.is_string() && *name != node.as_str()),
        "{chat}"
    );
}

/// The control: with nobody to go on, the answer is cut and stays so until a node is back; then it is made whole.
#[tokio::test]
async fn with_nobody_to_go_on_the_answer_waits_for_the_node_to_come_back() {
    let mut mesh = mesh(1).await;
    let mut socket = mesh.client.socket().await;
    let (node, mut pieces) = mesh.begin(&mut socket, "outbox-1", 12).await;
    mesh.worker(&node).kill();
    let frames = socket.collect_until("answer_waiting").await;
    pieces.extend(frames.into_iter().filter(|frame| frame["type"] == "token"));
    assert!(
        said(&pieces).len() < undisturbed("outbox-1").len(),
        "it was cut: {pieces:?}"
    );
    mesh.worker(&node).start();
    let (finished, _) = mesh.rest(&mut socket, &mut pieces, Instant::now()).await;
    mesh.assert_whole("outbox-1", &pieces, &finished).await;
}
