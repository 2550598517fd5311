//! Documents on bases, among several nodes: old envelopes go everywhere, and nothing that anybody wrote is lost, whoever was away.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use crdt::{
    StoreError,
    disk::DiskShelf,
    envelope::Envelope,
    erasure::{EraseTarget, Statement, StatementContent},
    ingress::Right,
    rebase::{Base, Rebase, RebaseRefusal},
    records::{
        account::{Account, AccountEdit, Role},
        session::Session,
        settings::{Setting, Settings, SettingsEdit},
    },
    replica::{Event, MemoryKeys, MemoryShelf, Received, Recoveries, Replica, ReplicaSettings, Shelf, Source},
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};
use proptest::prelude::*;

type Memory = Replica<MemoryShelf>;

const NOW: Timestamp = Timestamp(1_000_000);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn node<S: Shelf>(seed: u8, boot: u8, keys: &MemoryKeys, shelf: S) -> Replica<S> {
    let members: Vec<_> = (1..10).map(|seed| key(seed).id()).collect();
    let settings = ReplicaSettings {
        key: key(seed),
        right: Arc::new(move |node| match members.contains(node) {
            true => Right::Member,
            false => Right::Unknown,
        }),
        boot: [boot; 16],
        recoveries: Recoveries::default(),
    };
    Replica::new(settings, shelf, Box::new(keys.clone()))
}

fn memory(seed: u8) -> Memory {
    node(seed, seed, &MemoryKeys::default(), MemoryShelf::default())
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

/// What was stated, last of all.
fn stated<S: Shelf>(replica: &mut Replica<S>) -> Vec<u8> {
    let mut statements = published(replica).into_iter().filter(|bytes| Statement::is_one(bytes));
    statements.next_back().unwrap()
}

fn give(replica: &mut Memory, bytes: &[u8]) -> Received {
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

/// Until both hold the same.
fn agree<S: Shelf, T: Shelf>(one: &mut Replica<S>, other: &mut Replica<T>) {
    for _ in 0..3 {
        talk(one, other);
    }
    assert_eq!(one.summary(), other.summary());
    assert_eq!(one.statements_root(), other.statements_root());
}

fn set<S: Shelf>(replica: &mut Replica<S>, document: ContentId, name: &str, number: u64) {
    let edit = SettingsEdit::Set(name.to_owned(), Setting::Number(number));
    replica.edit(document, &edit, NOW).unwrap();
}

/// Settings that were overwritten so many times.
fn overwritten<S: Shelf>(replica: &mut Replica<S>, times: u64) -> ContentId {
    let settings = Settings {
        values: BTreeMap::new(),
    };
    let document = replica.create(&settings, NOW).unwrap();
    for number in 0..times {
        set(replica, document, "a", number);
    }
    set(replica, document, "b", 1);
    replica.commit(NOW).unwrap();
    document
}

fn values<S: Shelf>(replica: &mut Replica<S>, document: ContentId) -> BTreeMap<String, u64> {
    let settings: Settings = replica.read(document).unwrap();
    let numbers = settings.values.into_iter().filter_map(|(name, value)| match value {
        Setting::Number(number) => Some((name, number)),
        _ => None,
    });
    numbers.collect()
}

fn of(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs
        .iter()
        .map(|(name, number)| ((*name).to_owned(), *number))
        .collect()
}

#[test]
fn every_node_puts_a_document_on_the_same_base_and_goes_on() {
    let (mut a, mut b) = (memory(1), memory(2));
    let document = overwritten(&mut a, 50);
    agree(&mut a, &mut b);
    set(&mut b, document, "b", 2);
    agree(&mut a, &mut b);
    assert_eq!(a.summary().0, 53);
    let base = a.rebase(document).unwrap();
    let statement = stated(&mut a);
    assert_eq!(a.summary().0, 2, "the first envelope and the base");
    assert_eq!(a.stands_on(document), Some((BTreeSet::from([base]), 53)));
    // b hears of it by gossip and needs nothing else.
    assert_eq!(give(&mut b, &statement), Received::New);
    assert_eq!(a.summary(), b.summary());
    for replica in [&mut a, &mut b] {
        assert_eq!(values(replica, document), of(&[("a", 49), ("b", 2)]));
    }
    // Both write on it at the same time; a third node that never saw the history takes the base.
    set(&mut a, document, "a", 100);
    set(&mut b, document, "c", 7);
    agree(&mut b, &mut a);
    let mut c = memory(3);
    agree(&mut c, &mut a);
    set(&mut c, document, "b", 3);
    agree(&mut c, &mut b);
    agree(&mut b, &mut a);
    for replica in [&mut a, &mut b, &mut c] {
        assert_eq!(values(replica, document), of(&[("a", 100), ("b", 3), ("c", 7)]));
        assert_eq!(replica.summary().0, 5);
    }
    // Again, on top of it: the older base goes with what it covered.
    let second = a.rebase(document).unwrap();
    a.commit(NOW).unwrap();
    agree(&mut b, &mut a);
    agree(&mut c, &mut b);
    for replica in [&mut a, &mut b, &mut c] {
        assert_eq!(replica.stands_on(document), Some((BTreeSet::from([second]), 56)));
        assert_eq!(replica.summary().0, 2);
        assert_eq!(values(replica, document), of(&[("a", 100), ("b", 3), ("c", 7)]));
    }
    let again = a.rebase(document);
    assert!(
        matches!(again, Err(StoreError::Rebase(RebaseRefusal::NothingNew))),
        "{again:?}"
    );
}

/// What a node wrote that was away (or restored from an old backup) depends on changes that the others have let go.
#[test]
fn what_was_written_without_knowing_of_the_base_takes_the_place_it_would_have_had() {
    let (mut a, mut away) = (memory(1), memory(2));
    let document = overwritten(&mut a, 5);
    agree(&mut a, &mut away);
    // The control goes through the same without a rebase.
    let mut results = Vec::new();
    for rebases in [true, false] {
        let shelf = |replica: &Memory| replica.below().clone();
        let mut here = node(1, 11, &MemoryKeys::default(), shelf(&a));
        let mut gone = node(2, 12, &MemoryKeys::default(), shelf(&away));
        for number in 0..40 {
            set(&mut here, document, "a", 1000 + number);
            set(&mut gone, document, "away", number);
        }
        set(&mut gone, document, "a", 77);
        let reset = SettingsEdit::Reset("b".to_owned());
        gone.edit(document, &reset, NOW).unwrap();
        gone.commit(NOW).unwrap();
        here.commit(NOW).unwrap();
        if rebases {
            here.rebase(document).unwrap();
            here.commit(NOW).unwrap();
            assert_eq!(here.summary().0, 2);
        }
        agree(&mut gone, &mut here);
        let mut late = memory(3);
        agree(&mut late, &mut here);
        let read = values(&mut here, document);
        assert_eq!(read, values(&mut gone, document));
        assert_eq!(read, values(&mut late, document));
        assert_eq!(read.get("away"), Some(&39), "{read:?}");
        assert_eq!(read.get("b"), None, "{read:?}");
        assert_eq!(here.forks(document).unwrap(), []);
        results.push(read);
    }
    assert_eq!(results[0], results[1]);
}

/// A node has only a part of the history when it hears of the base, and has written on that part.
#[test]
fn a_node_with_a_part_of_the_history_takes_the_base_and_keeps_what_it_wrote() {
    let mut a = memory(1);
    let settings = Settings {
        values: BTreeMap::new(),
    };
    let document = a.create(&settings, NOW).unwrap();
    for number in 0..50 {
        set(&mut a, document, "a", number);
    }
    let envelopes = published(&mut a);
    let mut part = memory(2);
    for envelope in &envelopes[..10] {
        give(&mut part, envelope);
    }
    set(&mut part, document, "part", 5);
    part.commit(NOW).unwrap();
    a.rebase(document).unwrap();
    a.commit(NOW).unwrap();
    agree(&mut part, &mut a);
    for replica in [&mut a, &mut part] {
        assert_eq!(values(replica, document), of(&[("a", 49), ("part", 5)]));
        assert_eq!(replica.summary().0, 3);
    }
}

fn state(author: u8, rebase: Rebase) -> Vec<u8> {
    Statement::sign(&key(author), StatementContent::Rebase(rebase))
        .unwrap()
        .bytes
}

#[test]
fn a_wrong_base_and_one_that_nobody_may_state_are_refused() {
    let (mut a, mut b) = (memory(1), memory(2));
    let document = overwritten(&mut a, 20);
    agree(&mut a, &mut b);
    let mut twin = node(1, 9, &MemoryKeys::default(), a.below().clone());
    let right = twin.rebase(document).unwrap();
    let statement = stated(&mut twin);
    let StatementContent::Rebase(stated) = Statement::open(&statement).unwrap().content else {
        panic!("a rebase was stated");
    };
    assert_eq!(stated.base, right);
    let before = b.summary();
    let forged = forge(twin.below().records().find(|bytes| Base::is_one(bytes)).unwrap());
    let wrong = Rebase {
        base: ContentId::of(&forged),
        ..stated.clone()
    };
    // By the node that may: taken as a statement, and not followed. By another node: nothing comes of it, even when it is right.
    for bytes in [state(1, wrong.clone()), state(2, stated)] {
        assert_eq!(give(&mut b, &bytes), Received::New);
        assert_eq!((b.summary(), b.stands_on(document)), (before, None));
    }
    assert_eq!(give(&mut b, &forged), Received::Ignored, "what is here says otherwise");
    // A newcomer takes no base on the word of just anybody.
    let mut c = memory(3);
    let genesis = b.proof(&document, &document).unwrap();
    for bytes in [&genesis, &state(2, wrong)] {
        assert_eq!(give(&mut c, bytes), Received::New);
    }
    assert_eq!(give(&mut c, &forged), Received::Ignored);
    // The control: the right one, by the node that began the document.
    assert_eq!(give(&mut b, &statement), Received::New);
    assert_eq!(
        (b.summary().0, b.stands_on(document)),
        (2, Some((BTreeSet::from([right]), 22)))
    );
    assert_eq!(values(&mut b, document), of(&[("a", 19), ("b", 1)]));
}

/// A base that is whole and says something else.
fn forge(base: &[u8]) -> Vec<u8> {
    for place in (0..base.len()).rev() {
        let mut forged = base.to_vec();
        forged[place] ^= 1;
        if Base::open(&forged).is_ok() {
            return forged;
        }
    }
    panic!("no byte can be changed");
}

#[test]
fn what_must_not_be_rebased_is_not() {
    let keys = MemoryKeys::default();
    let mut a = node(1, 1, &keys, MemoryShelf::default());
    let mut b = node(2, 2, &keys, MemoryShelf::default());
    let person = a.create(&Account::new("Рита", Role::User, NOW, [0; 16]), NOW).unwrap();
    let chat = a.create(&Session::new(person, ContentId([2; 32]), NOW), NOW).unwrap();
    let document = overwritten(&mut a, 3);
    agree(&mut a, &mut b);
    let refused = |result: Result<ContentId, StoreError>, expected: RebaseRefusal| match result {
        Err(StoreError::Rebase(refusal)) => assert_eq!(refusal, expected),
        other => panic!("{other:?}"),
    };
    refused(a.rebase(chat), RebaseRefusal::Kind);
    refused(b.rebase(document), RebaseRefusal::NotTheBeginner);
    assert!(matches!(a.rebase(ContentId([9; 32])), Err(StoreError::NotFound)));
    // Two changes in one turn, as a hostile node sends them.
    for text in [5, 6] {
        let mut hand = node(9, 77, &keys, b.below().clone());
        set(&mut hand, document, "b", text);
        let rival = published(&mut hand).remove(0);
        assert_eq!(give(&mut a, &rival), Received::New);
    }
    assert_eq!(a.forks(document).unwrap().len(), 1);
    refused(a.rebase(document), RebaseRefusal::Forked);
}

/// A member writes two changes in one turn; one of them goes into the base before the other one is known where it is stated.
#[test]
fn an_equivocation_against_a_covered_change_is_beside_on_every_node() {
    let keys = MemoryKeys::default();
    let (mut a, mut b) = (memory(1), memory(2));
    let document = overwritten(&mut a, 10);
    agree(&mut a, &mut b);
    let mut rivals: Vec<Vec<u8>> = Vec::new();
    for number in [5, 6] {
        let mut hand = node(9, 77, &keys, b.below().clone());
        set(&mut hand, document, "b", number);
        rivals.extend(published(&mut hand));
    }
    // Each node may meet either of them first, and the one that is covered may have won or lost its turn until then.
    for (covered, other) in [(0, 1), (1, 0)] {
        let mut here = node(1, 21, &keys, a.below().clone());
        let mut there = node(2, 22, &keys, b.below().clone());
        assert_eq!(give(&mut here, &rivals[covered]), Received::New);
        for rival in [&rivals[other], &rivals[covered]] {
            assert_eq!(give(&mut there, rival), Received::New);
        }
        here.rebase(document).unwrap();
        here.commit(NOW).unwrap();
        agree(&mut there, &mut here);
        let expected = of(&[("a", 9), ("b", 5 + covered as u64)]);
        let forks = here.forks(document).unwrap();
        assert_eq!((forks.len(), forks[0].author), (1, key(9).id()));
        for replica in [&mut here, &mut there] {
            assert_eq!(values(replica, document), expected);
            assert_eq!(replica.forks(document).unwrap(), forks);
            let aside: Settings = replica.read_fork(document, forks[0].id).unwrap();
            assert_eq!(aside.values.get("b"), Some(&Setting::Number(5 + other as u64)));
            assert_eq!(aside.values.get("a"), Some(&Setting::Number(9)));
        }
    }
}

#[test]
fn sealed_texts_that_count_stay_with_the_envelopes_that_prove_them() {
    let keys = MemoryKeys::default();
    let mut a = node(1, 1, &keys, MemoryShelf::default());
    let person = a.create(&Account::new("Рита", Role::User, NOW, [0; 16]), NOW).unwrap();
    for number in 0..30 {
        let edit = AccountEdit::SetName(format!("name {number}"));
        a.edit(person, &edit, NOW).unwrap();
        a.edit(person, &AccountEdit::SetBlocked(number % 2 == 0), NOW).unwrap();
    }
    a.commit(NOW).unwrap();
    let before: Account = a.read(person).unwrap();
    a.rebase(person).unwrap();
    a.commit(NOW).unwrap();
    assert_eq!(
        a.summary().0,
        3,
        "the first envelope, the one with the name, and the base"
    );
    let mut b = node(2, 2, &keys, MemoryShelf::default());
    agree(&mut b, &mut a);
    for replica in [&mut a, &mut b] {
        let read: Account = replica.read(person).unwrap();
        assert_eq!((read.name.text(), &read), ("name 29", &before));
    }
    // Texts are sealed under the same key as before.
    b.edit(person, &AccountEdit::SetName("another".into()), NOW).unwrap();
    b.commit(NOW).unwrap();
    agree(&mut a, &mut b);
    assert_eq!(a.read::<Account>(person).unwrap().name.text(), "another");
    // And the person can be forgotten, base and all.
    a.erase(EraseTarget::Account(person), NOW).unwrap();
    a.commit(NOW).unwrap();
    agree(&mut b, &mut a);
    assert_eq!((a.summary().0, b.summary().0), (0, 0));
}

/// The node stops after the base is durable and before the old envelopes are gone.
#[test]
fn what_was_half_done_is_done_at_the_next_start() {
    let mut a = memory(1);
    let document = overwritten(&mut a, 30);
    let old: Vec<Vec<u8>> = a.below().records().cloned().collect();
    a.rebase(document).unwrap();
    a.commit(NOW).unwrap();
    let both = old.into_iter().chain(a.below().records().cloned());
    let shelf = MemoryShelf::from_records(both).unwrap();
    let mut again = node(1, 5, &MemoryKeys::default(), shelf);
    assert_eq!(again.summary().0, 33);
    assert_eq!(values(&mut again, document), of(&[("a", 29), ("b", 1)]));
    again.commit(NOW).unwrap();
    assert_eq!(again.summary(), a.summary());
    set(&mut again, document, "a", 99);
    again.commit(NOW).unwrap();
    agree(&mut a, &mut again);
    assert_eq!(values(&mut a, document), of(&[("a", 99), ("b", 1)]));
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => bytes_below(&entry.path()),
            false => entry.metadata().unwrap().len(),
        }
    });
    sizes.sum()
}

#[test]
fn only_long_overwritten_documents_are_rebased_by_themselves_and_the_disk_shrinks() {
    let directory = tempfile::tempdir().unwrap();
    let keys = MemoryKeys::default();
    let open = || DiskShelf::open(directory.path()).unwrap().0;
    let mut a = node(1, 1, &keys, open());
    let short = overwritten(&mut a, 100);
    assert_eq!(a.rebase_long(), 0);
    let document = overwritten(&mut a, 2100);
    a.save_views();
    let journal = directory.path().join("journal");
    let before = bytes_below(&journal);
    assert_eq!(a.rebase_long(), 1);
    a.commit(NOW).unwrap();
    let after = bytes_below(&journal);
    assert!(after * 8 < before, "{before} bytes became {after}");
    assert_eq!(a.rebase_long(), 0, "once");
    assert_eq!(
        (a.stands_on(short), a.stands_on(document).map(|(_, covered)| covered)),
        (None, Some(2102))
    );
    drop(a);
    let mut a = node(1, 2, &keys, open());
    a.commit(NOW).unwrap();
    assert_eq!(a.summary().0, 104);
    assert_eq!(values(&mut a, document), of(&[("a", 2099), ("b", 1)]));
    set(&mut a, document, "a", 1);
    a.commit(NOW).unwrap();
    assert_eq!(values(&mut a, document), of(&[("a", 1), ("b", 1)]));
}

/// Only after it was restored from a backup can the node that began a document state a base beside the one that it has stated.
#[test]
fn two_bases_beside_each_other_are_both_kept_and_nothing_is_lost() {
    let (mut a, mut b) = (memory(1), memory(2));
    let document = overwritten(&mut a, 5);
    agree(&mut a, &mut b);
    let backup = a.below().clone();
    set(&mut a, document, "a", 100);
    a.commit(NOW).unwrap();
    a.rebase(document).unwrap();
    a.commit(NOW).unwrap();
    let mut restored = node(1, 8, &MemoryKeys::default(), backup);
    agree(&mut restored, &mut b);
    set(&mut b, document, "b", 200);
    agree(&mut restored, &mut b);
    restored.rebase(document).unwrap();
    agree(&mut restored, &mut b);
    assert_eq!((a.summary().0, b.summary().0), (2, 2));
    // b takes the place of the node, which is one of the two in the end.
    agree(&mut b, &mut a);
    agree(&mut restored, &mut a);
    let mut late = memory(3);
    agree(&mut late, &mut a);
    set(&mut late, document, "c", 300);
    late.commit(NOW).unwrap();
    for replica in [&mut b, &mut a, &mut restored] {
        agree(&mut late, replica);
    }
    for replica in [&mut a, &mut b, &mut restored, &mut late] {
        assert_eq!(replica.stands_on(document).unwrap().0.len(), 2);
        assert_eq!(values(replica, document), of(&[("a", 100), ("b", 200), ("c", 300)]));
    }
    // The next base contains both.
    a.rebase(document).unwrap();
    a.commit(NOW).unwrap();
    agree(&mut late, &mut a);
    for replica in [&mut a, &mut late] {
        assert_eq!(
            (replica.summary().0, replica.stands_on(document).unwrap().0.len()),
            (2, 1)
        );
        assert_eq!(values(replica, document), of(&[("a", 100), ("b", 200), ("c", 300)]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Changes from before and after the base, the statement and the base itself, in any order, in part before a talk.
    #[test]
    fn whatever_comes_first_all_nodes_end_with_the_same(
        order in Just((0..20usize).collect::<Vec<_>>()).prop_shuffle(),
        given in 0usize..=20,
        writes in any::<bool>(),
    ) {
        let (mut a, mut b) = (memory(1), memory(2));
        let settings = Settings { values: BTreeMap::new() };
        let document = a.create(&settings, NOW).unwrap();
        let mut told = published(&mut a);
        for number in 0..8 {
            set(&mut a, document, "a", number);
        }
        told.extend(published(&mut a));
        agree(&mut b, &mut a);
        // Beside the base, and without knowing of it.
        for number in 0..4 {
            set(&mut b, document, "b", number);
        }
        set(&mut b, document, "a", 500);
        let beside = published(&mut b);
        set(&mut a, document, "c", 1);
        told.extend(published(&mut a));
        a.rebase(document).unwrap();
        told.push(stated(&mut a));
        told.extend(a.below().records().filter(|bytes| Base::is_one(bytes)).cloned());
        set(&mut a, document, "d", 1);
        set(&mut a, document, "a", 9);
        told.extend(published(&mut a));
        told.extend(beside);
        prop_assert_eq!(told.len(), 19);
        let mut c = memory(3);
        for index in order.iter().take(given) {
            if let Some(bytes) = told.get(*index) {
                give(&mut c, bytes);
            }
        }
        let wrote = writes && c.read::<Settings>(document).is_ok();
        if wrote {
            set(&mut c, document, "mine", 3);
            c.commit(NOW).unwrap();
        }
        agree(&mut c, &mut a);
        agree(&mut b, &mut c);
        agree(&mut a, &mut b);
        agree(&mut a, &mut c);
        let read = values(&mut a, document);
        prop_assert_eq!(&read, &values(&mut b, document));
        prop_assert_eq!(&read, &values(&mut c, document));
        prop_assert_eq!(read.get("mine"), wrote.then_some(&3));
        prop_assert_eq!((read.get("b"), read.get("c"), read.get("d")), (Some(&3), Some(&1), Some(&1)));
        // The same as all of it without a base.
        let mut whole = memory(4);
        let is_change = |bytes: &&Vec<u8>| Envelope::open(bytes).is_ok();
        let mut changes: BTreeSet<Vec<u8>> = told.iter().filter(is_change).cloned().collect();
        changes.extend(c.below().records().filter(is_change).cloned());
        for _ in 0..30 {
            for change in &changes {
                give(&mut whole, change);
            }
        }
        prop_assert_eq!(whole.summary().0, changes.len());
        prop_assert_eq!(values(&mut whole, document), read);
    }
}
