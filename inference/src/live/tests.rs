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

#[test]
fn every_reader_gets_the_whole_text_once_at_its_own_pace() {
    let live = Live::new(lease(1));
    live.begin(sayer(9));
    assert!(live.push(0, "При"));
    let first = live.since(Cursor::default());
    assert_eq!((first.from, first.text.as_str()), (Cursor { run: 9, bytes: 0 }, "При"));
    let cursor = Cursor { run: 9, bytes: 6 };
    assert!(live.push(6, "вет"));
    // The same piece over another way, and one that overlaps: nothing is doubled. A gap is refused.
    assert!(live.push(6, "вет") && live.push(8, "ет, мир"));
    assert!(!live.push(100, "x"));
    assert_eq!(live.since(cursor).text, "вет, мир");
    assert_eq!(live.since(Cursor::default()).text, "Привет, мир");
    assert_eq!(live.cursor(9, 3), Some(cursor), "three characters are six bytes");
    assert_eq!(live.cursor(9, 12), None, "so many are not known yet");
    // The same run goes on, another one begins over.
    live.begin(sayer(9));
    assert_eq!(live.since(cursor).text, "вет, мир");
    live.begin(sayer(10));
    live.push(0, "Снова");
    let again = live.since(cursor);
    assert_eq!(
        (again.from, again.text.as_str()),
        (Cursor { run: 10, bytes: 0 }, "Снова")
    );
    assert!(live.waiting(cursor).1, "another run is told at once");
}

#[tokio::test]
async fn readers_are_woken_by_news_and_forgotten_when_they_are_gone() {
    let live = Live::new(lease(1));
    let (reader, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    live.listen(&reader);
    live.listen(&gone);
    drop(gone);
    reader.notified().await;
    live.begin(sayer(1));
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
    let first = lives.generate(lease(1)).unwrap();
    first.begin(sayer(1));
    let second = lives.generate(lease(1)).unwrap_err();
    assert_eq!(
        second.sayer(),
        first.sayer(),
        "whoever asks again is shown the one under way"
    );
    lives.close(lease(1).answer);
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
