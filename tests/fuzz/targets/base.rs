//! Bytes as a base: one form only, bounded, and whatever it says, showing it costs no more than that.

use std::{collections::BTreeMap, sync::Arc};

use crdt::{
    ingress::Right,
    limits::BASE_BYTES_MAX,
    rebase::Base,
    records::settings::{Setting, Settings, SettingsEdit},
    replica::{MemoryKeys, MemoryShelf, Recoveries, Replica, ReplicaSettings},
};
use keys::{ContentId, Timestamp};

use super::member;

pub fn run(bytes: &[u8]) {
    let Ok(base) = Base::open(bytes) else {
        return;
    };
    assert!(bytes.len() <= BASE_BYTES_MAX);
    assert_eq!((base.to_bytes().as_slice(), base.id()), (bytes, ContentId::of(bytes)));
    // What automerge makes of it is its own affair, as long as it comes to an end.
    assert!(!base.can_be_shown() || base.covered_changes() > 0);
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    vec![
        ("settings".to_owned(), settings(&["a", "b", "a", "a"], false)),
        ("emptied".to_owned(), settings(&["a"], true)),
    ]
}

/// The base of settings that were set, and perhaps taken back.
fn settings(names: &[&str], reset: bool) -> Vec<u8> {
    let settings = ReplicaSettings {
        key: member(),
        right: Arc::new(|_| Right::Member),
        boot: [3; 16],
        recoveries: Recoveries::default(),
    };
    let now = Timestamp(5);
    let mut replica = Replica::new(settings, MemoryShelf::default(), Box::new(MemoryKeys::default()));
    let begun = Settings {
        values: BTreeMap::new(),
    };
    let document = replica.create(&begun, now).expect("it can be created");
    for (name, number) in names.iter().zip(1..) {
        let edit = SettingsEdit::Set((*name).to_owned(), Setting::Number(number));
        replica.edit(document, &edit, now).expect("it can be set");
        if reset {
            let edit = SettingsEdit::Reset((*name).to_owned());
            replica.edit(document, &edit, now).expect("it can be taken back");
        }
    }
    replica.commit(now).expect("memory refuses nothing");
    replica.rebase(document).expect("it can be rebased");
    replica.commit(now).expect("memory refuses nothing");
    let mut records = replica.below().records();
    records
        .find(|bytes| Base::is_one(bytes))
        .expect("it has a base")
        .clone()
}
