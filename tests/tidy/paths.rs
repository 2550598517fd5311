//! No path that exists on one machine only.

use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

/// Directories of one person or one moment. Written in two parts, so that this file does not find itself.
const PLACES: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/t", "mp/"),
    concat!("/Us", "ers/"),
];

/// Written by package managers.
const GENERATED: &[&str] = &["Cargo.lock", "package-lock.json"];

fn machine_paths(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for path in tree
        .files()
        .filter(|path| !GENERATED.iter().any(|name| path.ends_with(name)))
    {
        for (index, line) in tree.text(path).unwrap_or_default().lines().enumerate() {
            for place in PLACES.iter().filter(|place| names_place(line, place)) {
                let message = format!("`{place}` is on one machine only: use a temporary directory, `~`, or a setting");
                violations.push(Violation::new(path, index + 1, message));
            }
        }
    }
    violations
}

/// `web/home/a.vue` and `~/tmp/` are not meant: the path must begin there.
fn names_place(line: &str, place: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "._-~})*".contains(c);
    line.match_indices(place)
        .any(|(start, _)| !line[..start].ends_with(goes_on))
}

#[test]
fn no_path_of_one_machine() {
    assert_workspace_obeys(machine_paths);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let [root, home, ..] = PLACES else {
        panic!("several places")
    };
    let text = format!("let a = \"{root}a\";\n// web{home}a, {{data}}{home}a\nopen({home}b)\n");
    let files = [
        ("keys/src/a.rs", text.as_str()),
        ("node/OPERATIONS.md", &text),
        ("Cargo.lock", &text),
    ];
    let expected = [
        "keys/src/a.rs:1",
        "keys/src/a.rs:3",
        "node/OPERATIONS.md:1",
        "node/OPERATIONS.md:3",
    ];
    assert_found(machine_paths, &files, &expected);
}
