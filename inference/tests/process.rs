//! The engine process alone, as `starling engine` serves it.

use std::process::ExitCode;

fn main() -> ExitCode {
    inference::engine::worker::main()
}
