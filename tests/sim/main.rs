//! `./x bench sim`, in a program of its own so that nothing but the simulator is built: how fast a message is everywhere, and what is
//! held and moved while nodes are replaced.

fn main() {
    sim::figures::bench();
    sim::placement::bench(1);
}
