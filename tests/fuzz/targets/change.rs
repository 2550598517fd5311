//! A change that a member signed, given to a replica: what is taken in keeps the limits and leaves the document alive.

use std::sync::{Arc, LazyLock};

use automerge::Change;
use crdt::{
    envelope::Envelope,
    ingress::Right,
    limits::{CHANGE_BYTES_MAX, OPERATION_COUNTER_MAX, OPERATIONS_PER_CHANGE_MAX},
    records::{
        RecordKind,
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
    },
    replica::{Event, MemoryKeys, MemoryShelf, Received, Recoveries, Replica, ReplicaSettings, Source},
};
use keys::{ContentId, NodeKey, Timestamp};

use super::member;

const KIND: RecordKind = RecordKind::Session;
const NOW: Timestamp = Timestamp(1_000_000);

/// First byte of an input: the change begins a document, or belongs to the one that is there.
const BEGINS: u8 = 0;
const FOLLOWS: u8 = 1;

pub fn run(bytes: &[u8]) {
    let Some((first, change)) = bytes.split_first() else {
        return;
    };
    let begins = first % 2 == BEGINS;
    let (document, owner) = if begins {
        (None, Some(THERE.person))
    } else {
        (Some(THERE.chat), None)
    };
    let Ok(envelope) = Envelope::seal(&member(), KIND, document, owner, change.to_vec(), Vec::new()) else {
        return;
    };
    let mut replica = THERE.replica(3);
    if replica.receive(&envelope.to_bytes(), Source::Gossip, NOW) == Received::New {
        keeps_limits(&envelope);
        leaves_alive(&mut replica, envelope.document);
    }
}

fn keeps_limits(envelope: &Envelope) {
    let change = Change::from_bytes(envelope.change.clone()).expect("it was taken in");
    assert!(envelope.change.len() <= CHANGE_BYTES_MAX);
    assert!(change.len() <= OPERATIONS_PER_CHANGE_MAX);
    assert!(change.max_op() <= OPERATION_COUNTER_MAX);
    assert_eq!(change.deps().is_empty(), envelope.is_genesis);
    assert!(!envelope.is_genesis || change.start_op().get() == 1);
}

/// After a change that went in, an honest person must be able to write, and the document to be read, also by a node that builds it
/// from what lies on the shelf.
fn leaves_alive(replica: &mut Replica<MemoryShelf>, document: ContentId) {
    replica.commit(NOW).expect("memory takes it");
    let honest = Message::from_person("honest words", "honest", &document, None, NOW);
    let edit = SessionEdit::PutMessage(honest.clone());
    replica.edit(document, &edit, NOW).expect("an honest person can write");
    replica.commit(NOW).expect("memory takes it");
    let read: Session = replica.read(document).expect("it can be read");
    assert!(read.messages.iter().any(|message| message.id == honest.id));
    let mut again = Replica::new(settings(4), replica.below().clone(), Box::new(THERE.keys.clone()));
    assert_eq!(again.read::<Session>(document).expect("it can be read"), read);
}

/// What is there: a person with a chat in which two nodes have written at the same time.
struct There {
    keys: MemoryKeys,
    shelf: MemoryShelf,
    person: ContentId,
    chat: ContentId,
}

static THERE: LazyLock<There> = LazyLock::new(There::new);

fn settings(boot: u8) -> ReplicaSettings {
    ReplicaSettings {
        key: if boot == 0 {
            NodeKey::from_seed(&[3; 32])
        } else {
            member()
        },
        right: Arc::new(|_| Right::Member),
        boot: [boot; 16],
        recoveries: Recoveries::default(),
    }
}

fn say(replica: &mut Replica<MemoryShelf>, chat: ContentId, text: &str, at: u64) -> Envelope {
    let message = Message::from_person(text, text, &chat, None, Timestamp(at));
    let edit = SessionEdit::PutMessage(message);
    replica.edit(chat, &edit, NOW).expect("an honest person can write");
    published(replica).pop().expect("it is published")
}

fn published(replica: &mut Replica<MemoryShelf>) -> Vec<Envelope> {
    replica.commit(NOW).expect("memory takes it");
    let events = replica.take_events().into_iter();
    let published = events.filter_map(|event| match event {
        Event::Publish(bytes) => Envelope::open(&bytes).ok(),
        _ => None,
    });
    published.collect()
}

impl There {
    fn new() -> Self {
        let keys = MemoryKeys::default();
        let mut first = Replica::new(settings(0), MemoryShelf::default(), Box::new(keys.clone()));
        let person = Account::new("Ada", Role::User, NOW, [0; 16]);
        let person = first.create(&person, NOW).expect("an account can be made");
        let session = Session::new(person, ContentId([2; 32]), NOW);
        let chat = first.create(&session, NOW).expect("a chat can be begun");
        published(&mut first);
        let mut second = Replica::new(settings(1), first.below().clone(), Box::new(keys.clone()));
        let other = say(&mut second, chat, "at the same time", 20);
        say(&mut first, chat, "hello", 10);
        first.receive(&other.to_bytes(), Source::Gossip, NOW);
        say(&mut first, chat, "after both", 30);
        let shelf = first.below().clone();
        Self {
            keys,
            shelf,
            person,
            chat,
        }
    }

    /// A node of the member that holds all of it.
    fn replica(&self, boot: u8) -> Replica<MemoryShelf> {
        Replica::new(settings(boot), self.shelf.clone(), Box::new(self.keys.clone()))
    }
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let input = |first: u8, change: &[u8]| [&[first], change].concat();
    let mut hand = THERE.replica(5);
    let session = Session::new(THERE.person, ContentId([2; 32]), NOW);
    hand.create(&session, NOW).expect("a chat can be begun");
    let genesis = published(&mut hand).remove(0);
    let mut seeds = vec![("genesis".to_owned(), input(BEGINS, &genesis.change))];
    let message = say(&mut THERE.replica(6), THERE.chat, "next", 40);
    seeds.push(("message".to_owned(), input(FOLLOWS, &message.change)));
    let edits = [
        ("title", SessionEdit::SetTitle("a title".to_owned())),
        ("archived", SessionEdit::SetArchived(true)),
    ];
    for (name, edit) in edits {
        let mut hand = THERE.replica(7);
        hand.edit(THERE.chat, &edit, NOW).expect("an honest person can write");
        let envelope = published(&mut hand).remove(0);
        seeds.push((name.to_owned(), input(FOLLOWS, &envelope.change)));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_honest_example_is_taken_in() {
        for (name, input) in seeds() {
            let (first, change) = input.split_first().unwrap();
            let (document, owner) = match *first {
                FOLLOWS => (Some(THERE.chat), None),
                _ => (None, Some(THERE.person)),
            };
            let envelope = Envelope::seal(&member(), KIND, document, owner, change.to_vec(), Vec::new()).unwrap();
            let received = THERE.replica(3).receive(&envelope.to_bytes(), Source::Gossip, NOW);
            assert_eq!(received, Received::New, "{name}");
        }
    }
}
