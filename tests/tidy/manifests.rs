//! The arrows between the crates and the walls around the foreign libraries, read from the manifests.

use toml::{Table, Value};

use crate::layout::CRATES_BELOW;
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

/// Which of our crates each crate may import. What is not written here is forbidden.
const ARROWS: &[(&str, &[&str])] = &[
    ("keys", &[]),
    ("mesh", &["keys"]),
    ("crdt", &["keys"]),
    ("inference", &["keys", "mesh", "crdt"]),
    ("monitor", &["keys", "mesh", "crdt"]),
    ("gateway", &["keys", "crdt", "inference", "monitor"]),
    ("node", &["keys", "mesh", "crdt", "inference", "monitor", "gateway"]),
    (
        "tests",
        &["keys", "mesh", "crdt", "inference", "monitor", "gateway", "node"],
    ),
    ("tests/fuzz", &["keys", "mesh", "crdt"]),
    ("tests/sim", &["keys", "mesh", "crdt"]),
    ("tests/benches/crdt", &["keys", "crdt"]),
    ("tests/benches/mesh", &["keys", "mesh"]),
    ("tests/benches/inference", &["inference"]),
];

/// Foreign libraries and the crates that may use them. A name ending in `*` stands for all that begin so.
const WALLS: &[(&str, &[&str])] = &[
    ("ed25519-dalek", &["keys"]),
    ("argon2", &["keys"]),
    ("libp2p*", &["mesh"]),
    ("quinn*", &["mesh"]),
    ("bao-tree", &["mesh"]),
    ("automerge*", &["crdt"]),
    ("sled", &["crdt"]),
    ("llama-cpp-*", &["inference"]),
    ("candle*", &["inference", "monitor"]),
    ("sysinfo", &["monitor"]),
    ("nvml-wrapper*", &["monitor"]),
    ("lettre", &["monitor"]),
    ("axum*", &["gateway"]),
    ("utoipa*", &["gateway"]),
    ("rust-embed*", &["gateway"]),
    ("clap*", &["node"]),
];

/// A line of a dependency table.
struct Dependency {
    /// The name of the library, whatever the manifest calls it.
    library: String,
    line: usize,
    is_dev: bool,
}

/// Every workspace member with its dependencies.
fn members(tree: &Tree) -> Vec<(String, Vec<Dependency>)> {
    let root = manifest(tree, "Cargo.toml");
    let workspace = root.get("workspace").and_then(Value::as_table);
    let list = workspace
        .and_then(|workspace| workspace.get("members"))
        .and_then(Value::as_array);
    let shared = workspace
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let names = list.into_iter().flatten().filter_map(Value::as_str);
    names
        .map(|name| (name.to_owned(), dependencies(tree, name, shared)))
        .collect()
}

fn manifest(tree: &Tree, path: &str) -> Table {
    let text = tree.text(path).unwrap_or_else(|| panic!("{path} is missing"));
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dependencies(tree: &Tree, member: &str, shared: Option<&Table>) -> Vec<Dependency> {
    let path = format!("{member}/Cargo.toml");
    let manifest = manifest(tree, &path);
    let text = tree.text(&path).unwrap_or_default();
    let platforms = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let tables = platforms.filter_map(Value::as_table).chain([&manifest]);
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let renamed = real_name(value).or_else(|| real_name(shared?.get(name)?));
                let library = renamed.unwrap_or(name).to_owned();
                found.push(Dependency {
                    library,
                    line: line_of(&text, name),
                    is_dev: kind == "dev-dependencies",
                });
            }
        }
    }
    found
}

/// `alias = { package = "library" }`
fn real_name(value: &Value) -> Option<&str> {
    value.get("package")?.as_str()
}

fn line_of(manifest: &str, dependency: &str) -> usize {
    let declares = |line: &str| {
        let line = line.trim_start();
        let rest = line
            .strip_prefix(dependency)
            .or_else(|| line.split_once("dependencies.")?.1.strip_prefix(dependency));
        rest.is_some_and(|rest| rest.starts_with([' ', '.', '=', ']']))
    };
    manifest.lines().position(declares).map_or(1, |index| index + 1)
}

fn broken_arrows(tree: &Tree) -> Vec<Violation> {
    let members = members(tree);
    let mut violations = Vec::new();
    for (member, dependencies) in &members {
        let path = format!("{member}/Cargo.toml");
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == member) else {
            violations.push(Violation::new(
                &path,
                1,
                format!("`{member}` has no arrows: add it to tests/tidy/manifests.rs"),
            ));
            continue;
        };
        for dependency in dependencies {
            let library = dependency.library.as_str();
            let is_ours = members.iter().any(|(name, _)| name == library);
            if is_ours && !allowed.contains(&library) {
                let mend = "move it to the crate that owns the question, or hand it in where `node` wires the crates";
                let message = format!("`{member}` must not import `{library}`: {mend}");
                violations.push(Violation::new(&path, dependency.line, message));
            }
        }
    }
    violations
}

fn breached_walls(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (member, dependencies) in members(tree) {
        for dependency in dependencies {
            let library = dependency.library.as_str();
            let Some((_, homes)) = WALLS.iter().find(|(pattern, _)| names(pattern, library)) else {
                continue;
            };
            // What our tests compare with is free; what they are built of is not. The crates below are hostile nodes by trade, and
            // nothing is built upon them.
            let is_free = member == "tests" && dependency.is_dev || CRATES_BELOW.contains(&member.as_str());
            if !homes.contains(&member.as_str()) && !is_free {
                let message = format!(
                    "`{library}` lives only in {}: give that crate a function, in our types, for what `{member}` needs",
                    homes.join(" and ")
                );
                violations.push(Violation::new(
                    &format!("{member}/Cargo.toml"),
                    dependency.line,
                    message,
                ));
            }
        }
    }
    violations
}

fn names(pattern: &str, library: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(library == pattern, |start| library.starts_with(start))
}

#[test]
fn the_arrows_hold() {
    assert_workspace_obeys(broken_arrows);
}

#[test]
fn the_walls_hold() {
    assert_workspace_obeys(breached_walls);
}

#[test]
fn an_import_against_the_arrows_is_found() {
    let root = r#"
        [workspace]
        members = ["keys", "mesh", "crdt", "core"]
        [workspace.dependencies]
        net = { path = "mesh", package = "mesh" }
    "#;
    let files = [
        ("Cargo.toml", root),
        (
            "keys/Cargo.toml",
            "[dependencies]\nserde = '1'\n\n[dev-dependencies.mesh]\npath = '../mesh'\n",
        ),
        ("mesh/Cargo.toml", "[dependencies]\nkeys.workspace = true\n"),
        (
            "crdt/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nnet.workspace = true\nkeys.workspace = true\n",
        ),
        ("core/Cargo.toml", "[package]\nname = 'core'\n"),
    ];
    assert_found(
        broken_arrows,
        &files,
        &["core/Cargo.toml:1", "crdt/Cargo.toml:2", "keys/Cargo.toml:4"],
    );
}

#[test]
fn a_library_outside_its_wall_is_found() {
    let files = [
        (
            "Cargo.toml",
            "[workspace]\nmembers = ['keys', 'mesh', 'tests', 'tests/fuzz']\n",
        ),
        (
            "keys/Cargo.toml",
            "[dependencies]\nargon2 = '1'\nlibp2p-identity = '1'\n",
        ),
        (
            "mesh/Cargo.toml",
            "[dependencies]\nlibp2p = '1'\nstore = { package = 'sled', version = '1' }\nserde = '1'\n",
        ),
        (
            "tests/Cargo.toml",
            "[dependencies]\nclap = '4'\n[dev-dependencies]\nautomerge = '1'\n",
        ),
        ("tests/fuzz/Cargo.toml", "[dependencies]\nautomerge = '1'\n"),
    ];
    assert_found(
        breached_walls,
        &files,
        &["keys/Cargo.toml:3", "mesh/Cargo.toml:3", "tests/Cargo.toml:2"],
    );
}
