//! `./x bench sim [FIRST_SEED]`, in a program of its own so that nothing but the simulator is built: how fast a message is
//! everywhere, and what is held and moved while nodes are replaced. One seed gives one run; without one it is 1.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = match arguments.as_slice() {
        [] => Some(1),
        [seed] => seed.parse().ok(),
        _ => None,
    };
    let Some(seed) = seed else {
        eprintln!("bench sim: at most one argument, the first seed, a whole number");
        return ExitCode::from(2);
    };
    sim::figures::bench(seed);
    sim::placement::bench(seed);
    ExitCode::SUCCESS
}
