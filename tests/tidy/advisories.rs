//! The libraries that Cargo.lock names are not older than the versions that closed the weaknesses which `mesh/PROTOCOL.md` lists:
//! GitHub's, which `cargo deny` does not see.

use std::collections::BTreeMap;

use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

const DOCUMENT: &str = "mesh/PROTOCOL.md";
const LOCK: &str = "Cargo.lock";
/// The table begins below this heading.
const HEADING: &str = "## Known advisories";

/// Major, minor, patch.
type Version = [u64; 3];

fn version(text: &str) -> Option<Version> {
    // What follows a `-` or `+` does not make it newer.
    let mut parts = text.split(['-', '+']).next()?.split('.');
    let mut number = || parts.next()?.parse().ok();
    Some([number()?, number()?, number()?])
}

/// Every version of every library in the lock.
fn locked(lock: &str) -> BTreeMap<String, Vec<Version>> {
    let table: toml::Table = lock.parse().unwrap_or_default();
    let mut locked: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for package in table
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let versions = locked.entry(text("name").to_owned()).or_default();
        versions.extend(version(text("version")));
    }
    locked
}

/// The rows of the table: line, ids, library, and the version that closed them.
fn rows(document: &str) -> Vec<(usize, Vec<&str>)> {
    let lines = document.lines().enumerate();
    let below = lines.skip_while(|(_, line)| !line.starts_with(HEADING));
    let rows = below.filter(|(_, line)| line.starts_with('|'));
    // The names of the columns, and the line below them.
    rows.skip(2)
        .map(|(index, line)| (index + 1, line.trim_matches('|').split('|').map(str::trim).collect()))
        .collect()
}

fn weak_libraries(tree: &Tree) -> Vec<Violation> {
    let document = tree.text(DOCUMENT).unwrap_or_default();
    let locked = locked(&tree.text(LOCK).unwrap_or_default());
    let rows = rows(&document);
    if rows.is_empty() {
        return vec![Violation::new(
            DOCUMENT,
            1,
            "lists no advisories: the libraries are held against them",
        )];
    }
    let mut violations = Vec::new();
    for (line, row) in rows {
        let [ids, library, closed, ..] = row[..] else {
            violations.push(Violation::new(DOCUMENT, line, "a row says ids, library and version"));
            continue;
        };
        let Some(closed_in) = version(closed) else {
            violations.push(Violation::new(
                DOCUMENT,
                line,
                format!("`{closed}` is no version like 1.2.3"),
            ));
            continue;
        };
        let Some(versions) = locked.get(library) else {
            violations.push(Violation::new(
                DOCUMENT,
                line,
                format!("{library} is not used: drop the row"),
            ));
            continue;
        };
        if versions.iter().any(|used| *used < closed_in) {
            let message =
                format!("Cargo.lock has a {library} older than {closed}, which closed {ids}: cargo update it");
            violations.push(Violation::new(DOCUMENT, line, message));
        }
    }
    violations
}

#[test]
fn no_library_is_older_than_its_cure() {
    assert_workspace_obeys(weak_libraries);
}

#[test]
fn a_library_that_is_older_than_its_cure_is_found() {
    let document = "# Protocol\n\n| a | table | 9.9.9 |\n|-|-|-|\n| of | others | 9.9.9 |\n\n## Known advisories\n\n\
        | advisory | library | closed in |\n|-|-|-|\n| A-1 | good | 1.2.10 |\n| A-2 | old | 1.10.0 |\n\
        | A-3 | twice | 2.0.0 |\n| A-4 | unused | 1.0.0 |\n| A-5 | good | soon |\n";
    let lock = "[[package]]\nname = \"good\"\nversion = \"1.2.10\"\n[[package]]\nname = \"old\"\nversion = \"1.9.0\"\n\
        [[package]]\nname = \"twice\"\nversion = \"2.1.0\"\n[[package]]\nname = \"twice\"\nversion = \"1.9.9+more\"\n";
    let expected = [12, 13, 14, 15].map(|line| format!("{DOCUMENT}:{line}"));
    assert_found(
        weak_libraries,
        &[(DOCUMENT, document), (LOCK, lock)],
        &expected.each_ref().map(String::as_str),
    );
    assert_found(
        weak_libraries,
        &[(DOCUMENT, "# Protocol\n"), (LOCK, lock)],
        &[&format!("{DOCUMENT}:1")],
    );
}
