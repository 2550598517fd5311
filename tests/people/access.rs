//! Every endpoint, tried as nobody and as every role, held against the committed matrix.

use std::fmt::Write as _;

use crdt::records::account::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::gate::{Browser, Gate, Reply, first};

const HEAD: &str = "# Who may do what\n\n\
    What the gateway answers to each role, tried by `tests/people/access.rs` and held against this file. \
    `yes`: it is seen to; `sign in`: 401; `no`: 403 `not_allowed`; `key`: 401 `invalid_api_key`, a session opens nothing; `code`: a code of the authenticator app is asked for first.\n\n\
    | endpoint | nobody | user | manager | moderator | administrator | administrator with a code |\n\
    |-|-|-|-|-|-|-|\n";

fn word(reply: &Reply) -> String {
    let (status, code) = reply.outcome();
    match (status, code.as_str()) {
        (401, "not_signed_in") => "sign in".into(),
        (401, "invalid_api_key") => "key".into(),
        (403, "not_allowed") => "no".into(),
        (403, "second_factor_required") => "code".into(),
        (500.., _) => format!("**{status} {code}**"),
        _ => "yes".into(),
    }
}

/// One request without any sense: what is asked is whether it is let through, and nothing may come of it.
async fn attempt(gate: &Gate, method: &str, path: &str, token: Option<&str>) -> String {
    let path = path.replace("{id}", &"0".repeat(64)).replace("{address}", "192.0.2.1");
    let method: Method = method.parse().unwrap();
    let body = (method != Method::GET).then(|| json!({}));
    let mut headers = Vec::new();
    let bearer = token.map(|token| format!("Bearer {token}"));
    if let Some(bearer) = &bearer {
        headers.push(("authorization", bearer.as_str()));
    }
    word(&Browser::new(gate.http).send(method, &path, body, &headers).await)
}

/// Method and path of everything that the contract names, and of the socket.
fn endpoints() -> Vec<(String, String)> {
    let contract: Value = serde_json::from_str(&gateway::openapi()).unwrap();
    let mut all = vec![("GET".to_owned(), "/api/v1/ws".to_owned())];
    for (path, operations) in contract["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    all.sort_by(|left, right| (&left.1, &left.0).cmp(&(&right.1, &right.0)));
    all
}

// Red when: an endpoint lets somebody do what the file does not say, or refuses what it says.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_the_matrix_says_and_nothing_else() {
    let gate = first().await;
    let mut people = Vec::new();
    for role in Role::ALL {
        people.push((gate.account(role.name(), &[role]).await, false));
    }
    people.push((people[3].0, true));
    let mut matrix = HEAD.to_owned();
    for (method, path) in endpoints() {
        let mut words = vec![attempt(&gate, &method, &path, None).await];
        for (person, with_code) in &people {
            // A device for each try: some of them sign it out.
            let token = gate.device(*person, *with_code).await;
            words.push(attempt(&gate, &method, &path, Some(&token)).await);
        }
        writeln!(matrix, "| {method} `{path}` | {} |", words.join(" | ")).unwrap();
    }
    // Who has no role yet may do nothing, whatever is tried.
    let waiting = gate.account("waiting", &[]).await;
    let token = gate.device(waiting, true).await;
    for (method, path) in [
        ("GET", "/api/v1/me"),
        ("GET", "/api/v1/sessions"),
        ("POST", "/api/v1/people/links"),
    ] {
        assert_eq!(attempt(&gate, method, path, Some(&token)).await, "no");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/ACCESS.md");
    if std::env::var_os("STARLING_UPDATE").is_some() {
        std::fs::write(path, &matrix).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    for (line, expected) in matrix.lines().zip(committed.lines()) {
        assert_eq!(line, expected, "gateway/ACCESS.md says otherwise");
    }
    assert_eq!(matrix.lines().count(), committed.lines().count());
    assert!(!matrix.contains("**"), "an endpoint fails:\n{matrix}");
    gate.stop().await;
}
