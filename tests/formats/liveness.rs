//! Golden bytes of what nodes tell each other of who is there: two adjacent releases of a mesh must understand it.

use mesh::decoders::Decoder;

use super::{golden, kept};

#[test]
fn frames_about_who_is_there() {
    let examples = Decoder::Liveness.examples();
    assert_eq!(examples.len(), 3);
    for (name, bytes) in examples {
        let file = format!("liveness-{name}-1.bin");
        golden(&file, &bytes);
        assert_eq!(Decoder::Liveness.again(&kept(&file)), Some(bytes));
    }
}
