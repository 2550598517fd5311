//! Looking after people: second factors, roles, blocks, bans, settings, and the log of all of it.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crdt::records::account::Role;
use keys::{Timestamp, totp};
use reqwest::Method;
use serde_json::{Value, json};
use tests::client::Client;

use crate::{
    gate::{Browser, Gate, PASSWORD, first, two, until},
    registration::set_mail,
    sink::Sink,
};

async fn signed_in(gate: &Gate, name: &str) -> Browser {
    let mut browser = gate.browser();
    let login = json!({"name": name, "password": PASSWORD});
    browser.post("/api/v1/sign-in", login).await.expect(200);
    browser
}

/// Gives a signed-in browser a second factor; returns its secret.
async fn second_factor(browser: &mut Browser) -> String {
    let begun = browser
        .post("/api/v1/account/second-factor/begin", json!({}))
        .await
        .expect(200);
    let secret = begun["secret"].as_str().unwrap().to_owned();
    let code = totp::code(&secret, totp::step_at(Timestamp::now())).unwrap();
    let set = json!({"secret": secret, "code": code, "password": PASSWORD});
    browser
        .send(Method::PUT, "/api/v1/account/second-factor", Some(set), &[])
        .await
        .expect(200);
    secret
}

// Red when: a dangerous act goes without a code, a code works twice, the password alone signs in, or a role that is given or taken
// does not act at the other node and on open sockets within two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn dangerous_acts_need_a_code_and_act_everywhere() {
    let (a, b) = two().await;
    a.account("Админ", &[Role::Administrator]).await;
    let rita = a.account("Рита", &[Role::User]).await.to_string();
    let mut admin = signed_in(&a, "Админ").await;
    let roles = format!("/api/v1/people/{rita}/roles");
    let wanted = || Some(json!({"roles": ["user", "moderator"]}));
    let reply = admin.send(Method::PUT, &roles, wanted(), &[]).await;
    reply.refused(403, "second_factor_required");
    let for_all = json!({"role": "administrator"});
    admin
        .post("/api/v1/people/links", for_all.clone())
        .await
        .refused(403, "second_factor_required");
    let secret = second_factor(&mut admin).await;
    admin.post("/api/v1/people/links", for_all).await.expect(201);
    admin.send(Method::PUT, &roles, wanted(), &[]).await.expect(204);
    let mut at_b = b.browser();
    let login = json!({"name": "Рита", "password": PASSWORD});
    until("the role is known at the other node", Duration::from_secs(2), || {
        let (mut at_b, login) = (at_b.clone(), login.clone());
        async move {
            let reply = at_b.post("/api/v1/sign-in", login).await;
            reply.status == 200 && reply.json()["person"]["role"] == "moderator"
        }
    })
    .await;
    at_b.post("/api/v1/sign-in", login.clone()).await.expect(200);
    at_b.get("/api/v1/people").await.expect(200);
    at_b.get("/api/v1/audit").await.refused(403, "not_allowed");
    // The same code again is worth nothing.
    let used = totp::code(&secret, totp::step_at(Timestamp::now())).unwrap();
    let reply = admin
        .post("/api/v1/account/second-factor/show", json!({"code": used}))
        .await;
    reply.refused(403, "second_factor_wrong");
    // Without the second factor nobody signs in as the administrator.
    let mut thief = a.browser();
    let password = json!({"name": "Админ", "password": PASSWORD});
    thief
        .post("/api/v1/sign-in", password)
        .await
        .refused(403, "second_factor_required");
    let wrong = json!({"name": "Админ", "password": PASSWORD, "code": "000000"});
    thief
        .post("/api/v1/sign-in", wrong)
        .await
        .refused(403, "second_factor_wrong");
    // A moderator is blocked at one node while a socket is open at the other.
    let mut client = Client::new(b.http);
    client.post("/api/v1/sign-in", login).await;
    let mut socket = client.socket().await;
    let block = json!({"blocked": true, "reason": "спам"});
    let began = Instant::now();
    admin
        .post(&format!("/api/v1/people/{rita}/block"), block)
        .await
        .expect(204);
    let closed = socket.next_within(Duration::from_secs(2)).await;
    assert!(
        closed.is_none() && began.elapsed() < Duration::from_secs(2),
        "{closed:?}"
    );
    println!(
        "an open socket at the other node was closed after {:?}",
        began.elapsed()
    );
    at_b.get("/api/v1/me").await.refused(403, "account_blocked");
    // Nobody takes the last administrator away, nor shuts themselves out.
    let me = admin.get("/api/v1/me").await.expect(200)["person"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let reply = admin
        .send(Method::PUT, &format!("/api/v1/people/{me}/roles"), wanted(), &[])
        .await;
    reply.refused(409, "conflict");
    let block = json!({"blocked": true, "reason": ""});
    admin
        .post(&format!("/api/v1/people/{me}/block"), block)
        .await
        .refused(409, "conflict");
    check_log(&mut admin, &me).await;
    a.stop().await;
    b.stop().await;
}

async fn check_log(admin: &mut Browser, me: &str) {
    let log = admin.get("/api/v1/audit?action=account.").await.expect(200);
    let acts: Vec<&str> = log["acts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act["action"].as_str().unwrap())
        .collect();
    assert_eq!(acts, ["account.block", "account.roles", "account.second-factor-set"]);
    assert_eq!(log["acts"][0]["by"], me);
    assert_eq!(log["acts"][0]["detail"], "спам");
    assert_eq!(log["acts"][1]["detail"], "user -> user moderator");
    assert_eq!(log["broken"], json!([]));
    let export = admin.get("/api/v1/audit/export").await;
    let text = String::from_utf8(export.bytes).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 3);
    for pair in lines.windows(2) {
        assert_eq!(
            pair[1]["previous"], pair[0]["hash"],
            "each line holds the hash of the one before"
        );
    }
}

// Red when: a ban does not reach the other node, hits somebody else, or can shut out whoever makes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_banned_is_refused_at_every_gateway_until_it_is_let_in_again() {
    let (a, b) = two().await;
    a.account("Админ", &[Role::Administrator]).await;
    let mut admin = signed_in(&a, "Админ").await;
    let ban = |address: &str| json!({"address": address, "reason": "flood", "minutes": 10});
    admin
        .post("/api/v1/bans", ban("127.0.0.1"))
        .await
        .refused(409, "conflict");
    admin
        .post("/api/v1/bans", ban("nowhere"))
        .await
        .refused(400, "body_invalid");
    admin.post("/api/v1/bans", ban("127.0.0.9")).await.expect(204);
    let banned = Browser::from_address(b.http, IpAddr::from([127, 0, 0, 9]));
    until("the ban is known at the other node", Duration::from_secs(2), || {
        let mut banned = banned.clone();
        async move { banned.get("/api/v1/sign-up").await.outcome() == (403, "address_banned".into()) }
    })
    .await;
    b.browser().get("/api/v1/sign-up").await.expect(200);
    let list = admin.get("/api/v1/bans").await.expect(200);
    assert_eq!(list["bans"][0]["address"], "127.0.0.9");
    admin
        .send(Method::DELETE, "/api/v1/bans/127.0.0.9", None, &[])
        .await
        .expect(204);
    until("it is let in again", Duration::from_secs(2), || {
        let mut banned = banned.clone();
        async move { banned.get("/api/v1/sign-up").await.status == 200 }
    })
    .await;
    a.stop().await;
    b.stop().await;
}

// Red when: a limit that is set does not hold, or a test letter does not say what became of it, or the mail password is told.
#[tokio::test(flavor = "multi_thread")]
async fn settings_hold_at_once_and_a_test_letter_says_what_became_of_it() {
    let gate = first().await;
    let (sink, server) = Sink::start().await;
    let (mut admin, bearer) = set_mail(&gate, server).await;
    let headers = [("authorization", bearer.as_str())];
    let test = || Some(json!({"to": "rita@example.org"}));
    let send = admin
        .send(Method::POST, "/api/v1/settings/test-mail", test(), &headers)
        .await;
    assert_eq!(send.expect(200), json!({"sent": true, "error": null}));
    assert_eq!(sink.letters().len(), 1);
    let set = Some(json!({"values": {"mail.port": 1}, "mail_password": "very secret"}));
    let settings = admin.send(Method::PUT, "/api/v1/settings", set, &headers).await;
    let text = String::from_utf8(settings.bytes.clone()).unwrap();
    let settings = settings.expect(200);
    assert_eq!(settings["has_mail_password"], true);
    assert!(!text.contains("very secret"));
    let failed = admin
        .send(Method::POST, "/api/v1/settings/test-mail", test(), &headers)
        .await
        .expect(200);
    assert_eq!(failed["sent"], false);
    assert!(!failed["error"].as_str().unwrap().is_empty());
    let wrong = Some(json!({"values": {"mail.host": "ok.example", "no.such": 1}}));
    admin
        .send(Method::PUT, "/api/v1/settings", wrong, &headers)
        .await
        .refused(400, "body_invalid");
    let now = admin
        .send(Method::GET, "/api/v1/settings", None, &headers)
        .await
        .expect(200);
    assert_eq!(now["values"]["mail.host"], "127.0.0.1", "all or nothing");
    let slow = Some(json!({"values": {"limits.requests_per_second_account": 1}}));
    admin
        .send(Method::PUT, "/api/v1/settings", slow, &headers)
        .await
        .expect(200);
    gate.account("Рита", &[Role::User]).await;
    let mut rita = signed_in(&gate, "Рита").await;
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(rita.get("/api/v1/me").await.status == 429);
    }
    assert!(refused >= 10, "{refused} of 20 at once");
    gate.stop().await;
}
