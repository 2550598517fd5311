//! Bytes as a signed address hint: one form only, bounded, and what it says is what was signed.

use keys::{ContentId, Timestamp};
use mesh::{hints::AddressHint, limits::HINT_BYTES_MAX};

use super::member;

pub fn run(bytes: &[u8]) {
    let Ok((author, hint)) = AddressHint::open(bytes) else {
        return;
    };
    assert!(bytes.len() <= HINT_BYTES_MAX);
    let again = hint.sign(&member()).expect("what was read can be signed");
    assert_eq!(
        AddressHint::open(&again).expect("what was signed opens"),
        (member().id(), hint)
    );
    if author == member().id() {
        assert_eq!(again, bytes, "one form only");
    }
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let address = |text: &str| text.parse().expect("it is an address");
    let home = AddressHint {
        mesh: ContentId([5; 32]),
        addresses: vec![],
        websockets: vec![],
        relays: vec![member().id()],
        carries: false,
        number: 7,
        made: Timestamp(1_800_000_000_000),
    };
    let public = AddressHint {
        addresses: vec![address("192.0.2.1:4001"), address("[2001:db8::1]:4001")],
        websockets: vec![address("192.0.2.1:443")],
        relays: vec![],
        carries: true,
        ..home
    };
    [("home", home), ("public", public)]
        .map(|(name, hint)| {
            let bytes = hint.sign(&member()).expect("it can be signed");
            (name.to_owned(), bytes)
        })
        .into()
}
