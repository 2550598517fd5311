//! What nobody should ask: too much, nonsense, the same again, the second step before the first, and what is somebody else's. Each gets
//! its own code, and nothing comes of it.

use crdt::records::{
    EntryId,
    account::Role,
    session::{Ending, Message, Session, SessionEdit},
};
use inference::desk::FurtherWish;
use keys::{Timestamp, totp};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{client::Client, process::PATIENCE};

use crate::{
    complaints::{answer, character},
    gate::{Caller, Gate, PASSWORD, first, first_with, until},
};

/// Somebody with a role, and an answer in a chat: paths of the chat and of the answer.
async fn with_chat(gate: &Gate, name: &str, role: Role) -> (Caller, String, String) {
    let person = gate.account(name, &[role]).await;
    let character = character(gate, &format!("Персонаж: {name}"), person).await;
    let (chat, answer) = answer(gate, person, character).await;
    (
        Caller::of(gate, person).await,
        format!("/api/v1/sessions/{chat}"),
        answer,
    )
}

// Red when: a malformed or oversized request is answered with another code, in another shape, or by an error of the node.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_excess_get_their_codes() {
    let gate = first().await;
    let (rita, chat, answer) = with_chat(&gate, "Рита", Role::Administrator).await;
    let message = format!("{chat}/messages/{answer}");
    for (method, path) in [
        // What a path says is text.
        (Method::GET, "/api/v1/sessions/%ff".to_owned()),
        (Method::PATCH, format!("{chat}/messages/%ff")),
        (Method::DELETE, "/api/v1/bans/%ff".to_owned()),
        // What stands behind the question mark is missing, no number, or no id.
        (Method::GET, "/api/v1/search".to_owned()),
        (Method::GET, format!("{chat}?at=yesterday")),
        (Method::GET, "/api/v1/audit?skip=-1".to_owned()),
        (Method::GET, "/api/v1/complaints/mine?limit=1000".to_owned()),
    ] {
        let body = (method == Method::PATCH).then(|| json!({}));
        let reply = rita.send(method, &path, body).await;
        assert_eq!(reply.outcome(), (400, "body_invalid".to_owned()), "{path}");
    }
    for (path, body) in [
        (format!("{message}/edits"), json!(["no", "object"])),
        (format!("{message}/edits"), json!({"outbox_id": "outbox-2"})),
        (
            format!("{message}/edits"),
            json!({"outbox_id": "short", "text": "Лис."}),
        ),
        (
            format!("{message}/answers"),
            json!({"outbox_id": "outbox-2", "colour": "red"}),
        ),
        (
            "/api/v1/complaints".into(),
            json!({"about": {"kind": "weather"}, "reason": "other"}),
        ),
        (
            "/api/v1/bans".into(),
            json!({"address": "nowhere", "reason": "", "minutes": 1}),
        ),
    ] {
        let reply = rita.post(&path, body).await;
        assert_eq!(reply.outcome(), (400, "body_invalid".to_owned()), "{path}");
    }
    let blank = json!({"outbox_id": "outbox-2", "text": " \n"});
    rita.post(&format!("{message}/edits"), blank)
        .await
        .refused(400, "text_empty");
    let large = json!({"outbox_id": "outbox-2", "text": "x".repeat(64 * 1024)});
    rita.post(&format!("{message}/edits"), large)
        .await
        .refused(413, "body_too_large");
    // A frame that is too large ends its socket, and only that one.
    let token = gate.device(gate.account("Вера", &[Role::User]).await, false).await;
    let client = Client::new(gate.http).with_bearer(&token);
    let (mut socket, mut other) = (client.socket().await, client.socket().await);
    socket
        .send(json!({"type": "typing", "session_id": "x".repeat(16 * 1024), "is_typing": true}))
        .await;
    assert_eq!(socket.next_within(PATIENCE).await, None);
    other.send(json!({"type": "typing"})).await;
    assert_eq!(other.wait_for("error").await["code"], "body_invalid");
    gate.stop().await;
}

// Red when: what is sent again counts twice, or a second step is taken before the first.
#[tokio::test(flavor = "multi_thread")]
async fn repetition_and_wrong_order_change_nothing() {
    let gate = first().await;
    let (rita, chat, answer) = with_chat(&gate, "Рита", Role::Administrator).await;
    let message = |id: &str| format!("{chat}/messages/{id}");
    // An edited answer and an edited question: each sent twice.
    let mend = json!({"outbox_id": "mend-001", "text": "Лучше не прыгай."});
    let mended = rita
        .post(&format!("{}/edits", message(&answer)), mend.clone())
        .await
        .expect(201);
    let again = rita
        .post(&format!("{}/edits", message(&answer)), mend)
        .await
        .expect(201);
    assert_eq!(mended, again);
    let document = keys::ContentId::parse(chat.rsplit('/').next().unwrap()).unwrap();
    let stored: Session = gate.node.store().read(document).await.unwrap();
    let versions = stored.messages.iter().map(|message| message.versions.len()).max();
    assert_eq!(versions, Some(2), "the first text and one change");
    let question = rita.get(&chat).await.expect(200)["messages"][0]["id"].clone();
    let question = question.as_str().unwrap();
    let path = format!("{}/edits", message(question));
    let body = json!({"outbox_id": "edit-001", "text": "Что делать зимой?"});
    let (once, twice) = (rita.post(&path, body.clone()).await, rita.post(&path, body).await);
    assert!(once.status.is_success(), "{path}: {}", once.json());
    let name = |reply: &Value| [reply["id"].clone(), reply["answer_id"].clone()];
    assert_eq!(name(&once.json()), name(&twice.json()), "{path}");
    // A question has no other answer of its own, and is not said further.
    for wish in ["answers", "continuation"] {
        let body = json!({"outbox_id": "wish-002"});
        let path = format!("{}/{wish}", message(question));
        rita.post(&path, body).await.refused(409, "no_answer");
    }
    // Another answer that is there is not asked for once more.
    let question = EntryId::parse(question).unwrap();
    let path = format!("{}/answers", message(&answer));
    let wish = json!({"outbox_id": "wish-003"});
    let wished = rita.post(&path, wish.clone()).await.expect(202);
    let another = Message {
        id: EntryId::parse(wished["answer_id"].as_str().unwrap()).unwrap(),
        ..Message::answer(question, "Или прыгай.", Timestamp::now(), "mock", Ending::Complete)
    };
    let store = gate.node.store();
    store.edit(document, SessionEdit::PutMessage(another)).await.unwrap();
    until("the gateway knows it", PATIENCE, || async {
        rita.get(&chat).await.json()["messages"][1]["alternatives"]["count"] == 2
    })
    .await;
    assert_eq!(rita.post(&path, wish).await.expect(202), wished);
    let other = rita.post(&path, json!({"outbox_id": "wish-004"})).await.expect(202);
    assert_ne!(other, wished, "the control: another wish is another answer");
    let stored: Session = store.read(document).await.unwrap();
    let answers = stored
        .messages
        .iter()
        .filter(|message| message.parent == Some(question));
    assert_eq!(answers.count(), 2, "the first answer and one more");
    // A second factor is shown and removed only after it was set, and set once.
    let factor = |part: &str| format!("/api/v1/account/second-factor{part}");
    let no_factor = rita.post(&factor("/show"), json!({"code": "123456"})).await;
    no_factor.refused(403, "second_factor_missing");
    let body = json!({"password": PASSWORD, "code": "123456"});
    rita.post(&factor("/remove"), body)
        .await
        .refused(403, "second_factor_missing");
    let secret = rita.post(&factor("/begin"), json!({})).await.expect(200)["secret"].clone();
    let code = totp::code(secret.as_str().unwrap(), totp::step_at(Timestamp::now())).unwrap();
    let set = json!({"secret": secret, "code": code, "password": PASSWORD});
    rita.send(Method::PUT, &factor(""), Some(set.clone())).await.expect(200);
    rita.send(Method::PUT, &factor(""), Some(set))
        .await
        .refused(409, "conflict");
    // What is gone is not gone once more.
    let key = json!({"label": "a script", "scopes": ["models"], "days": 1});
    let key = rita.post("/api/v1/keys", key).await.expect(201)["key"]["id"].clone();
    let key = format!("/api/v1/keys/{}", key.as_str().unwrap());
    rita.send(Method::DELETE, &key, None).await.expect(204);
    rita.send(Method::DELETE, &key, None).await.refused(404, "not_found");
    gate.stop().await;
}

/// An answer as it is stored, with every text that it has had.
async fn stored(gate: &Gate, chat: &str, answer: &str) -> Message {
    let document = keys::ContentId::parse(chat.rsplit('/').next().unwrap()).unwrap();
    let chat: Session = gate.node.store().read(document).await.unwrap();
    let mut messages = chat.messages.into_iter();
    messages.find(|message| message.id.to_string() == answer).unwrap()
}

// Red when: a wish to have an answer said further that is sent again, while it comes true or later, has it said further once more. The
// control: another wish does.
#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_that_is_sent_again_is_no_further_one() {
    // Slow enough for the second wish to come while the first comes true: a second for its six words.
    let gate = first_with(|config, _| config.inference.model = "mock:6".into())
        .await
        .unwrap();
    let (rita, chat, answer) = with_chat(&gate, "Рита", Role::User).await;
    let mut socket = rita.socket(&gate).await;
    let path = format!("{chat}/messages/{answer}/continuation");
    let (wish, other) = (json!({"outbox_id": "further-1"}), json!({"outbox_id": "further-2"}));
    let once = rita.post(&path, wish.clone()).await.expect(202);
    socket.wait_for("answer_started").await;
    let meanwhile = rita.post(&path, wish.clone()).await.expect(202);
    socket.wait_for("answer_finished").await;
    let texts = stored(&gate, &chat, &answer).await.versions.len();
    assert_eq!(texts, 2, "it was said further once");
    let later = rita.post(&path, wish).await.expect(202);
    assert_eq!((&meanwhile, &later), (&once, &once));
    // The desk sees to wishes for one answer one after the other: what came of the others would be there before this one.
    rita.post(&path, other).await.expect(202);
    let other = FurtherWish::of(EntryId::parse(&answer).unwrap(), "further-2");
    until("the other wish came true", PATIENCE, || async {
        other.came_true(&stored(&gate, &chat, &answer).await)
    })
    .await;
    let texts = stored(&gate, &chat, &answer).await.versions.len();
    assert_eq!(texts, 3, "and once more for another wish");
    gate.stop().await;
}

/// Everything that is asked of one's own: method, path and body.
fn own(chat: &str, answer: &str, key: &str, device: &str) -> Vec<(Method, String, Option<Value>)> {
    let message = format!("{chat}/messages/{answer}");
    let favourite = format!("/api/v1/favourites/{}/{answer}", chat.rsplit('/').next().unwrap());
    let session = chat.rsplit('/').next().unwrap();
    let about = json!({"kind": "answer", "session_id": session, "message_id": answer});
    vec![
        (Method::GET, chat.into(), None),
        (Method::PATCH, chat.into(), Some(json!({"title": "чужое"}))),
        (Method::PATCH, message.clone(), Some(json!({"pinned": true}))),
        (
            Method::POST,
            format!("{message}/answers"),
            Some(json!({"outbox_id": "outbox-9"})),
        ),
        (
            Method::POST,
            format!("{message}/continuation"),
            Some(json!({"outbox_id": "outbox-8"})),
        ),
        (
            Method::POST,
            format!("{message}/edits"),
            Some(json!({"outbox_id": "outbox-7", "text": "чужое"})),
        ),
        (Method::GET, format!("{chat}/summaries"), None),
        (
            Method::PUT,
            format!("{chat}/summaries/{answer}"),
            Some(json!({"text": "чужое"})),
        ),
        (Method::PUT, favourite.clone(), Some(json!({"note": "чужое"}))),
        (Method::DELETE, favourite, None),
        (
            Method::POST,
            "/api/v1/complaints".into(),
            Some(json!({"about": about, "reason": "other"})),
        ),
        (Method::DELETE, format!("/api/v1/keys/{key}"), None),
        (Method::DELETE, format!("/api/v1/account/devices/{device}"), None),
    ]
}

// Red when: somebody reads or changes what is another person's, an administrator included, or learns that it is there. The control:
// whose it is does all of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_persons_is_not_there() {
    let gate = first().await;
    let (rita, chat, answer) = with_chat(&gate, "Рита", Role::Manager).await;
    let key = json!({"label": "a script", "scopes": ["models"], "days": 1});
    let key = rita.post("/api/v1/keys", key).await.expect(201)["key"]["id"].clone();
    let devices = rita.get("/api/v1/account/devices").await.expect(200);
    let device = devices["devices"][0]["id"].clone();
    let all = own(&chat, &answer, key.as_str().unwrap(), device.as_str().unwrap());
    let before = rita.get(&chat).await.expect(200);
    for role in [Role::User, Role::Manager, Role::Administrator] {
        let other = gate.account(&format!("Чужой: {}", role.name()), &[role]).await;
        let other = Caller::of(&gate, other).await;
        for (method, path, body) in all.clone() {
            let reply = other.send(method.clone(), &path, body).await;
            let outcome = reply.outcome();
            assert_eq!(
                outcome,
                (404, "not_found".to_owned()),
                "{method} {path} as {}",
                role.name()
            );
        }
    }
    assert_eq!(rita.get(&chat).await.expect(200), before, "and nothing has changed");
    for (method, path, body) in all {
        let reply = rita.send(method.clone(), &path, body).await;
        assert!(reply.status.is_success(), "{method} {path}: {}", reply.json());
    }
    gate.stop().await;
}
