//! The catalogue of models in real processes: added on one node, fetched by others, worked with, removed; and bad files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tests::process::{NodeProcess, error_text, starling};

const MODEL: &[u8] = include_bytes!("../../inference/models/built-in.gguf");

fn model(node: &NodeProcess, arguments: &[&str]) -> String {
    let output = starling(&node.path(), ["model"].iter().chain(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", error_text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(node: &NodeProcess, arguments: &[&str]) -> String {
    let output = starling(&node.path(), ["model"].iter().chain(arguments));
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let text = error_text(&output);
    assert!(text.contains("starling: ") && !text.contains("panicked"), "{text}");
    text
}

fn listed(node: &NodeProcess) -> Vec<Value> {
    serde_json::from_str(&model(node, &["list", "--json"])).unwrap()
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> String {
    let path: PathBuf = directory.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_model_is_added_once_and_every_node_can_fetch_and_run_it() {
    let files = tempfile::tempdir().unwrap();
    let path = file(files.path(), "tiny.gguf", MODEL);
    let mut first = NodeProcess::init("first", "none");
    // Without a running node: it is told to the mesh when it starts.
    let said = model(&first, &["add", &path, "--licence", "apache-2.0", "--copy"]);
    assert!(said.contains("catalogue:tiny") && said.contains("apache-2.0"), "{said}");
    fs::remove_file(&path).unwrap();
    first.start();
    assert_eq!(listed(&first)[0]["place"], "here");
    let invite = first.invite(&[]);

    // The second node is told to work with it, and has nothing of it.
    let mut second = NodeProcess::join(&invite, "second", "catalogue:tiny").unwrap();
    second.start();
    let status = second.wait_for_status("the model came and was loaded", |status| status["engine"] == "ready");
    assert_eq!(status["engine_detail"], "tiny");
    assert_eq!(listed(&second)[0]["place"], "here");
    // Again: it is there.
    assert!(model(&second, &["pull", "tiny"]).contains("verified"));
    assert!(refused(&second, &["remove", "tiny", "--yes"]).contains("works with"));
    assert!(model(&first, &["remove", "tiny", "--here"]).contains("stays in the catalogue"));
    assert_eq!(listed(&first)[0]["place"], "elsewhere");
    assert!(model(&first, &["pull", "tiny"]).contains("verified"));
    assert!(
        refused(&first, &["remove", "tiny"]).contains("--yes"),
        "a script must say so"
    );
    model(&first, &["remove", "tiny", "--yes"]);
    assert!(listed(&first).is_empty());
    assert!(refused(&first, &["pull", "tiny"]).contains("no model is called"));
}

#[test]
fn files_that_are_no_models_and_names_that_are_taken_are_refused() {
    let files = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::init("B", "none");
    let good = file(files.path(), "good.gguf", MODEL);
    for running in [false, true] {
        if running {
            node.start();
        }
        let cut = file(files.path(), "cut.gguf", &MODEL[..MODEL.len() / 2]);
        assert!(refused(&node, &["add", &cut]).contains("the file is cut"));
        let renamed = file(files.path(), "renamed.gguf", b"PK\x03\x04 an archive");
        assert!(refused(&node, &["add", &renamed]).contains("not a GGUF"));
        let hostile = file(
            files.path(),
            "hostile.gguf",
            &[&b"GGUF\x03\0\0\0"[..], &[0xff; 4096]].concat(),
        );
        assert!(refused(&node, &["add", &hostile]).contains("damaged"));
        assert!(refused(&node, &["add", &good, "--name", "../../etc"]).contains("cannot be the name"));
        assert!(refused(&node, &["add", "/nowhere/x.gguf"]).contains("cannot be read"));
    }
    assert!(listed(&node).is_empty());
    model(&node, &["add", &good]);
    assert_eq!(listed(&node)[0]["place"], "linked");
    assert!(refused(&node, &["add", &good, "--name", "other"]).contains("as good"));
    let mut longer = MODEL.to_vec();
    longer.extend([0; 32]);
    let longer = file(files.path(), "longer.gguf", &longer);
    assert!(refused(&node, &["add", &longer, "--name", "good"]).contains("another model called good"));
    node.terminate();
    assert!(refused(&node, &["pull", "good"]).contains("no node is running"));
    model(&node, &["remove", "good", "--yes"]);
    assert!(fs::exists(&good).unwrap(), "a file outside the data directory stays");
}
