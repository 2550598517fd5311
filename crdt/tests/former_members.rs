//! What a node wrote that was revoked: nothing more comes in from it, and members that met it before agree with those that did not.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crdt::{
    ingress::Right,
    records::{
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
    },
    replica::{Event, MemoryKeys, MemoryShelf, Received, Recoveries, Replica, ReplicaSettings, Source},
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};

type Memory = Replica<MemoryShelf>;

const NOW: Timestamp = Timestamp(1_000_000);
/// The node that is revoked.
const BAD: u8 = 9;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

/// A replica, and the switch by which it learns of the revocation.
fn replica(seed: u8, keys: &MemoryKeys, out: Right) -> (Memory, Arc<AtomicBool>) {
    let revoked = Arc::new(AtomicBool::new(false));
    let (bad, knows) = (key(BAD).id(), Arc::clone(&revoked));
    let settings = ReplicaSettings {
        key: key(seed),
        right: Arc::new(move |node| match *node == bad && knows.load(Ordering::Relaxed) {
            true => out,
            false => Right::Member,
        }),
        boot: [seed; 16],
        recoveries: Recoveries::default(),
    };
    let replica = Replica::new(settings, MemoryShelf::default(), Box::new(keys.clone()));
    (replica, revoked)
}

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

fn give(replica: &mut Memory, bytes: &[u8], source: Source) -> Received {
    let received = replica.receive(bytes, source, NOW);
    replica.commit(NOW).unwrap();
    received
}

fn say(replica: &mut Memory, chat: ContentId, text: &str, at: u64) -> Vec<u8> {
    let message = Message::from_person(text, text, &chat, None, Timestamp(at));
    replica.edit(chat, &SessionEdit::PutMessage(message), NOW).unwrap();
    published(replica).pop().unwrap()
}

/// Whether the two agree in the end.
fn talk(opener: &mut Memory, answerer: &mut Memory) -> bool {
    let (left, right) = (opener.node(), answerer.node());
    let mut frame = opener.talk_start(right, NOW);
    for turn in 0..50 {
        let answer = if turn % 2 == 0 {
            answerer.talk_step(left, &frame, NOW)
        } else {
            opener.talk_step(right, &frame, NOW)
        };
        opener.commit(NOW).unwrap();
        answerer.commit(NOW).unwrap();
        match answer.unwrap() {
            Some(answer) if !says_same(&answer) => frame = answer,
            _ => break,
        }
    }
    opener.summary() == answerer.summary()
}

struct Split {
    /// Has met the bad node's change, and has built on it.
    met: Memory,
    /// Has not.
    spared: Memory,
    /// What the bad node writes afterwards.
    late: Vec<u8>,
    texts: usize,
    chat: ContentId,
}

/// A chat that all have; the bad node writes into it, one member sees that and goes on writing; then both members learn of the
/// revocation.
fn split(out: Right) -> Split {
    let keys = MemoryKeys::default();
    let (mut bad, _) = replica(BAD, &keys, out);
    let ((mut met, met_knows), (mut spared, spared_knows)) = (replica(1, &keys, out), replica(2, &keys, out));
    let person = Account::new("Рита", Role::User, NOW, [0; 16]);
    let person = met.create(&person, NOW).unwrap();
    let chat = met.create(&Session::new(person, ContentId([2; 32]), NOW), NOW).unwrap();
    for envelope in published(&mut met) {
        for other in [&mut bad, &mut spared] {
            assert_eq!(give(other, &envelope, Source::Gossip), Received::New);
        }
    }
    let early = say(&mut bad, chat, "early", 1);
    assert_eq!(give(&mut met, &early, Source::Gossip), Received::New);
    say(&mut met, chat, "built on it", 2);
    met_knows.store(true, Ordering::Relaxed);
    spared_knows.store(true, Ordering::Relaxed);
    let late = say(&mut bad, chat, "late", 3);
    Split {
        met,
        spared,
        late,
        texts: 2,
        chat,
    }
}

#[test]
fn a_revoked_author_writes_no_more_and_the_others_still_agree() {
    let mut split = split(Right::Former);
    for member in [&mut split.met, &mut split.spared] {
        for source in [Source::Gossip, Source::Talk(key(BAD).id())] {
            assert_eq!(give(member, &split.late, source), Received::Ignored, "{source:?}");
        }
    }
    assert!(talk(&mut split.met, &mut split.spared));
    for member in [&mut split.met, &mut split.spared] {
        let session: Session = member.read(split.chat).unwrap();
        assert_eq!(session.messages.len(), split.texts);
    }
}

/// The control: with the author simply unknown the two could never agree, and what was built on it would hang in the air.
#[test]
fn control_without_the_distinction_two_members_never_agree() {
    let mut split = split(Right::Unknown);
    for _ in 0..3 {
        assert!(!talk(&mut split.met, &mut split.spared));
    }
    let session: Session = split.spared.read(split.chat).unwrap();
    assert_eq!(session.messages.len(), 0);
}
