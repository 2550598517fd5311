//! Twenty replicas in memory, placed by the real core: writes on holders and on others, reads through holders, churn, drops only
//! after confirmation, erasures that reach what was cached.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crdt::{
    StoreError,
    erasure::EraseTarget,
    fetch::{Ask, FetchFrame},
    ingress::Right,
    limits::{FOLLOWED_FOR, FOLLOWED_FRESH_FOR, PLACEMENT_DROP_EVERY, PLACEMENT_LINGER},
    placement::{Placement, Ranks, Rules, Seat},
    records::{
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
        settings::Settings,
    },
    replica::{Cursor, Event, MemoryKeys, MemoryShelf, Received, Recoveries, Replica, ReplicaSettings, Shelf, Source},
    set::{ShardSet, says_same},
};
use keys::{ContentId, NodeId, NodeKey, Timestamp};

type Memory = Replica<MemoryShelf>;

const NODES: u8 = 20;

struct World {
    replicas: Vec<Memory>,
    keys: MemoryKeys,
    recoveries: Recoveries,
    /// Those that are silent, and those that keep no documents.
    silent: BTreeSet<usize>,
    workers: BTreeSet<usize>,
    now: Timestamp,
}

fn key(number: usize) -> NodeKey {
    NodeKey::from_seed(&[number as u8 + 1; 32])
}

fn settings(number: usize, recoveries: Recoveries) -> ReplicaSettings {
    ReplicaSettings {
        key: key(number),
        right: Arc::new(|_| Right::Member),
        boot: [number as u8; 16],
        recoveries,
    }
}

impl World {
    fn of(nodes: usize, recoveries: Recoveries) -> Self {
        let mut world = Self {
            replicas: Vec::new(),
            keys: MemoryKeys::default(),
            recoveries,
            silent: BTreeSet::new(),
            workers: BTreeSet::new(),
            now: Timestamp(1_000_000),
        };
        (0..nodes).for_each(|_| world.join());
        world.place();
        // Until two others agree that there is nothing, nobody knows that it has everything.
        world.settle();
        world
    }

    fn new() -> Self {
        Self::of(usize::from(NODES), Recoveries::default())
    }

    fn join(&mut self) {
        let settings = settings(self.replicas.len(), self.recoveries);
        let keys = Box::new(self.keys.clone());
        self.replicas.push(Replica::new(settings, MemoryShelf::default(), keys));
    }

    fn placement(&self) -> Placement {
        let storage = (0..self.replicas.len()).filter(|number| !self.workers.contains(number));
        let seats: Vec<Seat> = storage
            .map(|number| Seat {
                node: key(number).id(),
                residency: None,
                silent_for: Duration::from_secs(if self.silent.contains(&number) { 120 } else { 0 }),
            })
            .collect();
        Placement::of(&Rules::default(), &seats, &mut Ranks::default())
    }

    fn up(&self) -> Vec<usize> {
        (0..self.replicas.len())
            .filter(|number| !self.silent.contains(number))
            .collect()
    }

    /// Everyone learns who holds what.
    fn place(&mut self) {
        let placement = self.placement();
        for number in self.up() {
            self.replicas[number].place(placement.clone(), self.now);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time.as_millis() as u64);
        for number in self.up() {
            self.replicas[number].commit(self.now).unwrap();
        }
    }

    /// Commits at a node and brings what it publishes to all who are up.
    fn publish(&mut self, from: usize) {
        self.replicas[from].commit(self.now).unwrap();
        for event in self.replicas[from].take_events() {
            let Event::Publish(bytes) = event else { continue };
            for to in self.up().into_iter().filter(|to| *to != from) {
                let received = self.replicas[to].receive(&bytes, Source::Gossip, self.now);
                assert!(
                    matches!(received, Received::New | Received::Elsewhere),
                    "at {to}: {received:?}"
                );
                self.replicas[to].commit(self.now).unwrap();
            }
        }
    }

    /// The bytes of all frames of a talk.
    fn talk(&mut self, opener: usize, answerer: usize) -> usize {
        let (left, right) = (key(opener).id(), key(answerer).id());
        let mut frame = self.replicas[opener].talk_start(right, self.now);
        let mut bytes = frame.len();
        for turn in 0..1000 {
            let (side, peer) = if turn % 2 == 0 {
                (answerer, left)
            } else {
                (opener, right)
            };
            let answer = self.replicas[side].talk_step(peer, &frame, self.now).unwrap();
            self.replicas[side].commit(self.now).unwrap();
            let Some(answer) = answer else { return bytes };
            bytes += answer.len();
            frame = answer;
        }
        panic!("the talk has no end");
    }

    /// Everyone talks with everyone, twice: what moved in the first round is confirmed in the second.
    fn settle(&mut self) {
        let up = self.up();
        for _ in 0..2 {
            for opener in &up {
                for answerer in up.iter().filter(|answerer| *answerer != opener) {
                    self.talk(*opener, *answerer);
                }
            }
        }
    }

    /// What was written away from its holders is offered to them.
    fn offer(&mut self, writer: usize) {
        for holder in self.replicas[writer].unconfirmed_holders() {
            let at = self.number(&holder);
            if self.silent.contains(&at) {
                continue;
            }
            let envelopes = self.replicas[writer].unconfirmed_for(&holder);
            let offer = FetchFrame::Offer(envelopes.into_iter().map(|(_, bytes)| bytes).collect());
            let Ok(FetchFrame::Offer(envelopes)) = FetchFrame::decode(&offer.encode()) else {
                panic!("an offer is one");
            };
            let held = self.replicas[at].take_offered(key(writer).id(), &envelopes, self.now);
            self.replicas[at].commit(self.now).unwrap();
            self.replicas[writer].confirmed(holder, &held.into_iter().collect());
        }
    }

    fn number(&self, node: &NodeId) -> usize {
        (0..self.replicas.len())
            .find(|number| key(*number).id() == *node)
            .unwrap()
    }

    /// Asks holders until every shard is answered for.
    fn fetch(&mut self, reader: usize, what: &Ask) -> usize {
        let mut open = self.replicas[reader].unanswered();
        if let Ask::Documents(documents) = what {
            open = documents.iter().map(|(document, _)| document.0[0]).collect();
        }
        let (peer, mut came) = (key(reader).id(), 0);
        for holder in self.up().into_iter().filter(|holder| *holder != reader) {
            let answered = self.replicas[holder].answers(&open);
            assert_ne!(key(holder).id(), peer);
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                let batch = self.replicas[holder].give(what, &answered, from);
                cursor = batch.next;
                let (giver, now) = (key(holder).id(), self.now);
                came += self.replicas[reader].take_fetched(giver, &batch.envelopes, now);
                self.replicas[reader].commit(now).unwrap();
            }
            open = open.iter().filter(|shard| !answered.contains(*shard)).collect();
        }
        assert!(open.is_empty(), "somebody answers for {open:?}");
        self.replicas[reader].has_asked(what.clone(), self.now);
        came
    }

    fn person(&mut self, at: usize, name: &str) -> ContentId {
        let person = Account::new(name, Role::User, self.now, [at as u8; 16]);
        let person = self.replicas[at].create(&person, self.now).unwrap();
        self.publish(at);
        person
    }

    fn chat(&mut self, at: usize, person: ContentId) -> ContentId {
        let session = Session::new(person, ContentId([2; 32]), self.now);
        let chat = self.replicas[at].create(&session, self.now).unwrap();
        self.publish(at);
        chat
    }

    fn say(&mut self, at: usize, chat: ContentId, text: &str) {
        let message = Message::from_person(text, text, &chat, None, self.now);
        self.now = self.now.plus(1);
        let edit = SessionEdit::PutMessage(message);
        self.replicas[at].edit(chat, &edit, self.now).unwrap();
        self.publish(at);
    }

    /// Who has anything of a document, and who should.
    fn having(&self, document: &ContentId) -> BTreeSet<usize> {
        let has = |number: &usize| self.replicas[*number].known_of(document) != [0; 8];
        (0..self.replicas.len()).filter(has).collect()
    }

    fn holders(&self, document: &ContentId) -> BTreeSet<usize> {
        let placement = self.placement();
        let holders = placement.holders(document.0[0]).iter();
        holders.map(|node| self.number(node)).collect()
    }

    fn outsider(&self, documents: &[ContentId]) -> usize {
        let concerned = |number: &usize| {
            let mut documents = documents.iter();
            documents.any(|document| self.holders(document).contains(number) || self.having(document).contains(number))
        };
        self.up().into_iter().find(|number| !concerned(number)).unwrap()
    }
}

fn by_id(document: ContentId) -> Ask {
    Ask::Documents(vec![(document, [0; 8])])
}

fn texts(replica: &mut Memory, chat: ContentId) -> Vec<String> {
    let session: Session = replica.read(chat).unwrap();
    let messages = session.messages.iter();
    messages.map(|message| message.text.text().to_owned()).collect()
}

#[test]
fn what_is_written_anywhere_lies_with_its_holders_and_is_read_through_them() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let chat = world.chat(0, person);
    world.say(0, chat, "hello");
    let settings = world.replicas[0].create(&Settings::default(), world.now).unwrap();
    world.publish(0);
    assert_eq!(world.having(&settings).len(), 20, "what every node needs is everywhere");
    let mut expected = world.holders(&chat);
    assert_eq!(expected.len(), 5);
    expected.insert(0);
    assert_eq!(world.having(&chat), expected, "its holders and who wrote it");
    let reader = world.outsider(&[chat, person]);
    let read = world.replicas[reader].read::<Session>(chat);
    assert!(matches!(read, Err(StoreError::Elsewhere(id)) if id == chat), "{read:?}");
    assert_eq!(world.fetch(reader, &by_id(chat)), 2, "the whole document");
    assert_eq!(texts(&mut world.replicas[reader], chat), ["hello"]);
    // Gossip brings what is new in what is used here.
    world.say(0, chat, "how are you");
    assert_eq!(texts(&mut world.replicas[reader], chat), ["hello", "how are you"]);
    // Who reads may write, once the person's own document is here, too.
    let message = SessionEdit::PutMessage(Message::from_person("fine", "x", &chat, None, world.now));
    let edited = world.replicas[reader].edit(chat, &message, world.now);
    assert!(
        matches!(edited, Err(StoreError::Elsewhere(id)) if id == person),
        "{edited:?}"
    );
    world.fetch(reader, &by_id(person));
    world.say(reader, chat, "fine");
    for holder in world.holders(&chat) {
        assert_eq!(texts(&mut world.replicas[holder], chat).len(), 3);
    }
    let nobody = ContentId([9; 32]);
    let stranger = world.outsider(&[nobody]);
    assert_eq!(
        world.fetch(stranger, &by_id(nobody)),
        0,
        "what holders do not have is nowhere"
    );
}

#[test]
fn lists_are_gathered_from_all_who_hold_a_part() {
    let mut world = World::new();
    let people: BTreeSet<ContentId> = (0..12).map(|at| world.person(at, &format!("person {at}"))).collect();
    let owner = *people.first().unwrap();
    let at = *world.holders(&owner).first().unwrap();
    let chats: BTreeSet<ContentId> = (0..8).map(|_| world.chat(at, owner)).collect();
    let reader = 19;
    let known = |replica: &mut Memory| {
        replica
            .list::<Account>()
            .into_iter()
            .map(|(id, _)| id)
            .collect::<BTreeSet<_>>()
    };
    assert_ne!(
        known(&mut world.replicas[reader]),
        people,
        "the control: it does not hold them all"
    );
    let all = Ask::OfKind(crdt::records::RecordKind::Account);
    world.fetch(reader, &all);
    assert_eq!(known(&mut world.replicas[reader]), people);
    assert!(world.replicas[reader].was_asked(&all));
    world.fetch(reader, &Ask::OwnedBy(owner));
    let owned: BTreeSet<ContentId> = world.replicas[reader].documents_owned_by(&owner).into_iter().collect();
    assert_eq!(owned, chats);
    world.wait(FOLLOWED_FRESH_FOR);
    assert!(
        !world.replicas[reader].was_asked(&all),
        "after a while they are asked again"
    );
    let followed = people
        .iter()
        .find(|person| !world.holders(person).contains(&reader))
        .unwrap();
    assert!(world.replicas[reader].is_stale(followed));
    let known = world.replicas[reader].known_of(followed);
    let again = Ask::Documents(vec![(*followed, known)]);
    let holder = *world.holders(followed).first().unwrap();
    let batch = world.replicas[holder].give(&again, &ShardSet::all(), Cursor::default());
    assert!(batch.envelopes.is_empty(), "what is the same is not sent");
    world.fetch(reader, &again);
    assert!(!world.replicas[reader].is_stale(followed));
}

#[test]
fn what_was_written_elsewhere_stays_until_its_holders_have_it_and_then_goes_when_unused() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let chats: Vec<ContentId> = (0..6).map(|_| world.chat(0, person)).collect();
    let foreign = |world: &World| {
        chats
            .iter()
            .filter(|chat| !world.holders(chat).contains(&0))
            .copied()
            .collect::<Vec<_>>()
    };
    let foreign = foreign(&world);
    assert!(!foreign.is_empty());
    let unconfirmed = world.replicas[0].held().unconfirmed;
    assert!(unconfirmed >= foreign.len());
    world.wait(FOLLOWED_FOR * 3);
    assert!(
        foreign.iter().all(|chat| world.having(chat).contains(&0)),
        "nobody has confirmed it"
    );
    // One holder is away: four are not enough.
    let away = *world.holders(&foreign[0]).first().unwrap();
    world.silent.insert(away);
    world.offer(0);
    world.wait(FOLLOWED_FOR * 3);
    assert!(world.having(&foreign[0]).contains(&0));
    world.silent.clear();
    world.offer(0);
    assert_eq!(world.replicas[0].held().unconfirmed, 0);
    world.wait(FOLLOWED_FOR * 3);
    for chat in &foreign {
        assert_eq!(world.having(chat), world.holders(chat), "theirs alone");
    }
}

/// Ten chats on twenty nodes, then a twenty-first comes: some of the chats, with an old holder that may let go of each.
fn with_a_newcomer(recoveries: Recoveries) -> (World, Vec<(ContentId, usize)>) {
    let mut world = World::of(usize::from(NODES), recoveries);
    let person = world.person(0, "Рита");
    let chats: Vec<ContentId> = (0..40).map(|_| world.chat(0, person)).collect();
    world.settle();
    let before: Vec<BTreeSet<usize>> = chats.iter().map(|chat| world.holders(chat)).collect();
    world.join();
    world.place();
    let moved = chats.iter().zip(before).filter_map(|(chat, before)| {
        let left = before.difference(&world.holders(chat)).next().copied()?;
        (left != 0).then_some((*chat, left))
    });
    let moved: Vec<(ContentId, usize)> = moved.collect();
    assert!(!moved.is_empty(), "the newcomer takes something over");
    (world, moved)
}

#[test]
fn a_shard_is_dropped_only_after_its_holders_have_confirmed_it() {
    let (mut world, moved) = with_a_newcomer(Recoveries::default());
    let newcomer = usize::from(NODES);
    world.wait(PLACEMENT_LINGER * 2);
    for (chat, left) in &moved {
        assert!(world.having(chat).contains(left), "the newcomer has nothing yet");
        assert!(world.replicas[*left].held().leaving > 0);
    }
    // All but the newcomer confirm it.
    world.silent.insert(newcomer);
    world.settle();
    world.silent.clear();
    world.wait(PLACEMENT_DROP_EVERY);
    assert!(moved.iter().all(|(chat, left)| world.having(chat).contains(left)));
    world.settle();
    world.wait(PLACEMENT_DROP_EVERY);
    for (chat, left) in &moved {
        let having = world.having(chat);
        assert!(
            !having.contains(left) && having.is_superset(&world.holders(chat)),
            "{having:?}"
        );
        assert!(matches!(
            world.replicas[*left].read::<Session>(*chat),
            Err(StoreError::Elsewhere(_))
        ));
    }
    assert!(
        world
            .up()
            .iter()
            .all(|number| world.replicas[*number].held().leaving == 0)
    );
    assert_eq!(world.replicas[newcomer].held().filling, 0);
}

#[test]
fn without_confirmations_it_would_be_gone_before_the_newcomer_has_it() {
    let recoveries = Recoveries {
        confirmed_drops: false,
        ..Recoveries::default()
    };
    let (mut world, moved) = with_a_newcomer(recoveries);
    world.wait(PLACEMENT_LINGER * 2);
    assert!(moved.iter().all(|(chat, left)| !world.having(chat).contains(left)));
    assert!(moved.iter().any(|(chat, _)| world.having(chat).len() < 5));
}

#[test]
fn a_change_that_comes_while_a_shard_leaves_must_be_confirmed_anew() {
    let (mut world, moved) = with_a_newcomer(Recoveries::default());
    world.settle();
    let (chat, left) = moved[0];
    // It is written where it leaves, and nobody hears of it.
    let message = SessionEdit::PutMessage(Message::from_person("late", "x", &chat, None, world.now));
    let person = world.replicas[left].read::<Session>(chat).unwrap().account;
    world.fetch(left, &by_id(person));
    world.replicas[left].edit(chat, &message, world.now).unwrap();
    world.replicas[left].commit(world.now).unwrap();
    world.replicas[left].take_events();
    world.wait(PLACEMENT_LINGER * 2);
    assert!(world.having(&chat).contains(&left));
    world.settle();
    world.wait(PLACEMENT_DROP_EVERY);
    assert!(!world.having(&chat).contains(&left));
    for holder in world.holders(&chat) {
        assert_eq!(texts(&mut world.replicas[holder], chat), ["late"]);
    }
}

#[test]
fn a_dead_holder_is_replaced_and_the_new_one_gets_everything() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let chats: Vec<ContentId> = (0..20).map(|_| world.chat(0, person)).collect();
    world.settle();
    world.silent.insert(7);
    world.place();
    world.settle();
    for chat in &chats {
        let holders = world.holders(chat);
        assert!(!holders.contains(&7) && holders.len() == 5);
        assert!(world.having(chat).is_superset(&holders));
    }
    // It comes back with its old disk, and those who stood in for it let go.
    world.silent.clear();
    world.place();
    world.settle();
    world.wait(PLACEMENT_LINGER);
    world.offer(0);
    world.wait(FOLLOWED_FOR * 3);
    for chat in &chats {
        assert_eq!(world.having(chat), world.holders(chat));
    }
}

#[test]
fn an_erasure_reaches_what_was_cached_and_it_does_not_come_back() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let chat = world.chat(0, person);
    world.say(0, chat, "forget me");
    let reader = world.outsider(&[chat, person]);
    world.fetch(reader, &by_id(chat));
    let sleeper = *world.holders(&chat).first().unwrap();
    assert!(world.having(&chat).contains(&reader), "the control");
    let kept = world.replicas[sleeper].give(&by_id(chat), &ShardSet::all(), Cursor::default());
    // Somebody who has nothing of it asks for the erasure.
    let asker = (0..20)
        .rev()
        .find(|number| !world.having(&chat).contains(number))
        .unwrap();
    world.replicas[asker]
        .erase(EraseTarget::Document(chat), world.now)
        .unwrap();
    world.publish(asker);
    assert_eq!(world.having(&chat), BTreeSet::new(), "on no node, held or cached");
    assert_eq!(world.replicas[reader].held().followed, 0);
    let came = world.replicas[reader].take_fetched(key(sleeper).id(), &kept.envelopes, world.now);
    world.replicas[reader].commit(world.now).unwrap();
    assert_eq!((came, world.having(&chat).len()), (0, 0));
}

#[test]
fn a_worker_holds_what_every_node_needs_and_nothing_else() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let before: Vec<ContentId> = (0..10).map(|_| world.chat(0, person)).collect();
    world.settle();
    assert!(
        before.iter().any(|chat| world.having(chat).contains(&3)),
        "it kept documents once"
    );
    // What it has it may have alone, until it has handed it over.
    world.workers.insert(3);
    world.place();
    world.wait(FOLLOWED_FOR * 3);
    assert!(before.iter().any(|chat| world.having(chat).contains(&3)));
    world.offer(3);
    world.wait(FOLLOWED_FOR * 3);
    let chat = world.chat(0, person);
    let settings = world.replicas[0].create(&Settings::default(), world.now).unwrap();
    world.publish(0);
    world.settle();
    assert!(!world.having(&chat).contains(&3) && !world.having(&person).contains(&3));
    assert!(world.having(&settings).contains(&3));
    // Even if it asks for everything: nothing placed is shown to it.
    let mut curious: Memory = Replica::new(
        settings_of_a_curious_worker(),
        MemoryShelf::default(),
        Box::new(world.keys.clone()),
    );
    let holder = *world.holders(&chat).first().unwrap();
    let (left, right) = (key(3).id(), key(holder).id());
    let mut frame = curious.talk_start(right, world.now);
    for turn in 0..100 {
        let side = if turn % 2 == 0 {
            &mut world.replicas[holder]
        } else {
            &mut curious
        };
        let peer = if turn % 2 == 0 { left } else { right };
        let answer = side.talk_step(peer, &frame, world.now).unwrap();
        side.commit(world.now).unwrap();
        match answer {
            Some(answer) if !says_same(&answer) => frame = answer,
            _ => break,
        }
    }
    assert_eq!((curious.known_of(&chat), curious.known_of(&person)), ([0; 8], [0; 8]));
    assert_ne!(
        curious.known_of(&settings),
        [0; 8],
        "the control: it gets what it may have"
    );
    // What a worker writes reaches the holders when it talks with them.
    world.fetch(3, &by_id(chat));
    world.fetch(3, &by_id(person));
    let message = SessionEdit::PutMessage(Message::from_person("an answer", "x", &chat, None, world.now));
    world.replicas[3].edit(chat, &message, world.now).unwrap();
    world.replicas[3].commit(world.now).unwrap();
    world.replicas[3].take_events();
    world.talk(3, holder);
    assert_eq!(texts(&mut world.replicas[holder], chat), ["an answer"]);
    world.offer(3);
    assert_eq!(world.replicas[3].held().unconfirmed, 0);
    world.wait(PLACEMENT_DROP_EVERY);
    assert_eq!(Shelf::held(world.replicas[3].below()), Some(ShardSet::none()));
}

fn settings_of_a_curious_worker() -> ReplicaSettings {
    settings(3, Recoveries::default())
}

#[test]
fn a_restart_knows_what_it_held_what_it_used_and_what_it_had_not_handed_over() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let chats: Vec<ContentId> = (0..10).map(|_| world.chat(0, person)).collect();
    world.fetch(1, &Ask::OwnedBy(person));
    for number in [0, 1] {
        let before = world.replicas[number].held();
        let shelf = world.replicas[number].below().clone();
        let again = settings(number, Recoveries::default());
        world.replicas[number] = Replica::new(again, shelf, Box::new(world.keys.clone()));
        let placement = world.placement();
        let now = world.now;
        world.replicas[number].place(placement, now);
        assert_eq!(world.replicas[number].held(), before);
    }
    assert!(world.replicas[0].held().unconfirmed > 0 && world.replicas[1].held().followed > 0);
    assert!(chats.iter().all(|chat| world.having(chat).contains(&1)));
}

#[test]
fn a_new_holder_gets_its_shards_for_little_more_than_they_are() {
    let mut world = World::new();
    let person = world.person(0, "Рита");
    let chats: Vec<ContentId> = (0..60).map(|_| world.chat(0, person)).collect();
    for chat in &chats {
        (0..10).for_each(|number| world.say(0, *chat, &format!("message {number}")));
    }
    world.settle();
    world.join();
    world.place();
    let newcomer = usize::from(NODES);
    let up = world.up();
    let bytes: usize = up[..newcomer].iter().map(|peer| world.talk(newcomer, *peer)).sum();
    let moved: usize = world.replicas[newcomer].below().records().map(Vec::len).sum();
    println!("{bytes} bytes of frames for {moved} bytes of changes");
    assert!(moved > 20_000 && bytes * 10 <= moved * 12, "{bytes} for {moved}");
}
