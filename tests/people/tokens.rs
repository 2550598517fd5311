//! Signing in, going on, and being signed out, at one node and at the other.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crdt::records::account::Role;
use reqwest::Method;
use serde_json::json;
use tests::client::Client;

use crate::gate::{Browser, PASSWORD, first, two, until};

/// What is revoked at one node is revoked at the other.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

// Red when: the one-time link makes no administrator, a token of one node is not believed by the other, a page's cookies can be
// read by scripts, or a foreign page may use them.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_one_node_and_is_known_at_the_other() {
    let (a, b) = two().await;
    let mut at_a = a.browser();
    let welcome = json!({"token": a.first_link(), "name": "Рита", "password": PASSWORD});
    let reply = at_a.post("/api/v1/welcome", welcome).await;
    for cookie in reply.headers.get_all("set-cookie") {
        let text = cookie.to_str().unwrap();
        assert!(text.contains("HttpOnly; SameSite=Strict"), "{text}");
    }
    let policy = reply.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let answer = reply.expect(201);
    assert_eq!(answer["person"]["role"], "administrator");
    let mut at_b = at_a.at(&b);
    until("the account is at the other node", Duration::from_secs(5), || {
        let mut at_b = at_b.clone();
        async move { at_b.get("/api/v1/me").await.status == 200 }
    })
    .await;
    // A program shows the token itself, from wherever it comes.
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let mut program = b.browser();
    let me = program
        .send(Method::GET, "/api/v1/me", None, &[("authorization", &bearer)])
        .await;
    assert_eq!(me.expect(200)["person"]["name"], "Рита");
    let forged = bearer.replace("Bearer A", "Bearer B");
    let reply = program
        .send(Method::GET, "/api/v1/me", None, &[("authorization", &forged)])
        .await;
    reply.refused(401, "not_signed_in");
    // Cookies of a person do not help a foreign page, neither with requests nor with the socket.
    let foreign = [("origin", "https://evil.example")];
    let link = Some(json!({"role": "user"}));
    let reply = at_b.send(Method::POST, "/api/v1/people/links", link, &foreign).await;
    reply.refused(403, "foreign_origin");
    let upgrade = [
        ("origin", "https://evil.example"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
    ];
    let reply = at_b.send(Method::GET, "/api/v1/ws", None, &upgrade).await;
    reply.refused(403, "foreign_origin");
    a.stop().await;
    b.stop().await;
}

// Red when: a refresh token works twice, a stolen one leaves the device signed in anywhere, or two tabs throw each other out.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_is_used_again_signs_its_device_out() {
    let (a, b) = two().await;
    a.account("Рита", &[Role::User]).await;
    let mut browser = a.browser();
    let login = json!({"name": "рита ", "password": PASSWORD});
    browser.post("/api/v1/sign-in", login).await.expect(200);
    let thief = browser.clone();
    browser.post("/api/v1/refresh", json!({})).await.expect(200);
    // Another tab had asked at the same moment.
    thief.clone().post("/api/v1/refresh", json!({})).await.expect(200);
    browser.post("/api/v1/refresh", json!({})).await.expect(200);
    browser.get("/api/v1/me").await.expect(200);
    let mut at_b = browser.at(&b);
    until("the device is known at the other node", Duration::from_secs(5), || {
        let mut at_b = at_b.clone();
        async move { at_b.get("/api/v1/me").await.status == 200 }
    })
    .await;
    let began = Instant::now();
    let reply = thief.clone().post("/api/v1/refresh", json!({})).await;
    reply.refused(401, "token_reused");
    browser.get("/api/v1/me").await.refused(401, "not_signed_in");
    until("the other node knows", REVOKED_WITHIN, || {
        let mut at_b = at_b.clone();
        async move { at_b.get("/api/v1/me").await.status == 401 }
    })
    .await;
    println!("revoked at the other node after {:?}", began.elapsed());
    at_b.post("/api/v1/refresh", json!({}))
        .await
        .refused(401, "not_signed_in");
    a.stop().await;
    b.stop().await;
}

// Red when: signing out leaves a token or a socket alive at the other node for two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_tokens_and_open_sockets_everywhere() {
    let (a, b) = two().await;
    a.account("Рита", &[Role::User]).await;
    let login = json!({"name": "Рита", "password": PASSWORD});
    let (mut one, mut other) = (a.browser(), a.browser());
    one.post("/api/v1/sign-in", login.clone()).await.expect(200);
    other.post("/api/v1/sign-in", login.clone()).await.expect(200);
    let mut client = Client::new(b.http);
    until("the account is at the other node", Duration::from_secs(5), || {
        let mut at_b = one.at(&b);
        async move { at_b.get("/api/v1/me").await.status == 200 }
    })
    .await;
    client.post("/api/v1/sign-in", login).await;
    let mut socket = client.socket().await;
    // One device leaves; the others stay.
    let copy = one.clone();
    one.post("/api/v1/sign-out", json!({})).await.expect(204);
    assert!(one.cookies.is_empty());
    copy.clone().get("/api/v1/me").await.refused(401, "not_signed_in");
    other.get("/api/v1/me").await.expect(200);
    let began = Instant::now();
    other.post("/api/v1/sign-out/everywhere", json!({})).await.expect(204);
    let closed = socket.next_within(REVOKED_WITHIN).await;
    assert!(
        closed.is_none() && began.elapsed() < REVOKED_WITHIN,
        "{closed:?} after {:?}",
        began.elapsed()
    );
    let (status, _) = client.request(Method::GET, "/api/v1/me", None).await;
    assert_eq!(status, 401);
    a.stop().await;
    b.stop().await;
}

// Red when: the sixth device signs nobody out, or another one than the longest unused.
#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_device_makes_the_longest_unused_leave() {
    let gate = first().await;
    gate.account("Рита", &[Role::User]).await;
    let mut browsers = Vec::new();
    for number in 0..6 {
        let mut browser = gate.browser();
        let agent = format!("device {number}");
        let login = Some(json!({"name": "Рита", "password": PASSWORD}));
        let reply = browser
            .send(Method::POST, "/api/v1/sign-in", login, &[("user-agent", &agent)])
            .await;
        reply.expect(200);
        browsers.push(browser);
    }
    browsers[0].get("/api/v1/me").await.refused(401, "not_signed_in");
    let devices = browsers[1].get("/api/v1/account/devices").await.expect(200);
    let devices = devices["devices"].as_array().unwrap().clone();
    let labels: Vec<_> = devices.iter().map(|device| device["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["device 5", "device 4", "device 3", "device 2", "device 1"]);
    assert_eq!(devices[4]["is_this"], true);
    // A device is signed out from another one.
    let path = format!("/api/v1/account/devices/{}", devices[0]["id"].as_str().unwrap());
    browsers[1].send(Method::DELETE, &path, None, &[]).await.expect(204);
    browsers[5].get("/api/v1/me").await.refused(401, "not_signed_in");
    browsers[1]
        .send(Method::DELETE, &path, None, &[])
        .await
        .refused(404, "not_found");
    browsers[4].get("/api/v1/me").await.expect(200);
    gate.stop().await;
}

// Red when: guessing goes on at full speed after three wrong passwords, somebody at another address is shut out with the guesser,
// or the answer tells a known name from an unknown one.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_make_the_next_try_wait() {
    let gate = first().await;
    gate.account("Рита", &[Role::User]).await;
    let address = |last: u8| IpAddr::from([127, 0, 0, last]);
    for (last, name) in [(2, "Рита"), (3, "Никто")] {
        let mut guesser = Browser::from_address(gate.http, address(last));
        for _ in 0..3 {
            let reply = guesser
                .post("/api/v1/sign-in", json!({"name": name, "password": "wrong one"}))
                .await;
            reply.refused(401, "name_or_password_wrong");
        }
        let reply = guesser
            .post("/api/v1/sign-in", json!({"name": name, "password": PASSWORD}))
            .await;
        reply.refused(429, "too_many_requests");
        let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=6).contains(&wait), "{wait}");
    }
    let mut elsewhere = Browser::from_address(gate.http, address(4));
    let login = json!({"name": "Рита", "password": PASSWORD});
    elsewhere.post("/api/v1/sign-in", login).await.expect(200);
    gate.stop().await;
}

// Red when: an unknown name is answered sooner than a wrong password.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    let gate = first().await;
    for number in 0..8 {
        gate.account(&format!("Рита {number}"), &[Role::User]).await;
    }
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..8u8 {
        for (kind, name) in [format!("Рита {round}"), format!("Никто {round}")]
            .into_iter()
            .enumerate()
        {
            let mut guesser = Browser::from_address(gate.http, IpAddr::from([127, 0, 1, 1 + round]));
            let began = Instant::now();
            let reply = guesser
                .post("/api/v1/sign-in", json!({"name": name, "password": "wrong one"}))
                .await;
            times[kind].push(began.elapsed());
            reply.refused(401, "name_or_password_wrong");
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    println!("median for a known name {known:?}, for an unknown one {unknown:?}");
    // A password hash takes tens of milliseconds; without one the answer comes in one or two.
    assert!(unknown * 2 > known && known * 2 > unknown, "{known:?} and {unknown:?}");
    gate.stop().await;
}
