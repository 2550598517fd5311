//! What people do at nodes: write, read, erase; and the look at everything in the end.

use std::collections::{BTreeMap, BTreeSet};

use crdt::{
    StoreError,
    envelope::Envelope,
    erasure::EraseTarget,
    limits::QUOTA_PUSH,
    records::{
        account::{Account, Role},
        session::{Message, MessageId, Session, SessionEdit},
    },
    replica::{Fork, MemoryShelf, Replica},
};
use keys::{ContentId, NodeId};
use rand::{RngExt, seq::IndexedRandom};

use crate::{
    Micros,
    history::{Violation, Written},
    world::World,
};

/// A chat and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chat {
    /// The session's document.
    pub document: ContentId,
    /// The account.
    pub account: ContentId,
}

impl World {
    /// A person comes to a node and begins a chat.
    pub fn new_chat(&mut self, node: usize) -> Chat {
        self.said += 1;
        let clock = self.nodes[node].clock(self.now);
        let replica = &mut self.nodes[node].running().expect("a running node").replica;
        let person = Account::new(&format!("Рита {}", self.said), Role::User, clock, [0; 16]);
        let account = replica.create(&person, clock).expect("a new account");
        self.settle(node);
        let replica = &mut self.nodes[node].running().expect("a running node").replica;
        let session = Session::new(account, ContentId([2; 32]), clock);
        let document = replica.create(&session, clock).expect("a new chat");
        self.settle(node);
        Chat { document, account }
    }

    /// A person writes at a node. Whether it was taken; that it was not is noted, unless the chat is unknown or erased there.
    pub fn say(&mut self, node: usize, chat: Chat) -> bool {
        let clock = self.nodes[node].clock(self.now);
        self.said += 1;
        let outbox = format!("outbox-{}", self.said);
        let text = format!("{outbox}: the starling flew over the winter forest and told the fox what it had seen");
        let message = Message::from_person(&text, &outbox, &chat.document, None, clock);
        let Some(running) = self.nodes[node].running() else { return false };
        let written = running
            .replica
            .edit(chat.document, &SessionEdit::PutMessage(message.clone()), clock);
        match written {
            Ok(()) => {
                self.writing = Some(message.id);
                self.settle(node);
                true
            }
            Err(StoreError::NotFound | StoreError::Erased) => false,
            Err(StoreError::NoKey) if self.history.is_erased(&chat.document, &chat.account) => false,
            Err(_) => {
                self.history.violated(Violation::Refused);
                false
            }
        }
    }

    /// Notes what a replica wants published: it is a write of its node.
    pub(crate) fn note_write(&mut self, node: usize, bytes: &[u8]) {
        let Ok(envelope) = Envelope::open_own(bytes) else { return };
        let known = self.history.documents();
        let account = envelope
            .owner
            .or_else(|| known.get(&envelope.document).copied())
            .unwrap_or(envelope.document);
        let written = Written {
            node,
            document: envelope.document,
            account,
            message: self.writing.take(),
            payloads: envelope.payloads.into_iter().filter_map(|(_, payload)| payload).collect(),
            at: self.now,
            acknowledged: false,
            arrivals: BTreeMap::new(),
        };
        self.history.wrote(envelope.id, written);
    }

    /// A person asks a node to forget something. Whether the node knows it.
    pub fn erase(&mut self, node: usize, target: EraseTarget) -> bool {
        let clock = self.nodes[node].clock(self.now);
        let Some(running) = self.nodes[node].running() else { return false };
        let known = running.replica.erase(target, clock).is_ok();
        if known {
            self.history.erased.insert(target);
            self.settle(node);
        }
        known
    }

    /// A person writes several times in a row.
    pub fn say_quickly(&mut self, node: usize, chat: Chat, times: usize) {
        for _ in 0..times {
            self.say(node, chat);
            self.run_for(1000);
        }
    }

    /// For a while people write into chats at random running nodes, and look at what is there.
    pub fn bustle(&mut self, chats: &[Chat], writes: usize, gap: Micros) {
        for _ in 0..writes {
            let pause = self.rng.random_range(gap / 2..=gap * 3 / 2);
            self.run_for(pause);
            let up = self.up();
            let place = (up.choose(&mut self.rng).copied(), chats.choose(&mut self.rng).copied());
            if let (Some(node), Some(chat)) = place {
                self.say(node, chat);
            }
            if let Some(reader) = up.choose(&mut self.rng).copied() {
                self.look(reader);
            }
        }
    }

    /// Random nodes write into random chats, at a steady pace.
    pub fn write_evenly(&mut self, chats: &[Chat], writes: usize, gap: Micros) {
        for _ in 0..writes {
            self.run_for(gap);
            let node = self.rng.random_range(0..self.nodes.len());
            if let Some(chat) = chats.choose(&mut self.rng).copied() {
                self.say(node, chat);
            }
        }
    }

    /// A person looks at every chat at a node.
    pub fn look(&mut self, node: usize) {
        for (document, account) in self.history.documents() {
            if document != account {
                self.look_at(node, Chat { document, account });
            }
        }
    }

    fn look_at(&mut self, node: usize, chat: Chat) {
        let Some(running) = self.nodes[node].running() else { return };
        let Some(branches) = branches(&mut running.replica, chat.document) else {
            return;
        };
        if self.history.erased_at(node, &chat.document, &chat.account) {
            return self.history.violated(Violation::Resurrected);
        }
        let messages = || branches.iter().flat_map(|session| &session.messages);
        for message in messages() {
            let erased = self.history.message_erased_at(node, chat.document, message.id);
            if erased && !message.text.text().is_empty() {
                self.history.violated(Violation::Resurrected);
            }
        }
        let shown: BTreeSet<MessageId> = messages().map(|message| message.id).collect();
        self.history.read(node, chat.document, shown);
    }

    /// After everything has calmed down: what every honest running node holds and shows must be the same and complete.
    pub fn check(&mut self) -> BTreeSet<Violation> {
        let up = self.up();
        for node in &up {
            self.look(*node);
            self.check_held(*node);
            self.check_erased(*node);
        }
        self.check_alike(&up);
        self.history.violations.keys().copied().collect()
    }

    fn check_alike(&mut self, up: &[usize]) {
        let mut found = Vec::new();
        let mut roots = BTreeSet::new();
        let mut erasures = BTreeSet::new();
        for node in up {
            let Some(running) = self.nodes[*node].running() else { continue };
            roots.insert(running.replica.summary());
            erasures.insert(running.replica.statements_root());
        }
        found.extend((roots.len() > 1).then_some(Violation::Apart));
        found.extend((erasures.len() > 1).then_some(Violation::ErasuresApart));
        for document in self.history.documents().into_keys() {
            let mut forks: Vec<Vec<Fork>> = Vec::new();
            let mut sessions: Vec<Option<Session>> = Vec::new();
            for node in up {
                let Some(running) = self.nodes[*node].running() else { continue };
                let named = running.replica.forks(document).unwrap_or_default();
                if forks.is_empty() {
                    found.extend(self.check_forks(*node, document, &named));
                }
                forks.push(named);
                let Some(running) = self.nodes[*node].running() else { continue };
                sessions.push(running.replica.read(document).ok());
            }
            self.history.forks += forks.first().map_or(0, Vec::len);
            let alike = |same: bool, violation| (!same).then_some(violation);
            found.extend(alike(forks.windows(2).all(|pair| pair[0] == pair[1]), Violation::ForksApart));
            found.extend(alike(sessions.windows(2).all(|pair| pair[0] == pair[1]), Violation::ReadApart));
        }
        found.into_iter().for_each(|violation| self.history.violated(violation));
    }

    /// Both sides of a fork can be shown, and neither is of a node that keeps to the rules.
    fn check_forks(&mut self, node: usize, document: ContentId, forks: &[Fork]) -> Vec<Violation> {
        let honest: BTreeSet<NodeId> = self.honest().map(|node| self.nodes[node].id()).collect();
        let mut found = Vec::new();
        let Some(running) = self.nodes[node].running() else { return found };
        for fork in forks {
            for envelope in [fork.id, fork.winner] {
                let proof = running.replica.proof(&document, &envelope);
                let opened = proof.and_then(|bytes| Envelope::open(&bytes).ok());
                found.push(match opened {
                    None => Violation::NoProof,
                    Some(envelope) if honest.contains(&envelope.author) => Violation::HonestFork,
                    Some(_) => continue,
                });
            }
        }
        found
    }

    /// What was acknowledged is held and shown; what is held in somebody's name is that node's; nobody has filled the disk.
    fn check_held(&mut self, node: usize) {
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id()).collect();
        let honest: BTreeSet<NodeId> = self.honest().map(|node| ids[node]).collect();
        let mut by_author: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut found = Vec::new();
        for bytes in self.nodes[node].shelf().records() {
            let Ok(envelope) = Envelope::open_own(bytes) else { continue };
            *by_author.entry(envelope.author).or_default() += bytes.len();
            if honest.contains(&envelope.author) && !self.history.wrote_it(&envelope.id, &envelope.author, &ids) {
                found.push(Violation::Forged);
            }
        }
        let most = QUOTA_PUSH.bytes + QUOTA_PUSH.bytes_per_second * (self.now as f64 / 1e6);
        found.extend(
            by_author
                .values()
                .any(|bytes| *bytes as f64 > most)
                .then_some(Violation::Flooded),
        );
        let mut shown: BTreeMap<ContentId, BTreeSet<MessageId>> = BTreeMap::new();
        let history = &self.history;
        let running = match self.nodes[node].running() {
            Some(running) => running,
            None => return,
        };
        let due = history
            .written
            .iter()
            .filter(|(_, written)| written.acknowledged && honest.contains(&ids[written.node]))
            .filter(|(_, written)| !history.is_erased(&written.document, &written.account));
        for (envelope, written) in due {
            if running.replica.proof(&written.document, envelope).is_none() {
                found.push(Violation::Lost);
                continue;
            }
            let Some(message) = written.message else { continue };
            let shown = shown.entry(written.document).or_insert_with(|| {
                let branches = branches(&mut running.replica, written.document).unwrap_or_default();
                let messages = branches.into_iter().flat_map(|session| session.messages);
                messages.map(|message| message.id).collect()
            });
            found.extend((!shown.contains(&message)).then_some(Violation::Hidden));
        }
        found.into_iter().for_each(|violation| self.history.violated(violation));
    }

    /// Nothing of what was erased is on a disk.
    fn check_erased(&mut self, node: usize) {
        let history = &self.history;
        let gone = history.written.values().filter(|written| {
            let message = written.message;
            history.is_erased(&written.document, &written.account)
                || message.is_some_and(|message| history.is_message_erased(written.document, message))
        });
        let shelf = self.nodes[node].shelf();
        let back = gone
            .flat_map(|written| &written.payloads)
            .filter(|payload| payload.len() > 16 && shelf.holds_bytes(payload))
            .count();
        if back>0 {eprintln!("R3 {node} {back}");}(0..back).for_each(|_| self.history.violated(Violation::Resurrected));
    }

    /// A message of a chat that everyone has.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn some_message(&self, chat: Chat) -> MessageId {
        let written = self.history.written.values().filter(|written| written.document == chat.document);
        let everywhere = written.filter(|written| written.arrivals.len() + 1 >= self.nodes.len());
        everywhere.filter_map(|written| written.message).next().expect("somebody has written")
    }

    /// Lets time pass until a node can reach another again; returns when that was.
    pub fn until_reachable(&mut self, node: usize) -> Micros {
        loop {
            if self.nodes[node].running().is_some_and(|running| !running.reachable.is_empty()) {
                return self.now;
            }
            self.run_for(1000);
        }
    }

    /// Notes every acknowledged write of others that a node got later than `limit` after `since`.
    pub fn check_late(&mut self, node: usize, since: Micros, limit: Micros) {
        let is_late = |written: &&Written| {
            let arrived = written.arrivals.get(&node);
            written.acknowledged && written.node != node && arrived.is_none_or(|at| *at > since + limit)
        };
        let late = self.history.written.values().filter(is_late).count();
        (0..late).for_each(|_| self.history.violated(Violation::Late));
    }
}

/// A chat with all its forks, as a person can read them; `None` when it is not there.
fn branches(replica: &mut Replica<MemoryShelf>, document: ContentId) -> Option<Vec<Session>> {
    let mut branches = vec![replica.read::<Session>(document).ok()?];
    for fork in replica.forks(document).unwrap_or_default() {
        branches.extend(replica.read_fork::<Session>(document, fork.id).ok());
    }
    Some(branches)
}
