//! Stores on real disks: what is acknowledged stays, two stores become equal, what is erased leaves the disk.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{path::Path, sync::Arc};

use crdt::{
    KeyNotice, Received, Store, StoreError, StoreSettings,
    erasure::EraseTarget,
    ingress::Right,
    keyring::KeyFrame,
    records::{
        account::{Account, Role},
        session::{Ending, Message, MessageId, Session, SessionEdit},
    },
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn settings(directory: &Path, seed: u8) -> StoreSettings {
    let members: Vec<_> = (1..100).map(|seed| key(seed).id()).collect();
    StoreSettings {
        directory: directory.join("store"),
        keys: directory.join("keys"),
        key: key(seed),
        right: Arc::new(move |node| match members.contains(node) {
            true => Right::Member,
            false => Right::Unknown,
        }),
    }
}

fn open(directory: &Path, seed: u8) -> (Store, crdt::Outputs) {
    let (store, outputs, _) = Store::open(settings(directory, seed)).unwrap();
    (store, outputs)
}

fn rita() -> Account {
    Account::new("Рита", Role::User, Timestamp(1), [0; 16])
}

/// A person with a chat.
async fn person_and_chat(store: &Store) -> (ContentId, ContentId) {
    let person = store.create(rita()).await.unwrap();
    let session = Session::new(person, ContentId([2; 32]), Timestamp(1));
    (person, store.create(session).await.unwrap())
}

fn message(chat: ContentId, text: &str, at: u64, parent: Option<MessageId>) -> Message {
    Message::from_person(text, text, &chat, parent, Timestamp(at))
}

async fn say(store: &Store, chat: ContentId, text: &str, at: u64) -> Message {
    let message = message(chat, text, at, None);
    let edit = SessionEdit::PutMessage(message.clone());
    store.edit(chat, edit).await.unwrap();
    message
}

async fn reconcile(opener: &Store, answerer: &Store) {
    let mut frame = opener.reconcile_start(answerer.node()).await.unwrap();
    let sides = [(answerer, opener), (opener, answerer)];
    for (side, other) in sides.iter().cycle().take(1000) {
        let Some(answer) = side.reconcile_step(other.node(), frame).await.unwrap() else {
            return;
        };
        if says_same(&answer) {
            return;
        }
        frame = answer;
    }
    panic!("the talk has no end");
}

/// Gives the keys that `to` asks for, as two members do over a stream.
async fn give_keys(from: &Store, to: &Store) {
    let wanted = to.wanted_keys().await.unwrap();
    let given = from.answer_keys(KeyFrame::Ask(wanted)).await.unwrap().unwrap();
    to.answer_keys(given).await.unwrap();
}

async fn texts(store: &Store, chat: ContentId) -> Vec<String> {
    let session: Session = store.read(chat).await.unwrap();
    session
        .messages
        .iter()
        .map(|message| message.text.text().to_owned())
        .collect()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn holds(directory: &Path, bytes: &[u8]) -> bool {
    files(directory).iter().any(|file| {
        let content = std::fs::read(file).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_restart_and_the_loss_of_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let (store, outputs) = open(directory.path(), 1);
    let (person, chat) = person_and_chat(&store).await;
    for number in 0..300 {
        say(&store, chat, &format!("message {number}"), number).await;
    }
    let before: Session = store.read(chat).await.unwrap();
    drop(outputs);
    store.stop().await;
    assert!(
        directory.path().join("store/snapshots").exists(),
        "a long chat is kept as a snapshot"
    );
    for without in ["", "index", "snapshots"] {
        if !without.is_empty() {
            std::fs::remove_dir_all(directory.path().join("store").join(without)).unwrap();
        }
        let (store, _outputs, report) = Store::open(settings(directory.path(), 1)).unwrap();
        assert_eq!(report.index_rebuilt, without == "index", "{report:?}");
        assert_eq!((report.envelopes, report.rotten_records), (302, 0), "{report:?}");
        assert_eq!(
            store.read::<Session>(chat).await.unwrap(),
            before,
            "without {without:?}"
        );
        assert_eq!(store.read::<Account>(person).await.unwrap(), rita());
        store.stop().await;
    }
    let (store, _outputs) = open(directory.path(), 1);
    // The restarted store writes on without a second change under an old sequence number.
    say(&store, chat, "after the restart", 999).await;
    assert_eq!(texts(&store, chat).await.last().unwrap(), "after the restart");
    assert_eq!(store.forks(chat).await.unwrap(), []);
}

#[tokio::test]
async fn a_damaged_index_or_snapshot_is_made_anew_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _outputs) = open(directory.path(), 1);
    let (_, chat) = person_and_chat(&store).await;
    for number in 0..100 {
        say(&store, chat, &format!("{number}"), number).await;
    }
    store.stop().await;
    let store_directory = directory.path().join("store");
    for part in ["index", "snapshots"] {
        for file in files(&store_directory.join(part)) {
            std::fs::write(file, [7u8; 64 * 1024]).unwrap();
        }
        let (store, _outputs, report) = Store::open(settings(directory.path(), 1)).unwrap();
        assert_eq!(report.index_rebuilt, part == "index", "{report:?}");
        assert_eq!(texts(&store, chat).await.len(), 100);
        store.stop().await;
    }
}

#[tokio::test]
async fn both_halves_of_a_split_write_and_nothing_is_lost() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, _a_outputs) = open(left.path(), 1);
    let (b, mut b_outputs) = open(right.path(), 2);
    let (person, chat) = person_and_chat(&a).await;
    let question = say(&a, chat, "question", 10).await;
    reconcile(&a, &b).await;
    // The chat is here, its texts are not readable until the key comes.
    assert_eq!(texts(&b, chat).await, [""]);
    assert_eq!(b_outputs.keys.recv().await, Some(KeyNotice::Wanted(person)));
    give_keys(&a, &b).await;
    assert_eq!(texts(&b, chat).await, ["question"]);
    say(&b, chat, "from the other half", 20).await;
    // Both halves answer the same question: one answer stands, the same on both.
    for (store, text) in [(&a, "answer of a"), (&b, "answer of b")] {
        let answer = Message::answer(question.id, text, Timestamp(30), "m", Ending::Complete);
        store.edit(chat, SessionEdit::PutMessage(answer)).await.unwrap();
    }
    reconcile(&b, &a).await;
    let (at_a, at_b) = (texts(&a, chat).await, texts(&b, chat).await);
    assert_eq!(at_a, at_b);
    assert_eq!(at_a.len(), 3, "{at_a:?}");
    assert_eq!(a.summary().await.unwrap().root, b.summary().await.unwrap().root);
    let read: Session = a.read(chat).await.unwrap();
    let unanswered: Vec<_> = read
        .unanswered()
        .map(|message| message.text.text().to_owned())
        .collect();
    assert_eq!(unanswered, ["from the other half"]);
}

#[tokio::test]
async fn a_write_waits_for_its_key_and_gives_up_with_a_clear_error() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, _a_outputs) = open(left.path(), 1);
    let (b, mut b_outputs) = open(right.path(), 2);
    let (_, chat) = person_and_chat(&a).await;
    reconcile(&a, &b).await;
    let edit = SessionEdit::PutMessage(message(chat, "early", 5, None));
    let (written, ()) = tokio::join!(b.edit(chat, edit), async {
        b_outputs.keys.recv().await;
        give_keys(&a, &b).await;
    });
    written.unwrap();
    assert_eq!(texts(&b, chat).await, ["early"]);
}

#[tokio::test]
async fn pushed_changes_arrive_in_any_order() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, mut outputs) = open(left.path(), 1);
    let (b, mut b_outputs) = open(right.path(), 2);
    let (_, chat) = person_and_chat(&a).await;
    for number in 0..5 {
        say(&a, chat, &format!("{number}"), number).await;
    }
    let mut pushed = Vec::new();
    while let Ok(envelope) = outputs.outgoing.try_recv() {
        pushed.push(envelope);
    }
    assert_eq!(pushed.len(), 7);
    // The newest first: each waits for what it depends on, and the genesis releases them all.
    let mut received = Vec::new();
    for envelope in pushed.iter().rev() {
        received.push(b.receive(envelope.clone()).await.unwrap());
    }
    assert!(
        received[..5].iter().all(|one| matches!(one, Received::Parked(_))),
        "{received:?}"
    );
    assert_eq!(received[5..], [Received::New, Received::New]);
    for _ in 0..5 {
        b_outputs.released.recv().await.unwrap();
    }
    texts(&b, chat).await;
    give_keys(&a, &b).await;
    assert_eq!(texts(&b, chat).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(b.receive(pushed[0].clone()).await.unwrap(), Received::Ignored);
}

/// One batch of jobs in which some edits fail: what the others wrote is whole, here and at the other node.
#[tokio::test]
async fn a_failed_edit_spoils_nothing_that_was_written_beside_it() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, _a_outputs) = open(left.path(), 1);
    let (b, _b_outputs) = open(right.path(), 2);
    let (_, chat) = person_and_chat(&a).await;
    let edits = (0..30u64).map(|number| {
        let mut one = message(chat, &format!("{number}"), number, None);
        if number % 3 == 1 {
            // Far over the limit of a message.
            one.text = "x".repeat(70_000).as_str().into();
        }
        a.edit(chat, SessionEdit::PutMessage(one))
    });
    let results = futures::future::join_all(edits).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 20);
    reconcile(&b, &a).await;
    assert_eq!(
        texts(&b, chat).await.len(),
        20,
        "the other node takes every one of them"
    );
    assert_eq!(a.summary().await.unwrap().root, b.summary().await.unwrap().root);
}

/// The sealed texts that the journal of a store holds.
fn sealed_texts(directory: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let opened = crdt::journal::Journal::open(&directory.join("store/journal"), None, |_, body| {
        if let Ok(envelope) = crdt::envelope::Envelope::open(body) {
            found.extend(envelope.payloads.into_iter().filter_map(|(_, payload)| payload));
        }
    });
    opened.unwrap();
    found
}

#[tokio::test]
async fn an_erased_account_leaves_every_disk_and_a_node_that_was_away_brings_nothing_back() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (a, _a_outputs) = open(directories[0].path(), 1);
    let (b, _b_outputs) = open(directories[1].path(), 2);
    let (person, chat) = person_and_chat(&a).await;
    for number in 0..100 {
        say(&a, chat, &format!("secret {number}"), number).await;
    }
    let kept = a
        .create(Account::new("Oleg", Role::User, Timestamp(2), [1; 16]))
        .await
        .unwrap();
    reconcile(&a, &b).await;
    texts(&b, chat).await;
    give_keys(&a, &b).await;
    assert_eq!(texts(&b, chat).await[7], "secret 7");
    // Oleg's key is needed afterwards, too.
    b.read::<Account>(kept).await.unwrap();
    give_keys(&a, &b).await;
    // b goes away; a erases.
    b.stop().await;
    let mut erased = a.erased();
    let erase = a.erase(EraseTarget::Account(person)).await.unwrap();
    assert_eq!(erased.recv().await.unwrap(), EraseTarget::Account(person));
    assert!(matches!(a.read::<Session>(chat).await, Err(StoreError::NotFound)));
    assert!(matches!(a.read::<Account>(person).await, Err(StoreError::NotFound)));
    assert!(
        a.answer_keys(KeyFrame::Ask(vec![person]))
            .await
            .unwrap()
            .is_some_and(|answer| matches!(answer, KeyFrame::Give(given) if given.is_empty()))
    );
    a.stop().await;
    let sealed = sealed_texts(directories[1].path());
    assert!(sealed.len() > 100, "the other disk still has them all");
    let gone: Vec<&Vec<u8>> = sealed
        .iter()
        .filter(|text| !holds(directories[0].path(), text))
        .collect();
    assert_eq!(gone.len(), sealed.len() - 1, "only Oleg's name is left here");
    // b comes back, and what it holds goes instead of coming back.
    let (a, _a_outputs) = open(directories[0].path(), 1);
    let (b, _b_outputs) = open(directories[1].path(), 2);
    reconcile(&b, &a).await;
    for store in [&a, &b] {
        assert!(matches!(store.read::<Session>(chat).await, Err(StoreError::NotFound)));
        assert_eq!(store.read::<Account>(kept).await.unwrap().name.text(), "Oleg");
    }
    reconcile(&a, &b).await;
    let (at_a, at_b) = (a.summary().await.unwrap(), b.summary().await.unwrap());
    assert_eq!((at_a.root, at_a.statements_root), (at_b.root, at_b.statements_root));
    let erasures = a.erasures().await.unwrap();
    let receipts = &erasures.iter().find(|erasure| erasure.id == erase).unwrap().receipts;
    assert_eq!(receipts.len(), 2, "each node says that it has done it");
    assert!(
        receipts
            .values()
            .all(|receipt| receipt.envelopes >= 102 && receipt.keys == 1)
    );
    b.stop().await;
    assert!(gone.iter().all(|text| !holds(directories[1].path(), text)));
}

#[tokio::test]
async fn an_erased_message_loses_its_text_and_keeps_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _outputs) = open(directory.path(), 1);
    let (_, chat) = person_and_chat(&store).await;
    let mut said = Vec::new();
    for number in 0..80 {
        said.push(say(&store, chat, &format!("text {number}"), number).await);
    }
    let before = sealed_texts(directory.path());
    let target = EraseTarget::Message {
        document: chat,
        message: said[40].id,
    };
    store.erase(target).await.unwrap();
    for reopened in [false, true] {
        let read = texts(&store, chat).await;
        assert_eq!(
            (read.len(), read[40].as_str(), read[41].as_str()),
            (80, "", "text 41"),
            "{reopened}"
        );
    }
    store.stop().await;
    let after = sealed_texts(directory.path());
    let lost: Vec<_> = before.iter().filter(|text| !after.contains(text)).collect();
    assert_eq!(lost.len(), 1);
    assert!(!holds(directory.path(), lost[0]), "not even in a snapshot");
    let (store, _outputs) = open(directory.path(), 1);
    assert_eq!(texts(&store, chat).await[40], "");
}

#[tokio::test]
async fn a_scrub_finds_what_rots_and_the_other_node_heals_it() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (a, _a_outputs) = open(directories[0].path(), 1);
    let (b, _b_outputs) = open(directories[1].path(), 2);
    let (_, chat) = person_and_chat(&a).await;
    for number in 0..20 {
        say(&a, chat, &format!("{number}"), number).await;
    }
    reconcile(&a, &b).await;
    assert!(
        a.scrub(u64::MAX).await.unwrap().damaged == 0,
        "the control: nothing is damaged yet"
    );
    let segment = files(&directories[0].path().join("store/journal"))
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let mut damaged = 0;
    for _ in 0..10 {
        damaged += a.scrub(1024 * 1024).await.unwrap().damaged;
    }
    assert_eq!(damaged, 1, "found once, and not again and again");
    assert_ne!(a.summary().await.unwrap().root, b.summary().await.unwrap().root);
    reconcile(&a, &b).await;
    assert_eq!(a.summary().await.unwrap().root, b.summary().await.unwrap().root);
    a.stop().await;
    let (a, _a_outputs, report) = Store::open(settings(directories[0].path(), 1)).unwrap();
    assert_eq!(report.envelopes, 22, "{report:?}");
    assert_eq!(texts(&a, chat).await.len(), 20);
}

/// A page holds several records: the scrub must tell of each, or the node would promise to others what it cannot give.
#[tokio::test]
async fn a_scrub_finds_every_record_of_a_lost_page_and_the_other_node_heals_them() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (a, _a_outputs) = open(directories[0].path(), 1);
    let (b, _b_outputs) = open(directories[1].path(), 2);
    let (_, chat) = person_and_chat(&a).await;
    for number in 0..40 {
        say(&a, chat, &format!("{number}"), number).await;
    }
    reconcile(&a, &b).await;
    let segment = files(&directories[0].path().join("store/journal"))
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096..8192].fill(0);
    std::fs::write(&segment, &bytes).unwrap();
    let scrubbed = a.scrub(u64::MAX).await.unwrap();
    assert!(scrubbed.finished && scrubbed.damaged > 5, "{scrubbed:?}");
    let (at_a, at_b) = (a.summary().await.unwrap(), b.summary().await.unwrap());
    assert_eq!(at_a.envelopes + scrubbed.damaged, at_b.envelopes);
    reconcile(&a, &b).await;
    a.stop().await;
    let (a, _a_outputs) = open(directories[0].path(), 1);
    assert_eq!(texts(&a, chat).await.len(), 40, "every record is here again");
    assert_eq!(a.summary().await.unwrap().root, at_b.root);
}

/// The index points elsewhere, as when a journal was put back from a copy, and one record of the journal is damaged: making the index
/// anew finds less than the node thought it held, and it must ask for the rest and not promise it.
#[tokio::test]
async fn what_is_missing_from_an_index_made_anew_is_asked_of_the_other_node() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (a, mut outputs) = open(directories[0].path(), 1);
    let mut people = Vec::new();
    for number in 0..20 {
        let account = Account::new("Рита", Role::User, Timestamp(1), [number; 16]);
        people.push(a.create(account).await.unwrap());
    }
    let (b, _b_outputs) = open(directories[1].path(), 2);
    reconcile(&a, &b).await;
    let mut written = Vec::new();
    while let Ok(bytes) = outputs.outgoing.try_recv() {
        written.push(bytes);
    }
    assert_eq!(written.len(), 20);
    a.stop().await;
    // The same changes in another order.
    let (reversed, _outputs) = open(directories[2].path(), 1);
    for bytes in written.into_iter().rev() {
        assert!(matches!(reversed.receive(bytes).await.unwrap(), Received::New));
    }
    reversed.stop().await;
    let [journal, other] = [0, 2].map(|at: usize| directories[at].path().join("store/journal/00000001.log"));
    let mut bytes = std::fs::read(other).unwrap();
    assert_eq!(bytes.len(), std::fs::read(&journal).unwrap().len());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();

    let (a, _a_outputs, report) = Store::open(settings(directories[0].path(), 1)).unwrap();
    assert!(!report.index_rebuilt && report.envelopes == 20, "{report:?}");
    assert!(
        a.read::<Account>(people[0]).await.is_ok(),
        "it is found by looking anew"
    );
    assert_eq!(a.summary().await.unwrap().envelopes, 19, "one is known to be missing");
    reconcile(&a, &b).await;
    assert_eq!(a.summary().await.unwrap().root, b.summary().await.unwrap().root);
    for person in people {
        assert!(a.read::<Account>(person).await.is_ok());
    }
}
