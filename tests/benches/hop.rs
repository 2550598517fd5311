//! What stands between a person and the model: the way of a first token through the HTTP interface of programs, over what the model alone
//! takes for one; and what it costs to be answered by another node: the same prompt, by turns at the node that has the model and at one
//! that has not, both as real processes, measured from a client's socket.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    client::{Client, Socket},
    process::NodeProcess,
};

use crate::figure::{Figure, Report, percentile};

/// Questions at each node that count: two of them lie above the 99th percentile.
const ROUNDS: usize = 200;
/// Requests of a program that count: a key may ask sixty times at once.
const REQUESTS: usize = 50;
/// Questions at each node, and requests, that do not.
const WARM_UP: usize = 3;

struct Measured {
    first_token_ms: f64,
    /// The rest of the answer for each piece of it: a page gets the tokens of a tenth of a second in one, so a token's share is less.
    token_ms: f64,
}

/// A figure of what another node adds: its name, of what, which part of the questions lies below it, and its goal in milliseconds.
type Added = (&'static str, fn(&Measured) -> f64, f64, f64);

/// Runs the bench and prints its figures.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let mut b = NodeProcess::init("B", "built-in");
    b.start();
    b.wait_for_status("the model is ready", |status| status["engine"] == "ready");
    let mut a = NodeProcess::join(&b.invite(&[]), "A", "none").expect("A joins");
    a.start();
    a.wait_for_status("A sees B's model", |status| {
        status["members"].to_string().contains("built-in")
    });
    let mut local = Client::new(b.http);
    let welcome = json!({"token": b.welcome_token(), "name": "Bench", "password": "a bench's password"});
    local.post("/api/v1/welcome", welcome).await;
    let mut remote = local.at(a.http);
    while !remote
        .request(reqwest::Method::GET, "/api/v1/me", None)
        .await
        .0
        .is_success()
    {
        tokio::task::yield_now().await;
    }
    let mut report = Report::new("hop", false);
    through_http(&mut local, &mut report).await;
    let (mut at_local, mut at_remote) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        // By turns, so that a drift of the machine's speed meets both.
        let (here, there) = (ask(&mut local, round).await, ask(&mut remote, round).await);
        if round >= WARM_UP {
            at_local.push(here);
            at_remote.push(there);
        }
    }
    let of = |measured: &[Measured], figure: fn(&Measured) -> f64, part| {
        percentile(&mut measured.iter().map(figure).collect::<Vec<f64>>(), part)
    };
    let figures: [Added; 3] = [
        (
            "first token, added by another node, p50",
            |one| one.first_token_ms,
            0.5,
            1.0,
        ),
        (
            "first token, added by another node, p99",
            |one| one.first_token_ms,
            0.99,
            3.0,
        ),
        ("each token, added by another node", |one| one.token_ms, 0.5, 0.3),
    ];
    for (name, figure, part, goal) in figures {
        let (here, there) = (of(&at_local, figure, part), of(&at_remote, figure, part));
        report.say(Figure {
            rival: Some(("answered by the node itself", here)),
            details: json!({"answered_by_the_other_node": there, "rounds": ROUNDS}),
            ..Figure::lower(name, there - here, "ms", goal)
        });
    }
    // What a machine is too slow for is said, and is no failure of the bench.
    let _ = report.finish();
}

/// One token of a prompt that is computed, through the interface of programs, less what the model takes for a token.
async fn through_http(person: &mut Client, report: &mut Report) {
    let key = json!({"label": "bench", "scopes": ["models", "chat"], "days": 1});
    let key = person.post("/api/v1/keys", key).await;
    let program = person
        .clone()
        .with_bearer(key["secret"].as_str().expect("a key has a secret"));
    let body = json!({
        "model": "built-in", "max_tokens": 1, "messages": [{"role": "user", "content": "Привет!"}],
    });
    let mut times = Vec::new();
    for round in 0..WARM_UP + REQUESTS {
        let began = Instant::now();
        let (status, answer) = program
            .request(Method::POST, "/v1/chat/completions", Some(body.clone()))
            .await;
        assert!(status.is_success(), "{status} {answer}");
        if round >= WARM_UP {
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let mesh: Value = person.get("/api/v1/mesh").await;
    let nodes = mesh["nodes"].as_array().expect("there are nodes");
    let rates = nodes
        .iter()
        .filter_map(|node| node["models"][0]["decode_tokens_per_second"].as_f64());
    let raw = 1000.0 / rates.fold(0.0, f64::max);
    report.say(Figure {
        rival: Some(("llama.cpp, one decode", raw)),
        ..Figure::lower(
            "first token through /v1/chat/completions, over llama.cpp alone",
            percentile(&mut times, 0.5) - raw,
            "ms",
            1.27,
        )
    });
}

/// One question in a chat of its own, so that no earlier turn is in the cache.
async fn ask(client: &mut Client, round: usize) -> Measured {
    let characters = client.get("/api/v1/characters").await;
    let session = client
        .post(
            "/api/v1/sessions",
            json!({"character_id": characters["characters"][0]["id"]}),
        )
        .await;
    let session = session["id"].as_str().expect("a session has an id").to_owned();
    let mut socket: Socket = client.socket().await;
    let began = Instant::now();
    socket
        .say(&session, &format!("bench-{round:04}"), "Расскажи сказку.")
        .await;
    socket.wait_for("token").await;
    let first = began.elapsed();
    let pieces = 1 + socket
        .collect_until("answer_finished")
        .await
        .iter()
        .filter(|frame| frame["type"] == "token")
        .count();
    let seconds = (began.elapsed() - first).as_secs_f64().max(1e-6);
    Measured {
        first_token_ms: first.as_secs_f64() * 1000.0,
        token_ms: seconds * 1000.0 / (pieces - 1).max(1) as f64,
    }
}
