//! What a stranger can send, tried out: each target takes any bytes, hands them to the code that reads them in a node, and asserts
//! what must hold then.
//!
//! One table of targets serves three users: libFuzzer (`./x fuzz`), which looks for bytes that break a promise; the test `corpus`,
//! which runs every kept input in `./x test`; and the program of this package, which runs one input and writes the seeds anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a target stops at the first surprise"
)]

mod panics;
mod script;
mod targets;

use std::path::{Path, PathBuf};

pub use panics::{remember_panics, stop_at_a_broken_promise};
pub use targets::TARGETS;

/// Something that reads bytes from outside.
pub struct Target {
    /// Its directory below `corpus`, and its name for `./x fuzz`.
    pub name: &'static str,
    /// Tries one input. Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Honest inputs with their names, the same at each call: where the search begins.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Where the kept inputs of all targets lie, a directory each.
#[must_use]
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
