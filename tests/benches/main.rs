//! Measurements of the product, each figure one JSON line on standard output. `./x bench NAME` runs them; words go to standard error.
//! Those of the replicated state are a program of their own, in `crdt/`.

mod figure;
mod gateway;
mod hop;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("hop") => {
            hop::run();
            ExitCode::SUCCESS
        }
        Some("gateway") => gateway::run(&arguments[1..]),
        _ => {
            eprintln!("bench: say which one: gateway or hop; ./x bench also knows crdt, mesh, inference and sim");
            ExitCode::from(2)
        }
    }
}
