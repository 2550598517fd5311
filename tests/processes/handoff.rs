//! A conversation moves from one node to another with what is computed of it, where that is quicker than computing it again. The built-in model
//! is quick; so the nodes are told that they had measured themselves to be slow.

use std::fs;

use inference::engine::calibration::{self, Profile};
use serde_json::json;
use tests::{
    client::{Client, Socket},
    process::{NodeProcess, PATIENCE, error_text, starling},
};

/// Prompt tokens a second of a machine on which it is worth it.
const SLOW: f64 = 25.0;
/// And of one on which it never is.
const QUICK: f64 = 1e6;

/// The profile that a node has measured of its model says another speed when it is started again.
fn believe(node: &mut NodeProcess, prefill: f64) {
    node.wait_for_status("the model is ready", |status| status["engine"] == "ready");
    node.terminate();
    let models = node.path().join("models");
    let files = fs::read_dir(models).unwrap().flatten();
    let mut files = files.filter(|file| file.file_name().to_string_lossy().starts_with("profile-"));
    let path = files.next().expect("it has measured").path();
    let measured = calibration::decode(&fs::read(&path).unwrap()).unwrap();
    // Two that lay their contexts out differently have nothing for each other.
    let profile = Profile {
        prefill,
        is_unified: false,
        ..measured
    };
    fs::write(path, calibration::encode(&profile)).unwrap();
    node.start();
    node.wait_for_status("the model is ready", |status| status["engine"] == "ready");
}

/// How the hand-offs to a node ended.
async fn outcomes(node: &NodeProcess) -> Vec<(String, String)> {
    let (_, metrics) = Client::new(node.http)
        .send(reqwest::Method::GET, "/metrics", Vec::new())
        .await;
    let metrics = String::from_utf8(metrics).unwrap();
    let lines = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("starling_kv_handoffs_total{outcome=\""));
    let split = lines.filter_map(|line| line.split_once("\"} "));
    let happened = split.filter(|(_, count)| *count != "0");
    happened
        .map(|(outcome, count)| (outcome.to_owned(), count.to_owned()))
        .collect()
}

fn once(outcome: &str) -> Vec<(String, String)> {
    vec![(outcome.to_owned(), "1".to_owned())]
}

/// The name of the node that answers.
async fn ask(socket: &mut Socket, session: &str, outbox: &str) -> String {
    socket
        .say(session, outbox, "Расскажи, что ты любишь и чего боишься.")
        .await;
    let started = socket.wait_for("answer_started").await;
    socket.wait_for("answer_finished").await;
    started["node"]["name"].as_str().unwrap().to_owned()
}

/// One turn at one node and the next at the other, because the first takes no work any more; the node to which it came.
async fn moved(prefill: f64) -> (NodeProcess, NodeProcess) {
    let mut first = NodeProcess::init("B", "built-in");
    first.start();
    let token = first.welcome_token();
    let mut second = NodeProcess::join(&first.invite(&[]), "C", "built-in").unwrap();
    second.start();
    let mut client = Client::new(first.http);
    let welcome = json!({"token": token, "name": "Рита", "password": "скворец-летит"});
    client.post("/api/v1/welcome", welcome).await;
    believe(&mut second, prefill);
    believe(&mut first, prefill);
    for node in [&mut first, &mut second] {
        node.wait_for_status("both models are offered", |status| {
            let members = status["members"].as_array().unwrap();
            let able = members
                .iter()
                .filter(|member| member["models"].as_array().is_some_and(|models| !models.is_empty()));
            able.count() == 2 && members.iter().any(|member| member["state"] == "connected")
        });
    }
    let session = client.first_chat().await;
    let mut socket = client.socket().await;
    let answered = ask(&mut socket, &session, "turn-number-1").await;
    let old = if answered == "B" { &first } else { &second };
    let said = starling(&old.path(), ["maintenance", "on"]);
    assert!(said.status.success(), "{}", error_text(&said));
    // Its word travels with the next heartbeat; until then it may take one more.
    let moves = async {
        let mut turn = 2;
        while ask(&mut socket, &session, &format!("turn-number-{turn}")).await == answered {
            turn += 1;
        }
    };
    tokio::time::timeout(PATIENCE, moves)
        .await
        .expect("the conversation moves");
    if answered == "B" {
        (second, first)
    } else {
        (first, second)
    }
}

// Red when: the state does not come over the mesh, is refused there, or nobody asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_moves_brings_what_is_computed_of_it() {
    let (came_to, from) = moved(SLOW).await;
    assert_eq!(
        outcomes(&came_to).await,
        once("adopted"),
        "{} {}",
        came_to.log(),
        from.log()
    );
}

// The control: a quick machine computes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_computes_quicker_asks_for_nothing() {
    let (came_to, _from) = moved(QUICK).await;
    assert_eq!(outcomes(&came_to).await, once("not_worth"), "{}", came_to.log());
}
