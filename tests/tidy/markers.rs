//! Nothing unfinished: no marker of work left over, and no test that is switched off.

use crate::source::{Source, Token};
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

/// Written in two parts, so that this file does not find itself.
const WORDS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];

const MACROS: &[&str] = &["todo", "unimplemented"];

const SOURCES: &[&str] = &[
    ".rs", ".vue", ".ts", ".js", ".mjs", ".css", ".html", ".sh", ".toml", "x", "/run",
];

fn unfinished(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for path in tree.files_ending(SOURCES) {
        for (index, line) in tree.text(path).unwrap_or_default().lines().enumerate() {
            for word in WORDS.iter().filter(|word| has_word(line, word)) {
                let message = format!("`{word}`: finish it here, or open an issue and drop the word");
                violations.push(Violation::new(path, index + 1, message));
            }
        }
    }
    for source in Source::all(tree) {
        for (index, token) in source.tokens.iter().enumerate() {
            let rest = &source.tokens[index..];
            if calls_macro(rest) {
                violations.push(Violation::new(
                    &source.path,
                    token.line,
                    format!("`{}!`: write what belongs here", token.text),
                ));
            }
            if switches_test_off(rest) {
                let message = "a test that is switched off: make it pass always, or remove it";
                violations.push(Violation::new(&source.path, token.line, message));
            }
        }
    }
    violations
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(start, _)| !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part))
}

fn calls_macro(tokens: &[Token]) -> bool {
    // The bracket tells `name!(...)` from `name != ...`.
    matches!(tokens, [name, bang, open, ..]
        if MACROS.contains(&name.text.as_str()) && bang.text == "!" && ["(", "[", "{"].contains(&open.text.as_str()))
}

fn switches_test_off(tokens: &[Token]) -> bool {
    let [hash, open, head, rest @ ..] = tokens else {
        return false;
    };
    let is_attribute = hash.text == "#" && open.text == "[";
    let mut arguments = rest.iter().take_while(|token| token.text != "]");
    is_attribute && (head.text == "ignore" || head.text == "cfg_attr" && arguments.any(|token| token.text == "ignore"))
}

#[test]
fn nothing_is_unfinished() {
    assert_workspace_obeys(unfinished);
}

#[test]
fn what_is_unfinished_is_found() {
    let [fix, cross, later] = WORDS else {
        panic!("three words")
    };
    let comments = format!("// {fix}: later\n// mktemp a.{cross}{cross}\n// {cross}\nlet a = \"{later}S\";\n");
    let rust = "fn a(todo: u8) {\n    if todo != 1 { todo!() }\n    outer!(unimplemented!(\"a\"));\n}\n";
    let tests = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n\
        #[cfg_attr(unix, ignore)]\nfn b() { let c = \"#[ignore] todo!()\"; }\n";
    let files = [
        ("gateway/web/src/a.ts", comments.as_str()),
        ("keys/src/a.rs", rust),
        ("mesh/src/a.rs", tests),
    ];
    let expected = [
        "gateway/web/src/a.ts:1",
        "gateway/web/src/a.ts:3",
        "keys/src/a.rs:2",
        "keys/src/a.rs:3",
        "mesh/src/a.rs:2",
        "mesh/src/a.rs:4",
    ];
    assert_found(unfinished, &files, &expected);
}
