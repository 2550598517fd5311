//! Bytes as a frame of each protocol that the mesh itself speaks: one that is read is written again as one that is read the same. What
//! gossip carries has targets of its own: `envelope`, `statement` and `hint`.

use mesh::decoders::Decoder;

fn run(decoder: Decoder, bytes: &[u8]) {
    if let Some(again) = decoder.again(bytes) {
        // Numbers can be written longer than they need be; what was read must not change once more.
        assert!(again.len() <= bytes.len());
        assert_eq!(decoder.again(&again), Some(again));
    }
}

pub fn control(bytes: &[u8]) {
    run(Decoder::Control, bytes);
}

pub fn trust(bytes: &[u8]) {
    run(Decoder::Trust, bytes);
}

pub fn links(bytes: &[u8]) {
    run(Decoder::Links, bytes);
}

pub fn hints(bytes: &[u8]) {
    run(Decoder::Hints, bytes);
}

pub fn dialback(bytes: &[u8]) {
    run(Decoder::Dialback, bytes);
}

pub fn punch(bytes: &[u8]) {
    run(Decoder::Punch, bytes);
}

pub fn liveness(bytes: &[u8]) {
    run(Decoder::Liveness, bytes);
}

pub fn life(bytes: &[u8]) {
    run(Decoder::Life, bytes);
}

pub fn join(bytes: &[u8]) {
    run(Decoder::Join, bytes);
}

/// Questions and answers alike.
pub fn blob(bytes: &[u8]) {
    run(Decoder::BlobRequest, bytes);
    run(Decoder::BlobAnswer, bytes);
}

pub fn blob_seeds() -> Vec<(String, Vec<u8>)> {
    let named = |kind: &str, decoder: Decoder| -> Vec<_> {
        let examples = decoder.examples().into_iter();
        examples
            .map(|(name, bytes)| (format!("{kind}-{name}"), bytes))
            .collect()
    };
    [named("ask", Decoder::BlobRequest), named("answer", Decoder::BlobAnswer)].concat()
}
