//! Every queue has a bound: an unbounded one turns a slow reader into a node that runs out of memory.

use crate::source::{Source, Token};
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

fn unbounded_queues(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in Source::all(tree)
        .iter()
        .filter(|source| !source.path.starts_with("tests/"))
    {
        for (index, token) in source.tokens.iter().enumerate() {
            if makes_unbounded_queue(&source.tokens[index..]) && !source.is_test_line(token.line) {
                let message = "a queue without a bound: take a bounded one, its size a constant in `limits.rs`, \
                    and say what happens when it is full";
                violations.push(Violation::new(&source.path, token.line, message));
            }
        }
    }
    violations
}

fn makes_unbounded_queue(tokens: &[Token]) -> bool {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    match text(0) {
        // tokio
        "unbounded_channel" => true,
        // futures, crossbeam, flume: `unbounded()` and `unbounded::<T>()`
        "unbounded" => text(1) == "(" || (text(1) == ":" && text(2) == ":" && text(3) == "<"),
        _ => false,
    }
}

#[test]
fn every_queue_has_a_bound() {
    assert_workspace_obeys(unbounded_queues);
}

#[test]
fn a_queue_without_a_bound_is_found() {
    let text = "fn a(unbounded: bool) {\n    spawn!(tokio::sync::mpsc::unbounded_channel());\n\
            mpsc::unbounded::<u8>();\n    // unbounded()\n}\n\
        #[cfg(test)]\nmod tests {\n    fn b() { unbounded(); }\n}\n";
    let files = [
        ("mesh/src/a.rs", text),
        ("tests/src/lib.rs", text),
        ("mesh/tests/a.rs", text),
    ];
    assert_found(unbounded_queues, &files, &["mesh/src/a.rs:2", "mesh/src/a.rs:3"]);
}
