//! Tests of [`super`]: one sender while clocks agree, no harm when they do not, and three replicas that come to agree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;
use crate::records::testing::{REPLICAS, Replicas, config, node, steps};

const HOUR: u64 = 3_600_000;

fn letter() -> Outbox {
    Outbox {
        account: Some(ContentId([1; 32])),
        channel: Channel::Mail,
        key: [9; 16],
        recipient: "rita@example.org".into(),
        subject: "Your code".into(),
        body: "123456".into(),
        created: Timestamp(1_000_000),
        not_before: Timestamp(1_000_000),
        expires: Timestamp(1_000_000 + 24 * HOUR),
        lease: None,
        attempts: Vec::new(),
        done: None,
        abandoned: false,
    }
}

fn able() -> BTreeSet<NodeId> {
    (0..REPLICAS).map(node).collect()
}

fn any_edit() -> impl Strategy<Value = OutboxEdit> {
    let time = || (0u64..50).prop_map(Timestamp);
    prop_oneof![
        time().prop_map(OutboxEdit::TakeLease),
        (0u64..50).prop_map(|at| OutboxEdit::AddAttempt {
            id: EntryId::new(Timestamp(at), 1),
            error: "refused".into(),
        }),
        time().prop_map(OutboxEdit::Finish),
        Just(OutboxEdit::Abandon),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&letter());
        replicas.take(&steps);
        replicas.agreed::<Outbox>().validate().unwrap();
    }
}

/// What became of a simulated letter.
struct Outcome {
    /// When and by whom it was sent.
    sent: Vec<(u64, usize)>,
    replicas: Replicas,
}

/// Three nodes whose clocks differ and that hear of each other after a while do what [`Outbox::turn`] says, for an hour.
fn simulate(seed: u64, skew: u64, delay: u64, split: bool, fails: u32) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut replicas = Replicas::of(&letter());
    let offsets: Vec<u64> = (0..REPLICAS).map(|_| random.next_u64() % (skew + 1)).collect();
    let mut sent = Vec::new();
    let mut left_to_fail = fails;
    // Merges that are under way: when they arrive, from where, where to, with what.
    let mut under_way: BTreeMap<(u64, u64), (usize, automerge::AutoCommit)> = BTreeMap::new();
    let mut count = 0;
    // What each replica reads, until something changes there.
    let mut known: Vec<Option<Outbox>> = vec![None; REPLICAS];
    for second in 0..3600u64 {
        let now = 1_000_000 + second * 1000;
        while let Some(next) = under_way.first_entry().filter(|next| next.key().0 <= now) {
            let (into, mut document) = next.remove();
            replicas.documents[into].merge(&mut document).unwrap();
            known[into] = None;
        }
        let replica = random.next_u32() as usize % REPLICAS;
        let clock = Timestamp(now + offsets[replica]);
        let read = known[replica].get_or_insert_with(|| replicas.read(replica));
        let edit = match read.turn(&node(replica), &able(), clock) {
            Turn::Take => OutboxEdit::TakeLease(clock),
            Turn::Send if left_to_fail > 0 => {
                left_to_fail -= 1;
                OutboxEdit::AddAttempt {
                    id: EntryId::new(clock, u128::from(random.next_u64()) << 16),
                    error: "the server is busy".into(),
                }
            }
            Turn::Send => {
                sent.push((second, replica));
                OutboxEdit::Finish(clock)
            }
            Turn::Wait(_) | Turn::Over => continue,
        };
        replicas.edit(replica, &edit).unwrap();
        known[replica] = None;
        for into in (0..REPLICAS).filter(|into| *into != replica && !split) {
            count += 1;
            let arrives = now + random.next_u64() % (delay + 1);
            under_way.insert((arrives, count), (into, replicas.documents[replica].clone()));
        }
    }
    Outcome { sent, replicas }
}

#[test]
fn it_is_sent_once_while_clocks_agree_and_the_network_is_whole() {
    let mut senders = BTreeSet::new();
    for seed in 0..20 {
        for fails in [0, 2] {
            let outcome = simulate(seed, 500, SETTLE_MILLISECONDS - 1000, false, fails);
            assert_eq!(
                outcome.sent.len(),
                1,
                "seed {seed}, {fails} failures: {:?}",
                outcome.sent
            );
            senders.extend(outcome.sent.iter().map(|(_, replica)| *replica));
            let read: Outbox = outcome.replicas.read(0);
            assert!(read.done.is_some() && read.attempts.len() == fails as usize);
        }
    }
    assert!(!senders.is_empty());
}

/// The control: when news takes longer than the leases allow for, the simulation does see it sent twice.
#[test]
fn slow_news_make_a_second_copy() {
    let twice = (0..10).filter(|seed| simulate(*seed, 0, 120_000, false, 0).sent.len() > 1);
    assert!(twice.count() > 0);
}

#[test]
fn it_is_sent_by_each_half_of_a_split_and_then_never_again() {
    let mut twice = 0;
    for seed in 0..10 {
        let mut outcome = simulate(seed, 500, 0, true, 0);
        twice += usize::from(outcome.sent.len() > 1);
        let keys: BTreeSet<[u8; 16]> = (0..REPLICAS)
            .map(|replica| outcome.replicas.read::<Outbox>(replica).key)
            .collect();
        assert_eq!(keys.len(), 1, "every copy can be told to be one");
        let joined: Outbox = outcome.replicas.agreed();
        outcome.replicas.merge_all();
        assert!(joined.done.is_some());
        for replica in 0..REPLICAS {
            assert_eq!(joined.turn(&node(replica), &able(), Timestamp(2_000_000)), Turn::Over);
        }
        // Finishing once more changes nothing.
        let changes = outcome.replicas.changes.len();
        outcome
            .replicas
            .edit(0, &OutboxEdit::Finish(Timestamp(9_000_000)))
            .unwrap();
        assert_eq!(
            (outcome.replicas.changes.len(), outcome.replicas.agreed::<Outbox>()),
            (changes, joined)
        );
    }
    assert_eq!(twice, 10, "the split was really one");
}

#[test]
fn clocks_that_differ_by_an_hour_do_no_lasting_harm() {
    for seed in 0..10 {
        let mut outcome = simulate(seed, HOUR, 1000, false, 0);
        assert!(
            (1..=REPLICAS).contains(&outcome.sent.len()),
            "seed {seed}: {:?}",
            outcome.sent
        );
        assert!(outcome.replicas.agreed::<Outbox>().done.is_some());
    }
}

#[test]
fn a_lease_is_one_nodes_until_it_ends_or_its_attempt_fails() {
    let mut replicas = Replicas::of(&letter());
    let now = |milliseconds: u64| Timestamp(1_000_000 + milliseconds);
    let turn = |replicas: &Replicas, replica: usize, at| replicas.read::<Outbox>(0).turn(&node(replica), &able(), at);
    let order: Vec<u64> = (0..REPLICAS)
        .map(|replica| match turn(&replicas, replica, now(0)) {
            Turn::Take => 0,
            Turn::Wait(until) => until.since(now(0)),
            other => panic!("{other:?}"),
        })
        .collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [0, STAGGER_MILLISECONDS, 2 * STAGGER_MILLISECONDS],
        "each has its own moment"
    );
    let first = order.iter().position(|wait| *wait == 0).unwrap();
    let other = (first + 1) % REPLICAS;
    replicas.edit(first, &OutboxEdit::TakeLease(now(0))).unwrap();
    replicas.merge_all();
    assert_eq!(turn(&replicas, first, now(10)), Turn::Wait(now(SETTLE_MILLISECONDS)));
    assert_eq!(turn(&replicas, first, now(SETTLE_MILLISECONDS)), Turn::Send);
    assert_eq!(
        turn(&replicas, other, now(SETTLE_MILLISECONDS)),
        Turn::Wait(now(LEASE_MILLISECONDS))
    );
    let late = now(LEASE_MILLISECONDS - 1000);
    assert_eq!(
        turn(&replicas, first, late),
        Turn::Wait(now(LEASE_MILLISECONDS)),
        "too late to begin"
    );
    // Its holder is gone: after its end the others may, in their order.
    let waits: Vec<Turn> = (0..REPLICAS)
        .map(|replica| turn(&replicas, replica, now(LEASE_MILLISECONDS)))
        .collect();
    assert_eq!(waits.iter().filter(|turn| **turn == Turn::Take).count(), 1);
    // It failed: after a pause that doubles, the next one.
    let mut paused = Vec::new();
    for attempt in 0..ATTEMPTS_MAX as u64 {
        let failed = OutboxEdit::AddAttempt {
            id: EntryId::new(now(attempt), u128::from(attempt)),
            error: "x".repeat(1000),
        };
        replicas.edit(0, &failed).unwrap();
        paused.push(
            (0..REPLICAS)
                .map(|replica| turn(&replicas, replica, now(attempt)))
                .min_by_key(|turn| match turn {
                    Turn::Wait(until) => until.0,
                    _ => u64::MAX,
                }),
        );
    }
    assert_eq!(paused[0], Some(Turn::Wait(now(BACKOFF_MILLISECONDS))));
    assert_eq!(paused[1], Some(Turn::Wait(now(1 + 2 * BACKOFF_MILLISECONDS))));
    assert_eq!(paused[ATTEMPTS_MAX - 1], Some(Turn::Over), "tried often enough");
    let read: Outbox = replicas.agreed();
    assert_eq!(
        (read.attempts[0].error.len(), read.attempts[0].node),
        (ERROR_CHARACTERS_MAX, Some(node(0)))
    );
    let more = OutboxEdit::AddAttempt {
        id: EntryId::new(now(99), 1),
        error: String::new(),
    };
    assert_eq!(replicas.edit(0, &more), Err(RecordError::Full("attempts")));
}

#[test]
fn of_two_leases_taken_at_once_the_same_one_counts_everywhere() {
    let mut replicas = Replicas::of(&letter());
    replicas.edit(2, &OutboxEdit::TakeLease(Timestamp(1_000_500))).unwrap();
    replicas.edit(1, &OutboxEdit::TakeLease(Timestamp(1_000_700))).unwrap();
    replicas.edit(1, &OutboxEdit::TakeLease(Timestamp(1_000_600))).unwrap();
    let lease = replicas.agreed::<Outbox>().lease.unwrap();
    assert_eq!((lease.holder, lease.taken), (Some(node(2)), Timestamp(1_000_500)));
    assert_eq!(lease.until, Timestamp(1_000_500 + LEASE_MILLISECONDS));
}

#[test]
fn what_is_over_is_over_and_what_is_too_early_waits() {
    let at = |change: &dyn Fn(&mut Outbox), now: u64| {
        let mut letter = letter();
        change(&mut letter);
        letter.turn(&node(0), &BTreeSet::from([node(0)]), Timestamp(now))
    };
    assert_eq!(at(&|_| {}, 1_000_000), Turn::Take);
    assert_eq!(at(&|letter| letter.done = Some(Timestamp(1)), 1_000_000), Turn::Over);
    assert_eq!(at(&|letter| letter.abandoned = true, 1_000_000), Turn::Over);
    assert_eq!(at(&|_| {}, 1_000_001 + 24 * HOUR), Turn::Over);
    let later = Timestamp(5_000_000);
    assert_eq!(at(&|letter| letter.not_before = later, 1_000_000), Turn::Wait(later));
}

#[test]
fn what_is_written_is_read_and_what_breaks_a_limit_is_refused() {
    let mut full = letter();
    full.done = Some(Timestamp(5));
    full.abandoned = true;
    let mut replicas = Replicas::of(&full);
    let read: Outbox = replicas.agreed();
    assert_eq!(read, full);
    assert_eq!(read.owner(), Some(ContentId([1; 32])));
    for change in &replicas.changes {
        assert!(
            !change.windows(6).any(|bytes| bytes == b"rita@e" || bytes == b"123456"),
            "plain text in a change"
        );
    }
    let refused = |letter: Outbox, field| assert_eq!(letter.validate(), Err(RecordError::Limit(field)));
    refused(
        Outbox {
            recipient: "".into(),
            ..letter()
        },
        "recipient",
    );
    refused(
        Outbox {
            body: "x".repeat(8001).into(),
            ..letter()
        },
        "body",
    );
    refused(
        Outbox {
            expires: Timestamp(0),
            ..letter()
        },
        "expires",
    );
}
