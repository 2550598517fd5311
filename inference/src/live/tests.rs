//! What readers of an answer get, and what the table keeps.

use crdt::records::session::{Ending, answer_id};
use keys::Timestamp;

use super::*;

fn lease(number: u8) -> Lease {
    let question = MessageId::new(Timestamp(u64::from(number)), 7);
    Lease {
        account: ContentId([1; 32]),
        session: ContentId([2; 32]),
        question,
        answer: answer_id(question),
        gateway: NodeId([3; 32]),
    }
}

fn sayer(run: u64) -> Sayer {
    Sayer {
        run,
        node: Some(NodeId([4; 32])),
        model: "m".into(),
        choice: None,
    }
}

/// What an answer begins with that nobody began before.
const NOTHING: (&[TokenId], &str) = (&[], "");

fn push(live: &Live, at: usize, text: &str) -> bool {
    live.say(0, &[], at, text)
}

#[test]
fn every_reader_gets_the_whole_text_once_at_its_own_pace() {
    let live = Live::new(lease(1));
    live.begin(sayer(9), NOTHING);
    assert!(push(&live, 0, "При"));
    let first = live.since(Cursor::default());
    assert_eq!((first.from, first.text.as_str()), (Cursor { run: 9, bytes: 0 }, "При"));
    let cursor = Cursor { run: 9, bytes: 6 };
    assert!(push(&live, 6, "вет"));
    // The same piece over another way, and one that overlaps: nothing is doubled. A gap is refused.
    assert!(push(&live, 6, "вет") && push(&live, 8, "ет, мир"));
    assert!(!push(&live, 100, "x"));
    assert_eq!(live.since(cursor).text, "вет, мир");
    assert_eq!(live.since(Cursor::default()).text, "Привет, мир");
    assert_eq!(live.cursor(9, 3), Some(cursor), "three characters are six bytes");
    assert_eq!(live.cursor(9, 12), None, "so many are not known yet");
    // Another one begins over.
    live.begin(sayer(10), NOTHING);
    push(&live, 0, "Снова");
    let again = live.since(cursor);
    assert_eq!(
        (again.from, again.text.as_str()),
        (Cursor { run: 10, bytes: 0 }, "Снова")
    );
    assert!(live.waiting(cursor).1, "another run is told at once");
}

#[test]
fn a_node_that_goes_on_says_nothing_again_to_whoever_has_heard_more_than_it_begins_with() {
    let live = Live::new(lease(1));
    live.begin(sayer(9), NOTHING);
    assert!(live.say(0, &[1, 2, 3], 0, "one two three"));
    let ahead = Cursor { run: 9, bytes: 13 };
    // Its gateway had heard less when the node before died.
    live.begin(sayer(9), (&[1], "one"));
    let news = live.since(ahead);
    assert_eq!((news.from, news.text.as_str()), (ahead, ""));
    assert_eq!(live.since(Cursor { run: 9, bytes: 0 }).text, "one");
    assert!(live.say(1, &[2, 3, 4], 3, " two three four"));
    assert_eq!(live.since(ahead).text, " four");
    let mut journal = live.journal();
    let begun = journal.begun().unwrap();
    assert_eq!(
        (&begun.tokens[..], begun.text.as_str()),
        (&[1, 2, 3, 4][..], "one two three four")
    );
    assert_eq!((journal.run(), journal.next_epoch()), (9, 1));
}

#[tokio::test]
async fn readers_are_woken_by_news_and_forgotten_when_they_are_gone() {
    let live = Live::new(lease(1));
    let (reader, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    live.listen(&reader);
    live.listen(&gone);
    drop(gone);
    reader.notified().await;
    live.begin(sayer(1), NOTHING);
    reader.notified().await;
    assert_eq!(live.lock().listeners.len(), 1);
    let message = Message::answer(live.lease().question, "ok", Timestamp(5), "m", Ending::Complete);
    live.end(End::Finished {
        message: Arc::new(message),
        recorded: true,
    });
    reader.notified().await;
    assert!(live.is_over() && live.waiting(Cursor { run: 1, bytes: 0 }).1);
}

#[test]
fn an_answer_is_generated_once_at_a_time_and_the_table_is_bounded() {
    let lives = Lives::default();
    let first = lives.generate(lease(1), 1).unwrap();
    first.begin(sayer(1), NOTHING);
    let second = lives.generate(lease(1), 1).unwrap_err();
    assert_eq!(
        second.sayer(),
        first.sayer(),
        "whoever asks again is shown the one under way"
    );
    lives.generated(&first);
    assert!(lives.get(lease(1).answer).is_some(), "kept for whoever comes back");
    for number in 0..crate::limits::LIVES_MAX as u64 + 10 {
        let question = MessageId::new(Timestamp(1000 + number), 7);
        let lease = Lease {
            question,
            answer: answer_id(question),
            ..lease(1)
        };
        lives.open(lease);
        lives.close(lease.answer);
    }
    let session = ContentId([2; 32]);
    assert!(lives.of_session(session).len() <= crate::limits::LIVES_MAX);
}

// Red when: what is over stays for ever, or what has come to work again is forgotten with the time at which it was over before.
#[tokio::test(start_paused = true)]
async fn what_is_over_is_forgotten_after_a_while_and_what_came_to_work_again_is_not() {
    let lives = Lives::default();
    for number in 1..=3 {
        lives.open(lease(number));
        lives.close(lease(number).answer);
    }
    tokio::time::advance(crate::limits::LIVE_KEPT / 2).await;
    // One is being said again, and one was, and is over once more.
    lives.open(lease(2));
    lives.open(lease(3));
    lives.close(lease(3).answer);
    tokio::time::advance(crate::limits::LIVE_KEPT * 3 / 4).await;
    lives.open(lease(4));
    let known = |number| lives.get(lease(number).answer).is_some();
    assert_eq!([1, 2, 3].map(known), [false, true, true]);
    tokio::time::advance(crate::limits::LIVE_KEPT).await;
    lives.open(lease(5));
    assert_eq!([2, 3, 4].map(known), [true, false, true]);
}

/// Reads everything that is to be reported.
async fn reported(live: &Live, heard: Heard) -> Vec<FromGenerator> {
    let (report, mut reports) = tokio::sync::mpsc::channel(64);
    relay(live, heard, &report).await;
    drop(report);
    let mut all = Vec::new();
    while let Some(message) = reports.recv().await {
        all.push(message);
    }
    all
}

fn answer(live: &Live) -> Arc<Message> {
    let question = live.lease().question;
    Arc::new(Message::answer(question, "ok", Timestamp(5), "m", Ending::Complete))
}

#[test]
fn a_later_attempt_takes_the_place_of_an_earlier_one_that_does_not_know_it_was_given_up() {
    let lives = Lives::default();
    let first = lives.generate(lease(1), 1).unwrap();
    assert!(lives.generate(lease(1), 1).is_err(), "a gateway that comes again joins");
    let second = lives.generate(lease(1), 2).unwrap();
    assert!(!Live::is_same(&first, &second));
    assert!(*first.0.given_up.borrow() && !*second.0.given_up.borrow());
    // What the earlier one still says is said to nobody, and its end is not the end of the later one.
    first.begin(sayer(1), NOTHING);
    lives.generated(&first);
    assert_eq!(second.sayer(), None);
    assert!(
        lives.generate(lease(1), 1).is_err(),
        "an earlier attempt joins the later one"
    );
}

#[tokio::test]
async fn a_node_that_asked_or_follows_hears_tokens_and_text_from_where_it_is_to_the_end() {
    let live = Live::new(lease(1));
    live.try_again(2);
    live.begin(sayer(9), (&[1, 2], "one two"));
    live.say(2, &[3], 7, " three");
    live.finish(answer(&live), true);
    live.end(End::Finished {
        message: answer(&live),
        recorded: true,
    });
    let asker = Heard {
        epoch: 2,
        run: 9,
        tokens: 2,
        bytes: 7,
        ..Heard::default()
    };
    let to_asker = reported(&live, asker).await;
    let [
        FromGenerator::Accepted { run: 9, epoch: 2, .. },
        FromGenerator::Said {
            epoch: 2,
            from: 2,
            at: 7,
            tokens,
            text,
        },
        FromGenerator::Finished { can_record: true, .. },
        FromGenerator::Recorded(true),
    ] = &to_asker[..]
    else {
        panic!("{to_asker:?}");
    };
    assert_eq!((&tokens[..], text.as_str()), (&[3][..], " three"));
    // Whoever asked for another run is told the whole, and whoever follows what it lacks.
    let other = Heard { run: 8, ..asker };
    assert!(matches!(
        &reported(&live, other).await[1],
        FromGenerator::Said { from: 0, at: 0, text, .. } if text == "one two three"
    ));
    assert!(matches!(
        &reported(&live, Heard::bytes(4)).await[1],
        FromGenerator::Said { at: 4, text, .. } if text == "two three"
    ));
}

#[test]
fn whoever_asked_counts_as_long_as_it_listens() {
    let live = Live::new(lease(1));
    let (one, other) = (live.asked_by(NodeId([5; 32])), live.asked_by(NodeId([6; 32])));
    drop(one);
    assert_eq!(live.askers(), [NodeId([6; 32])]);
    drop(other);
    assert!(live.askers().is_empty());
}
