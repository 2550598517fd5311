//! Measurements of the product, each figure one JSON line on standard output. `./x bench NAME` runs them; words go to standard error.
//! Those of the replicated state are a program of their own, in `crdt/`.

mod hop;

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "hop" => hop::run(),
        _ => {
            eprintln!("bench: say which one: hop; ./x bench also knows crdt, mesh, inference and sim");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
