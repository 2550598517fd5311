//! A parsed Rust file, and which of its lines are test code.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, ItemUse};

use crate::{Tree, Violation, assert_found, assert_workspace_obeys};

pub struct Source {
    pub path: String,
    pub text: String,
    pub syntax: syn::File,
    /// Everything in order, with brackets as tokens of their own; unlike the syntax it reaches into macro calls.
    pub tokens: Vec<Token>,
    /// Inline `#[cfg(test)]` modules.
    pub test_modules: Vec<RangeInclusive<usize>>,
    /// Test functions and other `#[cfg(test)]` items.
    test_items: Vec<RangeInclusive<usize>>,
    /// A file that is only compiled for tests.
    is_test_file: bool,
}

pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    /// Every Rust file of the tree; one that does not parse is told by [`syntax_errors`].
    pub fn all(tree: &Tree) -> Vec<Source> {
        let mut sources: Vec<Source> = tree
            .files_ending(&[".rs"])
            .filter_map(|path| Source::parse(path, tree.text(path)?).ok())
            .collect();
        let test_modules: BTreeSet<String> = sources.iter().flat_map(Source::test_modules_elsewhere).collect();
        for source in &mut sources {
            source.is_test_file |= test_modules.iter().any(|module| {
                let rest = source.path.strip_prefix(module.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
        }
        sources
    }

    fn parse(path: &str, text: String) -> Result<Source, syn::Error> {
        let syntax = syn::parse_file(&text)?;
        let mut tokens = Vec::new();
        flatten(text.parse::<TokenStream>()?, &mut tokens);
        let mut finder = TestFinder::default();
        finder.visit_file(&syntax);
        let is_test_file = path.split('/').skip(1).any(|part| part == "tests") || syntax.attrs.iter().any(is_cfg_test);
        let TestFinder {
            test_modules,
            test_items,
        } = finder;
        Ok(Source {
            path: path.to_owned(),
            text,
            syntax,
            tokens,
            test_modules,
            test_items,
            is_test_file,
        })
    }

    pub fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file
            || self
                .test_modules
                .iter()
                .chain(&self.test_items)
                .any(|lines| lines.contains(&line))
    }

    /// `#[cfg(test)] mod name;`: the path of that module without its ending.
    fn test_modules_elsewhere(&self) -> Vec<String> {
        let (directory, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        let home = match stem {
            "lib" | "main" | "mod" => directory.to_owned(),
            _ => format!("{directory}/{stem}"),
        };
        let modules = self.syntax.items.iter().filter_map(|item| match item {
            Item::Mod(module) if module.content.is_none() && module.attrs.iter().any(is_cfg_test) => Some(module),
            _ => None,
        });
        modules.map(|module| format!("{home}/{}", module.ident)).collect()
    }
}

#[derive(Default)]
struct TestFinder {
    test_modules: Vec<RangeInclusive<usize>>,
    test_items: Vec<RangeInclusive<usize>>,
}

impl<'ast> Visit<'ast> for TestFinder {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.attrs.iter().any(is_cfg_test) {
            self.test_modules.push(lines_of(module));
        } else {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.note(&function.attrs, function);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.note(&item.attrs, item);
        visit::visit_item_impl(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.note(&function.attrs, function);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note(&item.attrs, item);
    }
}

impl TestFinder {
    fn note(&mut self, attributes: &[Attribute], item: &impl Spanned) {
        if attributes
            .iter()
            .any(|attribute| is_cfg_test(attribute) || is_test(attribute))
        {
            self.test_items.push(lines_of(item));
        }
    }
}

/// `#[test]`, `#[tokio::test]` and their like.
fn is_test(attribute: &Attribute) -> bool {
    attribute
        .path()
        .segments
        .last()
        .is_some_and(|segment| segment.ident == "test")
}

/// `#[cfg(test)]`, also among other conditions, but not `#[cfg(not(test))]`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let Ok(list) = attribute.meta.require_list() else {
        return false;
    };
    let mut tokens = Vec::new();
    flatten(list.tokens.clone(), &mut tokens);
    let has = |word: &str| tokens.iter().any(|token| token.text == word);
    list.path.is_ident("cfg") && has("test") && !has("not")
}

fn lines_of(item: &impl Spanned) -> RangeInclusive<usize> {
    let span = item.span();
    span.start().line..=span.end().line
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let TokenTree::Group(group) = tree else {
            tokens.push(Token {
                line: tree.span().start().line,
                text: tree.to_string(),
            });
            continue;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::None => ("", ""),
        };
        tokens.push(Token {
            text: open.to_owned(),
            line: group.span_open().start().line,
        });
        flatten(group.stream(), tokens);
        tokens.push(Token {
            text: close.to_owned(),
            line: group.span_close().end().line,
        });
    }
}

/// A file that the parser of these rules does not understand would escape them all.
fn syntax_errors(tree: &Tree) -> Vec<Violation> {
    let errors = tree.files_ending(&[".rs"]).filter_map(|path| {
        let error = Source::parse(path, tree.text(path)?).err()?;
        let line = error.span().start().line;
        Some(Violation::new(
            path,
            line,
            format!("cannot be parsed as Rust ({error}): write it so that `syn` can"),
        ))
    });
    errors.collect()
}

#[test]
fn every_rust_file_parses() {
    assert_workspace_obeys(syntax_errors);
}

#[test]
fn a_file_that_does_not_parse_is_found() {
    assert_found(
        syntax_errors,
        &[("keys/src/a.rs", "fn a() {}\nfn b( {}\n")],
        &["keys/src/a.rs:2"],
    );
}

#[test]
fn test_code_is_told_from_the_rest() {
    let tree = Tree::planted(&[
        (
            "keys/src/lib.rs",
            "#[cfg(test)]\nmod law;\n#[cfg(not(test))]\nmod a;\n#[test]\nfn b() {\n}\nfn c() {}\n",
        ),
        ("keys/src/law.rs", "fn a() {}\n"),
        ("keys/src/law/deep.rs", "fn a() {}\n"),
        (
            "keys/src/lawful.rs",
            "fn a() {}\n#[cfg(all(test, unix))]\nmod tests {\n}\n",
        ),
        ("mesh/tests/pair.rs", "fn a() {}\n"),
    ]);
    let mut test_lines = Vec::new();
    for source in Source::all(&tree) {
        let lines = (1..=source.text.lines().count()).filter(|line| source.is_test_line(*line));
        test_lines.push((source.path.clone(), lines.collect::<Vec<_>>()));
    }
    let expected: &[(&str, &[usize])] = &[
        ("keys/src/law.rs", &[1]),
        ("keys/src/law/deep.rs", &[1]),
        ("keys/src/lawful.rs", &[2, 3, 4]),
        ("keys/src/lib.rs", &[1, 2, 5, 6, 7]),
        ("mesh/tests/pair.rs", &[1]),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, lines)| ((*path).to_owned(), lines.to_vec()))
        .collect();
    assert_eq!(test_lines, expected);
}
