//! Every Rust file opens by telling what question it answers.

use syn::AttrStyle;

use crate::source::Source;
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

fn missing_module_docs(tree: &Tree) -> Vec<Violation> {
    let sources = Source::all(tree);
    let undocumented = sources.iter().filter(|source| {
        let mut attributes = source.syntax.attrs.iter();
        !attributes.any(|attribute| attribute.path().is_ident("doc") && matches!(attribute.style, AttrStyle::Inner(_)))
    });
    let message = "opens without `//!`: say in a sentence or two what this file is for";
    undocumented
        .map(|source| Violation::new(&source.path, 1, message))
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_workspace_obeys(missing_module_docs);
}

#[test]
fn a_file_without_a_word_is_found() {
    let files = [
        ("keys/src/lib.rs", "//! Who are you?\nmod a;\n"),
        ("keys/src/a.rs", "/// Only an item.\nfn a() {}\n"),
        ("node/src/main.rs", "fn main() {}\n"),
    ];
    assert_found(missing_module_docs, &files, &["keys/src/a.rs:1", "node/src/main.rs:1"]);
}
