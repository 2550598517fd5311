//! What is taken of an answer, and what is not.

use super::*;

#[test]
fn an_answer_goes_on_where_it_was_and_a_node_that_comes_back_changes_nothing() {
    let mut journal = Journal::default();
    assert_eq!(journal.begun(), None);
    let first = journal.next_epoch();
    journal.accepted("m", false);
    journal.shortened();
    assert_eq!(journal.said(first, 0, &[5], "a"), Ok(Some(0)));
    // Half a character says nothing yet.
    assert_eq!(journal.said(first, 1, &[6], ""), Ok(None));
    assert_eq!(journal.said(first, 2, &[7, 8], "bc"), Ok(Some(1)));
    let second = journal.next_epoch();
    let begun = journal.begun().unwrap().clone();
    assert_eq!(
        (begun.model.as_str(), begun.shortened, begun.text.as_str()),
        ("m", 1, "abc")
    );
    assert_eq!(begun.tokens, [5, 6, 7, 8]);
    journal.accepted("m", true);
    let stale = JournalError::Stale { epoch: 1, current: 2 };
    assert_eq!(journal.said(first, 4, &[9], "zombie"), Err(stale));
    assert_eq!(journal.check(first), Err(stale));
    let gap = |from| JournalError::Gap { from, expected: 4 };
    assert_eq!(journal.said(second, 3, &[8], "c"), Err(gap(3)), "nothing twice");
    assert_eq!(journal.said(second, 5, &[8], "c"), Err(gap(5)), "nothing left out");
    assert_eq!(journal.said(second, 4, &[9], "d"), Ok(Some(2)), "pieces go on counting");
    // What was held back until the end has no token.
    assert_eq!(journal.said(second, 5, &[], "e"), Ok(Some(3)));
    assert_eq!(journal.begun().unwrap().text, "abcde");
    // A node that begins again begins at nothing.
    let third = journal.next_epoch();
    journal.accepted("other", false);
    assert_eq!(journal.begun(), None);
    assert_eq!(journal.said(third, 0, &[1], "A"), Ok(Some(0)));
}

#[test]
fn without_tokens_there_is_nothing_to_go_on_with_and_no_answer_is_endless() {
    let mut journal = Journal::default();
    let epoch = journal.next_epoch();
    assert!(journal.said(epoch, 0, &[1], "early").is_err());
    journal.accepted("mock", false);
    assert_eq!(journal.said(epoch, 0, &[], "words"), Ok(Some(0)));
    assert_eq!(journal.begun(), None);
    let long = "x".repeat(ANSWER_BYTES_MAX);
    assert_eq!(journal.said(epoch, 0, &[], &long), Err(JournalError::TooLong));
    let many = vec![1; ANSWER_TOKENS_MAX as usize + 1];
    assert_eq!(journal.said(epoch, 0, &many, ""), Err(JournalError::TooLong));
}
