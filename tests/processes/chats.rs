//! What people do with their chats, over real sockets and real nodes: an answer survives the death of its gateway, every device
//! follows it, and what was said can be said again, further, otherwise, or not at all.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    client::{Client, Socket},
    gateways::{Heard, mock_answer, two_gateways},
    process::{NodeProcess, PATIENCE},
};

async fn messages(client: &Client, session: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/v1/sessions/{session}")).await;
    page["messages"].as_array().unwrap().clone()
}

/// Until the chat has so many messages.
async fn wait_for_messages(client: &Client, session: &str, wanted: usize) {
    let path = format!("/api/v1/sessions/{session}");
    let arrive = async {
        loop {
            // Whoever asks without a pause is told to wait now and then.
            let (_, page) = client.request(Method::GET, &path, None).await;
            let count = page["messages"].as_array().map_or(0, Vec::len);
            if count >= wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, arrive).await.expect("the messages come");
}

async fn hear_until(socket: &mut Socket, heard: &mut Heard, enough: impl Fn(&Heard, &Value) -> bool) -> Value {
    loop {
        let frame = socket.next_within(PATIENCE).await.expect("frames come");
        assert!(
            heard.take(&frame),
            "no piece is lost and none doubled: {frame} after {heard:?}"
        );
        if enough(heard, &frame) {
            return frame;
        }
    }
}

const QUESTION: &str = "Расскажи [tokens 120]";

#[tokio::test]
async fn an_answer_goes_on_at_another_gateway_when_its_own_is_killed() {
    let (mut a, _b, mut at_a, at_b) = two_gateways(60).await;
    let session = at_a.first_chat().await;
    for round in 0..3 {
        let mut heard = Heard::default();
        let mut socket = at_a.socket().await;
        socket.say(&session, &format!("outbox-{round}"), QUESTION).await;
        hear_until(&mut socket, &mut heard, |heard, _| heard.characters() > 100).await;
        a.kill();
        let began = Instant::now();
        let mut socket = at_b.socket().await;
        socket.send(heard.open_frame(&session)).await;
        let before = heard.characters();
        hear_until(&mut socket, &mut heard, |heard, _| heard.characters() > before).await;
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "resumed after {:?}",
            began.elapsed()
        );
        let finished = hear_until(&mut socket, &mut heard, |_, frame| frame["type"] == "answer_finished").await;
        assert_eq!(heard.text, mock_answer(QUESTION, 120));
        assert_eq!(finished["as_streamed"], true);
        let stored = messages(&at_b, &session).await;
        assert_eq!(
            stored.last().unwrap()["text"],
            heard.text,
            "what is stored is what was said"
        );
        a.start();
        a.wait_for_status("A sees B's model", |status| {
            status["members"].to_string().contains("mock")
        });
        // A question that A had not told B of when it died comes when A is back.
        wait_for_messages(&at_b, &session, 2 * (round + 1)).await;
    }
}

/// The control: without a cursor the page is told the answer from its beginning, so what it had would be doubled.
#[tokio::test]
async fn without_its_cursor_a_page_hears_the_answer_from_the_beginning() {
    let (mut a, _b, mut at_a, at_b) = two_gateways(60).await;
    let session = at_a.first_chat().await;
    let mut heard = Heard::default();
    let mut socket = at_a.socket().await;
    socket.say(&session, "outbox-1", QUESTION).await;
    hear_until(&mut socket, &mut heard, |heard, _| heard.characters() > 100).await;
    a.kill();
    let mut socket = at_b.socket().await;
    socket.send(json!({"type": "open", "session_id": session})).await;
    let mut again = Heard::default();
    let started = hear_until(&mut socket, &mut again, |_, frame| frame["type"] == "answer_started").await;
    assert_eq!((&started["from"], &started["run"]), (&json!(0), &json!(heard.run)));
    hear_until(&mut socket, &mut again, |_, frame| frame["type"] == "answer_finished").await;
    assert_ne!(
        heard.text.clone() + &again.text,
        mock_answer(QUESTION, 120),
        "so the cursor is what keeps it whole"
    );
    assert_eq!(again.text, mock_answer(QUESTION, 120));
}

#[tokio::test]
async fn devices_at_two_gateways_follow_one_answer_and_one_of_them_stops_it() {
    let (_a, _b, mut at_a, at_b) = two_gateways(40).await;
    let session = at_a.first_chat().await;
    let (mut phone, mut desktop) = (at_a.socket().await, at_b.socket().await);
    let (mut on_phone, mut on_desktop) = (Heard::default(), Heard::default());
    phone.say(&session, "outbox-1", "Расскажи [tokens 200]").await;
    phone.wait_for("accepted").await;
    let asked = Instant::now();
    hear_until(&mut desktop, &mut on_desktop, |heard, _| heard.characters() > 10).await;
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "the other device follows after {:?}",
        asked.elapsed()
    );
    // The device that did not ask stops it.
    desktop.send(json!({"type": "stop", "session_id": session})).await;
    let on_desk = hear_until(&mut desktop, &mut on_desktop, |_, frame| {
        frame["type"] == "answer_finished"
    })
    .await;
    let on_phone_end = hear_until(&mut phone, &mut on_phone, |_, frame| frame["type"] == "answer_finished").await;
    assert_eq!(
        (&on_desk["reason"], &on_phone_end["reason"]),
        (&json!("stopped"), &json!("stopped"))
    );
    assert_eq!(on_phone.text, on_desktop.text);
    assert!(on_phone.text.len() < mock_answer("Расскажи [tokens 200]", 200).len());
}

#[tokio::test]
async fn a_question_whose_gateway_dies_before_it_is_answered_is_taken_over() {
    let (mut a, mut b, mut at_a, at_b) = two_gateways(200).await;
    let session = at_a.first_chat().await;
    // Nobody can answer: the question waits at A, and reaches B by replication when B is back.
    let mut socket = at_a.socket().await;
    socket.say(&session, "outbox-0", "Первый").await;
    socket.wait_for("answer_finished").await;
    b.kill();
    socket.say(&session, "outbox-1", "Ты там?").await;
    socket.wait_for("answer_waiting").await;
    b.start();
    let mut at_b_socket = at_b.socket().await;
    // The question reaches B.
    wait_for_messages(&at_b, &session, 3).await;
    a.kill();
    at_b_socket.send(json!({"type": "open", "session_id": session})).await;
    // B sees to it.
    wait_for_messages(&at_b, &session, 4).await;
}

/// One node with the mock, a person there, and a chat with one answered question.
async fn one_chat() -> (NodeProcess, Client, Socket, String) {
    let mut node = NodeProcess::init("B", "mock");
    node.start();
    let mut client = Client::new(node.http);
    let welcome = json!({"token": node.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    client.post("/api/v1/welcome", welcome).await;
    let session = client.first_chat().await;
    let mut socket = client.socket().await;
    socket.say(&session, "outbox-1", "Летают ли скворцы?").await;
    socket.wait_for("answer_finished").await;
    (node, client, socket, session)
}

async fn call(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let (status, body) = client.request(method, &format!("/api/v1{path}"), Some(body)).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn an_answer_is_said_again_and_further_and_a_question_otherwise() {
    let (_node, client, mut socket, session) = one_chat().await;
    let first = messages(&client, &session).await;
    let (question, answer) = (&first[0], &first[1]);
    let of_answer = format!("/sessions/{session}/messages/{}", answer["id"].as_str().unwrap());
    let wish = json!({"outbox_id": "again-001"});

    let (status, wished) = call(&client, Method::POST, &format!("{of_answer}/answers"), wish.clone()).await;
    assert_eq!((status, &wished["question_id"]), (202, &question["id"]));
    let finished = socket.wait_for("answer_finished").await;
    assert_eq!(finished["message"]["id"], wished["answer_id"]);
    let shown = messages(&client, &session).await;
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(shown[1]["id"], wished["answer_id"]);
    assert_eq!(shown[1]["alternatives"]["count"], 2);
    // Asked for once more under the same name, it is the one that is there: none is begun, or it would be finished before the next.
    let again = call(&client, Method::POST, &format!("{of_answer}/answers"), wish).await;
    assert_eq!(again, (202, wished));
    // Back to the first one.
    let change = json!({"current_id": shown[1]["alternatives"]["previous_id"]});
    assert_eq!(
        call(&client, Method::PATCH, &format!("/sessions/{session}"), change)
            .await
            .0,
        200
    );
    assert_eq!(messages(&client, &session).await[1]["id"], answer["id"]);

    // Further: the mock has said all its words already, so the text stays what it was.
    let (status, _) = call(
        &client,
        Method::POST,
        &format!("{of_answer}/continuation"),
        json!({"outbox_id": "further-1"}),
    )
    .await;
    assert_eq!(status, 202);
    let finished = socket.wait_for("answer_finished").await;
    assert_eq!(finished["message"]["id"], answer["id"]);
    assert_eq!(messages(&client, &session).await[1]["text"], answer["text"]);

    // Otherwise: another branch, with an answer of its own; the first one is still there.
    let edits = format!(
        "/sessions/{session}/messages/{}/edits",
        question["id"].as_str().unwrap()
    );
    let (status, edited) = call(
        &client,
        Method::POST,
        &edits,
        json!({"outbox_id": "edit-0001", "text": "А зимой?"}),
    )
    .await;
    assert_eq!((status, &edited["text"]), (201, &json!("А зимой?")));
    socket.wait_for("answer_finished").await;
    let shown = messages(&client, &session).await;
    assert_eq!((shown.len(), &shown[0]["id"]), (2, &edited["id"]), "{shown:?}");
    assert_eq!(shown[0]["alternatives"]["count"], 2);
    let back = json!({"current_id": question["id"]});
    call(&client, Method::PATCH, &format!("/sessions/{session}"), back).await;
    assert_eq!(messages(&client, &session).await[0]["text"], question["text"]);
    // A question is no answer.
    let wrong = format!(
        "/sessions/{session}/messages/{}/answers",
        question["id"].as_str().unwrap()
    );
    let (status, body) = call(&client, Method::POST, &wrong, json!({"outbox_id": "again-002"})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("no_answer")));
}

#[tokio::test]
async fn messages_are_deleted_restored_pinned_read_and_found_again() {
    let (_node, client, mut socket, session) = one_chat().await;
    let first = messages(&client, &session).await;
    let answer = first[1]["id"].as_str().unwrap().to_owned();
    let path = format!("/sessions/{session}/messages/{answer}");
    assert_eq!(
        call(&client, Method::PATCH, &path, json!({"deleted": true})).await.0,
        200
    );
    let gone = socket.wait_for("gone").await;
    assert_eq!(gone["message_ids"], json!([answer]));
    assert_eq!(messages(&client, &session).await.len(), 1);
    assert_eq!(
        call(&client, Method::PATCH, &path, json!({"deleted": false})).await.0,
        200
    );
    let back = socket.wait_for("message").await;
    assert_eq!(back["message"]["id"], answer);
    let (_, pinned) = call(&client, Method::PATCH, &path, json!({"pinned": true})).await;
    assert_eq!(pinned["pinned"], true);

    // Read marks reach the other devices and the list.
    let mut other = client.socket().await;
    let unread = client.get("/api/v1/sessions").await["sessions"][0]["unread"].clone();
    assert_eq!(unread, 1);
    socket
        .send(json!({"type": "read", "session_id": session, "message_id": answer}))
        .await;
    let read = other.wait_for("read").await;
    assert_eq!(read["message_id"], answer);
    assert_eq!(client.get("/api/v1/sessions").await["sessions"][0]["unread"], 0);
    socket
        .send(json!({"type": "typing", "session_id": session, "is_typing": true}))
        .await;
    assert_eq!(other.wait_for("typing").await["is_typing"], true);

    // Found in another form of the word; not by another person's words.
    let found = client
        .get("/api/v1/search?q=%D1%81%D0%BA%D0%B2%D0%BE%D1%80%D0%B5%D1%86")
        .await;
    assert_eq!(found["hits"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(found["is_complete"], true);
    assert_eq!(
        client.get("/api/v1/search?q=mocks").await["hits"][0]["message_id"],
        answer
    );
    assert_eq!(call(&client, Method::GET, "/search?q=%20", Value::Null).await.0, 400);

    // A summary in the person's words.
    let summary = format!("/sessions/{session}/summaries/{answer}");
    let (status, body) = call(&client, Method::PUT, &summary, json!({"text": "О скворцах."})).await;
    assert_eq!((status, &body["origin"]), (200, &json!("person")));
    let summaries = client.get(&format!("/api/v1/sessions/{session}/summaries")).await;
    assert_eq!(summaries["summaries"][0]["text"], "О скворцах.");

    // Jumps: to a time, to a message.
    let at = first[1]["at"].as_u64().unwrap() + 60_000;
    let none = client.get(&format!("/api/v1/sessions/{session}?at={at}")).await;
    assert_eq!(
        (none["messages"].as_array().unwrap().len(), &none["has_more"]),
        (0, &json!(true))
    );
    let around = client.get(&format!("/api/v1/sessions/{session}?around={answer}")).await;
    assert_eq!(around["messages"].as_array().unwrap().len(), 2);
    let both = format!("/sessions/{session}?around={answer}&at=5");
    assert_eq!(call(&client, Method::GET, &both, Value::Null).await.0, 400);
}

#[tokio::test]
async fn fifty_favourites_are_kept_and_the_fifty_first_is_refused() {
    let (_node, client, mut socket, session) = one_chat().await;
    let mut ids: Vec<Value> = messages(&client, &session)
        .await
        .into_iter()
        .map(|message| message["id"].clone())
        .collect();
    for number in 0..25 {
        if number % 8 == 0 {
            // The rate limit of messages is per socket.
            socket = client.socket().await;
        }
        socket.say(&session, &format!("favourite-{number}"), "Ещё одно").await;
        let accepted = socket.wait_for("accepted").await;
        // A socket that has just opened may hear of the answer before.
        let mut finished = socket.wait_for("answer_finished").await;
        while finished["message"]["question_id"] != accepted["message"]["id"] {
            finished = socket.wait_for("answer_finished").await;
        }
        ids.extend([accepted["message"]["id"].clone(), finished["message"]["id"].clone()]);
    }
    let path = |id: &Value| format!("/favourites/{session}/{}", id.as_str().unwrap());
    for id in &ids[..50] {
        assert_eq!(
            call(&client, Method::PUT, &path(id), json!({"note": "помню"})).await.0,
            204
        );
    }
    let (status, body) = call(&client, Method::PUT, &path(&ids[50]), json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("favourites_full")));
    let favourites = client.get("/api/v1/favourites").await;
    assert_eq!(favourites["favourites"].as_array().unwrap().len(), 50);
    assert_eq!(favourites["favourites"][0]["note"], "помню");
    assert_eq!(call(&client, Method::DELETE, &path(&ids[0]), Value::Null).await.0, 204);
    assert_eq!(call(&client, Method::DELETE, &path(&ids[0]), Value::Null).await.0, 404);
    assert_eq!(call(&client, Method::PUT, &path(&ids[50]), json!({})).await.0, 204);
}

#[tokio::test]
async fn a_page_learns_where_the_other_gateways_are() {
    let (a, _b, at_a, at_b) = two_gateways(60).await;
    let found = async {
        loop {
            let (_, found) = at_b.request(Method::GET, "/api/v1/gateways", None).await;
            if let Some(gateway) = found["gateways"].get(0) {
                return gateway.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let gateway = tokio::time::timeout(PATIENCE, found).await.expect("B learns of A");
    assert_eq!(
        (&gateway["name"], &gateway["origin"]),
        (&json!("A"), &json!(format!("http://{}", a.http)))
    );
    drop(at_a);
}
