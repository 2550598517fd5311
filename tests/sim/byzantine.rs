//! What a hostile member makes: bytes under its own key that no honest node would write.

use automerge::{
    ActorId, AutoCommit, Change, ROOT,
    transaction::{CommitOptions, Transactable},
};
use crdt::{
    envelope::Envelope,
    limits::COMMIT_TIME_MAX,
    records::{
        RecordKind,
        session::{Message, SessionEdit},
    },
    replica::{Event, MemoryShelf},
};
use keys::{ContentId, NodeId, NodeKey};

use crate::{gossip, gossip::Rpc, people::Chat, world, world::World};

/// Bytes of a large payload: near what gossip carries.
const LARGE: usize = 60_000;

/// The hostile member's hands.
pub struct Hand {
    key: NodeKey,
    node: usize,
}

impl World {
    /// The hostile member of this run.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn hand(&self) -> Hand {
        let node = self.setup.byzantine.expect("a run with a hostile member");
        Hand {
            key: self.nodes[node].key.clone(),
            node,
        }
    }

    /// Sends bytes to some nodes as a gossiped message, whatever the sender's own replica thinks of them.
    pub fn inject(&mut self, hand: &Hand, receivers: &[usize], bytes: Vec<u8>) {
        let message = gossip::Message::new(bytes);
        for to in receivers {
            self.counts.hostile += 1;
            let delay = self.links.latency(hand.node, *to);
            if self.links.is_whole(hand.node, *to) {
                let rpc = Rpc::Publish(message.clone());
                self.after(
                    delay,
                    world::Event::Frame {
                        from: hand.node,
                        to: *to,
                        rpc,
                    },
                );
            }
        }
    }

    /// Every envelope of a document that the hostile member holds.
    fn held(&self, hand: &Hand, document: ContentId) -> Vec<Envelope> {
        let records = self.nodes[hand.node].shelf().records();
        let opened = records.filter_map(|bytes| Envelope::open_own(bytes).ok());
        opened.filter(|envelope| envelope.document == document).collect()
    }

    /// Everything the hostile member holds, as it came.
    #[must_use]
    pub fn everything_held(&self, hand: &Hand) -> Vec<Vec<u8>> {
        let records = self.nodes[hand.node].shelf().records();
        records
            .filter(|bytes| Envelope::open_own(bytes).is_ok())
            .cloned()
            .collect()
    }

    /// A change of a chat, made by hand, under any actor.
    fn change(&self, hand: &Hand, chat: Chat, actor: Vec<u8>) -> Change {
        let mut document = AutoCommit::new();
        let held = self.held(hand, chat.document);
        for envelope in &held {
            // Of two changes in one turn automerge takes the first.
            let _ = Change::from_bytes(envelope.change.clone()).map(|change| document.apply_changes([change]));
        }
        document.set_actor(ActorId::from(actor.clone()));
        // Different each time: putting what is there already is no change.
        document
            .put(ROOT, "hostile", format!("{actor:?} {}", held.len()))
            .expect("a scalar");
        document.commit_with(CommitOptions::default().with_time(1));
        document.get_last_local_change().expect("something was put")
    }

    /// Changes whose first operations are far ahead: automerge panics at the next honest one.
    #[must_use]
    pub fn poison(&self, hand: &Hand, chat: Chat) -> Vec<Vec<u8>> {
        let starts = [u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 20];
        let poisons = starts.into_iter().enumerate().map(|(number, start)| {
            let honest = self.change(hand, chat, hand.actor(number as u8));
            let mut expanded = honest.decode();
            expanded.start_op = start.try_into().expect("not zero");
            hand.seal(chat, Change::from(expanded).raw_bytes().to_vec(), Vec::new())
        });
        poisons.collect()
    }

    /// Two honest-looking messages in one turn.
    #[must_use]
    pub fn equivocation(&self, hand: &Hand, chat: Chat) -> [Vec<u8>; 2] {
        ["to the left", "to the right"].map(|text| {
            let shelf: MemoryShelf = self.nodes[hand.node].shelf().clone();
            let keys = &self.nodes[hand.node].keys;
            let mut replica = self.rules.replica(&hand.key, [77; 16], shelf, keys);
            let clock = self.nodes[hand.node].clock(self.now);
            let message = Message::from_person(text, text, &chat.document, None, clock);
            replica
                .edit(chat.document, &SessionEdit::PutMessage(message), clock)
                .expect("a chat that it holds");
            replica.commit(clock).expect("memory refuses nothing");
            let published = replica.take_events().into_iter().find_map(|event| match event {
                Event::Publish(bytes) => Some(bytes),
                _ => None,
            });
            published.expect("it was written")
        })
    }

    /// A change that depends on one that does not exist.
    #[must_use]
    pub fn orphan(&self, hand: &Hand, chat: Chat, number: u64) -> Vec<u8> {
        let mut expanded = self.change(hand, chat, hand.actor(100)).decode();
        let invented = blake3::hash(&number.to_le_bytes());
        expanded.deps = vec![automerge::ChangeHash(*invented.as_bytes())];
        hand.seal(chat, Change::from(expanded).raw_bytes().to_vec(), Vec::new())
    }

    /// Many large envelopes of one change.
    #[must_use]
    pub fn volume(&self, hand: &Hand, chat: Chat, count: u32) -> Vec<Vec<u8>> {
        let change = self.change(hand, chat, hand.actor(101)).raw_bytes().to_vec();
        let flood = (0..count).map(|number| {
            let mut payload = vec![0; LARGE];
            payload[..4].copy_from_slice(&number.to_le_bytes());
            hand.seal(chat, change.clone(), vec![payload])
        });
        flood.collect()
    }

    /// Changes of times that are false: the first two might be, the others cannot.
    #[must_use]
    pub fn false_times(&self, hand: &Hand, chat: Chat) -> Vec<Vec<u8>> {
        let times = [0, COMMIT_TIME_MAX, COMMIT_TIME_MAX + 1, -1, i64::MAX, i64::MIN];
        let changes = times.into_iter().enumerate().map(|(number, time)| {
            let mut expanded = self.change(hand, chat, hand.actor(200 + number as u8)).decode();
            expanded.time = time;
            hand.seal(chat, Change::from(expanded).raw_bytes().to_vec(), Vec::new())
        });
        changes.collect()
    }

    /// A chat for a person who did not begin it, from before all times, with its first envelope.
    #[must_use]
    pub fn ancient_chat(&self, hand: &Hand, like: Chat) -> (Chat, Vec<u8>) {
        let held = self.held(hand, like.document);
        let genesis = held
            .iter()
            .find(|envelope| envelope.is_genesis)
            .expect("a chat that it holds");
        let mut expanded = Change::from_bytes(genesis.change.clone())
            .expect("an honest change")
            .decode();
        expanded.time = i64::MIN;
        expanded.actor_id = ActorId::from(hand.actor(210));
        let change = Change::from(expanded).raw_bytes().to_vec();
        let sealed = Envelope::seal(
            &hand.key,
            RecordKind::Session,
            None,
            Some(like.account),
            change,
            Vec::new(),
        );
        let envelope = sealed.expect("within the limits");
        let chat = Chat {
            document: envelope.document,
            ..like
        };
        (chat, envelope.to_bytes())
    }

    /// A change in the name of another node, without its signature.
    #[must_use]
    pub fn forgery(&self, hand: &Hand, chat: Chat, victim: usize) -> Vec<u8> {
        let victim = self.nodes[victim].id();
        let change = self.change(hand, chat, actor_of(&victim, 7));
        let mut bytes = hand.seal(chat, change.raw_bytes().to_vec(), Vec::new());
        let own = hand.key.id().0;
        let place = bytes
            .windows(32)
            .position(|window| window == own)
            .expect("its author stands in it");
        bytes[place..place + 32].copy_from_slice(&victim.0);
        bytes
    }

    /// A change under the actor of another node, in the turn that is its next; signed by the hostile member itself.
    #[must_use]
    pub fn foreign_actor(&self, hand: &Hand, chat: Chat, victim: usize) -> Option<Vec<u8>> {
        let victim = self.nodes[victim].id();
        let theirs = self
            .held(hand, chat.document)
            .into_iter()
            .filter(|envelope| envelope.author == victim && !envelope.is_genesis)
            .filter_map(|envelope| Change::from_bytes(envelope.change).ok())
            .max_by_key(Change::seq)?;
        let change = self.change(hand, chat, theirs.actor_id().to_bytes().to_vec());
        Some(hand.seal(chat, change.raw_bytes().to_vec(), Vec::new()))
    }
}

impl Hand {
    /// The hostile member's node.
    #[must_use]
    pub const fn node(&self) -> usize {
        self.node
    }

    fn actor(&self, number: u8) -> Vec<u8> {
        actor_of(&self.key.id(), number)
    }

    fn seal(&self, chat: Chat, change: Vec<u8>, payloads: Vec<Vec<u8>>) -> Vec<u8> {
        let document = Some(chat.document);
        let sealed = Envelope::seal(&self.key, RecordKind::Session, document, None, change, payloads);
        sealed.expect("within the limits").to_bytes()
    }
}

fn actor_of(node: &NodeId, number: u8) -> Vec<u8> {
    [&node.0[..8], &[number; 8]].concat()
}
