//! The rules of the house, as tests: which crate may import which, where a foreign library lives, how long a function
//! and a file may be, what must be documented, and what has no place in the sources.
//!
//! Each rule is a function from a [`Tree`] to its [`Violation`]s. It runs twice: over the workspace, where it must find
//! nothing, and over a small tree with a violation planted in it, which proves that the rule can fail.

mod advisories;
mod counts;
mod imports;
mod layout;
mod manifests;
mod markers;
mod module_docs;
mod paths;
mod queues;
mod readme;
mod sizes;
mod source;
mod tree;

use std::fmt;

use tree::Tree;

/// A place where a rule is broken, and what mends it.
#[derive(Debug)]
struct Violation {
    path: String,
    /// Counted from one.
    line: usize,
    message: String,
}

impl Violation {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Runs a rule over the workspace.
#[track_caller]
fn assert_workspace_obeys(rule: fn(&Tree) -> Vec<Violation>) {
    let violations = rule(&Tree::of_workspace());
    let list: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "{} to mend:\n{}", list.len(), list.join("\n"));
}

/// Runs a rule over a planted tree: it must find exactly these places, written `path:line`.
#[track_caller]
fn assert_found(rule: fn(&Tree) -> Vec<Violation>, files: &[(&str, &str)], expected: &[&str]) {
    let violations = rule(&Tree::planted(files));
    let mut found: Vec<String> = violations.iter().map(|v| format!("{}:{}", v.path, v.line)).collect();
    found.sort();
    assert_eq!(found, expected, "{violations:#?}");
}
