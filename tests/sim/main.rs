//! `./x bench sim` in a program of its own, so that nothing but the simulator is built.

fn main() {
    sim::figures::bench();
}
