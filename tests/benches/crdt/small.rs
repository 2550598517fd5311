//! The bench on a small scale, so that its promises are kept in every run of the tests: nothing acknowledged is lost when the process
//! is killed, and no damage of the disk reaches a reader. Each of the two says itself that its control failed as it must.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::process::Command;

use serde_json::Value;

/// Runs rows of the bench; its figures by name.
fn figures(rows: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_crdt-bench"))
        .arg("--small")
        .args(rows)
        .env("STARLING_BENCH_DIR", directory.path())
        .output()
        .unwrap();
    let (said, words) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{said}{words}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn value(figures: &[Value], name: &str) -> f64 {
    let found = figures
        .iter()
        .find(|figure| figure["name"].as_str().unwrap().starts_with(name));
    found.unwrap_or_else(|| panic!("no figure {name:?} in {figures:?}"))["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn no_damage_of_journal_or_index_reaches_a_reader() {
    let figures = figures(&["rot"]);
    assert_eq!(value(&figures, "silent corruption"), 0.0);
    assert_eq!(
        value(&figures, "damaged copies that another node did not make whole"),
        0.0
    );
    assert!(
        value(&figures, "control") >= 1.0,
        "the damage is real, and the comparison sees it"
    );
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there() {
    let figures = figures(&["kill"]);
    assert_eq!(value(&figures, "acknowledged writes lost"), 0.0);
    assert!(figures[0]["acknowledged"].as_u64().unwrap() > 0);
    assert!(
        value(&figures, "control") >= 1.0,
        "an acknowledgement before the commit is noticed"
    );
}

#[test]
fn every_row_runs_and_each_of_its_figures_is_a_whole_line() {
    let figures = figures(&[
        "puts", "append", "open", "message", "one-more", "differ", "heal", "million",
    ]);
    assert!(figures.len() >= 20, "{figures:?}");
    for figure in &figures {
        let has = |key: &str, is: fn(&Value) -> bool| figure.get(key).is_some_and(is);
        assert!(
            has("name", Value::is_string)
                && has("value", Value::is_number)
                && has("unit", Value::is_string)
                && has("goal", |goal| goal.is_null() || goal.is_number())
                && has("rival", |rival| rival.is_null() || rival.is_object())
                && figure["bench"] == "crdt"
                && figure["mock"] == false
                && ["lower", "higher"].contains(&figure["better"].as_str().unwrap()),
            "{figure}"
        );
    }
}
