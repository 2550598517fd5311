//! Keys of programs: made, shown once, limited, taken back, at every gateway of a mesh.

use std::time::Duration;

use crdt::records::account::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Browser, Gate, Reply, first, two, until};

struct Person {
    browser: Browser,
    bearer: String,
}

impl Person {
    async fn new(gate: &Gate, roles: &[Role]) -> Self {
        let account = gate.account("Рита", roles).await;
        Self {
            browser: gate.browser(),
            bearer: format!("Bearer {}", gate.device(account, false).await),
        }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let headers = [("authorization", self.bearer.as_str())];
        self.browser.send(method, path, body, &headers).await
    }

    /// A key's secret and its id.
    async fn key(&mut self, scopes: &[&str]) -> (String, String) {
        let body = json!({"label": "a script", "scopes": scopes, "days": 1});
        let made = self.send(Method::POST, "/api/v1/keys", Some(body)).await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["secret"]), text(&made["key"]["id"]))
    }
}

async fn ask(gate: &Gate, key: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
    let bearer = format!("Bearer {key}");
    gate.browser()
        .send(method, path, body, &[("authorization", &bearer)])
        .await
}

async fn models(gate: &Gate, key: &str) -> Reply {
    ask(gate, key, Method::GET, "/v1/models", None).await
}

// Red when: a key is shown twice or kept as it is, counts outside its scope or under `/api`, or after it was taken back anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_at_every_gateway_until_it_is_taken_back() {
    let (here, there) = two().await;
    let mut person = Person::new(&here, &[Role::User]).await;
    let (key, id) = person.key(&["models"]).await;
    let listed = person.send(Method::GET, "/api/v1/keys", None).await;
    assert!(
        !String::from_utf8_lossy(&listed.bytes).contains(&key),
        "it is shown once"
    );
    let listed = listed.expect(200);
    assert_eq!(listed["keys"][0]["id"], json!(id));
    assert_eq!(listed["keys"][0]["scopes"], json!(["models"]));

    assert_eq!(models(&here, &key).await.expect(200)["object"], "list");
    let arrives = || async { models(&there, &key).await.status == 200 };
    until("the key counts at the other gateway", Duration::from_secs(5), arrives).await;
    let chat = json!({"model": "built-in", "messages": [{"role": "user", "content": "?"}]});
    let outside = ask(&here, &key, Method::POST, "/v1/chat/completions", Some(chat)).await;
    outside.refused(403, "key_scope_missing");
    assert_eq!(outside.json()["error"]["type"], "permission_error");
    ask(&here, &key, Method::GET, "/api/v1/me", None)
        .await
        .refused(401, "not_signed_in");

    let path = format!("/api/v1/keys/{id}");
    assert_eq!(person.send(Method::DELETE, &path, None).await.status, 204);
    models(&here, &key).await.refused(401, "invalid_api_key");
    let revoked = || async { models(&there, &key).await.status == 401 };
    until("it is refused at the other gateway", Duration::from_secs(2), revoked).await;
    person.send(Method::DELETE, &path, None).await.refused(404, "not_found");
    here.stop().await;
    there.stop().await;
}

// Red when: a request that is too large, malformed or for what is not there gets another answer than its own, or not in the shape that
// the libraries read.
#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_request_of_a_program_gets_its_code() {
    let gate = first().await;
    let mut person = Person::new(&gate, &[Role::User]).await;
    let (key, _) = person.key(&["models", "chat", "embeddings"]).await;
    let chat = "/v1/chat/completions";
    let user = json!([{"role": "user", "content": "?"}]);
    for (body, status, code) in [
        (json!({"model": "m", "messages": user}), 503, "no_model"),
        (
            json!({"model": "m", "messages": user, "colour": 1}),
            400,
            "unknown_parameter",
        ),
        (json!({"messages": user}), 400, "body_invalid"),
        (
            json!({"model": "m", "messages": [{"role": "boss", "content": "?"}]}),
            400,
            "body_invalid",
        ),
        (
            json!({"model": "m", "messages": "x".repeat(1024 * 1024)}),
            413,
            "body_too_large",
        ),
    ] {
        let refused = ask(&gate, &key, Method::POST, chat, Some(body)).await;
        refused.refused(status, code);
        let error = refused.json()["error"].clone();
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
    }
    ask(&gate, &key, Method::GET, "/v1/nothing", None)
        .await
        .refused(404, "not_found");
    ask(&gate, &key, Method::GET, chat, None)
        .await
        .refused(404, "not_found");
    models(&gate, "sk-starling1-nothing")
        .await
        .refused(401, "invalid_api_key");
    gate.browser().get("/v1/models").await.refused(401, "invalid_api_key");
    let mut reached = None;
    for _ in 0..200 {
        let reply = models(&gate, &key).await;
        if reply.status == 429 {
            reached = Some(reply);
            break;
        }
    }
    let reply = reached.expect("a key that asks too often is told so");
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    gate.stop().await;
}

// Red when: a node that drains or is kept from working says that it is ready, or its figures are told to whoever comes through a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_whether_it_is_ready_and_tells_its_figures() {
    let gate = first().await;
    let mut anyone = gate.browser();
    assert_eq!(anyone.get("/healthz").await.bytes, b"ok");
    let ready = || async { gate.browser().get("/readyz").await.status == 200 };
    until("the node is ready", Duration::from_secs(10), ready).await;
    gate.node.mesh().stand(mesh::liveness::Standing::Draining).await;
    let refused = anyone.get("/readyz").await.expect(503);
    assert_eq!((&refused["ready"], &refused["open"]), (&json!(false), &json!(false)));
    assert_eq!(refused["store"], json!(true));
    assert_eq!(anyone.get("/healthz").await.status, 200, "it lives on");

    let figures = anyone.get("/metrics").await;
    let text = String::from_utf8_lossy(&figures.bytes).into_owned();
    for line in [
        "starling_ready 0",
        "# TYPE starling_http_answers_total counter",
        "starling_members{state=",
    ] {
        assert!(text.contains(line), "no {line} in:\n{text}");
    }
    let mut person = Person::new(&gate, &[Role::User]).await;
    let (key, _) = person.key(&["metrics"]).await;
    let bearer = format!("Bearer {key}");
    let proxied = [("x-forwarded-for", "192.0.2.1"), ("authorization", bearer.as_str())];
    let refused = anyone.send(Method::GET, "/metrics", None, &proxied[..1]).await;
    refused.refused(401, "invalid_api_key");
    let refused = anyone.send(Method::GET, "/metrics", None, &proxied).await;
    refused.refused(403, "not_allowed");
    gate.stop().await;
}
