//! What reconciliation costs in bytes and round trips, both of which are exact: the numbers the design was made for.

use super::*;

const DOCUMENTS: u64 = 100_000;

/// Two sides that hold the same documents of one envelope each.
fn many() -> [Memory; 2] {
    let mut one = Memory::default();
    for number in 0..DOCUMENTS {
        one.add(Lane::Envelopes, group(number), 0, 40);
    }
    [one.clone(), one]
}

/// Adds one more envelope of 550 bytes to `count` documents, on sides in turn.
fn differ(sides: &mut [&mut Memory], count: u64) -> Vec<Vec<Entry>> {
    let mut entries = vec![Vec::new(); sides.len()];
    for number in 0..count {
        let side = (number % sides.len() as u64) as usize;
        let document = group(number * 997 % DOCUMENTS);
        entries[side].push(sides[side].add(Lane::Envelopes, document, 1 + number, 550));
    }
    entries
}

fn report(what: &str, cost: &Cost) {
    println!(
        "{what}: {} bytes without envelopes, {} with them, {} round trips, {} frames",
        cost.bytes() - cost.pieces(),
        cost.bytes(),
        cost.round_trips(),
        cost.frames.len()
    );
}

#[test]
fn one_and_a_hundred_of_a_hundred_thousand_documents_differ() {
    let same = many();
    for (count, bytes) in [(1, 3_000), (100, 75_000)] {
        for direction in ["the answerer lacks it", "the opener lacks it", "each lacks half"] {
            let [mut a, mut b] = same.clone();
            match direction {
                "the answerer lacks it" => differ(&mut [&mut a], count),
                "the opener lacks it" => differ(&mut [&mut b], count),
                _ => differ(&mut [&mut a, &mut b], count),
            };
            let cost = talk(&mut a, &mut b, count);
            report(&format!("{count} of {DOCUMENTS} documents differ, {direction}"), &cost);
            assert_eq!(a.roots(), b.roots());
            assert_eq!(cost.pieces() as u64, count * 550, "each is sent once");
            assert!(cost.bytes() - cost.pieces() <= bytes && cost.round_trips() <= 4);
        }
    }
}

#[test]
fn an_idle_tick_is_a_round_trip_of_a_few_bytes() {
    let [mut a, mut b] = many();
    let cost = talk(&mut a, &mut b, 1);
    report("idle, everything in scope", &cost);
    assert_eq!((cost.bytes(), cost.frames.len()), (31, 2));
    let half: ShardSet = (0..128).collect();
    (a.scope, b.scope) = (Some(half), Some(half));
    let cost = talk(&mut a, &mut b, 2);
    report("idle, both hold the same half of the shards", &cost);
    assert_eq!((cost.bytes(), cost.frames.len()), (63, 2));
    b.scope = Some((64..192).collect());
    let cost = talk(&mut a, &mut b, 3);
    report("idle, different halves", &cost);
    assert_eq!((cost.bytes(), cost.frames.len()), (124, 3));
}

#[test]
fn one_more_message_in_a_long_session() {
    for (others, bytes) in [(0, 1_500), (DOCUMENTS, 3_000)] {
        for lacking in ["the answerer", "the opener"] {
            let mut a = Memory::default();
            (0..others).for_each(|number| {
                a.envelope(group(number), 0);
            });
            (0..10_000).for_each(|number| {
                a.add(Lane::Envelopes, group(5), 1 + number, 40);
            });
            let mut b = a.clone();
            let holder = if lacking == "the answerer" { &mut a } else { &mut b };
            holder.add(Lane::Envelopes, group(5), 20_000, 550);
            let cost = talk(&mut a, &mut b, 1);
            report(
                &format!("one more of 10,000 beside {others} documents, {lacking} lacks it"),
                &cost,
            );
            assert_eq!(a.roots(), b.roots());
            assert!(cost.bytes() <= bytes && cost.round_trips() <= 6);
        }
    }
}

#[test]
fn a_thousand_documents_changed_during_a_split() {
    let same = many();
    for (remembered, round_trips, bytes) in [(false, 4, 250_000), (true, 2, 10_000)] {
        let [mut a, mut b] = same.clone();
        let missed = differ(&mut [&mut a, &mut b], 1000);
        if remembered {
            [a.missed, b.missed] = missed.try_into().unwrap();
        }
        let cost = talk(&mut a, &mut b, 1);
        report(
            &format!("1000 documents changed, remembered by the peers: {remembered}"),
            &cost,
        );
        assert_eq!(a.roots(), b.roots());
        assert!(cost.agreed() && cost.round_trips() <= round_trips && cost.bytes() - cost.pieces() <= bytes);
        assert_eq!(cost.pieces(), 1000 * 550, "each is sent once");
    }
}
