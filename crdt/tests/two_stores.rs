//! Stores on real disks: what is acknowledged stays, two stores become equal, hostile changes are refused.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{path::Path, sync::Arc};

use automerge::{AutoCommit, ROOT, transaction::Transactable};
use crdt::{
    Received, Store, StoreError, StoreSettings,
    envelope::Envelope,
    ingress::Rejection,
    records::{
        Edit, RecordKind,
        account::Account,
        session::{Ending, Message, Session, Speaker},
    },
};
use keys::{ContentId, NodeKey, Timestamp, token::PersonRole};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

/// Seeds below 100 are members.
fn settings(directory: &Path, seed: u8) -> StoreSettings {
    let members: Vec<_> = (1..100).map(|seed| key(seed).id()).collect();
    StoreSettings {
        directory: directory.to_owned(),
        key: key(seed),
        is_member: Arc::new(move |node| members.contains(node)),
    }
}

fn open(directory: &Path, seed: u8) -> (Store, crdt::Outputs) {
    let (store, outputs, _) = Store::open(settings(directory, seed)).unwrap();
    (store, outputs)
}

fn account(name: &str) -> Account {
    Account {
        name: name.into(),
        role: PersonRole::User,
        created: Timestamp(1),
        link: [0; 16],
    }
}

fn session() -> Session {
    Session {
        account: ContentId([1; 32]),
        character: ContentId([2; 32]),
        created: Timestamp(1),
        messages: vec![],
    }
}

async fn say(store: &Store, session: ContentId, text: &str, at: u64) -> Message {
    let message = Message::from_person(text, text, &session, store.node(), Timestamp(at));
    store.edit(session, Edit::PutMessage(message.clone())).await.unwrap();
    message
}

async fn reconcile(opener: &Store, answerer: &Store) {
    let mut frame = opener.reconcile_start().await.unwrap();
    loop {
        let Some(answer) = answerer.reconcile_step(frame).await.unwrap() else {
            return;
        };
        let Some(next) = opener.reconcile_step(answer).await.unwrap() else {
            return;
        };
        frame = next;
    }
}

async fn texts(store: &Store, session: ContentId) -> Vec<String> {
    let session: Session = store.read(session).await.unwrap();
    session.messages.into_iter().map(|message| message.text).collect()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_restart_and_the_loss_of_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let (chat, person) = {
        let (store, _outputs) = open(directory.path(), 1);
        let person = store.create(account("Рита")).await.unwrap();
        let chat = store.create(session()).await.unwrap();
        for number in 0..50 {
            say(&store, chat, &format!("message {number}"), number).await;
        }
        (chat, person)
    };
    wait_for_lock(directory.path());
    std::fs::remove_dir_all(directory.path().join("index")).unwrap();
    let (store, _outputs, report) = Store::open(settings(directory.path(), 1)).unwrap();
    assert!(
        report.index_rebuilt && report.envelopes == 52 && report.rotten_records == 0,
        "{report:?}"
    );
    assert_eq!(texts(&store, chat).await.len(), 50);
    assert_eq!(store.read::<Account>(person).await.unwrap(), account("Рита"));
    // The restarted store writes on without a second change under an old sequence number.
    say(&store, chat, "after the restart", 99).await;
    assert_eq!(texts(&store, chat).await.last().unwrap(), "after the restart");
}

/// The old store's thread lets go of sled's lock a moment after its last handle is dropped.
fn wait_for_lock(directory: &Path) {
    let lock = directory.join("index").join("db");
    for _ in 0..100_000 {
        let file = std::fs::File::open(&lock).unwrap();
        if file.try_lock().is_ok() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("the old store still holds its lock");
}

#[tokio::test]
async fn a_damaged_index_is_rebuilt_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let chat = {
        let (store, _outputs) = open(directory.path(), 1);
        let chat = store.create(session()).await.unwrap();
        say(&store, chat, "kept", 5).await;
        chat
    };
    wait_for_lock(directory.path());
    std::fs::write(directory.path().join("index").join("db"), [7u8; 64 * 1024]).unwrap();
    let (store, _outputs, report) = Store::open(settings(directory.path(), 1)).unwrap();
    assert!(report.index_rebuilt, "{report:?}");
    assert_eq!(texts(&store, chat).await, ["kept"]);
}

#[tokio::test]
async fn both_halves_of_a_split_write_and_nothing_is_lost() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, _a_outputs) = open(left.path(), 1);
    let (b, _b_outputs) = open(right.path(), 2);
    let chat = a.create(session()).await.unwrap();
    reconcile(&a, &b).await;
    let question = say(&a, chat, "question", 10).await;
    say(&b, chat, "from the other half", 20).await;
    // Both halves answer the same question: one answer stands, the same on both.
    for (store, text) in [(&a, "answer of a"), (&b, "answer of b")] {
        let answer = Message::answer(question.id, text, Timestamp(30), store.node(), "m", Ending::Complete);
        store.edit(chat, Edit::PutMessage(answer)).await.unwrap();
    }
    let mut changes = b.changes();
    reconcile(&b, &a).await;
    assert_eq!(changes.try_recv().unwrap().document, chat);
    let (at_a, at_b) = (texts(&a, chat).await, texts(&b, chat).await);
    assert_eq!(at_a, at_b);
    assert_eq!(at_a.len(), 3, "{at_a:?}");
    assert_eq!(a.summary().await.unwrap(), b.summary().await.unwrap());
    let read: Session = a.read(chat).await.unwrap();
    assert_eq!(
        read.messages
            .iter()
            .filter(|message| matches!(message.speaker, Speaker::Character { .. }))
            .count(),
        1
    );
    assert_eq!(
        read.unanswered()
            .map(|message| message.text.as_str())
            .collect::<Vec<_>>(),
        ["from the other half"]
    );
}

#[tokio::test]
async fn pushed_changes_arrive_in_any_order() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, mut outputs) = open(left.path(), 1);
    let (b, _b_outputs) = open(right.path(), 2);
    let chat = a.create(session()).await.unwrap();
    for number in 0..5 {
        say(&a, chat, &format!("{number}"), number).await;
    }
    let mut pushed = Vec::new();
    while let Ok(envelope) = outputs.outgoing.try_recv() {
        pushed.push(envelope);
    }
    assert_eq!(pushed.len(), 6);
    // The newest first: each waits for what it depends on, and the genesis releases them all.
    let mut received = Vec::new();
    for envelope in pushed.iter().rev() {
        received.push(b.receive(envelope.clone()).await.unwrap());
    }
    assert_eq!(received.last(), Some(&Received::New));
    assert_eq!(texts(&b, chat).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(b.receive(pushed[0].clone()).await.unwrap(), Received::Ignored);
}

/// One batch of jobs in which some edits fail: what the others wrote is whole, here and at the other node.
#[tokio::test]
async fn a_failed_edit_spoils_nothing_that_was_written_beside_it() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, _a_outputs) = open(left.path(), 1);
    let (b, _b_outputs) = open(right.path(), 2);
    let chat = a.create(session()).await.unwrap();
    let good = |number: u64| {
        Message::from_person(
            &format!("{number}"),
            &format!("{number}"),
            &chat,
            a.node(),
            Timestamp(number),
        )
    };
    // Far over the limit of a message.
    let bad = Message {
        text: "x".repeat(70_000),
        ..good(99)
    };
    let edits = (0..30u64).map(|number| {
        let message = if number % 3 == 1 { bad.clone() } else { good(number) };
        a.edit(chat, Edit::PutMessage(message))
    });
    let results = futures::future::join_all(edits).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 20);
    reconcile(&b, &a).await;
    assert_eq!(
        texts(&b, chat).await.len(),
        20,
        "the other node takes every one of them"
    );
    assert_eq!(a.summary().await.unwrap(), b.summary().await.unwrap());
}

/// A change made by hand, as a hostile member would.
fn forged(base: &[Vec<u8>], actor: u8, write: impl FnOnce(&mut AutoCommit)) -> Vec<u8> {
    let mut document = AutoCommit::new().with_actor(automerge::ActorId::from([actor; 16].as_slice()));
    let changes = base
        .iter()
        .map(|bytes| automerge::Change::from_bytes(bytes.clone()).unwrap());
    document.apply_changes(changes).unwrap();
    write(&mut document);
    document.commit();
    document.get_last_local_change().unwrap().raw_bytes().to_vec()
}

#[tokio::test]
async fn poison_equivocation_strangers_and_garbage_are_refused_and_the_document_lives() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, mut outputs) = open(left.path(), 1);
    let (b, _b_outputs) = open(right.path(), 2);
    let person = a.create(account("Рита")).await.unwrap();
    let genesis = Envelope::open(outputs.outgoing.recv().await.unwrap()).unwrap();
    assert_eq!(b.receive(genesis.bytes.clone()).await.unwrap(), Received::New);
    let rename = |name: &'static str| {
        forged(std::slice::from_ref(&genesis.change), 7, |document| {
            document.put(ROOT, "name", name).unwrap()
        })
    };
    let seal = |seed: u8, kind, change: Vec<u8>| Envelope::seal(&key(seed), kind, Some(person), change).unwrap().bytes;

    let stranger = b
        .receive(seal(200, RecordKind::Account, rename("чужой")))
        .await
        .unwrap();
    assert_eq!(
        stranger,
        Received::Ignored,
        "not a member: not taken in, and not blamed on the one who forwarded it"
    );
    let wrong_kind = b.receive(seal(3, RecordKind::Character, rename("x"))).await.unwrap();
    assert_eq!(wrong_kind, Received::Rejected(Rejection::WrongKind));
    let mut honest = automerge::Change::from_bytes(rename("poison")).unwrap().decode();
    honest.start_op = std::num::NonZeroU64::new(u64::from(u32::MAX) - 1).unwrap();
    let poison = automerge::Change::from(honest).raw_bytes().to_vec();
    let refused = b.receive(seal(3, RecordKind::Account, poison)).await.unwrap();
    assert!(
        matches!(
            refused,
            Received::Rejected(Rejection::TooManyOperations | Rejection::WrongStart)
        ),
        "{refused:?}"
    );
    let mut early = automerge::Change::from_bytes(rename("capture")).unwrap().decode();
    early.start_op = std::num::NonZeroU64::new(1 << 20).unwrap();
    let capture = automerge::Change::from(early).raw_bytes().to_vec();
    assert_eq!(
        b.receive(seal(3, RecordKind::Account, capture)).await.unwrap(),
        Received::Rejected(Rejection::WrongStart)
    );
    let invalid = b.receive(seal(3, RecordKind::Account, rename("x"))).await.unwrap();
    assert_eq!(
        invalid,
        Received::Rejected(Rejection::InvalidRecord),
        "a name of one letter breaks the record's limit"
    );
    let garbage = b.receive(seal(3, RecordKind::Account, vec![1, 2, 3])).await.unwrap();
    assert_eq!(garbage, Received::Rejected(Rejection::Malformed));
    assert_eq!(
        b.receive(vec![9; 40]).await.unwrap(),
        Received::Rejected(Rejection::Malformed)
    );
    let large = forged(std::slice::from_ref(&genesis.change), 8, |document| {
        document.put(ROOT, "x", vec![7u8; 61 * 1024]).unwrap()
    });
    assert_eq!(
        b.receive(seal(3, RecordKind::Account, large)).await.unwrap(),
        Received::Rejected(Rejection::TooLarge)
    );

    // The control: the same change, honestly made, is taken in; a second one under its number is not.
    assert_eq!(
        b.receive(seal(3, RecordKind::Account, rename("Рита К.")))
            .await
            .unwrap(),
        Received::New
    );
    let second = b
        .receive(seal(3, RecordKind::Account, rename("Рита М.")))
        .await
        .unwrap();
    assert_eq!(second, Received::Rejected(Rejection::Equivocation));
    assert_eq!(b.read::<Account>(person).await.unwrap().name, "Рита К.");
    assert!(matches!(b.read::<Session>(person).await, Err(StoreError::NotFound)));
}
