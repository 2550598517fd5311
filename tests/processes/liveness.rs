//! Who is there, as real processes see it: one that is killed, one that is frozen and comes back, one in maintenance, one that stops.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{
    client::Client,
    process::{NodeProcess, error_text, starling},
};

/// Three nodes that know each other; only the last has a model.
fn three_nodes() -> [NodeProcess; 3] {
    let mut first = NodeProcess::init("first", "none");
    first.start();
    let mut second = NodeProcess::join(&first.invite(&[]), "second", "none").unwrap();
    second.start();
    let mut third = NodeProcess::join(&first.invite(&[]), "third", "built-in").unwrap();
    third.start();
    for node in [&mut first, &mut second, &mut third] {
        for of in ["first", "second", "third"] {
            wait_for(node, of, "serving");
        }
    }
    [first, second, third]
}

/// The rows of a name: more than one would be a ghost.
fn rows<'a>(status: &'a Value, name: &str) -> Vec<&'a Value> {
    let members = status["members"].as_array().unwrap();
    members.iter().filter(|member| member["name"] == name).collect()
}

fn liveness(status: &Value, name: &str) -> String {
    let rows = rows(status, name);
    assert!(rows.len() <= 1, "a ghost: {rows:?}");
    rows.first()
        .map(|row| row["liveness"].as_str().unwrap().to_owned())
        .unwrap_or_default()
}

fn wait_for(node: &mut NodeProcess, of: &str, state: &str) -> Value {
    node.wait_for_status(&format!("{of} is {state}"), |status| liveness(status, of) == state)
}

#[test]
fn a_killed_node_is_suspected_then_gone_everywhere_and_is_one_row_when_it_is_back() {
    let [mut first, mut second, mut third] = three_nodes();
    third.kill();
    let killed = Instant::now();
    for node in [&mut first, &mut second] {
        let status = node.wait_for_status("the killed one is out", |status| {
            ["suspect", "gone"].contains(&liveness(status, "third").as_str())
        });
        assert_eq!(rows(&status, "third")[0]["state"], "unreachable");
    }
    let out = killed.elapsed();
    for node in [&mut first, &mut second] {
        let status = wait_for(node, "third", "gone");
        let row = rows(&status, "third")[0].clone();
        // The ages are those of this node's clock, and no older than the death.
        let age = Duration::from_millis(row["liveness_ms_ago"].as_u64().unwrap());
        assert!(age < killed.elapsed(), "{row} after {:?}", killed.elapsed());
        assert!(row["heard_ms_ago"].as_u64() >= row["liveness_ms_ago"].as_u64(), "{row}");
        assert_eq!(status["tasks"]["liveness"]["running"], true);
        let text = String::from_utf8_lossy(&starling(&node.path(), ["members"]).stdout).into_owned();
        assert!(text.contains("gone for") && text.contains("last heard of"), "{text}");
    }
    eprintln!("out after {out:?}");
    third.start();
    for node in [&mut first, &mut second, &mut third] {
        let status = wait_for(node, "third", "serving");
        assert_eq!(status["members"].as_array().unwrap().len(), 3, "no ghosts: {status}");
    }
    // The others tell its new life what they know, though they never noticed that the connection with the old one was dead.
    for of in ["first", "second"] {
        wait_for(&mut third, of, "serving");
    }
}

#[test]
fn a_frozen_node_is_suspected_contradicts_when_it_thaws_and_judges_nobody() {
    let [mut first, mut second, third] = three_nodes();
    third.freeze();
    for node in [&mut first, &mut second] {
        node.wait_for_status("the frozen one is out", |status| {
            ["suspect", "gone"].contains(&liveness(status, "third").as_str())
        });
    }
    third.thaw();
    for node in [&mut first, &mut second] {
        wait_for(node, "third", "serving");
    }
    // What it slept through is not held against the others.
    let status = third.status().unwrap();
    for of in ["first", "second"] {
        assert_eq!(liveness(&status, of), "serving", "{status}");
    }
}

#[test]
fn a_node_that_stops_in_order_is_gone_at_once() {
    let [mut first, mut second, mut third] = three_nodes();
    third.terminate();
    for node in [&mut first, &mut second] {
        // Said by itself, so that it was never suspected: the table has it as gone before anybody could have missed it.
        let status = wait_for(node, "third", "gone");
        let log = node.log();
        let of_third: Vec<&str> = log
            .lines()
            .filter(|line| {
                line.contains("a member") && line.contains(&rows(&status, "third")[0]["node_id"].as_str().unwrap()[..8])
            })
            .collect();
        assert!(!of_third.is_empty(), "{log}");
        assert!(!of_third.iter().any(|line| line.contains("suspect")), "{of_third:?}");
    }
}

#[tokio::test]
async fn in_maintenance_a_node_takes_no_work_and_says_so_also_after_a_restart() {
    let [mut first, mut second, mut third] = three_nodes();
    let mut person = Client::new(first.http);
    let welcome = json!({"token": first.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    person.post("/api/v1/welcome", welcome).await;
    third.wait_for_status("the model is ready", |status| status["engine"] == "ready");
    let characters = person.get("/api/v1/characters").await;
    let session = json!({"character_id": characters["characters"][0]["id"]});
    let session = person.post("/api/v1/sessions", session).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut socket = person.socket().await;
    socket.say(&session, "outbox-1", "Привет!").await;
    socket.wait_for("answer_finished").await;

    let said = starling(&third.path(), ["maintenance", "on"]);
    let words = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{}", error_text(&said));
    assert!(
        words.contains("in maintenance") && words.contains("questions wait"),
        "{words}"
    );
    for node in [&mut first, &mut second, &mut third] {
        wait_for(node, "third", "maintenance");
    }
    let nodes = person.get("/api/v1/mesh").await["nodes"].clone();
    let row = nodes
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "third")
        .unwrap();
    assert_eq!(
        (&row["liveness"], &row["state"]),
        (&json!("maintenance"), &json!("connected"))
    );
    socket.say(&session, "outbox-2", "Ты там?").await;
    assert_eq!(socket.wait_for("answer_waiting").await["code"], "no_node_can_answer");

    third.terminate();
    third.start();
    for node in [&mut first, &mut third] {
        wait_for(node, "third", "maintenance");
    }
    let doctor = String::from_utf8_lossy(&starling(&third.path(), ["doctor"]).stdout).into_owned();
    assert!(doctor.contains("this node is in maintenance for"), "{doctor}");
    assert_eq!(third.status().unwrap()["answers_generated"], 0, "nothing was taken on");

    let said = starling(&third.path(), ["maintenance", "off"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("works again"));
    wait_for(&mut first, "third", "serving");
    // The question that waited is answered by itself.
    socket.wait_for("answer_finished").await;
}
