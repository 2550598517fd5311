//! Replicas in memory: hostile changes, forks, erasures and quotas, without disk or network.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use automerge::{AutoCommit, Change, ROOT, transaction::Transactable};
use crdt::{
    envelope::Envelope,
    erasure::EraseTarget,
    ingress::{Rejection, Right},
    limits::QUOTA_PUSH,
    records::{
        RecordKind,
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
    },
    replica::{Event, MemoryKeys, MemoryShelf, Received, Recoveries, Replica, ReplicaSettings, Source},
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};

type Memory = Replica<MemoryShelf>;

const NOW: Timestamp = Timestamp(1_000_000);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn settings(seed: u8, boot: u8, recoveries: Recoveries) -> ReplicaSettings {
    let members: Vec<_> = (1..100).map(|seed| key(seed).id()).collect();
    ReplicaSettings {
        key: key(seed),
        right: Arc::new(move |node| match members.contains(node) {
            true => Right::Member,
            false => Right::Unknown,
        }),
        boot: [boot; 16],
        recoveries,
    }
}

fn replica(seed: u8, keys: &MemoryKeys) -> Memory {
    let settings = settings(seed, seed, Recoveries::default());
    Replica::new(settings, MemoryShelf::default(), Box::new(keys.clone()))
}

/// Commits and returns what was published.
fn published(replica: &mut Memory) -> Vec<Vec<u8>> {
    replica.commit(NOW).unwrap();
    let events = replica.take_events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Publish(bytes) => Some(bytes),
            _ => None,
        })
        .collect()
}

fn give(replica: &mut Memory, bytes: &[u8]) -> Received {
    let received = replica.receive(bytes, Source::Gossip, NOW);
    replica.commit(NOW).unwrap();
    received
}

fn person_and_chat(replica: &mut Memory) -> (ContentId, ContentId, Vec<Vec<u8>>) {
    let person = Account::new("Рита", Role::User, NOW, [0; 16]);
    let person = replica.create(&person, NOW).unwrap();
    let session = Session::new(person, ContentId([2; 32]), NOW);
    let chat = replica.create(&session, NOW).unwrap();
    (person, chat, published(replica))
}

fn say(replica: &mut Memory, chat: ContentId, text: &str, at: u64) -> (Message, Vec<u8>) {
    let message = Message::from_person(text, text, &chat, None, Timestamp(at));
    let edit = SessionEdit::PutMessage(message.clone());
    replica.edit(chat, &edit, NOW).unwrap();
    (message, published(replica).pop().unwrap())
}

fn texts(replica: &mut Memory, chat: ContentId) -> Vec<String> {
    let session: Session = replica.read(chat).unwrap();
    let messages = session.messages.iter();
    messages.map(|message| message.text.text().to_owned()).collect()
}

fn talk(opener: &mut Memory, answerer: &mut Memory) {
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

/// A change made by hand, as a hostile member would, under an actor that belongs to it.
fn forged(base: &[Vec<u8>], author: u8, write: impl FnOnce(&mut AutoCommit)) -> Vec<u8> {
    let mut actor = key(author).id().0[..8].to_vec();
    actor.extend([7; 8]);
    let mut document = AutoCommit::new().with_actor(automerge::ActorId::from(actor));
    let changes = base.iter().map(|bytes| Change::from_bytes(bytes.clone()).unwrap());
    document.apply_changes(changes).unwrap();
    write(&mut document);
    document.commit();
    document.get_last_local_change().unwrap().raw_bytes().to_vec()
}

fn seal(seed: u8, kind: RecordKind, document: ContentId, change: Vec<u8>) -> Vec<u8> {
    let sealed = Envelope::seal(&key(seed), kind, Some(document), None, change, Vec::new());
    sealed.unwrap().to_bytes()
}

#[test]
fn poison_strangers_and_garbage_are_refused_and_the_document_lives() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
    let (person, _, envelopes) = person_and_chat(&mut a);
    assert_eq!(give(&mut b, &envelopes[0]), Received::New);
    let genesis = Envelope::open(&envelopes[0]).unwrap();
    let rename = |author: u8, name: &'static str| {
        forged(std::slice::from_ref(&genesis.change), author, |document| {
            document.put(ROOT, "locale", name).unwrap();
        })
    };
    let account = |seed: u8, change: Vec<u8>| seal(seed, RecordKind::Account, person, change);
    // Not a member: not taken in, and not blamed on the one who forwarded it.
    assert_eq!(give(&mut b, &account(200, rename(200, "xx"))), Received::Ignored);
    let wrong_kind = seal(3, RecordKind::Character, person, rename(3, "xx"));
    assert_eq!(give(&mut b, &wrong_kind), Received::Rejected(Rejection::WrongKind));
    let other_actor = account(3, rename(4, "xx"));
    assert_eq!(give(&mut b, &other_actor), Received::Rejected(Rejection::WrongActor));
    for start in [u64::from(u32::MAX), u64::from(u32::MAX) - 1, 1 << 20] {
        let mut poison = Change::from_bytes(rename(3, "poison")).unwrap().decode();
        poison.start_op = std::num::NonZeroU64::new(start).unwrap();
        let poison = Change::from(poison).raw_bytes().to_vec();
        let received = give(&mut b, &account(3, poison));
        let refused = [Rejection::TooManyOperations, Rejection::WrongStart].map(Received::Rejected);
        assert!(refused.contains(&received), "{start}: {received:?}");
    }
    // Differences of such times are more than automerge can count; the next honest write would panic.
    for time in [i64::MIN, -1, i64::MAX] {
        let mut timeless = Change::from_bytes(rename(3, "time")).unwrap().decode();
        timeless.time = time;
        let timeless = account(3, Change::from(timeless).raw_bytes().to_vec());
        assert_eq!(give(&mut b, &timeless), Received::Rejected(Rejection::WrongTime));
    }
    let malformed = Received::Rejected(Rejection::Malformed);
    assert_eq!(give(&mut b, &account(3, vec![1, 2, 3])), malformed);
    assert_eq!(give(&mut b, &[9; 40]), malformed);
    assert_eq!(give(&mut b, &[]), malformed);
    let large = forged(std::slice::from_ref(&genesis.change), 3, |document| {
        document.put(ROOT, "x", vec![7u8; 61 * 1024]).unwrap();
    });
    assert_eq!(
        give(&mut b, &account(3, large)),
        Received::Rejected(Rejection::TooLarge)
    );
    let headless = forged(&[], 3, |document| document.put(ROOT, "x", 1).unwrap());
    let genesis_inside = account(3, headless);
    assert_eq!(
        give(&mut b, &genesis_inside),
        Received::Rejected(Rejection::WrongGenesis)
    );
    // The control: the same change, honestly made, is taken in, and the document is written on.
    assert_eq!(give(&mut b, &account(3, rename(3, "de"))), Received::New);
    assert_eq!(b.read::<Account>(person).unwrap().locale, "de");
    assert_eq!(b.forks(person).unwrap(), []);
}

#[test]
fn a_new_document_must_be_a_whole_record_and_name_its_owner() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
    let (person, _, envelopes) = person_and_chat(&mut a);
    let session = Envelope::open(&envelopes[1]).unwrap();
    let whose = |owner| {
        let sealed = Envelope::seal(
            &key(1),
            RecordKind::Session,
            None,
            owner,
            session.change.clone(),
            Vec::new(),
        );
        sealed.unwrap().to_bytes()
    };
    let invalid = Received::Rejected(Rejection::InvalidRecord);
    // Whose data it is would escape that person's erasure.
    assert_eq!(give(&mut b, &whose(None)), invalid);
    assert_eq!(give(&mut b, &whose(Some(ContentId([9; 32])))), invalid);
    assert_eq!(give(&mut b, &whose(Some(person))), Received::New, "the control");
    let empty = forged(&[], 3, |document| document.put(ROOT, "nothing", 1).unwrap());
    let sealed = Envelope::seal(&key(3), RecordKind::Session, None, None, empty, Vec::new());
    assert_eq!(give(&mut b, &sealed.unwrap().to_bytes()), invalid);
}

/// Two envelopes of one author with one actor and sequence number, as a hostile node sends them to the two halves of a mesh.
fn equivocation(shelf: &MemoryShelf, keys: &MemoryKeys, chat: ContentId) -> [Vec<u8>; 2] {
    ["to the left", "to the right"].map(|text| {
        let settings = settings(9, 77, Recoveries::default());
        let mut hand: Memory = Replica::new(settings, shelf.clone(), Box::new(keys.clone()));
        say(&mut hand, chat, text, 50).1
    })
}

#[test]
fn an_equivocation_becomes_main_view_and_fork_the_same_on_all_nodes() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
    let (_, chat, envelopes) = person_and_chat(&mut a);
    let (_, hello) = say(&mut a, chat, "hello", 10);
    for bytes in envelopes.iter().chain([&hello]) {
        give(&mut b, bytes);
    }
    let [left, right] = equivocation(a.below(), &keys, chat);
    assert_eq!(
        (give(&mut a, &left), give(&mut b, &right)),
        (Received::New, Received::New)
    );
    // Each half goes on writing on what it saw.
    say(&mut a, chat, "after the left", 60);
    say(&mut b, chat, "after the right", 70);
    talk(&mut a, &mut b);
    assert_eq!(a.summary(), b.summary(), "both hold both");
    assert_eq!(texts(&mut a, chat), texts(&mut b, chat));
    let forks = a.forks(chat).unwrap();
    assert_eq!(forks, b.forks(chat).unwrap());
    assert_eq!((forks.len(), forks[0].author), (1, key(9).id()));
    for node in [&mut a, &mut b] {
        let fork: Session = node.read_fork(chat, forks[0].id).unwrap();
        let aside: Vec<_> = fork
            .messages
            .iter()
            .map(|message| message.text.text().to_owned())
            .collect();
        let main = texts(node, chat);
        let all = ["to the left", "to the right", "after the left", "after the right"];
        assert!(
            all.iter()
                .all(|text| main.iter().chain(&aside).any(|read| read == text)),
            "{main:?} {aside:?}"
        );
        assert!(main.contains(&"hello".to_owned()) && aside.contains(&"hello".to_owned()));
        // The two envelopes are the proof.
        let proof = [forks[0].id, forks[0].winner].map(|id| node.proof(&chat, &id).unwrap());
        assert!(proof.iter().all(|bytes| [&left, &right].contains(&bytes)) && proof[0] != proof[1]);
    }
    // The document lives on, and a third node that gets everything in another order agrees.
    say(&mut a, chat, "later", 90);
    let mut c = replica(3, &keys);
    talk(&mut c, &mut a);
    talk(&mut b, &mut a);
    assert_eq!(texts(&mut c, chat), texts(&mut a, chat));
    assert_eq!(texts(&mut c, chat), texts(&mut b, chat));
    assert_eq!(c.forks(chat).unwrap(), forks);
}

#[test]
fn a_node_whose_branch_lost_writes_on_without_a_fork_of_its_own() {
    // Which of two changes wins a turn is decided by their hashes, so one try proves nothing.
    for attempt in 0..8 {
        let keys = MemoryKeys::default();
        let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
        let (_, chat, envelopes) = person_and_chat(&mut a);
        let (_, hello) = say(&mut a, chat, "hello", 10);
        for bytes in envelopes.iter().chain([&hello]) {
            give(&mut b, bytes);
        }
        let [left, right] = equivocation(a.below(), &keys, chat);
        give(&mut a, &left);
        give(&mut b, &right);
        say(&mut a, chat, &format!("after the left {attempt}"), 60);
        say(&mut b, chat, &format!("after the right {attempt}"), 70);
        talk(&mut a, &mut b);
        say(&mut a, chat, &format!("later {attempt}"), 80);
        say(&mut b, chat, &format!("later, too {attempt}"), 90);
        talk(&mut a, &mut b);
        assert_eq!(texts(&mut a, chat), texts(&mut b, chat));
        let forks = a.forks(chat).unwrap();
        assert_eq!((forks.len(), forks[0].author), (1, key(9).id()), "attempt {attempt}");
        assert_eq!(forks, b.forks(chat).unwrap());
    }
}

#[test]
fn without_the_fork_rule_the_halves_never_agree() {
    let keys = MemoryKeys::default();
    let recoveries = Recoveries {
        forks: false,
        ..Recoveries::default()
    };
    let node = |seed| -> Memory {
        Replica::new(
            settings(seed, seed, recoveries),
            MemoryShelf::default(),
            Box::new(keys.clone()),
        )
    };
    let (mut a, mut b) = (node(1), node(2));
    let (_, chat, envelopes) = person_and_chat(&mut a);
    envelopes.iter().for_each(|bytes| {
        give(&mut b, bytes);
    });
    let [left, right] = equivocation(a.below(), &keys, chat);
    assert_eq!(
        (give(&mut a, &left), give(&mut b, &right)),
        (Received::New, Received::New)
    );
    talk(&mut a, &mut b);
    assert_ne!(a.summary(), b.summary());
}

#[test]
fn a_change_signed_twice_is_held_twice_by_everyone_and_read_once() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
    let (_, chat, envelopes) = person_and_chat(&mut a);
    let (_, hello) = say(&mut a, chat, "hello", 10);
    let original = Envelope::open(&hello).unwrap();
    // The same change with one payload more is another envelope.
    let payloads = original.payloads.iter().filter_map(|(_, payload)| payload.clone());
    let twin = Envelope::seal(
        &key(1),
        RecordKind::Session,
        Some(chat),
        None,
        original.change.clone(),
        payloads.chain([vec![1, 2, 3]]).collect(),
    );
    let twin = twin.unwrap().to_bytes();
    for bytes in envelopes.iter().chain([&twin]) {
        assert_eq!(give(&mut b, bytes), Received::New);
    }
    assert_eq!(give(&mut b, &hello), Received::New);
    assert_eq!(give(&mut b, &hello), Received::Ignored);
    talk(&mut a, &mut b);
    assert_eq!(a.summary(), b.summary());
    assert_eq!(texts(&mut b, chat), ["hello"]);
}

#[test]
fn an_envelope_that_lost_its_texts_on_the_way_is_not_taken_in() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
    let (_, chat, envelopes) = person_and_chat(&mut a);
    let (_, hello) = say(&mut a, chat, "hello", 10);
    envelopes.iter().for_each(|bytes| {
        give(&mut b, bytes);
    });
    let mut stripped = Envelope::open(&hello).unwrap();
    stripped.strip();
    assert_eq!(give(&mut b, &stripped.to_bytes()), Received::Ignored);
    assert_eq!(
        give(&mut b, &hello),
        Received::New,
        "or nobody would ever ask for it again"
    );
    assert_eq!(texts(&mut b, chat), ["hello"]);
}

#[test]
fn what_was_erased_does_not_come_back_and_without_tombstones_it_would() {
    for tombstones in [true, false] {
        let keys = MemoryKeys::default();
        let recoveries = Recoveries {
            tombstones,
            ..Recoveries::default()
        };
        let node = |seed| -> Memory {
            Replica::new(
                settings(seed, seed, recoveries),
                MemoryShelf::default(),
                Box::new(keys.clone()),
            )
        };
        let (mut a, mut b) = (node(1), node(2));
        let (_, chat, mut envelopes) = person_and_chat(&mut a);
        let (first, bytes) = say(&mut a, chat, "erase me", 10);
        envelopes.push(bytes);
        let (_, bytes) = say(&mut a, chat, "keep me", 20);
        envelopes.push(bytes);
        let message = EraseTarget::Message {
            document: chat,
            message: first.id,
        };
        a.erase(message, NOW).unwrap();
        a.commit(NOW).unwrap();
        assert_eq!(texts(&mut a, chat), ["", "keep me"]);
        // b learns of the erasure before the changes, and gets them whole from a third node that did not.
        talk(&mut b, &mut a);
        envelopes.iter().for_each(|bytes| {
            give(&mut b, bytes);
        });
        if tombstones {
            assert_eq!(texts(&mut b, chat), ["", "keep me"], "stripped where it comes in");
        }
        let mut late = node(3);
        envelopes.iter().for_each(|bytes| {
            give(&mut late, bytes);
        });
        a.erase(EraseTarget::Document(chat), NOW).unwrap();
        a.commit(NOW).unwrap();
        assert!(a.read::<Session>(chat).is_err());
        envelopes.iter().for_each(|bytes| {
            give(&mut a, bytes);
        });
        assert_eq!(a.read::<Session>(chat).is_err(), tombstones);
        if tombstones {
            talk(&mut late, &mut a);
            assert!(late.read::<Session>(chat).is_err(), "a node that was away forgets, too");
            assert_eq!(a.summary(), late.summary());
        }
    }
}

#[test]
fn a_key_that_somebody_slips_in_seals_nothing() {
    let keys = MemoryKeys::default();
    let mut a = replica(1, &keys);
    let (person, chat, _) = person_and_chat(&mut a);
    let foreign = keys::DataKey::from_bytes(&[6; 32]);
    let given = crdt::keyring::KeyFrame::Give(vec![(person, vec![foreign.clone()])]);
    a.answer_keys(given).unwrap();
    let (_, hello) = say(&mut a, chat, "hello", 10);
    let envelope = Envelope::open(&hello).unwrap();
    let sealed = envelope.payloads[0].1.clone().unwrap();
    assert_ne!(keys::DataKey::id_of(&sealed), Some(foreign.id()));
}

#[test]
fn a_flood_is_held_to_its_quota_and_comes_later() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (replica(1, &keys), replica(2, &keys));
    let (_, chat, envelopes) = person_and_chat(&mut a);
    envelopes.iter().for_each(|bytes| {
        give(&mut b, bytes);
    });
    let (_, hello) = say(&mut a, chat, "hello", 10);
    let original = Envelope::open(&hello).unwrap();
    // Large twins of one change, because they are cheap to make.
    let flood = (0..=(QUOTA_PUSH.bytes / 60_000.0) as u32).map(|number| {
        let payload = [&number.to_le_bytes()[..], &vec![0; 60_000]].concat();
        let payloads = original.payloads.iter().filter_map(|(_, payload)| payload.clone());
        let payloads = payloads.chain([payload]).collect();
        let change = original.change.clone();
        Envelope::seal(&key(1), RecordKind::Session, Some(chat), None, change, payloads).unwrap()
    });
    let received: Vec<_> = flood.map(|envelope| give(&mut b, &envelope.to_bytes())).collect();
    assert_eq!(received.first(), Some(&Received::New));
    assert_eq!(received.last(), Some(&Received::Ignored), "over the quota");
    // Somebody else is not touched, and what comes through others is not charged.
    let mut c = replica(3, &keys);
    talk(&mut c, &mut b);
    assert_eq!(b.summary(), c.summary());
    let (_, from_c) = say(&mut c, chat, "from c", 30);
    assert_eq!(give(&mut b, &from_c), Received::New);
}

#[test]
fn one_message_of_two_hundred_characters_fits_560_bytes() {
    let keys = MemoryKeys::default();
    let mut a = replica(1, &keys);
    let (_, chat, _) = person_and_chat(&mut a);
    let text = "The starling flew over the winter forest and told the fox what it had seen. ".repeat(3);
    let mut parent = None;
    for number in 0..3 {
        let message = Message::from_person(
            &text[..200],
            &format!("outbox-{number}"),
            &chat,
            parent,
            Timestamp(NOW.0 + number),
        );
        parent = Some(message.id);
        a.edit(chat, &SessionEdit::PutMessage(message), NOW).unwrap();
        let bytes = published(&mut a).pop().unwrap();
        assert!(bytes.len() <= 560, "{} bytes", bytes.len());
    }
}
