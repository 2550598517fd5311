//! An erased message: its words leave every node with its versions, the summaries that cover it and the title made from it, in
//! whatever order changes and erasure come.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crdt::{
    StoreError,
    disk::DiskShelf,
    envelope::Envelope,
    erasure::EraseTarget,
    ingress::Right,
    records::{
        EntryId,
        account::{Account, Role},
        complaint::{Complaint, ComplaintEdit, ComplaintReason, Decided, Decision},
        session::{Coverage, Message, Session, SessionEdit, Summary, SummaryOrigin, Version},
    },
    replica::{Event, MemoryKeys, MemoryShelf, Received, Recoveries, Replica, ReplicaSettings, Shelf, Source},
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn node<S: Shelf>(seed: u8, keys: &MemoryKeys, shelf: S, tombstones: bool) -> Replica<S> {
    let key = |seed: u8| NodeKey::from_seed(&[seed; 32]);
    let members: Vec<_> = (1..10).map(|seed| key(seed).id()).collect();
    let settings = ReplicaSettings {
        key: key(seed),
        right: Arc::new(move |node| match members.contains(node) {
            true => Right::Member,
            false => Right::Unknown,
        }),
        boot: [seed; 16],
        recoveries: Recoveries {
            tombstones,
            ..Recoveries::default()
        },
    };
    Replica::new(settings, shelf, Box::new(keys.clone()))
}

fn published<S: Shelf>(replica: &mut Replica<S>) -> Vec<Vec<u8>> {
    replica.commit(NOW).unwrap();
    let events = replica.take_events().into_iter();
    let bytes = events.filter_map(|event| match event {
        Event::Publish(bytes) => Some(bytes),
        _ => None,
    });
    bytes.collect()
}

fn give<S: Shelf>(replica: &mut Replica<S>, bytes: &[u8]) -> Received {
    let received = replica.receive(bytes, Source::Gossip, NOW);
    replica.commit(NOW).unwrap();
    received
}

fn talk<S: Shelf, T: Shelf>(opener: &mut Replica<S>, answerer: &mut Replica<T>) {
    let (left, right) = (opener.node(), answerer.node());
    let mut frame = opener.talk_start(right, NOW);
    for turn in 0..1000 {
        let answer = if turn % 2 == 0 {
            answerer.talk_step(left, &frame, NOW)
        } else {
            opener.talk_step(right, &frame, NOW)
        };
        opener.commit(NOW).unwrap();
        answerer.commit(NOW).unwrap();
        match answer.unwrap() {
            Some(answer) if !says_same(&answer) => frame = answer,
            _ => return,
        }
    }
    panic!("the talk has no end");
}

fn said(chat: &ContentId, text: &str, at: u64) -> Message {
    Message::from_person(text, text, chat, None, Timestamp(at))
}

fn summary(covered: &[&Message], text: &str) -> SessionEdit {
    SessionEdit::PutSummary(Summary {
        first: covered[0].id,
        last: covered[covered.len() - 1].id,
        covers: Coverage::of(covered.iter().map(|message| message.id)),
        origin: SummaryOrigin::Model,
        text: text.into(),
    })
}

/// A chat in which one message is to be erased, its changes in the order in which they were made, and the ciphertexts that must go
/// and that must stay.
struct Told {
    chat: ContentId,
    erased: Message,
    kept: Message,
    envelopes: Vec<Vec<u8>>,
    secrets: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl Told {
    fn write<S: Shelf>(&mut self, replica: &mut Replica<S>, edit: &SessionEdit, is_secret: bool) {
        replica.edit(self.chat, edit, NOW).unwrap();
        let bytes = published(replica).pop().unwrap();
        let payloads = Envelope::open(&bytes).unwrap().payloads;
        let texts = payloads.into_iter().filter_map(|(_, payload)| payload);
        if is_secret { &mut self.secrets } else { &mut self.others }.extend(texts);
        self.envelopes.push(bytes);
    }

    /// Both messages are in the first change of the chat.
    fn tell<S: Shelf>(replica: &mut Replica<S>) -> Self {
        let person = Account::new("Рита", Role::User, NOW, [0; 16]);
        let person = replica.create(&person, NOW).unwrap();
        let outbox = ContentId([7; 32]);
        let (erased, kept) = (said(&outbox, "a secret", 10), said(&outbox, "no secret", 20));
        let mut session = Session::new(person, ContentId([2; 32]), NOW);
        session.messages = vec![erased.clone(), kept.clone()];
        let chat = replica.create(&session, NOW).unwrap();
        let envelopes = published(replica);
        let genesis = Envelope::open(&envelopes[1]).unwrap().payloads;
        let mut texts: Vec<Vec<u8>> = genesis.into_iter().filter_map(|(_, payload)| payload).collect();
        let mut told = Self {
            chat,
            others: texts.split_off(1),
            secrets: texts,
            erased,
            kept,
            envelopes,
        };
        let version = SessionEdit::PutVersion {
            message: told.erased.id,
            version: Version::new(EntryId::new(Timestamp(30), 1), "a secret, changed"),
        };
        told.write(replica, &version, true);
        let both = summary(&[&told.erased, &told.kept], "a secret and no secret");
        told.write(replica, &both, true);
        let title = SessionEdit::SetTitleFrom {
            title: "the secret".into(),
            message: told.erased.id,
        };
        told.write(replica, &title, true);
        told
    }

    /// What a node writes that does not know of the erasure.
    fn tell_late<S: Shelf>(&mut self, replica: &mut Replica<S>) {
        let version = SessionEdit::PutVersion {
            message: self.erased.id,
            version: Version::new(EntryId::new(Timestamp(40), 2), "a secret, changed late"),
        };
        self.write(replica, &version, true);
        let late = said(&ContentId([7; 32]), "late and no secret", 50);
        self.write(replica, &SessionEdit::PutMessage(late.clone()), false);
        let covering = summary(&[&self.erased, &late], "a late word of the secret");
        self.write(replica, &covering, true);
        let other = summary(&[&self.kept], "a late word of no secret");
        self.write(replica, &other, false);
    }

    fn target(&self) -> EraseTarget {
        EraseTarget::Message {
            document: self.chat,
            message: self.erased.id,
        }
    }
}

fn holds(directory: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn no_word_of_an_erased_message_is_left_on_any_disk() {
    for tombstones in [true, false] {
        let keys = MemoryKeys::default();
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let open = |seed: u8| {
            let (shelf, _) = DiskShelf::open(directories[usize::from(seed) - 1].path()).unwrap();
            node(seed, &keys, shelf, tombstones)
        };
        let (mut a, mut b) = (open(1), open(2));
        let mut told = Told::tell(&mut a);
        for number in 0..70 {
            let message = said(&told.chat, &format!("message {number}"), 1000 + number);
            told.write(&mut a, &SessionEdit::PutMessage(message), false);
        }
        talk(&mut b, &mut a);
        // Long enough to be kept as snapshots, which hold the texts, too.
        a.save_views();
        b.read::<Session>(told.chat).unwrap();
        b.save_views();
        let early = told.secrets.clone();
        for directory in &directories {
            assert!(directory.path().join("snapshots").exists());
            assert!(early.iter().all(|secret| holds(directory.path(), secret)));
        }
        let before = told.envelopes.len();
        told.tell_late(&mut b);
        a.erase(told.target(), NOW).unwrap();
        a.commit(NOW).unwrap();
        // What the other half wrote comes by gossip, from somebody who has not heard of the erasure either.
        for envelope in &told.envelopes[before..] {
            assert_eq!(give(&mut a, envelope), Received::New);
        }
        talk(&mut b, &mut a);
        assert_eq!(a.summary(), b.summary());
        for replica in [&mut a, &mut b] {
            let session: Session = replica.read(told.chat).unwrap();
            assert_eq!(session.messages.len(), 73);
            replica.save_views();
        }
        drop((a, b));
        for (directory, name) in directories.iter().zip(["a", "b"]) {
            let found = told.secrets.iter().filter(|secret| holds(directory.path(), secret));
            let (found, is_recovered) = (found.count(), tombstones || name == "b");
            assert_eq!(found, if is_recovered { 0 } else { 2 }, "at {name}, {tombstones}");
            assert!(
                told.others.iter().all(|text| holds(directory.path(), text)),
                "at {name}"
            );
        }
    }
}

#[test]
fn a_node_that_knows_of_the_erasure_does_not_write_the_words_again() {
    let keys = MemoryKeys::default();
    let mut a = node(1, &keys, MemoryShelf::default(), true);
    let told = Told::tell(&mut a);
    a.erase(told.target(), NOW).unwrap();
    a.commit(NOW).unwrap();
    let before = a.summary();
    // The client sends it again: another time, the same outbox id.
    let again = said(&ContentId([7; 32]), "a secret", 900);
    let covering = summary(&[&told.erased, &told.kept], "of both");
    for edit in [SessionEdit::PutMessage(again), covering] {
        assert!(matches!(a.edit(told.chat, &edit, NOW), Err(StoreError::Erased)));
    }
    a.commit(NOW).unwrap();
    assert_eq!(a.summary(), before);
    let message = told.erased.id;
    let flag = SessionEdit::SetDeleted { message, deleted: true };
    a.edit(told.chat, &flag, NOW).unwrap();
    let session: Session = a.read(told.chat).unwrap();
    assert!(session.deleted.contains(&message));
    assert_eq!(session.title.map(|title| title.text().to_owned()).as_deref(), Some(""));
    assert!(
        session
            .messages
            .iter()
            .any(|message| message.text.text() == "no secret")
    );
}

/// Its author signs a change a second time, with the same texts: that is another envelope of a change that is in.
#[test]
fn a_twin_of_a_change_brings_no_erased_words_back() {
    let keys = MemoryKeys::default();
    let mut a = node(1, &keys, MemoryShelf::default(), true);
    let told = Told::tell(&mut a);
    a.erase(told.target(), NOW).unwrap();
    a.commit(NOW).unwrap();
    let original = Envelope::open(&told.envelopes[2]).unwrap();
    let mut payloads: Vec<Vec<u8>> = original.payloads.iter().filter_map(|(_, text)| text.clone()).collect();
    payloads.push(vec![1, 2, 3]);
    let author = NodeKey::from_seed(&[1; 32]);
    let twin = Envelope::seal(&author, original.kind, Some(told.chat), None, original.change, payloads).unwrap();
    assert_eq!(give(&mut a, &twin.to_bytes()), Received::New);
    assert!(told.secrets.iter().all(|secret| !a.below().holds_bytes(secret)));
}

#[test]
fn what_a_complaint_copied_goes_and_the_decision_stays() {
    let keys = MemoryKeys::default();
    let node = |seed| node(seed, &keys, MemoryShelf::default(), true);
    let (mut a, mut b) = (node(1), node(2));
    let person = Account::new("Рита", Role::User, NOW, [0; 16]);
    let complaint = Complaint {
        account: a.create(&person, NOW).unwrap(),
        character: ContentId([2; 32]),
        author: None,
        answer: None,
        reason: ComplaintReason::Other,
        words: "a secret".into(),
        name: "another secret".into(),
        excerpt: "one more".into(),
        created: NOW,
        taken: None,
        decisions: Vec::new(),
    };
    let complaint = a.create(&complaint, NOW).unwrap();
    let begun = published(&mut a);
    let payloads = Envelope::open(&begun[1]).unwrap().payloads.into_iter();
    let secrets: Vec<Vec<u8>> = payloads.filter_map(|(_, payload)| payload).collect();
    assert_eq!(secrets.len(), 3);
    let held = |replica: &Replica<MemoryShelf>| {
        let held = secrets.iter().filter(|secret| replica.below().holds_bytes(secret));
        held.count()
    };
    for bytes in &begun {
        give(&mut b, bytes);
    }
    assert_eq!((held(&a), held(&b)), (3, 3), "the control");
    let decided = Decided {
        id: EntryId::new(NOW, 1),
        decision: Decision::AuthorWarned,
        by: ContentId([4; 32]),
    };
    a.edit(complaint, &ComplaintEdit::Decide(decided), NOW).unwrap();
    a.commit(NOW).unwrap();
    let target = EraseTarget::Message {
        document: complaint,
        message: decided.id,
    };
    a.erase(target, NOW).unwrap();
    a.commit(NOW).unwrap();
    talk(&mut b, &mut a);
    // Somebody who has not heard of the erasure sends the texts once more.
    for replica in [&mut a, &mut b] {
        give(replica, &begun[1]);
        assert_eq!(held(replica), 0);
        let read: Complaint = replica.read(complaint).unwrap();
        assert_eq!((read.excerpt.text(), read.decided()), ("", Some(&decided)));
        assert_eq!(read.reason, ComplaintReason::Other);
    }
}

/// The ids and bytes of every envelope on a shelf.
fn envelopes(replica: &Replica<MemoryShelf>) -> BTreeSet<Vec<u8>> {
    let records = replica.below().records();
    records.filter(|bytes| bytes[0] == 2).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_forget_the_same_whatever_comes_first(
        order in Just((0..10usize).collect::<Vec<_>>()).prop_shuffle(),
        batch in 1usize..4,
    ) {
        let keys = MemoryKeys::default();
        let mut a = node(1, &keys, MemoryShelf::default(), true);
        let mut b = node(2, &keys, MemoryShelf::default(), true);
        let mut told = Told::tell(&mut a);
        talk(&mut b, &mut a);
        told.tell_late(&mut b);
        a.erase(told.target(), NOW).unwrap();
        // The statement stands before the receipt.
        told.envelopes.push(published(&mut a).swap_remove(0));
        prop_assert_eq!(told.envelopes.len(), 10);
        let mut c = node(3, &keys, MemoryShelf::default(), true);
        for (position, index) in order.iter().enumerate() {
            c.receive(&told.envelopes[*index], Source::Gossip, NOW);
            if position % batch == 0 {
                c.commit(NOW).unwrap();
            }
        }
        c.commit(NOW).unwrap();
        prop_assert_eq!(c.summary().0, 9, "everything was taken in");
        for secret in &told.secrets {
            prop_assert!(!c.below().holds_bytes(secret));
        }
        for text in &told.others {
            prop_assert!(c.below().holds_bytes(text));
        }
        talk(&mut b, &mut a);
        talk(&mut c, &mut a);
        talk(&mut b, &mut c);
        prop_assert_eq!(envelopes(&a), envelopes(&c));
        prop_assert_eq!(envelopes(&b), envelopes(&c));
        let read: Session = a.read(told.chat).unwrap();
        prop_assert_eq!(&b.read::<Session>(told.chat).unwrap(), &read);
        prop_assert_eq!(&c.read::<Session>(told.chat).unwrap(), &read);
        let summaries: Vec<&str> = read.summaries.iter().map(|summary| summary.text.text()).collect();
        prop_assert_eq!(summaries, ["a late word of no secret", ""]);
    }
}
