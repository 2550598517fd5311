//! What it costs to be answered by another node: the same prompt, by turns at the node that has the model and at one that has not,
//! both as real processes, measured from a client's socket.

use std::time::Instant;

use serde_json::{Value, json};
use tests::{
    client::{Client, Socket},
    process::NodeProcess,
};

/// Questions at each node that count.
const ROUNDS: usize = 30;
/// Questions at each node that do not.
const WARM_UP: usize = 3;

struct Measured {
    first_token_ms: f64,
    tokens_per_second: f64,
}

/// Runs the bench and prints one JSON line.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("{}", runtime.block_on(measure()));
}

async fn measure() -> Value {
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
    let (mut at_local, mut at_remote) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        // By turns, so that a drift of the machine's speed meets both.
        let (here, there) = (ask(&mut local, round).await, ask(&mut remote, round).await);
        if round >= WARM_UP {
            at_local.push(here);
            at_remote.push(there);
        }
    }
    let median = |measured: &[Measured], figure: fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = measured.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let first = |measured: &[Measured]| median(measured, |one| one.first_token_ms);
    let speed = |measured: &[Measured]| median(measured, |one| one.tokens_per_second);
    let (local_first, remote_first) = (first(&at_local), first(&at_remote));
    let (local_speed, remote_speed) = (speed(&at_local), speed(&at_remote));
    json!({
        "bench": "hop", "name": "first token, answered by the other node", "value": remote_first, "unit": "ms",
        "goal": null, "better": "lower", "rival": {"name": "answered locally", "value": local_first},
        "ratio": remote_first / local_first,
        "tokens_per_second": {"local": local_speed, "other_node": remote_speed, "ratio": remote_speed / local_speed},
        "rounds": ROUNDS, "mock": false,
    })
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
        tokens_per_second: (pieces - 1) as f64 / seconds,
    }
}
