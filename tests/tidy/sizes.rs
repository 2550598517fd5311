//! How long a function and a file may be. Test functions and inline test modules do not count: they are long by nature.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::source::Source;
use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;
/// From here on a file is named in the output of the test, before it becomes too long.
const FILE_LINES_WARN: usize = 400;

fn long_functions(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in Source::all(tree) {
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax);
        for function in functions
            .found
            .iter()
            .filter(|function| !source.is_test_line(function.line))
        {
            let Function { name, line, lines } = function;
            if *lines > FUNCTION_LINES_MAX {
                let message = format!(
                    "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} at most: give its steps functions of their own"
                );
                violations.push(Violation::new(&source.path, *line, message));
            }
        }
    }
    violations
}

struct Function {
    name: String,
    line: usize,
    /// From `fn` to the closing brace.
    lines: usize,
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn note(&mut self, signature: &Signature, body: &Block) {
        let line = signature.fn_token.span().start().line;
        let lines = body.span().end().line + 1 - line;
        self.found.push(Function {
            name: signature.ident.to_string(),
            line,
            lines,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.note(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Every Rust, Vue and TypeScript file with its length. Type declarations are generated, so they are left out.
fn lengths(tree: &Tree) -> Vec<(String, usize)> {
    let mut lengths = Vec::new();
    for source in Source::all(tree) {
        let lines = 1..=source.text.lines().count();
        let in_test_module = |line: &usize| source.test_modules.iter().any(|module| module.contains(line));
        lengths.push((source.path.clone(), lines.filter(|line| !in_test_module(line)).count()));
    }
    for path in tree
        .files_ending(&[".vue", ".ts"])
        .filter(|path| !path.ends_with(".d.ts"))
    {
        lengths.push((path.to_owned(), tree.text(path).unwrap_or_default().lines().count()));
    }
    lengths
}

fn long_files(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, lines) in lengths(tree) {
        if lines > FILE_LINES_MAX {
            let message = format!("{lines} lines, {FILE_LINES_MAX} at most: split it by the questions it answers");
            violations.push(Violation::new(&path, FILE_LINES_MAX + 1, message));
        } else if lines > FILE_LINES_WARN {
            println!("{path}: {lines} lines; {FILE_LINES_WARN} is a good limit, {FILE_LINES_MAX} is the last one");
        }
    }
    violations
}

#[test]
fn functions_are_short() {
    assert_workspace_obeys(long_functions);
}

#[test]
fn files_are_short() {
    assert_workspace_obeys(long_files);
}

#[test]
fn a_long_function_is_found() {
    let function = |name: &str, lines: usize| format!("fn {name}() {{\n{}}}\n", "    let _ = 1;\n".repeat(lines - 2));
    let text = [
        function("exactly_long_enough", FUNCTION_LINES_MAX),
        function("too_long", FUNCTION_LINES_MAX + 1),
        format!("#[tokio::test]\nasync {}", function("test", FUNCTION_LINES_MAX + 1)),
        format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            function("helper", FUNCTION_LINES_MAX + 1)
        ),
        format!("impl A {{\n{}}}\n", function("method", FUNCTION_LINES_MAX + 1)),
    ];
    let expected = ["keys/src/a.rs:289", "keys/src/a.rs:71"];
    assert_found(long_functions, &[("keys/src/a.rs", &text.concat())], &expected);
}

#[test]
fn a_long_file_is_found() {
    let lines = |count: usize| "// a line\n".repeat(count);
    let with_tests = format!(
        "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
        lines(FILE_LINES_MAX),
        lines(FILE_LINES_MAX)
    );
    let files = [
        ("keys/src/a.rs", lines(FILE_LINES_MAX + 1)),
        ("keys/src/b.rs", with_tests),
        ("gateway/web/src/A.vue", lines(FILE_LINES_MAX + 1)),
        ("gateway/web/src/schema.d.ts", lines(FILE_LINES_MAX + 1)),
        ("gateway/web/src/a.ts", lines(FILE_LINES_MAX)),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    assert_found(long_files, &files, &["gateway/web/src/A.vue:701", "keys/src/a.rs:701"]);
}
