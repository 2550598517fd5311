//! The top level is fixed, and every crate is a directory of it.

use crate::tree::names_in;
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

pub const CRATES: &[&str] = &[
    "keys",
    "mesh",
    "crdt",
    "inference",
    "monitor",
    "gateway",
    "node",
    "tests",
];

/// The crates below another. The fuzzer builds only what reads bytes from outside, since all of it is built again for it; the
/// simulator only what is replicated, so that its tests need neither a model nor a web page; a bench only what it measures and the
/// libraries that run beside.
pub const CRATES_BELOW: &[&str] = &[
    "tests/fuzz",
    "tests/sim",
    "tests/benches/crdt",
    "tests/benches/mesh",
    "tests/benches/inference",
];

/// Beside the crates, files whose names begin with a dot, and licences.
const TOP_LEVEL_FILES: &[&str] = &["Cargo.toml", "Cargo.lock", "README.md", "x"];

/// Where cargo builds, unless it is told otherwise.
const BUILD_DIRECTORY: &str = "target";

pub fn is_top_level(name: &str) -> bool {
    CRATES.contains(&name) || TOP_LEVEL_FILES.contains(&name) || name.starts_with('.') || name.starts_with("LICENSE")
}

fn out_of_place(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for name in names_in(tree.root()) {
        if !is_top_level(&name) && name != BUILD_DIRECTORY {
            let message = "does not belong to the top level: put it into the crate that owns its question";
            violations.push(Violation::new(&name, 1, message));
        }
    }
    for path in tree.files_ending(&["Cargo.toml"]) {
        let directory = path.strip_suffix("/Cargo.toml");
        if directory.is_some_and(|directory| !CRATES.contains(&directory) && !CRATES_BELOW.contains(&directory)) {
            violations.push(Violation::new(
                path,
                1,
                "a crate that is not in the plan: make it a module of the one that owns its question",
            ));
        }
    }
    violations
}

#[test]
fn everything_is_in_its_place() {
    assert_workspace_obeys(out_of_place);
}

#[test]
fn what_is_out_of_place_is_found() {
    let files = [
        ("Cargo.toml", ""),
        (".ci/run", ""),
        ("LICENSE-MIT", ""),
        ("keys/Cargo.toml", ""),
        ("target/debug/a", ""),
        ("tests/fuzz/Cargo.toml", ""),
        ("mesh/transport/Cargo.toml", ""),
        ("utils/src/lib.rs", ""),
        ("NOTES.md", ""),
    ];
    assert_found(
        out_of_place,
        &files,
        &["NOTES.md:1", "mesh/transport/Cargo.toml:1", "utils:1"],
    );
}
