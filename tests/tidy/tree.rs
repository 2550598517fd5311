//! A source tree on disk: the files that people wrote, without what was built or fetched.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Directories, as paths from the root, that hold no sources.
const SKIPPED: &[&str] = &[
    ".git",
    ".tools",
    "target",
    "gateway/web/dist",
    "tests/browser/screenshots",
];

/// Directories that hold no sources wherever they are.
const SKIPPED_ANYWHERE: &[&str] = &["node_modules"];

/// The files below a root. Paths are relative to it and written with `/`.
pub struct Tree {
    root: PathBuf,
    files: Vec<String>,
    /// Keeps a planted tree alive.
    _planted: Option<TempDir>,
}

impl Tree {
    /// The tree that this test was built from.
    pub fn of_workspace() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the crate `tests` lies in the workspace");
        Self::read(root.to_owned(), None)
    }

    /// A small tree made for one test, of paths and their text.
    pub fn planted(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("directories can be made");
            fs::write(path, text).expect("a file can be written");
        }
        Self::read(directory.path().to_owned(), Some(directory))
    }

    fn read(root: PathBuf, planted: Option<TempDir>) -> Self {
        let mut files = Vec::new();
        collect(&root, "", &mut files);
        files.sort();
        Self {
            root,
            files,
            _planted: planted,
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    pub fn files_ending(&self, endings: &'static [&'static str]) -> impl Iterator<Item = &str> {
        self.files()
            .filter(move |path| endings.iter().any(|ending| path.ends_with(ending)))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The text of a file; `None` when it is not there or is not text.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

/// The names in a directory.
pub fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory of the tree can be read");
    entries
        .map(|entry| {
            entry
                .expect("an entry of the tree can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

fn collect(root: &Path, below: &str, files: &mut Vec<String>) {
    for name in names_in(&root.join(below)) {
        let path = if below.is_empty() {
            name.clone()
        } else {
            format!("{below}/{name}")
        };
        if SKIPPED.contains(&path.as_str()) || SKIPPED_ANYWHERE.contains(&name.as_str()) {
            continue;
        }
        // `is_dir` follows links; a link to a directory could lead out of the tree or in a circle.
        let kind = root
            .join(&path)
            .symlink_metadata()
            .expect("an entry of the tree can be examined");
        if kind.is_dir() {
            collect(root, &path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn built_and_fetched_files_are_left_out() {
    let tree = Tree::planted(&[
        ("keys/src/lib.rs", ""),
        ("keys/src/target/mod.rs", ""),
        ("target/debug/a.rs", ""),
        ("gateway/web/dist/index.html", ""),
        ("tests/browser/node_modules/a/index.ts", ""),
        ("tests/browser/screenshots/failed/a/node.log", ""),
    ]);
    assert_eq!(
        tree.files().collect::<Vec<_>>(),
        ["keys/src/lib.rs", "keys/src/target/mod.rs"]
    );
}
