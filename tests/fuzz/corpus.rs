//! Every kept input of every target, run without libFuzzer: what once broke a promise does not break it again.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeMap, fs, panic};

/// Bytes of all corpora together; they are cloned with the sources.
const CORPORA_BYTES_MAX: usize = 300 * 1024;
/// Bytes of one kept input; what needs more is a test of its own.
const INPUT_BYTES_MAX: usize = 4 * 1024;

/// The kept inputs of each directory of the corpus.
fn corpora() -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut corpora = BTreeMap::new();
    for directory in fs::read_dir(fuzz::corpus()).unwrap() {
        let directory = directory.unwrap();
        let inputs = fs::read_dir(directory.path()).unwrap().map(|file| {
            let file = file.unwrap();
            (name(&file), fs::read(file.path()).unwrap())
        });
        corpora.insert(name(&directory), inputs.collect());
    }
    corpora
}

#[test]
fn every_kept_input_keeps_every_promise() {
    let corpora = corpora();
    let mut broken = Vec::new();
    for target in fuzz::TARGETS {
        for (name, bytes) in &corpora[target.name] {
            if panic::catch_unwind(|| (target.run)(bytes)).is_err() {
                broken.push(format!(
                    "cargo run -p fuzz -- {0} tests/fuzz/corpus/{0}/{name}",
                    target.name
                ));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "broken promises; each again with:\n{}",
        broken.join("\n")
    );
}

#[test]
fn each_target_has_a_small_corpus_with_its_seeds_of_today() {
    let corpora = corpora();
    let names: Vec<&str> = corpora.keys().map(String::as_str).collect();
    let mut targets: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
    targets.sort_unstable();
    assert_eq!(names, targets, "a directory for each target, and no other");
    for target in fuzz::TARGETS {
        let kept: BTreeMap<_, _> = corpora[target.name]
            .iter()
            .filter_map(|(name, bytes)| Some((name.strip_prefix("seed-")?.to_owned(), bytes.clone())))
            .collect();
        let today: BTreeMap<_, _> = (target.seeds)().into_iter().collect();
        assert!(!today.is_empty(), "{} has seeds", target.name);
        assert!(
            kept == today,
            "the seeds of {} changed: cargo run -p fuzz -- seeds",
            target.name
        );
    }
    let sizes = || corpora.values().flat_map(BTreeMap::values).map(Vec::len);
    assert!(
        sizes().sum::<usize>() <= CORPORA_BYTES_MAX,
        "{} bytes",
        sizes().sum::<usize>()
    );
    assert!(sizes().max() <= Some(INPUT_BYTES_MAX), "{:?} bytes", sizes().max());
}
