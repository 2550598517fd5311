//! What a node may do, and where it stands: said in an invite, shown by the others, and held to.

use std::{fs, path::Path, time::Duration};

use crdt::keyring::KeyFrame;
use keys::{ContentId, NodeId, NodeKey};
use mesh::{
    Mesh, MeshSettings, Protocol,
    frame::{read_frame, write_frame},
};
use serde_json::{Value, json};
use tests::{
    client::Client,
    free_address::free_address,
    process::{NodeProcess, PATIENCE, error_text, starling},
};

fn member<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    let members = status["members"].as_array()?;
    members.iter().find(|member| member["name"] == name)
}

#[test]
fn bad_roles_labels_and_times_are_said_and_no_invite_is_printed() {
    let b = NodeProcess::init("B", "none");
    for (arguments, words) in [
        (["--role", "gateway,chef"], "\"chef\" is not a role"),
        (["--role", "chef"], "gateway,worker,relay,storage,operator"),
        (["--role", ""], "no role is named"),
        (["--residency", "Russia"], "'R' does not belong"),
        (["--residency", "seventeen-letters"], "1 to 16 characters"),
        (["--expires", "2"], "30m, 2h or 7d"),
        (["--expires", "-1h"], "30m, 2h or 7d"),
        (["--expires", "400d"], "365 days at most"),
        (["--uses", "0"], "0 is not in 1..=1000"),
    ] {
        let output = starling(&b.path(), ["invite"].iter().chain(&arguments));
        let said = error_text(&output);
        assert!(
            !output.status.success() && said.contains(words),
            "{arguments:?}: {said}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let output = starling(&directory.path().join("new"), ["init", "--residency", "r u"]);
    assert!(!output.status.success() && error_text(&output).contains("' ' does not belong"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn roles_and_residency_are_said_with_the_invite_and_shown_by_the_others() {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let arguments = [
        "invite",
        "--role",
        "worker,relay",
        "--residency",
        "ru",
        "--expires",
        "2h",
    ];
    let output = starling(&b.path(), arguments);
    let said = error_text(&output);
    assert!(
        said.contains("1 node(s) and 2 hour(s), as worker,relay in ru"),
        "{said}"
    );
    let invite = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(invite.len() <= 400, "{} characters", invite.len());
    let mut a = NodeProcess::join(&invite, "A", "none").unwrap();
    a.start();
    for node in [&mut a, &mut b] {
        let status = node.wait_for_status("A is seen", |status| member(status, "A").is_some());
        let shown = |name| {
            let member = member(&status, name).unwrap();
            (member["roles"].clone(), member["residency"].clone())
        };
        assert_eq!(shown("A"), (json!("worker,relay"), json!("ru")));
        let founder = json!("gateway,worker,relay,storage,operator");
        assert_eq!(shown("B"), (founder, Value::Null));
        for command in ["members", "status"] {
            let text = String::from_utf8_lossy(&starling(&node.path(), [command]).stdout).into_owned();
            assert!(text.contains("; worker,relay in ru"), "{command}: {text}");
        }
    }
    let labelled = tempfile::tempdir().unwrap();
    let path = labelled.path().join("node");
    assert!(
        starling(&path, ["init", "--model", "none", "--residency", "de"])
            .status
            .success()
    );
    let key = NodeKey::load(&path.join("node.key")).unwrap();
    let roster = node::data_directory::DataDirectory::open(&path)
        .unwrap()
        .roster(&key)
        .unwrap();
    let own = roster.get(&key.id()).unwrap().residency.clone();
    assert_eq!(own.map(|label| label.to_string()).as_deref(), Some("de"));
}

/// Every file below `directory`.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

fn key_files(node: &NodeProcess) -> usize {
    files(&node.path().join("keys")).len()
}

fn wait_for_key(node: &NodeProcess) {
    let began = std::time::Instant::now();
    while key_files(node) == 0 {
        assert!(began.elapsed() < PATIENCE, "no key came: {}", node.log());
        std::thread::yield_now();
    }
}

fn holds_text(node: &NodeProcess, text: &str) -> bool {
    let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files(&node.path())
        .into_iter()
        .any(|path| fs::read(path).is_ok_and(holds))
}

const MARKER: &str = "murmuration-of-7919-starlings";

/// A chat at B, which has no model, so that another node answers; what B and the other hold afterwards is the test's to see.
async fn answered_elsewhere(b: &NodeProcess) {
    let mut client = Client::new(b.http);
    let welcome = json!({"token": b.welcome_token(), "name": "Rita", "password": "starlings-fly"});
    client.post("/api/v1/welcome", welcome).await;
    let characters = client.get("/api/v1/characters").await;
    let character = characters["characters"][0]["id"].clone();
    let session = client
        .post("/api/v1/sessions", json!({"character_id": character}))
        .await;
    let id = session["id"].as_str().unwrap();
    let mut socket = client.socket().await;
    socket.say(id, "outbox-1", MARKER).await;
    let finished = socket.wait_for("answer_finished").await;
    let answer = finished["message"]["text"].as_str().unwrap();
    assert!(!answer.is_empty(), "{finished}");
    // It is in the chat: the asking node wrote it where the worker could not.
    let stored = client.get(&format!("/api/v1/sessions/{id}")).await;
    let messages = stored["messages"].as_array().unwrap();
    assert_eq!(messages.last().unwrap()["text"], answer, "{stored}");
    assert_eq!(messages.last().unwrap()["state"], "done", "{stored}");
}

/// A mesh of B, which has no model, and A with the built-in one, which joined in `role`.
fn with_model(role: &str) -> (NodeProcess, NodeProcess) {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let mut a = NodeProcess::join(&b.invite(&["--role", role]), "A", "built-in").unwrap();
    a.start();
    b.wait_for_status("B sees A's model", |status| {
        member(status, "A").is_some_and(|a| a["state"] == "connected" && a["models"][0] == "built-in")
    });
    (b, a)
}

/// The text of the chat is on the worker's disk as ciphertext at most.
#[tokio::test]
async fn a_worker_answers_and_holds_no_key_and_no_text() {
    let (b, mut a) = with_model("worker");
    let mut c = NodeProcess::join(&b.invite(&["--role", "storage"]), "C", "none").unwrap();
    c.start();
    answered_elsewhere(&b).await;
    // B has given the key to the one that needs it, so it has had its occasion to give it to the worker.
    wait_for_key(&c);
    assert!(key_files(&b) >= 1, "the asking node has the key");
    a.wait_for_status("the worker has answered", |status| status["answers_generated"] == 1);
    // Nobody can leave anything there: it sends people to the others. The control is B, where the chat was.
    let (status, refusal) = Client::new(a.http)
        .request(reqwest::Method::GET, "/api/v1/characters", None)
        .await;
    assert_eq!(
        (status.as_u16(), &refusal["error"]["code"]),
        (421, &json!("not_a_gateway"))
    );
    // Nor does it say that its page were for people, or forget anything: the command says where that is done.
    assert!(!a.output().contains("Open  ") && a.output().contains("This node is worker: it serves no people"));
    let erase = starling(&a.path(), ["erase", "--account", "Rita", "--yes"]);
    let words = error_text(&erase);
    assert!(
        !erase.status.success() && words.contains("keeps no accounts") && words.contains("does: "),
        "{words}"
    );
    // Stopping flushes whatever a part still had in memory.
    a.terminate();
    assert_eq!(key_files(&a), 0);
    assert!(!holds_text(&a, MARKER));
    let refusals = |node: &NodeProcess| node.log().contains("no role that needs data keys");
    assert!(!refusals(&a) && !refusals(&b), "nobody even tried");
}

/// The control is a gateway, which is refused: `command_line::a_taken_port…`.
#[test]
fn a_node_that_serves_nobody_starts_without_a_port_for_its_page_and_a_member_prints_no_ready_invite() {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let alone = b.output();
    let mut a = NodeProcess::join(&b.invite(&["--role", "worker"]), "A", "none").unwrap();
    let _taken = std::net::TcpListener::bind(a.http).unwrap();
    a.start();
    b.wait_for_status("B sees A", |status| {
        member(status, "A").is_some_and(|a| a["state"] == "connected")
    });
    assert!(
        a.log().contains("already in use") && a.log().contains("goes on without"),
        "{}",
        a.log()
    );
    // Alone, the first node hands out an invite; with others it says how one is made, and a node without the right says nothing.
    b.terminate();
    b.start();
    let among_others = b.output();
    assert!(
        alone.contains(" join starling") && !alone.contains("make an invite"),
        "{alone}"
    );
    assert!(
        !among_others.contains(" join starling") && among_others.contains("make an invite: "),
        "{among_others}"
    );
    assert!(!a.output().contains("invite"), "{}", a.output());
}

/// The control: a node whose role needs keys gets them by itself, in the same mesh.
#[tokio::test]
async fn a_usual_node_is_given_the_keys() {
    let (b, a) = with_model("gateway,worker,relay,storage");
    answered_elsewhere(&b).await;
    wait_for_key(&a);
    assert_eq!(key_files(&a), key_files(&b));
}

/// A node that joined with `invite` and is spoken for by this test: asks B for the keys of an account.
async fn asked_for_keys(b: &NodeProcess, id: NodeId, invite: &str) -> KeyFrame {
    let a = NodeProcess::join(invite, "A", "none").unwrap();
    let key = NodeKey::load(&a.path().join("node.key")).unwrap();
    let roster = node::data_directory::DataDirectory::open(&a.path())
        .unwrap()
        .roster(&key)
        .unwrap();
    let settings = MeshSettings {
        bootstrap: vec![(id, b.mesh)],
        ..MeshSettings::at(free_address())
    };
    let (mesh, _inputs) = Mesh::start(&settings, &key, roster).unwrap();
    let mut view = mesh.view();
    let linked = view.wait_for(|view| view.links.get(&id).is_some_and(mesh::LinkView::is_reachable));
    tokio::time::timeout(PATIENCE, linked).await.unwrap().unwrap();
    let mut stream = mesh.open(id, Protocol::KEYS).await.unwrap();
    let ask = KeyFrame::Ask(vec![ContentId([7; 32])]).encode().unwrap();
    write_frame(&mut stream, &ask, 4096).await.unwrap();
    // A refusal is an answer, at once, and not the end of a wait.
    let answer = tokio::time::timeout(Duration::from_secs(5), read_frame(&mut stream, 4096)).await;
    KeyFrame::decode(&answer.unwrap().unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn a_member_whose_role_needs_no_keys_is_refused_and_the_refusal_is_logged() {
    let mut b = NodeProcess::init("B", "none");
    b.start();
    let id = NodeId::parse(b.status().unwrap()["node_id"].as_str().unwrap()).unwrap();
    let worker = asked_for_keys(&b, id, &b.invite(&["--role", "worker,relay"])).await;
    assert_eq!(worker, KeyFrame::Refused);
    b.wait_for_status("the refusal is noted", |status| {
        status["tasks"].to_string().contains("no role that needs data keys")
    });
    let storage = asked_for_keys(&b, id, &b.invite(&["--role", "storage"])).await;
    assert!(matches!(storage, KeyFrame::Give(_)), "the control");
}
