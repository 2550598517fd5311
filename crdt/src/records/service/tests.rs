//! Tests of [`super`]: phases, who is concerned, and three replicas that come to agree.

use proptest::prelude::*;

use super::*;
use crate::records::testing::{Replicas, config, steps};

fn stop(begins: u64) -> Stop {
    Stop {
        kind: StopKind::Planned,
        scope: Scope::Mesh,
        reason: "new disks".into(),
        contacts: "admin@example.org".into(),
        proposed_by: Some(ContentId([1; 32])),
        created: Timestamp(1),
        begins: Timestamp(begins),
        ends: Timestamp(begins + 100),
        confirmed: BTreeMap::new(),
        cancelled: None,
        ended: None,
    }
}

fn any_edit() -> impl Strategy<Value = StopEdit> {
    let time = || (0u64..50).prop_map(Timestamp);
    prop_oneof![
        (0u8..4, time()).prop_map(|(by, at)| StopEdit::Confirm {
            by: ContentId([by; 32]),
            at
        }),
        (0u64..50, 0u64..50).prop_map(|(begins, ends)| StopEdit::SetTimes {
            begins: Timestamp(begins),
            ends: Timestamp(ends),
        }),
        time().prop_map(StopEdit::Cancel),
        time().prop_map(StopEdit::End),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&stop(10));
        replicas.take(&steps);
        let read: Stop = replicas.agreed();
        read.validate().unwrap();
    }
}

#[test]
fn a_stop_is_announced_when_enough_have_confirmed_it_and_counts_down() {
    let mut stop = stop(1000);
    assert_eq!(stop.phase(Timestamp(0), 1), Phase::Proposed);
    stop.confirmed.insert(ContentId([2; 32]), Timestamp(5));
    assert_eq!(stop.phase(Timestamp(0), 2), Phase::Proposed);
    assert_eq!(stop.phase(Timestamp(400), 1), Phase::Announced { milliseconds: 600 });
    assert_eq!(stop.phase(Timestamp(1000), 1), Phase::InForce { milliseconds: 100 });
    assert_eq!(stop.phase(Timestamp(9999), 1), Phase::InForce { milliseconds: 0 });
    stop.ended = Some(Timestamp(1050));
    assert_eq!(stop.phase(Timestamp(9999), 1), Phase::Ended);
    stop.cancelled = Some(Timestamp(1060));
    assert_eq!(stop.phase(Timestamp(9999), 1), Phase::Cancelled);
}

#[test]
fn a_node_tells_of_what_concerns_it_first() {
    let (own, other) = (NodeId([1; 32]), NodeId([2; 32]));
    let scoped = |scope, begins| Stop { scope, ..stop(begins) };
    let stops = BTreeMap::from([
        (ContentId([1; 32]), scoped(Scope::Mesh, 500)),
        (ContentId([2; 32]), scoped(Scope::Node(own), 300)),
        (ContentId([3; 32]), scoped(Scope::Role("gateway".into()), 100)),
        (
            ContentId([4; 32]),
            Stop {
                cancelled: Some(Timestamp(1)),
                ..stop(0)
            },
        ),
    ]);
    let next = |node, roles: &[&str], now| next_stop(&stops, node, roles, Timestamp(now), 0).map(|(id, _)| id.0[0]);
    assert_eq!(next(&own, &["gateway"], 0), Some(3));
    assert_eq!(next(&own, &[], 0), Some(2));
    assert_eq!(next(&other, &["worker"], 0), Some(1));
    // What is in force is told before what is announced.
    assert_eq!(next(&own, &[], 350), Some(2));
    assert_eq!(
        next_stop(&stops, &own, &[], Timestamp(0), 1),
        None,
        "nobody has confirmed any"
    );
}

#[test]
fn the_later_time_the_first_end_and_cancelled_win() {
    let mut replicas = Replicas::of(&stop(10));
    let times = |begins, ends| StopEdit::SetTimes {
        begins: Timestamp(begins),
        ends: Timestamp(ends),
    };
    replicas.edit(1, &times(50, 60)).unwrap();
    for _ in 0..3 {
        replicas.edit(2, &times(30, 99)).unwrap();
        replicas.edit(2, &times(40, 98)).unwrap();
    }
    replicas.edit(1, &StopEdit::End(Timestamp(70))).unwrap();
    replicas.edit(2, &StopEdit::End(Timestamp(65))).unwrap();
    replicas.edit(2, &StopEdit::Cancel(Timestamp(5))).unwrap();
    let read: Stop = replicas.agreed();
    assert_eq!((read.begins, read.ends), (Timestamp(50), Timestamp(98)));
    assert_eq!((read.ended, read.cancelled), (Some(Timestamp(65)), Some(Timestamp(5))));
    replicas.merge_all();
    replicas.edit(0, &StopEdit::End(Timestamp(1))).unwrap();
    assert_eq!(
        replicas.agreed::<Stop>().ended,
        Some(Timestamp(65)),
        "the first one stays"
    );
    assert_eq!(replicas.edit(0, &times(9, 8)), Err(RecordError::Limit(ENDS)));
    let silent = Stop {
        reason: String::new(),
        ..stop(1)
    };
    assert_eq!(silent.validate(), Err(RecordError::Limit("reason")));
}
