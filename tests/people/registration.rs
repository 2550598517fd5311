//! From a stranger to a person, with letters and without.

use std::time::{Duration, Instant};

use crdt::records::account::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    gate::{Browser, Gate, PASSWORD, first, two, until},
    sink::{Sink, body, token},
};

/// A lease, a moment for everyone to hear of it, and the turn of the second node at the latest.
const LETTER_WITHIN: Duration = Duration::from_secs(30);

/// Sets the mail server, as an administrator with a code does.
pub async fn set_mail(gate: &Gate, address: std::net::SocketAddr) -> (Browser, String) {
    let administrator = gate.account("Админ", &[Role::Administrator]).await;
    let bearer = format!("Bearer {}", gate.device(administrator, true).await);
    let mut browser = gate.browser();
    let values = json!({"values": {
        "mail.host": address.ip().to_string(), "mail.port": address.port(), "mail.security": "none",
        "mail.from": "Starling <starling@example.org>", "site.address": "https://chat.example/",
    }});
    let headers = [("authorization", bearer.as_str())];
    browser
        .send(Method::PUT, "/api/v1/settings", Some(values), &headers)
        .await
        .expect(200);
    (browser, bearer)
}

async fn consents(browser: &mut Browser) -> Value {
    let terms = browser.get("/api/v1/sign-up?language=ru").await.expect(200);
    let list = terms["consents"].as_array().unwrap();
    assert!(list.iter().all(|terms| !terms["text"].as_str().unwrap().is_empty()));
    json!({"terms": list[0]["hash"], "personal_data": list[1]["hash"]})
}

fn stranger(name: &str, email: &str, consents: &Value) -> Value {
    json!({"name": name, "email": email, "password": PASSWORD, "language": "ru", "consents": consents})
}

// Red when: a letter does not come or comes twice, the account can be used before it is confirmed, a link works twice, or a
// consent is not kept with its words.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_signs_up_confirms_and_resets_the_password_by_letters_that_leave_once() {
    let (a, b) = two().await;
    let (sink, server) = Sink::start().await;
    set_mail(&a, server).await;
    let mut at_b = b.browser();
    until("the second node knows the mail server", Duration::from_secs(5), || {
        let mut at_b = at_b.clone();
        async move { at_b.get("/api/v1/sign-up").await.json()["confirmed_by"] == "mail" }
    })
    .await;
    let consents = consents(&mut at_b).await;
    let began = Instant::now();
    let answer = at_b
        .post("/api/v1/sign-up", stranger("Рита", "rita@example.org", &consents))
        .await
        .expect(202);
    assert_eq!(answer, json!({"confirmed_by": "mail", "resend_after_seconds": 60}));
    let login = json!({"name": "rita@example.org", "password": PASSWORD});
    at_b.post("/api/v1/sign-in", login.clone())
        .await
        .refused(403, "not_confirmed");
    until("the letter comes", LETTER_WITHIN, || async {
        !sink.letters().is_empty()
    })
    .await;
    println!("the letter came after {:?}", began.elapsed());
    let letter = sink.letters()[0].clone();
    assert!(letter.contains("To: rita@example.org"), "{letter}");
    assert!(body(&letter).contains("Здравствуйте, Рита!"), "{letter}");
    let token_text = token(&letter, "confirm");
    // Another one a moment later is not written, whoever asks.
    let resend = json!({"email": "rita@example.org"});
    at_b.post("/api/v1/sign-up/resend", resend).await.expect(202);
    // Confirmed at the other node: it has heard of the account by now.
    let mut at_a = a.browser();
    let confirm = json!({"token": token_text});
    at_a.post("/api/v1/sign-up/confirm", confirm.clone()).await.expect(204);
    at_a.post("/api/v1/sign-up/confirm", confirm)
        .await
        .refused(403, "link_invalid");
    let signed_in = at_a.post("/api/v1/sign-in", login.clone()).await.expect(200);
    assert_eq!(signed_in["person"]["role"], "user");
    let kept = at_a.get("/api/v1/account/consents").await.expect(200);
    let kept = kept["consents"].as_array().unwrap();
    assert_eq!(kept.len(), 2);
    for consent in kept {
        assert_eq!(consent["text_hash"], consents[consent["kind"].as_str().unwrap()]);
        assert_eq!(
            (&consent["given"], &consent["edition"], &consent["address"]),
            (&json!(true), &json!(1), &json!("127.0.0.1"))
        );
    }
    // Long enough for the turn of the other node to pass: nobody sends the letter again.
    until(
        "the turn of the other node is over",
        Duration::from_secs(20),
        || async { began.elapsed() > Duration::from_secs(16) },
    )
    .await;
    assert_eq!(sink.letters().len(), 1, "a letter leaves once");
    a.stop().await;
    b.stop().await;
}

// Red when: a forgotten password cannot be changed by letter, the link works twice, or a device stays signed in.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_changed_by_a_letter() {
    let gate = first().await;
    let (sink, server) = Sink::start().await;
    set_mail(&gate, server).await;
    let mut browser = gate.browser();
    let consents = consents(&mut browser).await;
    let person = gate.account("Рита", &[Role::User]).await;
    gate.node
        .store()
        .edit(
            person,
            crdt::records::account::AccountEdit::SetEmail(Some("rita@example.org".into())),
        )
        .await
        .unwrap();
    let login = json!({"name": "Рита", "password": PASSWORD});
    browser.post("/api/v1/sign-in", login.clone()).await.expect(200);
    let mut stranger_browser = gate.browser();
    for email in ["nobody@example.org", " RITA@example.org"] {
        let answer = stranger_browser
            .post("/api/v1/password/forgot", json!({"email": email}))
            .await;
        assert_eq!(answer.expect(202)["confirmed_by"], "mail", "the same for both");
    }
    until("the letter comes", LETTER_WITHIN, || async {
        !sink.letters().is_empty()
    })
    .await;
    let reset = json!({"token": token(&sink.letters()[0], "reset"), "password": "another battery"});
    stranger_browser
        .post("/api/v1/password/reset", reset.clone())
        .await
        .expect(204);
    stranger_browser
        .post("/api/v1/password/reset", reset)
        .await
        .refused(403, "link_invalid");
    browser.get("/api/v1/me").await.refused(401, "not_signed_in");
    browser
        .post("/api/v1/sign-in", login)
        .await
        .refused(401, "name_or_password_wrong");
    let login = json!({"name": "Рита", "password": "another battery"});
    browser.post("/api/v1/sign-in", login).await.expect(200);
    // Whoever asks for an account with that address is answered as any other; only its owner is told.
    let asked = stranger("Другая", "rita@example.org", &consents);
    let answer = stranger_browser.post("/api/v1/sign-up", asked).await.expect(202);
    assert_eq!(answer, json!({"confirmed_by": "mail", "resend_after_seconds": 60}));
    gate.stop().await;
}

// Red when: one of the two consents is enough, the address or the name is not looked at, or nobody can be let in without letters.
#[tokio::test(flavor = "multi_thread")]
async fn without_letters_an_administrator_lets_people_in() {
    let gate = first().await;
    let mut browser = gate.browser();
    let consents = consents(&mut browser).await;
    for (name, email, consents, code, status) in [
        (
            "Рита",
            "rita@example.org",
            json!({"terms": consents["terms"]}),
            "consent_missing",
            400,
        ),
        (
            "Рита",
            "rita@example.org",
            json!({"personal_data": consents["personal_data"]}),
            "consent_missing",
            400,
        ),
        (
            "Рита",
            "rita@example.org",
            json!({"terms": "0".repeat(64), "personal_data": consents["personal_data"]}),
            "consent_missing",
            400,
        ),
        ("Рита", "rita at example", consents.clone(), "email_invalid", 400),
        (
            "rita@example.org",
            "rita@example.org",
            consents.clone(),
            "name_invalid",
            400,
        ),
        ("Р", "rita@example.org", consents.clone(), "name_invalid", 400),
    ] {
        let reply = browser.post("/api/v1/sign-up", stranger(name, email, &consents)).await;
        reply.refused(status, code);
    }
    let asked = stranger("Рита", "rita@example.org", &consents);
    let answer = browser.post("/api/v1/sign-up", asked.clone()).await.expect(202);
    assert_eq!(answer["confirmed_by"], "administrator");
    let again = stranger("РИТА", "other@example.org", &consents);
    browser.post("/api/v1/sign-up", again).await.refused(409, "name_taken");
    let administrator = gate.account("Админ", &[Role::Administrator]).await;
    let bearer = format!("Bearer {}", gate.device(administrator, false).await);
    let headers = [("authorization", bearer.as_str())];
    let mut admin = gate.browser();
    let waiting = admin
        .send(Method::GET, "/api/v1/people?state=waiting", None, &headers)
        .await
        .expect(200);
    assert_eq!(waiting["total"], 1);
    assert_eq!(waiting["people"][0]["email"], "rita@example.org");
    let path = format!(
        "/api/v1/people/{}/approve",
        waiting["people"][0]["id"].as_str().unwrap()
    );
    admin
        .send(Method::POST, &path, Some(json!({})), &headers)
        .await
        .expect(204);
    admin
        .send(Method::POST, &path, Some(json!({})), &headers)
        .await
        .refused(409, "conflict");
    let login = json!({"name": "Rita@Example.org", "password": PASSWORD});
    browser.post("/api/v1/sign-in", login).await.expect(200);
    gate.stop().await;
}
