//! Tests of [`super`]: moderators who decide at once come to the same result everywhere, and limits hold.

use proptest::prelude::*;

use super::*;
use crate::records::testing::{Replicas, config, steps};

const fn account(number: u8) -> ContentId {
    ContentId([number; 32])
}

fn complaint() -> Complaint {
    Complaint {
        account: account(1),
        character: account(2),
        author: Some(account(3)),
        answer: Some((account(4), EntryId::new(Timestamp(5), 6))),
        reason: ComplaintReason::Harmful,
        words: "It told me to jump.".into(),
        name: "Лис".into(),
        excerpt: "Прыгай!".into(),
        created: Timestamp(7),
        taken: None,
        decisions: Vec::new(),
    }
}

fn decided(at: u64, decision: Decision, by: u8) -> Decided {
    Decided {
        id: EntryId::new(Timestamp(at), u128::from(by)),
        decision,
        by: account(by),
    }
}

fn taken(at: u64, by: u8) -> Taken {
    Taken {
        by: account(by),
        at: Timestamp(at),
    }
}

fn any_edit() -> impl Strategy<Value = ComplaintEdit> {
    let decision = prop_oneof![
        Just(Decision::Dismissed),
        Just(Decision::AuthorWarned),
        Just(Decision::CharacterHidden),
        Just(Decision::CharacterBlocked),
        Just(Decision::AuthorBlocked),
    ];
    prop_oneof![
        (0u64..50, 5u8..9).prop_map(|(at, by)| ComplaintEdit::Take(taken(at, by))),
        (0u64..50, decision, 5u8..9).prop_map(|(at, what, by)| ComplaintEdit::Decide(decided(at, what, by))),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// Red when: what stands depends on the order in which changes came.
    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&complaint());
        replicas.take(&steps);
        let agreed = replicas.agreed::<Complaint>();
        agreed.validate().unwrap();
        let strictest = agreed.decisions.iter().map(|decided| decided.decision).max();
        prop_assert_eq!(agreed.decided().map(|decided| decided.decision), strictest);
    }
}

/// Red when: a milder or a later decision of two at once stands, or the other one is lost.
#[test]
fn of_two_decisions_at_once_the_stricter_stands_and_both_are_kept() {
    let mut replicas = Replicas::of(&complaint());
    let (mild, strict) = (
        decided(10, Decision::Dismissed, 5),
        decided(20, Decision::CharacterHidden, 6),
    );
    replicas.edit(0, &ComplaintEdit::Decide(mild)).unwrap();
    replicas.edit(1, &ComplaintEdit::Decide(strict)).unwrap();
    let alike = decided(15, Decision::CharacterHidden, 7);
    replicas.edit(2, &ComplaintEdit::Decide(alike)).unwrap();
    let agreed: Complaint = replicas.agreed();
    assert_eq!(agreed.decisions, [alike, strict, mild]);
    assert_eq!(agreed.state(), ComplaintState::Decided);
}

#[test]
fn what_is_decided_is_neither_decided_nor_taken_again() {
    let mut replicas = Replicas::of(&complaint());
    replicas
        .edit(0, &ComplaintEdit::Decide(decided(10, Decision::Dismissed, 5)))
        .unwrap();
    let refused = Err(RecordError::Full("decisions"));
    let stricter = decided(20, Decision::AuthorBlocked, 6);
    assert_eq!(replicas.edit(0, &ComplaintEdit::Decide(stricter)), refused);
    assert_eq!(replicas.edit(0, &ComplaintEdit::Take(taken(20, 6))), refused);
}

#[test]
fn the_earliest_of_two_takings_at_once_counts_and_a_later_one_takes_over() {
    let mut replicas = Replicas::of(&complaint());
    replicas.edit(0, &ComplaintEdit::Take(taken(20, 5))).unwrap();
    replicas.edit(1, &ComplaintEdit::Take(taken(10, 6))).unwrap();
    replicas.merge_all();
    assert_eq!(replicas.agreed::<Complaint>().taken, Some(taken(10, 6)));
    replicas.edit(2, &ComplaintEdit::Take(taken(5, 5))).unwrap();
    replicas.merge_all();
    replicas.edit(0, &ComplaintEdit::Take(taken(30, 7))).unwrap();
    let agreed: Complaint = replicas.agreed();
    assert_eq!(
        (agreed.taken, agreed.state()),
        (Some(taken(30, 7)), ComplaintState::Taken)
    );
    // Who has it already changes nothing.
    let changes = replicas.changes.len();
    replicas.edit(0, &ComplaintEdit::Take(taken(40, 7))).unwrap();
    assert_eq!(replicas.changes.len(), changes);
}

#[test]
fn limits_hold_and_erased_texts_are_gone() {
    let refused = |complaint: Complaint, field| assert_eq!(complaint.validate(), Err(RecordError::Limit(field)));
    let long = |characters: usize| Sealed::from("я".repeat(characters + 1));
    refused(
        Complaint {
            words: long(WORDS_CHARACTERS_MAX),
            ..complaint()
        },
        "words",
    );
    refused(
        Complaint {
            name: long(NAME_CHARACTERS_MAX),
            ..complaint()
        },
        "name",
    );
    refused(
        Complaint {
            excerpt: long(EXCERPT_CHARACTERS_MAX),
            ..complaint()
        },
        "excerpt",
    );
    let mut replicas = Replicas::of(&complaint());
    replicas.erase();
    let read: Complaint = replicas.read(0);
    assert_eq!([read.words, read.name, read.excerpt], [const { Sealed::Erased }; 3]);
}
