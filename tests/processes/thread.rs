//! A person at A, which has no model, is answered by B; then B goes and comes back.

use serde_json::{Value, json};
use tests::{
    client::{Client, Socket},
    process::NodeProcess,
};

fn one_node() -> NodeProcess {
    let mut b = NodeProcess::init("B", "built-in");
    b.start();
    b.wait_for_status("the model is ready", |status| status["engine"] == "ready");
    b
}

fn two_nodes() -> (NodeProcess, NodeProcess) {
    let b = one_node();
    let mut a = NodeProcess::join(&b.invite(&[]), "A", "none").unwrap();
    a.start();
    a.wait_for_status("A sees B's model", |status| {
        let members = status["members"].as_array().unwrap();
        members
            .iter()
            .any(|member| member["state"] == "connected" && member["models"][0] == "built-in")
    });
    (a, b)
}

/// A person who made an account at `node`.
async fn person(node: &NodeProcess) -> Client {
    let mut client = Client::new(node.http);
    let welcome = json!({"token": node.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    client.post("/api/v1/welcome", welcome).await;
    client
}

async fn new_session(client: &mut Client) -> String {
    let characters = client.get("/api/v1/characters").await;
    let character = characters["characters"][0]["id"].clone();
    let session = client
        .post("/api/v1/sessions", json!({"character_id": character}))
        .await;
    session["id"].as_str().unwrap().to_owned()
}

async fn messages(client: &Client, session: &str) -> Vec<Value> {
    client.get(&format!("/api/v1/sessions/{session}")).await["messages"]
        .as_array()
        .unwrap()
        .clone()
}

async fn wait_for_messages(client: &Client, session: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut last = None;
    let found = async {
        loop {
            let (status, body) = client
                .request(reqwest::Method::GET, &format!("/api/v1/sessions/{session}"), None)
                .await;
            if status != reqwest::StatusCode::TOO_MANY_REQUESTS || last.is_none() {
                last = Some((status, body.clone()));
            }
            if let (true, Some(messages)) = (status.is_success(), body["messages"].as_array())
                && wanted(messages)
            {
                return messages.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(tests::process::PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("the messages do not come; the last answer was {last:?}"))
}

/// Asks and returns the answer's frames: gap-free tokens that add up to the finished text.
async fn ask(socket: &mut Socket, session: &str, outbox: &str, text: &str) -> (Value, Vec<Value>) {
    socket.say(session, outbox, text).await;
    let mut frames = socket.collect_until("answer_finished").await;
    let finished = frames.pop().unwrap();
    let tokens: Vec<Value> = frames.into_iter().filter(|frame| frame["type"] == "token").collect();
    let mut at = 0;
    for token in &tokens {
        assert_eq!(token["at"], at, "{tokens:?}");
        at += token["text"].as_str().unwrap().chars().count();
    }
    let said: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(said.trim(), finished["message"]["text"].as_str().unwrap());
    (finished, tokens)
}

#[tokio::test]
async fn a_question_at_a_is_answered_by_b_and_both_show_the_same_chat() {
    let (mut a, mut b) = two_nodes();
    let at_b = person(&b).await;
    let mut at_a = at_b.at(a.http);
    // The account reaches A by replication.
    wait_until_signed_in(&at_a).await;
    let session = new_session(&mut at_a).await;
    let mut socket = at_a.socket().await;
    let (finished, tokens) = ask(&mut socket, &session, "outbox-1", "Привет! Как тебя зовут?").await;
    assert!(!tokens.is_empty(), "the answer came in pieces: {tokens:?}");
    let b_status = b.wait_for_status("B counts the answer", |status| status["answers_generated"] == 1);
    assert_eq!(finished["message"]["answered_by"]["node_id"], b_status["node_id"]);
    assert_eq!(a.status().unwrap()["answers_generated"], 0);
    // The generating node wrote the answer, and both hold the same set.
    let at_a_messages = messages(&at_a, &session).await;
    let at_b_messages = wait_for_messages(&at_b, &session, |messages| messages.len() == 2).await;
    assert_eq!(at_a_messages, at_b_messages);
    let root = b.status().unwrap()["root"].clone();
    a.wait_for_status("the roots agree", |status| status["root"] == root);

    // The same words sent again under the same outbox id are stored once.
    socket.say(&session, "outbox-1", "Привет! Как тебя зовут?").await;
    let again = socket.wait_for("accepted").await;
    assert_eq!(again["message"]["id"], at_a_messages[0]["id"]);
    assert_eq!(messages(&at_a, &session).await.len(), 2);
    let (status, took) = b.terminate();
    assert!(status.success() && took.as_secs() < 5, "{status} after {took:?}");
}

async fn wait_until_signed_in(client: &Client) {
    let signed_in = async {
        while !client
            .request(reqwest::Method::GET, "/api/v1/me", None)
            .await
            .0
            .is_success()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(tests::process::PATIENCE, signed_in)
        .await
        .expect("the account reaches the other node");
}

#[tokio::test]
async fn a_question_waits_while_nobody_can_answer_and_is_answered_once_when_b_is_back() {
    let (mut a, mut b) = two_nodes();
    let mut at_a = person(&b).await.at(a.http);
    wait_until_signed_in(&at_a).await;
    let session = new_session(&mut at_a).await;
    // Asked at once, before A can know that B is gone: the reason told must be the true one all the same.
    b.kill();
    let mut socket = at_a.socket().await;
    socket.say(&session, "outbox-1", "Ты там?").await;
    let accepted = socket.wait_for("accepted").await;
    assert_eq!(accepted["message"]["state"], "waiting");
    let waiting = socket.wait_for("answer_waiting").await;
    assert_eq!(waiting["code"], "no_node_can_answer");

    // A restart of A does not lose the question either.
    a.kill();
    a.start();
    let kept = wait_for_messages(&at_a, &session, |messages| messages.len() == 1).await;
    assert_eq!(
        (&kept[0]["text"], &kept[0]["state"]),
        (&json!("Ты там?"), &json!("waiting"))
    );
    let mut socket = at_a.socket().await;
    socket.wait_for("answer_waiting").await;
    b.start();
    let finished = socket.wait_for("answer_finished").await;
    assert_eq!(finished["message"]["question_id"], kept[0]["id"]);
    let done = wait_for_messages(&at_a, &session, |messages| messages.len() == 2).await;
    assert_eq!(done[0]["state"], "answered");
    b.wait_for_status("B answered once", |status| status["answers_generated"] == 1);
}

#[tokio::test]
async fn an_answer_can_be_stopped_and_what_was_said_stays() {
    let b = one_node();
    let mut client = person(&b).await;
    let session = new_session(&mut client).await;
    // The small model is quick: a stop may come after the end. Within this many tries one lands in the middle.
    for attempt in 0..50 {
        // A socket of its own each time: the rate limit of messages is per socket.
        let mut socket = client.socket().await;
        socket
            .say(&session, &format!("outbox-{attempt}"), "Расскажи сказку.")
            .await;
        socket.wait_for("token").await;
        socket.send(json!({"type": "stop", "session_id": session})).await;
        let finished = socket.wait_for("answer_finished").await;
        let text = finished["message"]["text"].as_str().unwrap().to_owned();
        if finished["reason"] == "stopped" {
            let stored = wait_for_messages(&client, &session, |messages| {
                messages.last().unwrap()["state"] == "done"
            })
            .await;
            assert_eq!(stored.last().unwrap()["text"], text);
            assert_eq!(stored.last().unwrap()["ending"], "stopped");
            return;
        }
    }
    panic!("no stop landed in the middle of an answer");
}

/// More questions at once than the engine has slots: those that wait keep their place.
#[tokio::test]
async fn questions_beyond_the_slots_wait_and_are_all_answered() {
    let mut b = NodeProcess::init("B", "built-in");
    let path = b.path().join("starling.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("slots = 4", "slots = 1")).unwrap();
    b.start();
    b.wait_for_status("the model is ready", |status| status["engine"] == "ready");
    let mut client = person(&b).await;
    let session = new_session(&mut client).await;
    let mut socket = client.socket().await;
    for number in 0..8 {
        socket
            .say(&session, &format!("outbox-{number}"), "Расскажи сказку.")
            .await;
    }
    for _ in 0..8 {
        socket.wait_for("answer_finished").await;
    }
    let mesh = client.get("/api/v1/mesh").await;
    assert_eq!(
        mesh["nodes"][0]["models"][0]["busy"], 0,
        "nothing is counted that is no longer there: {mesh}"
    );
}

/// The longest message and then an ordinary one: the prompt is shortened, so that the answer has room.
#[tokio::test]
async fn a_long_message_leaves_room_for_the_answers() {
    let b = one_node();
    let mut client = person(&b).await;
    let session = new_session(&mut client).await;
    let mut socket = client.socket().await;
    ask(&mut socket, &session, "outbox-1", &"ж".repeat(3000)).await;
    for number in 2..5 {
        let (finished, tokens) = ask(
            &mut socket,
            &session,
            &format!("outbox-{number}"),
            "Привет! Как тебя зовут?",
        )
        .await;
        assert!(!tokens.is_empty() && finished["reason"] == "end", "{finished}");
    }
}

/// A damaged journal under a whole index: what is missing comes back from the other node.
#[tokio::test]
async fn what_a_damaged_journal_lost_comes_back_from_another_node() {
    let (mut a, b) = two_nodes();
    let mut at_a = person(&b).await.at(a.http);
    wait_until_signed_in(&at_a).await;
    let session = new_session(&mut at_a).await;
    let mut socket = at_a.socket().await;
    for number in 0..5 {
        ask(&mut socket, &session, &format!("outbox-{number}"), "Привет!").await;
    }
    let root = b.status().unwrap()["root"].clone();
    a.wait_for_status("both hold the same", |status| status["root"] == root);
    let journal = a.path().join("store/journal/00000001.log");
    let whole = std::fs::read(&journal).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [whole[..whole.len() / 3].to_vec(), flipped] {
        a.terminate();
        std::fs::write(&journal, damaged).unwrap();
        a.start();
        // Not the root of before: a question whose answer was lost may have been asked again meanwhile.
        a.wait_for_status("A holds all of it again", |status| {
            b.status().is_some_and(|other| other["root"] == status["root"])
        });
        let back = wait_for_messages(&at_a, &session, |messages| messages.len() == 10).await;
        assert!(back.iter().all(|message| message["state"] != "waiting"));
        // What came back is on disk: it survives the loss of the index, too.
        a.terminate();
        std::fs::remove_dir_all(a.path().join("store/index")).unwrap();
        a.start();
        wait_for_messages(&at_a, &session, |messages| messages.len() == 10).await;
    }
}

#[tokio::test]
async fn an_engine_that_dies_is_started_again_and_the_node_lives() {
    let mut b = one_node();
    let mut client = person(&b).await;
    let session = new_session(&mut client).await;
    let mut socket = client.socket().await;
    ask(&mut socket, &session, "outbox-1", "Привет!").await;
    b.kill_engine();
    b.wait_for_status("the node has noticed", |status| status["engine"] != "ready");
    // Asked while there is no engine: kept, and answered by the next one.
    ask(&mut socket, &session, "outbox-2", "Ты жив?").await;
    b.wait_for_status("the engine is back", |status| status["engine"] == "ready");
}

#[tokio::test]
async fn the_api_refuses_what_it_must_with_its_codes() {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let code = |body: &Value| body["error"]["code"].as_str().unwrap_or_default().to_owned();
    let stranger = Client::new(b.http);
    for path in ["/api/v1/me", "/api/v1/characters", "/api/v1/sessions", "/api/v1/mesh"] {
        let (status, body) = stranger.request(reqwest::Method::GET, path, None).await;
        assert_eq!(
            (status.as_u16(), code(&body).as_str()),
            (401, "not_signed_in"),
            "{path}"
        );
    }
    let token = b.welcome_token();
    let welcome = |name: &str, password: &str| Some(json!({"token": token, "name": name, "password": password}));
    let post = |path: &'static str, body| {
        let stranger = stranger.clone();
        async move {
            let (status, body) = stranger.request(reqwest::Method::POST, path, body).await;
            (status.as_u16(), code(&body))
        }
    };
    assert_eq!(
        post("/api/v1/welcome", welcome("Я", "long enough")).await,
        (400, "name_invalid".into())
    );
    assert_eq!(
        post("/api/v1/welcome", welcome("Рита", "short")).await,
        (400, "password_too_short".into())
    );
    let forged = Some(json!({"token": "AAAA", "name": "Рита", "password": "long enough"}));
    assert_eq!(post("/api/v1/welcome", forged).await, (403, "link_invalid".into()));
    assert_eq!(
        post("/api/v1/welcome", Some(json!({"nonsense": 1}))).await,
        (400, "body_invalid".into())
    );
    let large = Some(json!({"token": "x".repeat(70_000), "name": "Рита", "password": "long enough"}));
    assert_eq!(post("/api/v1/welcome", large).await, (413, "body_too_large".into()));
    let mut client = person(&b).await;
    assert_eq!(
        post("/api/v1/welcome", welcome("Вера", "long enough")).await,
        (403, "link_invalid".into())
    );
    let wrong = Some(json!({"name": "Рита", "password": "not the one"}));
    assert_eq!(
        post("/api/v1/sign-in", wrong).await,
        (401, "name_or_password_wrong".into())
    );
    let unknown = Some(json!({"name": "Никто", "password": "not the one"}));
    assert_eq!(
        post("/api/v1/sign-in", unknown).await,
        (401, "name_or_password_wrong".into())
    );

    // Another person's chat does not exist for them.
    let session = new_session(&mut client).await;
    let link = client.post("/api/v1/people/links", json!({"role": "user"})).await;
    let other_token = link["path"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
    let mut other = Client::new(b.http);
    other
        .post(
            "/api/v1/welcome",
            json!({"token": other_token, "name": "Вера", "password": "long enough"}),
        )
        .await;
    let (status, body) = other
        .request(reqwest::Method::GET, &format!("/api/v1/sessions/{session}"), None)
        .await;
    assert_eq!((status.as_u16(), code(&body).as_str()), (404, "not_found"));
    let (status, body) = other
        .request(
            reqwest::Method::POST,
            "/api/v1/people/links",
            Some(json!({"role": "user"})),
        )
        .await;
    assert_eq!((status.as_u16(), code(&body).as_str()), (403, "not_allowed"));
    let mut socket = other.socket().await;
    socket.say(&session, "outbox-1", "чужое").await;
    assert_eq!(socket.wait_for("error").await["code"], "not_found");
    socket.send(json!({"type": "no such frame"})).await;
    assert_eq!(socket.wait_for("error").await["code"], "body_invalid");
    socket.say(&session, "short", "x").await;
    assert_eq!(socket.wait_for("error").await["code"], "body_invalid");
    // A burst of sign-ins is slowed down.
    let mut limited = false;
    for _ in 0..20 {
        limited |= post(
            "/api/v1/sign-in",
            Some(json!({"name": "Рита", "password": "not the one"})),
        )
        .await
        .0 == 429;
    }
    assert!(limited, "twenty wrong passwords in a row are not all tried");
}
