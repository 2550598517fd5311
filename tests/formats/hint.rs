//! Golden bytes of what a node says of where it can be found.

use keys::{ContentId, Timestamp};
use mesh::hints::AddressHint;

use super::{golden, kept, key};

#[test]
fn address_hints() {
    let hint = AddressHint {
        mesh: ContentId([5; 32]),
        addresses: vec!["192.0.2.1:4001".parse().unwrap(), "[2001:db8::1]:4001".parse().unwrap()],
        websockets: vec!["192.0.2.1:443".parse().unwrap()],
        relays: vec![key(2).id(), key(3).id()],
        carries: false,
        number: 1_800_000_000_001,
        made: Timestamp(1_800_000_000_000),
    };
    golden("address-hint-1.bin", &hint.sign(&key(1)).unwrap());
    assert_eq!(AddressHint::open(&kept("address-hint-1.bin")), Ok((key(1).id(), hint)));
}
