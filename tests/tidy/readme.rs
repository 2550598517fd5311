//! The map in README.md names what is there, and every crate.

use crate::layout::{CRATES, is_top_level};
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

const README: &str = "README.md";

/// A word in backticks that ends so and has a `/` in it is a path.
const FILE_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".json", ".vue", ".ts", ".sh"];

fn wrong_map(tree: &Tree) -> Vec<Violation> {
    let Some(text) = tree.text(README) else {
        return vec![Violation::new(
            README,
            1,
            "is missing: it is the way in, with a map of the crates",
        )];
    };
    let mut violations = Vec::new();
    let mut mentioned = Vec::new();
    let mut in_code_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
            continue;
        }
        for path in if in_code_block { first_word(line) } else { paths(line) } {
            if !tree.exists(&path) {
                violations.push(Violation::new(
                    README,
                    index + 1,
                    format!("`{path}` is not there: correct the path or drop it"),
                ));
            }
            mentioned.push(path.split('/').next().unwrap_or_default().to_owned());
        }
    }
    for name in CRATES
        .iter()
        .filter(|name| !mentioned.iter().any(|mention| mention == *name))
    {
        violations.push(Violation::new(
            README,
            1,
            format!("the map leaves out `{name}`: say what it answers"),
        ));
    }
    violations
}

/// The paths of this repository in a line of prose: in backticks, or as the target of a link.
fn paths(line: &str) -> Vec<String> {
    let code = line.split('`').skip(1).step_by(2).filter_map(path_in_code);
    let links = line
        .split("](")
        .skip(1)
        .filter_map(|rest| path_in_link(rest.split_once(')')?.0));
    code.chain(links).collect()
}

/// A tree drawn in a code block names a path at the start of a line; a command line does so at times.
fn first_word(line: &str) -> Vec<String> {
    let word = if line.starts_with(' ') {
        None
    } else {
        line.split_whitespace().next()
    };
    word.and_then(path_in_code).into_iter().collect()
}

fn path_in_code(code: &str) -> Option<String> {
    // `./x run`: only the first word of a command can be a path of ours.
    let word = code.split_whitespace().next()?;
    let is_alone = word.len() == code.len() || word.starts_with("./");
    let word = word.trim_start_matches("./");
    // `crdt/src/records/*.rs`: the directory must be there.
    let path = word.split(['*', '{', '<']).next()?;
    let path = if path.len() == word.len() {
        path
    } else {
        path.rsplit_once('/')?.0
    };
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let is_file =
        path.contains('/') && !path.starts_with('/') && FILE_ENDINGS.iter().any(|ending| path.ends_with(ending));
    let begins_at_top = is_top_level(path.split('/').next()?) && !path.starts_with('.');
    (is_alone && is_plain && (is_file || begins_at_top)).then(|| path.to_owned())
}

fn path_in_link(target: &str) -> Option<String> {
    let path = target.split('#').next()?.trim_start_matches("./");
    let is_elsewhere = path.is_empty() || path.contains(':') || path.starts_with('/');
    (!is_elsewhere).then(|| path.to_owned())
}

#[test]
fn the_readme_names_what_is_there() {
    assert_workspace_obeys(wrong_map);
}

#[test]
fn a_missing_readme_is_found() {
    assert_found(wrong_map, &[("Cargo.toml", "")], &["README.md:1"]);
}

#[test]
fn a_path_that_is_not_there_is_found() {
    let readme = "\
        # Starling\n\
        `./x run` and `cargo build`, then `application/json` from `/api/v1` or `~/.config/starling.toml`.\n\
        `keys` `mesh/` `crdt` `inference/src/a.rs` `monitor` `gateway` `tests/tidy/*.rs`\n\
        Not there: `node/src/away.rs`, `nodes/src/main.rs` and [a link](mesh/AWAY.md#top).\n\
        There: [a link](mesh/PROTOCOL.md#top), [another](https://example.org/a.md).\n\
        ```\n\
        crdt/away   gone\n\
        cargo run `keys/away.rs`\n\
        ```\n";
    let files = [
        ("README.md", readme),
        ("x", ""),
        ("keys/Cargo.toml", ""),
        ("mesh/PROTOCOL.md", ""),
        ("crdt/Cargo.toml", ""),
        ("inference/src/a.rs", ""),
        ("monitor/Cargo.toml", ""),
        ("gateway/Cargo.toml", ""),
        ("tests/tidy/main.rs", ""),
        ("node/Cargo.toml", ""),
    ];
    assert_found(
        wrong_map,
        &files,
        &["README.md:4", "README.md:4", "README.md:4", "README.md:7"],
    );
    let without_keys = readme.replace("`keys`", "keys").replace("`node/src/away.rs`, ", "");
    let files: Vec<_> = [("README.md", without_keys.as_str())]
        .into_iter()
        .chain(files.into_iter().skip(1))
        .collect();
    let expected = [
        "README.md:1",
        "README.md:1",
        "README.md:4",
        "README.md:4",
        "README.md:7",
    ];
    assert_found(wrong_map, &files, &expected);
}
