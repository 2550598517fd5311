//! Laws of placement: few moves, even shares, patience, and no drop without confirmation.

use std::{collections::BTreeSet, time::Duration};

use keys::{NodeId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::limits::{PLACEMENT_LINGER, PLACEMENT_PATIENCE, PLACEMENT_PATIENCE_SPLIT, PLACEMENT_PATIENCE_URGENT};

fn node(number: u16) -> NodeId {
    NodeId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn seat(number: u16) -> Seat {
    Seat {
        node: node(number),
        residency: None,
        silent_for: Duration::ZERO,
    }
}

fn seats(count: u16) -> Vec<Seat> {
    (0..count).map(seat).collect()
}

fn place(seats: &[Seat]) -> Placement {
    Placement::of(&Rules::default(), seats, &mut Ranks::default())
}

fn holders(placement: &Placement, shard: u8) -> BTreeSet<NodeId> {
    placement.holders(shard).iter().copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_that_leaves_or_comes_moves_its_own_shards_and_no_others(count in 18_u16..60, gone in 0_u16..60) {
        let gone = gone % count;
        let all = seats(count);
        let rest: Vec<Seat> = all.iter().filter(|seat| seat.node != node(gone)).cloned().collect();
        let (with, without) = (place(&all), place(&rest));
        for shard in 0..=u8::MAX {
            let (before, after) = (holders(&with, shard), holders(&without, shard));
            prop_assert_eq!((before.len(), after.len()), (5, 5));
            if before.contains(&node(gone)) {
                prop_assert_eq!(before.difference(&after).collect::<Vec<_>>(), [&node(gone)]);
            } else {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn all_nodes_that_know_the_same_say_the_same(count in 17_u16..40, turn in 0_usize..40, label in any::<bool>()) {
        let mut all = seats(count);
        all.iter_mut().step_by(3).for_each(|seat| seat.residency = Some("DE".into()));
        let rules = Rules { residency: label.then(|| "DE".into()), ..Rules::default() };
        let one = Placement::of(&rules, &all, &mut Ranks::default());
        all.rotate_left(turn % usize::from(count));
        let mut used = Ranks::default();
        let _ = Placement::of(&rules, &seats(3), &mut used);
        prop_assert_eq!(one, Placement::of(&rules, &all, &mut used));
    }

    #[test]
    fn there_are_always_as_many_holders_as_there_can_be(silences in prop::collection::vec(0_u64..1200, 17..40)) {
        let seats: Vec<Seat> = silences.iter().enumerate().map(|(number, silence)| Seat {
            silent_for: Duration::from_secs(*silence),
            ..seat(number as u16)
        }).collect();
        let placement = place(&seats);
        let waited_for = seats.iter().filter(|seat| seat.silent_for < PLACEMENT_PATIENCE).count();
        for shard in 0..=u8::MAX {
            let holders = holders(&placement, shard);
            prop_assert_eq!(holders.len(), placement.holders(shard).len(), "nobody twice");
            prop_assert!(holders.len() >= waited_for.min(5) && holders.len() <= 5);
        }
    }
}

#[test]
fn sixteen_hold_everything_and_a_seventeenth_shares_evenly() {
    let sixteen = place(&seats(16));
    assert!(sixteen.is_everywhere());
    assert_eq!(sixteen.scope_of(&node(3)), ShardSet::all());
    assert_eq!(sixteen.scope_of(&node(99)), ShardSet::none());
    let many = place(&seats(100));
    assert!(!many.is_everywhere());
    let shares: Vec<usize> = (0..100).map(|number| many.scope_of(&node(number)).len()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 256 * 5);
    // 12.8 on average; four standard deviations to either side.
    assert!(shares.iter().all(|share| *share <= 28), "{shares:?}");
    assert_eq!(place(&seats(2)).needed(), 2);
    assert_eq!(many.needed(), 5);
}

#[test]
fn the_order_of_a_shard_is_what_it_was() {
    // Every node must compute the same, also one of another version: these must never change.
    let scores = Scores::new(&NodeId([7; 32]));
    let first: Vec<u64> = [0, 1, 255].into_iter().map(|shard| scores.of(shard)).collect();
    let written = [
        5_632_812_938_783_235_303,
        15_778_848_185_510_209_992,
        16_480_535_608_066_441_118,
    ];
    assert_eq!(first, written);
}

/// The order of a shard: one letter each, with the seconds of silence.
fn chosen(silences: &[u64], weather: Weather) -> Vec<usize> {
    let order = silences.iter().zip(0_u16..);
    let order = order.map(|(silence, number)| (node(number), Duration::from_secs(*silence)));
    let chosen = choose(order, 5, weather);
    let number = |wanted: &NodeId| (0..100).position(|number| node(number) == *wanted);
    chosen.iter().filter_map(number).collect()
}

#[test]
fn one_silent_holder_is_waited_for_and_two_are_not() {
    let patience = PLACEMENT_PATIENCE.as_secs();
    let urgent = PLACEMENT_PATIENCE_URGENT.as_secs();
    let calm = |silences: &[u64]| chosen(silences, Weather::Calm);
    assert_eq!(calm(&[0, 0, 0, 0, 0, 0, 0]), [0, 1, 2, 3, 4]);
    assert_eq!(calm(&[0, patience - 1, 0, 0, 0, 0, 0]), [0, 1, 2, 3, 4], "a restart");
    assert_eq!(calm(&[0, patience, 0, 0, 0, 0, 0]), [0, 2, 3, 4, 5], "a death");
    assert_eq!(
        calm(&[0, urgent, urgent, 0, 0, 0, 0]),
        [0, 3, 4, 5, 6],
        "too many at once"
    );
    assert_eq!(calm(&[0, urgent, urgent - 1, 0, 0, 0, 0]), [0, 1, 2, 3, 4]);
    // One has been given up, its successor is there; the next silence is waited for again.
    assert_eq!(calm(&[patience, 9, 0, 0, 0, 0, 0]), [1, 2, 3, 4, 5]);
    // Nobody is left to step in: those who are waited for stay.
    assert_eq!(calm(&[0, 9, 9, 0, 0, 9]), [0, 1, 2, 3, 4]);
}

#[test]
fn in_a_split_nothing_moves_for_a_while() {
    let mut all = seats(40);
    let whole = place(&all);
    all[..20]
        .iter_mut()
        .for_each(|seat| seat.silent_for = Duration::from_secs(120));
    assert_eq!(place(&all), whole, "the other half lives on");
    all[..20]
        .iter_mut()
        .for_each(|seat| seat.silent_for = PLACEMENT_PATIENCE_SPLIT);
    let half = place(&all);
    let gone: BTreeSet<NodeId> = (0..20).map(node).collect();
    assert!(
        (0..=255).all(|shard| holders(&half, shard).is_disjoint(&gone)),
        "but not for ever"
    );
    // The control: as few as die in a calm mesh are replaced.
    let mut all = seats(40);
    all[0].silent_for = Duration::from_secs(120);
    assert_eq!(place(&all).scope_of(&node(0)), ShardSet::none());
}

#[test]
fn only_members_with_the_label_hold_and_too_few_is_said() {
    let mut all = seats(60);
    all[..20].iter_mut().for_each(|seat| seat.residency = Some("DE".into()));
    let rules = |label: &str| Rules {
        residency: Some(label.into()),
        ..Rules::default()
    };
    let german = Placement::of(&rules("DE"), &all, &mut Ranks::default());
    let allowed: BTreeSet<NodeId> = (0..20).map(node).collect();
    assert!((0..=255).all(|shard| holders(&german, shard).is_subset(&allowed)));
    assert_eq!((german.is_everywhere(), german.shortage()), (false, None));
    all[3..].iter_mut().for_each(|seat| seat.residency = None);
    let three = Placement::of(&rules("DE"), &all, &mut Ranks::default());
    assert_eq!(three.shortage(), Some(Shortage { wanted: 5, found: 3 }));
    assert_eq!(
        (three.holders(9).len(), three.needed()),
        (3, 5),
        "so nobody drops anything"
    );
    let none = Placement::of(&rules("CH"), &all, &mut Ranks::default());
    assert_eq!(
        (none.holders(9).len(), none.shortage().map(|shortage| shortage.found)),
        (0, Some(0))
    );
    // A small mesh is no shortage.
    assert_eq!(place(&seats(3)).shortage(), None);
}

#[test]
fn few_nodes_are_asked_for_many_shards() {
    let placement = place(&seats(40));
    let near: Vec<NodeId> = (0..30).map(node).collect();
    let cover = placement.cover(&ShardSet::all(), &near);
    let mut asked = BTreeSet::new();
    for (node, shards) in &cover {
        assert!(near.contains(node) && !shards.is_empty());
        for shard in shards.iter() {
            assert!(
                placement.holders(shard).contains(node) && asked.insert(shard),
                "one for each"
            );
        }
    }
    let reachable = |shard: &u8| placement.holders(*shard).iter().any(|holder| near.contains(holder));
    assert_eq!(asked, (0..=255).filter(reachable).collect());
    assert!(cover.len() < near.len() && cover.len() >= 8, "{}", cover.len());
    let one = placement.cover(&one(7), &near);
    assert_eq!(one.len(), 1);
    let first = near.iter().find(|node| placement.holders(7).contains(node));
    assert_eq!(Some(&one[0].0), first, "the closest");
    assert_eq!(placement.cover(&ShardSet::all(), &[]), []);
}

const START: Timestamp = Timestamp(1_000_000);

fn one(shard: u8) -> ShardSet {
    std::iter::once(shard).collect()
}

#[test]
fn a_shard_is_dropped_when_enough_present_holders_have_confirmed_its_last_change() {
    let mut holding = Holding::default();
    let five: Vec<NodeId> = (0..5).map(node).collect();
    let late = START.plus(PLACEMENT_LINGER.as_millis() as u64);
    assert_eq!(holding.may_drop(7, &five, 5, late), Drop::Stays);
    holding.place(one(1), START);
    assert_eq!(
        (holding.scope(), holding.held(), holding.leaving().len()),
        (one(1), ShardSet::all(), 255)
    );
    (0..4)
        .chain(90..99)
        .for_each(|peer| holding.agreed(node(peer), &one(7)));
    let four = Drop::Unconfirmed {
        confirmed: 4,
        needed: 5,
    };
    assert_eq!(holding.may_drop(7, &five, 5, late), four, "only present holders count");
    holding.agreed(node(4), &one(7));
    assert_eq!(holding.may_drop(7, &five, 5, START), Drop::Lingers);
    assert_eq!(holding.may_drop(7, &five, 5, late), Drop::Now);
    holding.inserted(7);
    let none = Drop::Unconfirmed {
        confirmed: 0,
        needed: 5,
    };
    assert_eq!(
        holding.may_drop(7, &five, 5, late),
        none,
        "nobody has confirmed the change that came then"
    );
    five.iter().for_each(|peer| holding.agreed(*peer, &one(7)));
    // Another holder has come since: it has not confirmed anything.
    let changed: Vec<NodeId> = (1..6).map(node).collect();
    assert_eq!(holding.may_drop(7, &changed, 5, late), four);
    holding.dropped(7);
    assert_eq!((holding.held().contains(7), holding.leaving().len()), (false, 254));
}

#[test]
fn a_shard_that_comes_back_does_not_leave_and_begins_anew_when_it_does() {
    let mut holding = Holding::of(one(7));
    let five: Vec<NodeId> = (0..5).map(node).collect();
    holding.place(ShardSet::none(), START);
    five.iter().for_each(|peer| holding.agreed(*peer, &one(7)));
    let late = START.plus(PLACEMENT_LINGER.as_millis() as u64);
    holding.place(one(7), late);
    assert_eq!(holding.may_drop(7, &five, 5, late), Drop::Stays);
    holding.place(ShardSet::none(), late);
    assert_eq!(holding.may_drop(7, &five, 5, late), Drop::Lingers);
}
