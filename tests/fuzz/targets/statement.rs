//! Bytes as a signed erasure, receipt or rebase: one form only, bounded, and what it says is what was signed.

use crdt::{
    erasure::{Erase, EraseTarget, Erasures, Receipt, Statement, StatementContent},
    limits::STATEMENT_BYTES_MAX,
    rebase::Rebase,
    records::session::MessageId,
};
use keys::{ContentId, Timestamp};

use super::member;

pub fn run(bytes: &[u8]) {
    let Ok(statement) = Statement::open(bytes) else {
        return;
    };
    assert!(bytes.len() <= STATEMENT_BYTES_MAX);
    assert_eq!(
        (statement.bytes.as_slice(), statement.id),
        (bytes, ContentId::of(bytes))
    );
    let again = Statement::sign(&member(), statement.content.clone()).expect("what was read can be signed");
    assert_eq!(
        Statement::open(&again.bytes).expect("what was signed opens").content,
        statement.content
    );
    let mut erasures = Erasures::default();
    erasures.insert(&statement);
    assert!(erasures.all().count() <= 1);
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let message = MessageId::from_bytes([3; 16]);
    let document = ContentId([2; 32]);
    let targets = [
        ("account", EraseTarget::Account(document)),
        ("document", EraseTarget::Document(document)),
        ("message", EraseTarget::Message { document, message }),
    ];
    let mut seeds = Vec::new();
    for (name, target) in targets {
        let content = StatementContent::Erase(Erase {
            target,
            at: Timestamp(5),
        });
        let statement = Statement::sign(&member(), content).expect("it can be signed");
        seeds.push((name.to_owned(), statement.bytes));
    }
    let receipt = StatementContent::Receipt(Receipt {
        erase: document,
        subject: document,
        at: Timestamp(6),
        envelopes: 7,
        keys: 1,
    });
    let receipt = Statement::sign(&member(), receipt).expect("it can be signed");
    seeds.push(("receipt".to_owned(), receipt.bytes));
    let rebase = StatementContent::Rebase(Rebase {
        document,
        heads: vec![ContentId([7; 32]), ContentId([8; 32])],
        base: ContentId([9; 32]),
    });
    let rebase = Statement::sign(&member(), rebase).expect("it can be signed");
    seeds.push(("rebase".to_owned(), rebase.bytes));
    seeds
}
