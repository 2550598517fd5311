//! One node and several models: each is loaded when it is asked for, goes when its memory is needed or nobody asks it, and comes back when its
//! engine dies. The models are the built-in one under other names.

use std::{
    fs,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    client::Client,
    process::{NodeProcess, PATIENCE, error_text, starling},
};

const MODEL: &[u8] = include_bytes!("../../inference/models/built-in.gguf");
/// One of them fits into so many megabytes, two do not.
const MEMORY_FOR_ONE: u64 = 125;

/// The built-in model with another name in its metadata, and so with another hash.
fn renamed(number: u8) -> Vec<u8> {
    let key = b"general.name";
    let at = MODEL.windows(key.len()).position(|window| window == key).unwrap();
    // Behind the key: four bytes that say that it is a text, and eight with its length.
    let value = at + key.len() + 12;
    let mut bytes = MODEL.to_vec();
    bytes[value] = b'A' + number;
    bytes
}

struct Serving {
    node: NodeProcess,
    person: Client,
    program: Client,
}

impl Serving {
    /// A node that answers chats with `first` and has `second`, with such lines in its configuration.
    async fn start(lines: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let mut node = NodeProcess::init("N", "built-in");
        for (number, name) in (0..).zip(["first", "second"]) {
            let path = files.path().join(format!("{name}.gguf"));
            fs::write(&path, renamed(number)).unwrap();
            let added = starling(
                &node.path(),
                ["model", "add", &path.to_string_lossy(), "--licence", "mit", "--copy"],
            );
            assert!(added.status.success(), "{}", error_text(&added));
        }
        let path = node.path().join("starling.toml");
        let config = fs::read_to_string(&path).unwrap();
        let model = format!("model = \"catalogue:first\"\n{lines}");
        fs::write(&path, config.replace("model = \"built-in\"", &model)).unwrap();
        node.start();
        node.wait_for_status("the model is ready", |status| status["engine"] == "ready");
        let mut person = Client::new(node.http);
        let welcome = json!({"token": node.welcome_token(), "name": "Рита", "password": "скворец-летит"});
        person.post("/api/v1/welcome", welcome).await;
        let body = json!({"label": "a script", "scopes": ["models", "chat"], "days": 1});
        let key = person.post("/api/v1/keys", body).await;
        let program = Client::new(node.http).with_bearer(key["secret"].as_str().unwrap());
        let serving = Self { node, person, program };
        serving.wait_for_state("second", "on_disk");
        serving
    }

    /// How a model stands.
    fn model(&self, name: &str) -> Value {
        let listed = starling(&self.node.path(), ["model", "list", "--json"]);
        assert!(listed.status.success(), "{}", error_text(&listed));
        let models: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        models.into_iter().find(|model| model["name"] == name).unwrap()
    }

    fn wait_for_state(&self, name: &str, state: &str) -> Value {
        self.wait_for(name, |is| is == state, state)
    }

    fn wait_for(&self, name: &str, is_wanted: impl Fn(&str) -> bool, wanted: &str) -> Value {
        let began = Instant::now();
        loop {
            let model = self.model(name);
            if model["state"].as_str().is_some_and(&is_wanted) {
                return model;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{name} never is {wanted}: {model} {}",
                self.node.log()
            );
        }
    }

    /// A program asks a model.
    async fn ask(&self, model: &str) -> String {
        let body = json!({"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "Привет!"}]});
        let (status, answer) = self
            .program
            .request(Method::POST, "/v1/chat/completions", Some(body))
            .await;
        assert!(status.is_success(), "{status} {answer} {}", self.node.log());
        assert_eq!(answer["model"], model);
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    fn engines(&self) -> usize {
        self.node.engines().len()
    }
}

// Red when: a model that is not in memory is not offered or not loaded, one that fits goes all the same, an engine that was killed does not
// come back, or an idle model stays for ever.
#[tokio::test(flavor = "multi_thread")]
async fn every_model_of_a_node_answers_and_is_in_memory_as_long_as_it_is_needed() {
    let serving = Serving::start("keep_alive_seconds = 0\n").await;
    assert_eq!(serving.engines(), 1, "nobody has asked for the second");
    let models = serving.program.get("/v1/models").await;
    let names: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["first", "second"]);

    let said = serving.ask("second").await;
    assert!(!said.is_empty());
    let model = serving.model("second");
    assert_eq!(model["state"], "loaded");
    let (measured, estimated) = (
        model["measured_bytes"].as_u64().unwrap(),
        model["estimated_bytes"].as_u64().unwrap(),
    );
    assert!(measured > 5_000_000 && measured < estimated * 3 / 2, "{model}");
    // Both fit: the first has stayed, and answers.
    assert_eq!(
        (serving.model("first")["state"].as_str(), serving.engines()),
        (Some("loaded"), 2)
    );
    assert!(!serving.ask("first").await.is_empty());
    let (status, refused) = serving
        .program
        .request(
            Method::POST,
            "/v1/chat/completions",
            Some(json!({"model": "third", "messages": []})),
        )
        .await;
    assert!(status.is_client_error(), "{status} {refused}");

    let before = serving.node.engines();
    serving.node.kill_engines();
    let replaced = |engines: Vec<u32>| engines.iter().all(|engine| !before.contains(engine));
    let began = Instant::now();
    while serving.engines() == 0 || !replaced(serving.node.engines()) {
        assert!(began.elapsed() < PATIENCE, "{}", serving.node.log());
    }
    serving.wait_for_state("first", "loaded");
    // Out of the offers until it is found to be sound again; which of the two is first is chance.
    serving.wait_for("second", |state| state != "failed", "sound again");
    assert!(!serving.ask("first").await.is_empty());
    assert!(!serving.ask("second").await.is_empty());
    // Nobody asks for it any more.
    serving.wait_for_state("second", "on_disk");
    assert_eq!(serving.model("first")["state"], "loaded");
    let began = Instant::now();
    while serving.engines() != 1 {
        assert!(began.elapsed() < PATIENCE, "its engine does not end");
    }
}

// Red when: two models are in memory where one fits (the test above is the control: there both stay), or a person who waits for theirs is told
// nothing or something else.
#[tokio::test(flavor = "multi_thread")]
async fn where_memory_is_short_models_take_turns_and_who_waits_is_told_that_theirs_is_loaded() {
    let mut serving = Serving::start(&format!("memory_megabytes = {MEMORY_FOR_ONE}\n")).await;
    assert!(!serving.ask("second").await.is_empty());
    assert_eq!(serving.model("second")["state"], "loaded");
    assert_eq!(serving.model("first")["state"], "on_disk");
    assert_eq!(serving.engines(), 1);
    let status = serving.node.status().unwrap();
    assert_eq!(
        (&status["engine"], &status["engine_detail"]),
        (&json!("on disk"), &json!("first"))
    );
    let mesh = serving.person.get("/api/v1/mesh").await;
    let told = mesh["nodes"][0]["models"].as_array().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|model| (&model["name"], &model["state"], &model["is_main"]))
        .collect();
    let (first, second) = (json!("first"), json!("second"));
    let (loaded, on_disk) = (json!("loaded"), json!("on_disk"));
    assert_eq!(
        told,
        [(&first, &on_disk, &json!(true)), (&second, &loaded, &json!(false))]
    );

    // A chat is answered by the first, which has to be loaded before.
    let characters = serving.person.get("/api/v1/characters").await;
    let character = characters["characters"][0]["id"].clone();
    let session = serving
        .person
        .post("/api/v1/sessions", json!({"character_id": character}))
        .await;
    let mut socket = serving.person.socket().await;
    socket.say(session["id"].as_str().unwrap(), "outbox-1", "Привет!").await;
    let waiting = socket.wait_for("answer_waiting").await;
    assert_eq!(waiting["code"], "model_loading", "{waiting}");
    assert!(waiting["expected_seconds"].as_u64().unwrap() <= 60, "{waiting}");
    let finished = socket.wait_for("answer_finished").await;
    assert_eq!(finished["message"]["answered_by"]["model"], "first", "{finished}");
    serving.wait_for_state("second", "on_disk");
    assert_eq!(serving.engines(), 1);
    let (ended, took) = serving.node.terminate();
    assert!(
        ended.success() && took < Duration::from_secs(5),
        "{ended} after {took:?}"
    );
}
