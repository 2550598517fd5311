//! Tests of [`super`]: a whole chain verifies, and every break of it is found.

use automerge::{ROOT, ReadDoc, ScalarValue, Value, transaction::Transactable};

use super::*;
use crate::records::testing::{Replicas, node};

fn event(action: &str, at: u64) -> AuditEvent {
    AuditEvent {
        at: Timestamp(at),
        by: Some(ContentId([1; 32])),
        action: action.into(),
        subject: "an account".into(),
        address: "192.0.2.1".into(),
        device: "Firefox".into(),
        detail: "spam".into(),
    }
}

/// A chain of one node. The document is begun by that node, too.
fn chain(entries: u64, continues: Option<Continuation>) -> Replicas {
    let mut replicas = Replicas::begun_by(0, &Audit::new(Timestamp(1), continues));
    for number in 0..entries {
        replicas
            .edit(0, &AuditEdit::Append(event("account.block", number)))
            .unwrap();
    }
    replicas.merge_all();
    replicas
}

#[test]
fn a_whole_chain_verifies_and_goes_on_in_another_document() {
    let mut first = chain(20, None);
    let read: Audit = first.agreed();
    assert_eq!((read.entries.len(), read.node), (20, Some(node(0))));
    assert_eq!(read.entries[7].event, event("account.block", 7));
    let end = read.verify().unwrap();
    assert_eq!(end, read.entries[19].hash);
    let continuation = Continuation {
        document: ContentId([9; 32]),
        hash: end,
    };
    let second: Audit = chain(3, Some(continuation)).agreed();
    assert_eq!(second.entries[0].previous, end);
    second.verify().unwrap();
    assert_eq!(chain(0, None).agreed::<Audit>().verify(), Ok(BEGINNING));
    assert_eq!(chain(0, Some(continuation)).agreed::<Audit>().verify(), Ok(end));
}

/// What a hostile hand does to the bytes of an entry.
fn tampered(change: impl Fn(&mut automerge::AutoCommit)) -> Result<[u8; 32], ChainError> {
    let mut replicas = chain(10, None);
    // By the node itself, so that no signature tells.
    replicas.forge(0, |document| change(document));
    replicas.merge_all();
    replicas.agreed::<Audit>().verify()
}

fn bytes_of(document: &automerge::AutoCommit, number: u32) -> Vec<u8> {
    match document.get(ROOT, key(number)) {
        Ok(Some((Value::Scalar(value), _))) => value.as_bytes().unwrap().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_break_is_found_at_its_place() {
    assert!(tampered(|document| document.put(ROOT, "unrelated", 1).unwrap()).is_ok());
    for number in 0..9 {
        let changed = tampered(|document| {
            let mut bytes = bytes_of(document, number);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            document.put(ROOT, key(number), ScalarValue::Bytes(bytes)).unwrap();
        });
        assert_eq!(changed, Err(ChainError::Changed(number + 1)));
        let missing = tampered(|document| document.delete(ROOT, key(number)).unwrap());
        assert_eq!(missing, Err(ChainError::Gap(number)));
    }
    let swapped = tampered(|document| {
        let (third, fourth) = (bytes_of(document, 3), bytes_of(document, 4));
        document.put(ROOT, key(3), fourth).unwrap();
        document.put(ROOT, key(4), third).unwrap();
    });
    assert_eq!(swapped, Err(ChainError::Changed(3)));
    let inserted = tampered(|document| {
        let bytes = bytes_of(document, 9);
        document.put(ROOT, key(10), bytes).unwrap();
    });
    assert_eq!(inserted, Err(ChainError::Changed(10)));
}

#[test]
fn another_nodes_entry_and_two_under_one_number_are_found() {
    let mut foreign = chain(4, None);
    foreign
        .edit(1, &AuditEdit::Append(event("account.unblock", 9)))
        .unwrap();
    assert_eq!(foreign.agreed::<Audit>().verify(), Err(ChainError::Foreign(4)));
    let mut forked = chain(4, None);
    forked.edit(0, &AuditEdit::Append(event("account.unblock", 9))).unwrap();
    forked.edit(1, &AuditEdit::Append(event("account.delete", 9))).unwrap();
    assert_eq!(forked.agreed::<Audit>().verify(), Err(ChainError::Forked(4)));
}

#[test]
fn what_breaks_a_limit_is_refused_here() {
    let mut replicas = chain(2, None);
    let long = AuditEvent {
        detail: "x".repeat(301),
        ..event("a", 1)
    };
    assert_eq!(
        replicas.edit(0, &AuditEdit::Append(long)),
        Err(RecordError::Limit("detail"))
    );
    assert_eq!(
        replicas.edit(0, &AuditEdit::Append(event("A", 1))),
        Err(RecordError::Limit("action"))
    );
    replicas.agreed::<Audit>().verify().unwrap();
}

#[test]
fn the_end_of_a_chain_is_found_by_halving() {
    for entries in [0u64, 1, 2, 3, 7, 8, 9, 31] {
        let replicas = chain(entries, None);
        let (number, hash) = end(&Reader::of_structure(&replicas.documents[0]));
        let read: Audit = replicas.read(0);
        assert_eq!(u64::from(number), entries);
        assert_eq!(hash, read.entries.last().map_or(BEGINNING, |last| last.hash));
    }
}
