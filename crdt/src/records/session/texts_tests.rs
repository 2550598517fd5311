//! Tests of [`super`]: of a change that writes the texts of several messages, only those of erased ones go.

use automerge::{AutoCommit, ROOT, transaction::Transactable};
use keys::{ContentId, Timestamp};

use super::*;
use crate::records::{
    session::{Coverage, Message, Session, SessionEdit, Summary, SummaryOrigin, Version},
    shape::reference_of,
    standalone::{Standalone, Written},
};

const CHAT: ContentId = ContentId([2; 32]);

fn said(number: u64) -> Message {
    Message::from_person(
        &number.to_string(),
        &number.to_string(),
        &CHAT,
        None,
        Timestamp(10 + number),
    )
}

fn seal(context: &[u8], text: &[u8]) -> Vec<u8> {
    [context, b"|", text].concat()
}

/// Which of what was written stays, by its words, when these messages are erased.
fn kept(written: &Written, erased: &[&Message]) -> Option<Vec<String>> {
    let change = Change::from_bytes(written.change.clone()).unwrap();
    let kept = kept_without(&change, &erased.iter().map(|message| message.id).collect())?;
    let payloads = written
        .payloads
        .iter()
        .filter(|payload| kept.contains(&reference_of(payload)));
    let words = payloads.map(|payload| {
        let text = payload.rsplit(|byte| *byte == b'|').next().unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    });
    Some(words.collect())
}

fn summary(covered: &[&Message], text: &str) -> Summary {
    Summary {
        first: covered[0].id,
        last: covered[covered.len() - 1].id,
        covers: Coverage::of(covered.iter().map(|message| message.id)),
        origin: SummaryOrigin::Model,
        text: text.into(),
    }
}

#[test]
fn only_what_belongs_to_the_erased_message_goes() {
    let messages: Vec<Message> = (0..4).map(said).collect();
    let mut chat = Session::new(ContentId([1; 32]), ContentId([3; 32]), Timestamp(1));
    chat.title = Some("title".into());
    chat.messages.clone_from(&messages);
    let version = Version::new(EntryId::new(Timestamp(50), 1), "1 again");
    chat.messages[1].versions = vec![
        Version {
            id: messages[1].id,
            text: "1".into(),
            truncated: false,
        },
        version,
    ];
    chat.summaries = vec![
        // The second message is not among what this one covers, though it stands between them in time.
        summary(&[&messages[0], &messages[2]], "0 and 2"),
        summary(&[&messages[1], &messages[3]], "1 and 3"),
    ];
    let written = Standalone::new().begin(&chat, Some(&seal)).unwrap();
    assert_eq!(written.payloads.len(), 8);
    assert_eq!(
        kept(&written, &[&messages[1]]).unwrap(),
        ["title", "0", "2", "3", "0 and 2"]
    );
    assert_eq!(
        kept(&written, &[&messages[0], &messages[3]]).unwrap(),
        ["title", "1", "1 again", "2"]
    );
    assert_eq!(kept(&written, &[&said(9)]), None, "none of its words");
    // The same outbox id, accepted by another gateway at another time, is the same message.
    let again = Message::from_person("1", "1", &CHAT, None, Timestamp(900));
    assert_eq!(kept(&written, &[&again]), kept(&written, &[&messages[1]]));
}

#[test]
fn an_edit_says_by_itself_whose_words_it_writes() {
    let (erased, other) = (said(1), said(2));
    let mut document = Standalone::new();
    let chat = Session::new(ContentId([1; 32]), ContentId([3; 32]), Timestamp(1));
    document.begin(&chat, Some(&seal)).unwrap();
    let mut left = |edit: SessionEdit| {
        let written = document.edit(&edit, Some(&seal)).unwrap();
        kept(&written, &[&erased])
    };
    let version = |message: &Message, at: u64| SessionEdit::PutVersion {
        message: message.id,
        version: Version::new(EntryId::new(Timestamp(at), 1), "later"),
    };
    let title = |message: &Message| SessionEdit::SetTitleFrom {
        title: format!("about {}", message.text.text()),
        message: message.id,
    };
    let nothing = Some(Vec::new());
    assert_eq!(left(SessionEdit::PutMessage(erased.clone())), nothing);
    assert_eq!(left(version(&erased, 50)), nothing);
    assert_eq!(left(title(&erased)), nothing);
    assert_eq!(
        left(SessionEdit::PutSummary(summary(&[&erased, &other], "both"))),
        nothing
    );
    let far = Summary {
        covers: Coverage::Everything,
        ..summary(&[&other], "everything")
    };
    assert_eq!(left(SessionEdit::PutSummary(far)), nothing);
    assert_eq!(left(SessionEdit::PutMessage(other.clone())), None);
    assert_eq!(left(version(&other, 60)), None);
    assert_eq!(left(title(&other)), None);
    assert_eq!(left(SessionEdit::PutSummary(summary(&[&other], "one"))), None);
    assert_eq!(left(SessionEdit::SetTitle("own words".into())), None);
    let message = erased.id;
    assert_eq!(left(SessionEdit::SetDeleted { message, deleted: true }), None);
}

#[test]
fn what_is_not_understood_goes_with_an_erased_message() {
    let mut document = AutoCommit::new();
    let id = EntryId::new(Timestamp(5), 7);
    for (key, value) in [
        (format!("v{id}"), vec![99u8; 20]),
        (format!("s{id}"), vec![99; 20]),
        ("title".to_owned(), vec![99; 20]),
        (said(1).id.to_string(), vec![99; 20]),
    ] {
        document.put(ROOT, key, value).unwrap();
        document.commit();
        let change = document.get_last_local_change().unwrap();
        assert_eq!(
            kept_without(&change, &BTreeSet::from([said(1).id])),
            Some(BTreeSet::new())
        );
    }
    // Version 1 of a summary does not say what it covers.
    let old = postcard::to_extend(&(said(2).id, SummaryOrigin::Model, StoredText::Sealed([7; 8])), vec![1]);
    document.put(ROOT, format!("s{}", said(3).id), old.unwrap()).unwrap();
    document.commit();
    let change = document.get_last_local_change().unwrap();
    assert_eq!(
        kept_without(&change, &BTreeSet::from([said(9).id])),
        Some(BTreeSet::new())
    );
}
