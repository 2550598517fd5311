//! What is taken of an answer, and what is not.

use super::*;

const RUN: u64 = 11;

#[test]
fn an_answer_goes_on_where_it_was_and_a_node_that_comes_back_changes_nothing() {
    let mut journal = Journal::default();
    assert_eq!(journal.begun(), None);
    let first = journal.next_epoch();
    journal.accepted(first, RUN, "m", "").unwrap();
    journal.shortened();
    assert_eq!(journal.said(first, 0, &[5], 0, "a"), Ok(()));
    // Half a character says nothing yet.
    assert_eq!(journal.said(first, 1, &[6], 1, ""), Ok(()));
    assert_eq!(journal.said(first, 2, &[7, 8], 1, "bc"), Ok(()));
    let second = journal.next_epoch();
    let begun = journal.begun().unwrap().clone();
    assert_eq!(
        (begun.model.as_str(), begun.shortened, begun.text.as_str()),
        ("m", 1, "abc")
    );
    assert_eq!(begun.tokens, [5, 6, 7, 8]);
    let stale = JournalError::Stale { epoch: 1, current: 2 };
    assert_eq!(journal.accepted(first, RUN, "m", ""), Err(stale));
    journal.accepted(second, RUN, "m", "").unwrap();
    assert_eq!(journal.said(first, 4, &[9], 3, "zombie"), Err(stale));
    assert_eq!(journal.check(first), Err(stale));
    let gap = |from| JournalError::Gap { from, expected: 4 };
    assert_eq!(journal.said(second, 3, &[8], 2, "c"), Err(gap(3)), "nothing twice");
    assert_eq!(journal.said(second, 5, &[8], 3, "c"), Err(gap(5)), "nothing left out");
    let hole = |at| JournalError::Hole { at, expected: 3 };
    assert_eq!(journal.said(second, 4, &[9], 2, "cd"), Err(hole(2)), "no text twice");
    assert_eq!(journal.said(second, 4, &[9], 4, "e"), Err(hole(4)), "none left out");
    assert_eq!(journal.said(second, 4, &[9], 3, "d"), Ok(()));
    // What was held back until the end has no token.
    assert_eq!(journal.said(second, 5, &[], 4, "e"), Ok(()));
    assert_eq!(journal.begun().unwrap().text, "abcde");
    // A node that begins over begins at nothing, under a run of its own.
    let third = journal.next_epoch();
    journal.accepted(third, RUN + 1, "other", "").unwrap();
    assert_eq!((journal.begun(), journal.run()), (None, RUN + 1));
    assert_eq!(journal.said(third, 0, &[1], 0, "A"), Ok(()));
}

#[test]
fn without_tokens_there_is_nothing_to_go_on_with_and_no_answer_is_endless() {
    let mut journal = Journal::default();
    let epoch = journal.next_epoch();
    assert!(journal.said(epoch, 0, &[1], 0, "early").is_err());
    journal.accepted(epoch, RUN, "mock", "").unwrap();
    assert_eq!(journal.said(epoch, 0, &[], 0, "words"), Ok(()));
    assert_eq!(journal.begun(), None);
    let long = "x".repeat(ANSWER_BYTES_MAX);
    assert_eq!(journal.said(epoch, 0, &[], 5, &long), Err(JournalError::TooLong));
    let many = vec![1; ANSWER_TOKENS_MAX as usize + 1];
    assert_eq!(journal.said(epoch, 0, &many, 5, ""), Err(JournalError::TooLong));
}

#[test]
fn an_answer_that_is_said_further_begins_with_what_it_says() {
    let mut journal = Journal::default();
    let epoch = journal.next_epoch();
    journal.accepted(epoch, RUN, "m", "Once upon").unwrap();
    assert_eq!(journal.begun(), None, "none of its tokens is of this run");
    assert_eq!(journal.said(epoch, 0, &[4], 9, " a time"), Ok(()));
    assert_eq!(journal.begun().unwrap().text, "Once upon a time");
    assert_eq!(journal.held(), (&[4][..], "Once upon a time"));
}

#[test]
fn a_gateway_that_comes_later_joins_the_attempt_under_way_or_goes_on_with_what_it_heard() {
    let mut joining = Journal::default();
    joining.join(3);
    assert_eq!(joining.next_epoch(), 3);
    joining.accepted(3, RUN, "m", "").unwrap();
    assert_eq!(joining.said(3, 0, &[1, 2], 0, "ab"), Ok(()));
    // The node knows of a later attempt than this gateway does.
    let mut late = Journal::default();
    assert_eq!(late.next_epoch(), 1);
    late.accepted(3, RUN, "m", "").unwrap();
    assert_eq!(late.said(3, 0, &[1, 2], 0, "ab"), Ok(()));
    assert_eq!(late.next_epoch(), 4);

    let begun = late.begun().unwrap().clone();
    let mut heir = Journal::taken_up(3, RUN, begun);
    let epoch = heir.next_epoch();
    assert_eq!((epoch, heir.run()), (4, RUN));
    heir.accepted(epoch, RUN, "m", "").unwrap();
    assert_eq!(heir.said(epoch, 2, &[3], 2, "c"), Ok(()));
    assert_eq!(heir.begun().unwrap().text, "abc");
}
