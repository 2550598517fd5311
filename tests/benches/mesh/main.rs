//! Measurements of the mesh, each figure one JSON line on standard output; words go to standard error. `./x bench mesh` runs all of
//! them, `./x bench mesh hop join` some. Real nodes and real sockets of this machine, but
//! for the figures that say that they are simulated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first surprise"
)]

mod blobs;
mod flood;
mod gossip;
mod hop;
mod join;
mod kills;
mod liveness;
mod nodes;
mod process;
mod routes;
mod swarms;
mod wire;

use std::process::ExitCode;

use serde_json::{Value, json};

/// A group of measurements by its name.
const GROUPS: &[(&str, fn())] = &[
    ("hop", hop::run),
    ("join", join::run),
    ("flood", flood::run),
    ("blobs", blobs::run),
    ("liveness", liveness::run),
    ("kills", kills::run),
    ("routes", routes::run),
    ("gossip", gossip::run),
    ("swarms", swarms::run),
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.first().is_some_and(|first| first == kills::VICTIM) {
        kills::victim();
        return ExitCode::SUCCESS;
    }
    let known = |name: &String| GROUPS.iter().any(|(known, _)| known == name);
    if let Some(unknown) = asked.iter().find(|name| !known(name)) {
        let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        eprintln!("bench mesh: there is no '{unknown}'. There are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    for (name, run) in GROUPS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            run();
        }
    }
    ExitCode::SUCCESS
}

/// One figure; less is better in all of them.
struct Figure<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    /// The issue's, in the same unit.
    goal: Option<f64>,
    rival: Option<(&'a str, f64)>,
}

fn print(figure: &Figure<'_>) {
    print_as(figure, "lower");
}

fn print_as(figure: &Figure<'_>, better: &str) {
    let rival = figure
        .rival
        .map_or(Value::Null, |(name, value)| json!({"name": name, "value": value}));
    println!(
        "{}",
        json!({
            "bench": "mesh", "name": figure.name, "value": figure.value, "unit": figure.unit, "goal": figure.goal,
            "better": better, "rival": rival, "mock": false,
        })
    );
}

/// The figure below which `share` of all lie.
fn quantile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let place = (figures.len() as f64 * share).ceil() as usize;
    figures[place.clamp(1, figures.len()) - 1]
}
