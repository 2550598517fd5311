//! Tests of [`super`]: states, duplicates, and three replicas that come to agree.

use proptest::prelude::*;

use super::*;
use crate::records::testing::{Replicas, config, steps};

fn alert(opened: u64) -> Alert {
    Alert {
        value: Some(0.97),
        limit: Some(0.9),
        ..Alert::new(
            "cpu.high",
            Some(NodeId([1; 32])),
            Severity::Medium,
            "97 %",
            Timestamp(opened),
        )
    }
}

fn any_edit() -> impl Strategy<Value = AlertEdit> {
    let time = || (0u64..50).prop_map(Timestamp);
    prop_oneof![
        (time(), 0usize..3).prop_map(|(at, severity)| AlertEdit::See {
            at,
            severity: [Severity::Low, Severity::Medium, Severity::High][severity],
        }),
        (0u8..3, time()).prop_map(|(by, at)| AlertEdit::Acknowledge {
            by: ContentId([by; 32]),
            at
        }),
        time().prop_map(AlertEdit::Resolve),
        ("[a-c]{1,2}", time()).prop_map(|(channel, at)| AlertEdit::Notify { channel, at }),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&alert(10));
        replicas.take(&steps);
        replicas.agreed::<Alert>().validate().unwrap();
    }
}

#[test]
fn an_alert_is_noted_over_and_back_again() {
    let mut replicas = Replicas::of(&alert(10));
    let state = |replicas: &mut Replicas| replicas.agreed::<Alert>().state();
    assert_eq!(state(&mut replicas), AlertState::Open);
    let (first, second) = (ContentId([1; 32]), ContentId([2; 32]));
    let acknowledge = |by, at| AlertEdit::Acknowledge { by, at: Timestamp(at) };
    replicas.edit(1, &acknowledge(second, 12)).unwrap();
    replicas.edit(2, &acknowledge(first, 13)).unwrap();
    let noted = AlertState::Acknowledged {
        by: second,
        at: Timestamp(12),
    };
    assert_eq!(state(&mut replicas), noted);
    replicas.edit(0, &AlertEdit::Resolve(Timestamp(20))).unwrap();
    assert_eq!(state(&mut replicas), AlertState::Resolved { at: Timestamp(20) });
    // Seen again by a node that does not know that it was over.
    let see = |at, severity| AlertEdit::See {
        at: Timestamp(at),
        severity,
    };
    replicas.edit(1, &see(15, Severity::High)).unwrap();
    assert_eq!(
        state(&mut replicas),
        AlertState::Resolved { at: Timestamp(20) },
        "that was before it was over"
    );
    replicas.edit(2, &see(25, Severity::Low)).unwrap();
    assert_eq!(
        state(&mut replicas),
        AlertState::Open,
        "it is back, and nobody knows yet"
    );
    assert_eq!(replicas.agreed::<Alert>().severity, Severity::High);
    replicas.merge_all();
    replicas.edit(0, &acknowledge(first, 26)).unwrap();
    let noted = AlertState::Acknowledged {
        by: first,
        at: Timestamp(26),
    };
    assert_eq!(state(&mut replicas), noted);
}

#[test]
fn nobody_is_told_twice() {
    let mut replicas = Replicas::of(&alert(10));
    let notify = |at| AlertEdit::Notify {
        channel: "mail".into(),
        at: Timestamp(at),
    };
    replicas.edit(1, &notify(30)).unwrap();
    replicas.edit(2, &notify(20)).unwrap();
    replicas.edit(2, &notify(25)).unwrap();
    assert_eq!(replicas.agreed::<Alert>().notified["mail"], Timestamp(30));
    let changes = replicas.changes.len();
    replicas.edit(1, &notify(5)).unwrap();
    assert_eq!(replicas.changes.len(), changes, "what says nothing new is not signed");
}

#[test]
fn one_of_two_alerts_about_the_same_stands() {
    let other = Alert {
        subject: None,
        ..alert(1)
    };
    let over = Alert {
        resolved: Some(Timestamp(9)),
        ..alert(3)
    };
    let alerts = BTreeMap::from([
        (ContentId([1; 32]), alert(20)),
        (ContentId([2; 32]), alert(10)),
        (ContentId([3; 32]), alert(10)),
        (ContentId([4; 32]), other),
        (ContentId([5; 32]), over),
    ]);
    let standing = standing(&alerts);
    assert_eq!(standing.len(), 2);
    assert_eq!(
        standing[&("cpu.high".to_owned(), Some(NodeId([1; 32])))],
        ContentId([2; 32])
    );
    assert_eq!(standing[&("cpu.high".to_owned(), None)], ContentId([4; 32]));
}

#[test]
fn what_breaks_a_limit_is_refused_here() {
    let refused = |alert: Alert, field| assert_eq!(alert.validate(), Err(RecordError::Limit(field)));
    refused(
        Alert {
            name: "CPU".into(),
            ..alert(1)
        },
        "name",
    );
    refused(
        Alert {
            text: "x".repeat(1001),
            ..alert(1)
        },
        "text",
    );
    refused(
        Alert {
            value: Some(f64::NAN),
            ..alert(1)
        },
        "value",
    );
    let mut replicas = Replicas::of(&alert(1));
    let channel = AlertEdit::Notify {
        channel: "no such/channel".into(),
        at: Timestamp(1),
    };
    assert_eq!(replicas.edit(0, &channel), Err(RecordError::Limit("channel")));
}
