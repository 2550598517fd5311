//! Tries what `./x package` made: a node answers with one of the libraries beside its program and says which; with none but the oldest
//! processor's, too; with none it ends and says what is missing. `STARLING_BIN` is the program, in a copy of the folder: libraries are
//! removed from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;
use tests::{
    client::Client,
    process::{NodeProcess, error_text, program, starling},
};

/// llama.cpp's libraries for processors.
const LIBRARIES: &str = "libggml-cpu-";
/// Those that every processor of an architecture can run.
const OLDEST: [&str; 2] = ["libggml-cpu-x64.so", "libggml-cpu-armv8.0_1.so"];
/// What is said where none of them is there.
const MISSING: &str = "no libggml-cpu-*.so that this processor can run";

fn main() -> io::Result<()> {
    let program = program();
    let folder = program.parent().unwrap_or(Path::new("."));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = libraries(folder)?;
    assert!(all.len() > 1, "one library for each kind of processor: {all:?}");
    println!("computed by {}", runtime.block_on(answering_library(&all)));
    let (oldest, newer): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|path| OLDEST.contains(&&*name(path)));
    for library in newer {
        fs::remove_file(library)?;
    }
    let chosen = runtime.block_on(answering_library(&all));
    assert!(oldest.iter().any(|path| name(path) == chosen), "{chosen} was removed");
    println!("computed by {chosen}, with no other");
    for library in oldest {
        fs::remove_file(library)?;
    }
    ends_and_says_what_is_missing();
    println!("without any, the node ends and says what is missing");
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn libraries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<io::Result<Vec<_>>>()?;
    Ok(paths
        .into_iter()
        .filter(|path| name(path).starts_with(LIBRARIES))
        .collect())
}

/// The name of that library of which a new node says that it computes, after the built-in model has answered a person.
async fn answering_library(all: &[PathBuf]) -> String {
    let mut node = NodeProcess::init("P", "built-in");
    node.start();
    node.wait_for_status("the model is ready", |status| status["engine"] == "ready");
    let mut person = Client::new(node.http);
    let welcome = json!({"token": node.welcome_token(), "name": "Рита", "password": "скворец-летит"});
    person.post("/api/v1/welcome", welcome).await;
    let session = person.first_chat().await;
    let mut socket = person.socket().await;
    socket.say(&session, "outbox-1", "Привет!").await;
    let finished = socket.wait_for("answer_finished").await;
    let text = finished["message"]["text"].as_str().unwrap_or_default();
    assert!(text.chars().any(char::is_alphabetic), "no answer: {finished}");
    let log = node.log();
    let ready = log
        .lines()
        .find(|line| line.contains("model ready"))
        .unwrap_or_default();
    let named: Vec<_> = all
        .iter()
        .map(|path| name(path))
        .filter(|name| ready.contains(name))
        .collect();
    assert_eq!(named.len(), 1, "one library is named: {ready}");
    named.concat()
}

fn ends_and_says_what_is_missing() {
    let node = NodeProcess::init("P", "built-in");
    let output = starling(&node.path(), ["run"]);
    let text = error_text(&output);
    let has_refused = output.status.code().is_some_and(|code| code != 0);
    assert!(has_refused, "it did not refuse, but {}: {text}", output.status);
    assert!(text.contains(MISSING), "what is missing is not said: {text}");
}
