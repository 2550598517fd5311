//! No secret reaches a log, what a node prints besides its invites, a list of processes, or their environment.

use std::{collections::BTreeMap, fs, path::Path};

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;
use tests::{
    client::Client,
    process::{NodeProcess, error_text, starling},
};

/// Everything that this project would ever log, and what libraries tell whoever looks for a fault.
const LEVELS: &str = "debug,keys=trace,mesh=trace,crdt=trace,inference=trace,monitor=trace,gateway=trace,node=trace";
const PASSWORD: &str = "skvorets-letit-domoy";
const PASSPHRASE: &str = "correct horse battery staple";

/// Secrets by what they are called.
type Secrets = BTreeMap<String, Vec<u8>>;

/// A key as bytes, and as anybody might have written it.
fn written(secrets: &mut Secrets, name: &str, key: &[u8]) {
    let forms = [
        ("bytes", key.to_vec()),
        ("hex", HEXLOWER.encode(key).into_bytes()),
        ("base64", BASE64.encode(key).trim_end_matches('=').as_bytes().to_vec()),
        ("base64url", BASE64URL_NOPAD.encode(key).into_bytes()),
        ("base32", BASE32_NOPAD.encode(key).to_lowercase().into_bytes()),
        (
            "numbers",
            format!("{key:?}").trim_matches(['[', ']']).as_bytes().to_vec(),
        ),
    ];
    for (form, bytes) in forms {
        secrets.insert(format!("{name} as {form}"), bytes);
    }
}

/// The keys that lie in a directory.
fn keys_in(secrets: &mut Secrets, directory: &Path) {
    for name in ["node.key", "root.key", "backup.key"] {
        if let Ok(key) = fs::read(directory.join(name)) {
            written(secrets, name, &key);
        }
    }
}

fn contains(text: &[u8], secret: &[u8]) -> bool {
    text.windows(secret.len()).any(|part| part == secret)
}

/// What everybody on the machine, or whoever collects logs, may read of a node.
fn readable(node: &NodeProcess) -> BTreeMap<String, Vec<u8>> {
    let mut readable = BTreeMap::from([("the log".to_owned(), node.log().into_bytes())]);
    let processes = node.engines().into_iter().chain(node.pid());
    for process in processes {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{process}/{file}")).unwrap();
            readable.insert(format!("{file} of {process}"), bytes);
        }
    }
    readable
}

// Red when: anything of it is written where others read it. The control: what is no secret is found there in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_a_list_of_processes_or_an_environment() {
    let mut first = NodeProcess::init("B", "mock:200");
    first.start_logging(LEVELS);
    let invite = first.invite(&[]);
    let mut second = NodeProcess::join(&invite, "C", "none").unwrap();
    second.start_logging(LEVELS);
    let mut secrets = Secrets::new();
    for node in [&first, &second] {
        keys_in(&mut secrets, &node.path());
    }
    let mut keep = |name: &str, secret: &str| {
        assert!(secret.len() >= 16, "{name} {secret}");
        secrets.insert(name.to_owned(), secret.as_bytes().to_vec());
    };
    keep("the invite", &invite);
    keep("the first link", &first.welcome_token());
    keep("the password", PASSWORD);
    keep("the passphrase", PASSPHRASE);
    let mut person = Client::new(first.http);
    let welcome = json!({"token": first.welcome_token(), "name": "Rita", "password": PASSWORD});
    person.post("/api/v1/welcome", welcome).await;
    // A wrong one is worth a line, which must not hold it either.
    let wrong = json!({"name": "Rita", "password": format!("{PASSWORD}-wrong")});
    let (refused, _) = person
        .request(reqwest::Method::POST, "/api/v1/sign-in", Some(wrong))
        .await;
    assert!(refused.is_client_error(), "{refused}");
    let cookie = person.cookie().expect("the person is signed in").to_owned();
    keep(
        "what keeps the person signed in",
        cookie.split_once('=').expect("a name and a value").1,
    );
    let key = json!({"label": "a script", "scopes": ["models", "chat"], "days": 1});
    let key = person.post("/api/v1/keys", key).await;
    let key = key["secret"].as_str().unwrap();
    keep("the program's key", key);
    let program = Client::new(first.http).with_bearer(key);
    let body = json!({"model": "mock", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]});
    let (answered, _) = program
        .request(reqwest::Method::POST, "/v1/chat/completions", Some(body))
        .await;
    assert!(answered.is_success(), "{answered}");
    let passphrase = first.path().join("passphrase");
    keys::secret_file::create(&passphrase, PASSPHRASE.as_bytes()).unwrap();
    let backup = ["backup", "--passphrase-file", &passphrase.to_string_lossy()].map(str::to_owned);
    let made = starling(&first.path(), backup);
    assert!(made.status.success(), "{}", error_text(&made));
    for node in [&first, &second] {
        let readable = readable(node);
        assert!(contains(&readable["the log"], b"start: data directory"), "the control");
        assert!(
            contains(&readable["the log"], b"TRACE") || contains(&readable["the log"], b"DEBUG"),
            "the control"
        );
        for (place, text) in &readable {
            for (name, secret) in &secrets {
                assert!(!contains(text, secret), "{name} is in {place}");
            }
        }
    }
}
