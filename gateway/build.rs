//! Looks whether the web page is built; never builds it, so that `cargo build` needs neither Node nor a network.

fn main() {
    // Without this line files added to the folder later would not be embedded.
    println!("cargo:rerun-if-changed=web/dist");
}
