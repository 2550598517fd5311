//! Golden bytes of what nodes tell each other of who is there: two adjacent releases of a mesh must understand it.

use mesh::decoders::Decoder;

use super::{golden, kept};

#[test]
fn frames_about_who_is_there() {
    let examples = Decoder::Liveness.examples();
    assert_eq!(examples.len(), 3);
    unchanged("liveness", Decoder::Liveness, examples);
}

#[test]
fn sections_about_which_process_a_node_is() {
    let examples = Decoder::Life.examples();
    assert_eq!(examples.len(), 2);
    unchanged("life", Decoder::Life, examples);
}

fn unchanged(what: &str, decoder: Decoder, examples: Vec<(String, Vec<u8>)>) {
    for (name, bytes) in examples {
        let file = format!("{what}-{name}-1.bin");
        golden(&file, &bytes);
        assert_eq!(decoder.again(&kept(&file)), Some(bytes));
    }
}
