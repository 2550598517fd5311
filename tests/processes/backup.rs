//! A node is backed up while it runs, lost, and restored from its backup on a machine that has nothing else.

use std::{ffi::OsStr, fs, path::PathBuf};

use serde_json::{Value, json};
use tests::{
    client::Client,
    process::{NodeProcess, error_text, starling},
};

fn backed_up(node: &NodeProcess, arguments: &[&OsStr]) -> String {
    let output = starling(&node.path(), [OsStr::new("backup")].iter().chain(arguments));
    assert!(output.status.success(), "{}", error_text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The files of one kind in a directory, in order.
fn files(directory: PathBuf, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_wanted = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    let mut files: Vec<_> = entries.filter(is_wanted).collect();
    files.sort();
    files
}

async fn sessions(client: &Client) -> Value {
    client.get("/api/v1/sessions").await
}

#[tokio::test]
async fn a_lost_node_comes_back_with_its_people_and_goes_on() {
    let mut node = NodeProcess::init("B", "none");
    node.start();
    let mut person = Client::new(node.http);
    let welcome = json!({"token": node.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    person.post("/api/v1/welcome", welcome).await;
    let characters = person.get("/api/v1/characters").await;
    let character = json!({"character_id": characters["characters"][0]["id"]});
    person.post("/api/v1/sessions", character).await;
    let before = (node.status().unwrap()["changes"].clone(), sessions(&person).await);

    let backups = tempfile::tempdir().unwrap();
    let said = backed_up(&node, &["--to".as_ref(), backups.path().as_os_str()]);
    assert!(said.contains("verified") && said.contains("backup.key"), "{said}");
    let archive = files(backups.path().to_owned(), "starling-").remove(0);
    // What a careful person keeps elsewhere; then the machine burns down.
    fs::copy(node.path().join("backup.key"), backups.path().join("backup.key")).unwrap();
    node.kill();
    fs::remove_dir_all(node.path()).unwrap();

    let mut restored = NodeProcess::restore(&node, &[archive.as_os_str()]).unwrap();
    restored.start();
    assert_eq!(restored.status().unwrap()["changes"], before.0);
    let mut person = Client::new(restored.http);
    let login = json!({"name": "Рита", "password": "скворец-летит"});
    person.post("/api/v1/sign-in", login).await;
    assert_eq!(sessions(&person).await, before.1);
    // It writes on, and is backed up with the key of before.
    let characters = person.get("/api/v1/characters").await;
    let character = json!({"character_id": characters["characters"][0]["id"]});
    person.post("/api/v1/sessions", character).await;
    backed_up(&restored, &[]);
    assert_eq!(files(restored.path().join("backups"), "starling-").len(), 1);
    let keys = ["backup.key"].map(|name| fs::read(restored.path().join(name)).unwrap());
    assert_eq!(keys[0], fs::read(backups.path().join("backup.key")).unwrap());
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_said() {
    let node = NodeProcess::init("B", "none");
    let output = starling(&node.path(), ["backup"]);
    assert!(
        error_text(&output).contains("nothing to back up yet"),
        "{}",
        error_text(&output)
    );
    let directory = tempfile::tempdir().unwrap();
    let nothing = directory.path().join("starling-00000000-20260601T030000Z.backup");
    let output = NodeProcess::restore(&node, &[nothing.as_os_str()]).unwrap_err();
    assert!(error_text(&output).contains("no keys file"), "{}", error_text(&output));
    let output = starling(&node.path(), ["restore".as_ref(), nothing.as_os_str()]);
    assert!(
        error_text(&output).contains("already a node"),
        "{}",
        error_text(&output)
    );
    // Not even by mistake: a passphrase has no place on a command line.
    let output = starling(&node.path(), ["backup", "--passphrase", "correct horse battery"]);
    assert!(
        error_text(&output).contains("unexpected argument"),
        "{}",
        error_text(&output)
    );
}
