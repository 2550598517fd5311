//! What is told when no node can give another answer.

use crdt::records::{
    account::Role,
    character::Character,
    session::{Ending, Message, Session, SessionEdit, another_answer_id},
};
use keys::Timestamp;
use reqwest::Method;
use serde_json::json;
use tests::client::Client;

use crate::gate::{PASSWORD, first};

// Red when: whoever asks for another answer, or for more of one, where nobody can give it hears nothing, or sees another answer than the
// chosen one afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn another_answer_that_nobody_can_give_is_refused_in_words() {
    // A node without a model.
    let gate = first().await;
    let rita = gate.account("Рита", &[Role::User]).await;
    let (store, now) = (gate.node.store(), Timestamp::now());
    let character = store.list::<Character>().await.unwrap().first().unwrap().0;
    let chat = store.create(Session::new(rita, character, now)).await.unwrap();
    let question = Message::from_person("Кто ты?", "outbox-1", &chat, None, now);
    let answer = Message::answer(question.id, "Я Лис.", now.plus(1), "mock", Ending::Complete);
    let second = Message {
        id: another_answer_id(question.id, "outbox-2", now.plus(2)),
        ..Message::answer(question.id, "Лис.", now.plus(2), "mock", Ending::Complete)
    };
    let (asked, answers) = (question.id.to_string(), [answer.id.to_string(), second.id.to_string()]);
    for message in [question, answer, second] {
        store.edit(chat, SessionEdit::PutMessage(message)).await.unwrap();
    }
    let mut client = Client::new(gate.http);
    client
        .post("/api/v1/sign-in", json!({"name": "Рита", "password": PASSWORD}))
        .await;
    let path = format!("/api/v1/sessions/{chat}");
    // The one that the chat does not show by itself.
    let by_itself = client.get(&path).await["messages"][1]["id"].clone();
    let chosen = answers.iter().find(|answer| by_itself != **answer).unwrap();
    let choice = Some(json!({"current_id": chosen}));
    assert_eq!(client.request(Method::PATCH, &path, choice).await.0, 200);
    let mut socket = client.socket().await;
    for wish in ["answers", "continuation"] {
        let path = format!("/api/v1/sessions/{chat}/messages/{chosen}/{wish}");
        let body = Some(json!({"outbox_id": format!("wish-{wish}")}));
        let (status, wished) = client.request(Method::POST, &path, body).await;
        assert_eq!(status, 202, "{wished}");
        let refused = socket.wait_for("answer_refused").await;
        assert_eq!(
            (&refused["code"], &refused["question_id"], &refused["answer_id"]),
            (&json!("no_node_can_answer"), &json!(asked), &wished["answer_id"])
        );
        let shown = client.get(&format!("/api/v1/sessions/{chat}")).await;
        assert_eq!(shown["messages"][1]["id"], **chosen, "what was chosen stays: {shown}");
    }
    gate.stop().await;
}
