//! A long chat is read page by page, back to its beginning and forward again.

use crdt::records::{
    account::Role,
    session::{Ending, Message, Session, SessionEdit},
};
use keys::Timestamp;
use serde_json::Value;

use crate::{
    complaints::character,
    gate::{Caller, Gate, first},
};

/// More than two pages, which is what a gateway opens of a chat at first; the rest is opened for whoever reads it.
const MESSAGES: usize = 130;
/// Messages in one page.
const PAGE: usize = 50;

/// A person with a long chat, as a path.
async fn with_long_chat(gate: &Gate) -> (Caller, String) {
    let rita = gate.account("Рита", &[Role::User]).await;
    let (fox, store) = (character(gate, "Лис", rita).await, gate.node.store());
    let began = Timestamp(Timestamp::now().0 - 3_600_000);
    let chat = store.create(Session::new(rita, fox, began)).await.unwrap();
    let mut last = None;
    for number in 0..MESSAGES {
        let (text, at) = (said(number), began.plus(1000 * (1 + number as u64)));
        let message = match last {
            Some(question) if number % 2 == 1 => Message::answer(question, &text, at, "mock", Ending::Complete),
            _ => Message::from_person(&text, &format!("outbox-{number}"), &chat, last, at),
        };
        last = Some(message.id);
        store.edit(chat, SessionEdit::PutMessage(message)).await.unwrap();
    }
    (Caller::of(gate, rita).await, format!("/api/v1/sessions/{chat}"))
}

fn said(number: usize) -> String {
    format!("Слово {number}")
}

/// What a page says, and its first and last message.
fn read(page: &Value) -> (Vec<String>, String, String) {
    let messages = page["messages"].as_array().unwrap();
    let text = |message: &Value, key: &str| message[key].as_str().unwrap().to_owned();
    let end = |message: Option<&Value>| message.map_or_else(String::new, |message| text(message, "id"));
    let said = messages.iter().map(|message| text(message, "text")).collect();
    (said, end(messages.first()), end(messages.last()))
}

// Red when: a page before the newest lacks a message, has one twice, out of order or without its text, or says wrongly whether there is
// more. The control: before the oldest message there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_chat_is_read_back_to_its_beginning_and_forward_again() {
    let gate = first().await;
    let (rita, chat) = with_long_chat(&gate).await;
    let everything: Vec<String> = (0..MESSAGES).map(said).collect();

    let mut page = rita.get(&chat).await.expect(200);
    assert_eq!(page["has_newer"], false);
    let (mut back, mut oldest, newest) = read(&page);
    let mut sizes = vec![back.len()];
    // One page more than there can be ends it, if nothing else does.
    while page["has_more"] == true && sizes.len() <= MESSAGES / PAGE + 1 {
        page = rita.get(&format!("{chat}?before={oldest}")).await.expect(200);
        assert_eq!(page["has_newer"], true);
        let (said, first, _) = read(&page);
        sizes.push(said.len());
        back.splice(0..0, said);
        oldest = first;
    }
    assert_eq!(sizes, [PAGE, PAGE, MESSAGES - 2 * PAGE]);
    assert_eq!(back, everything);
    let nothing = rita.get(&format!("{chat}?before={oldest}")).await.expect(200);
    assert_eq!((read(&nothing).0.len(), &nothing["has_more"]), (0, &Value::from(false)));

    let (mut forward, mut last) = (vec![back[0].clone()], oldest);
    while last != newest && forward.len() <= MESSAGES {
        let page = rita.get(&format!("{chat}?after={last}")).await.expect(200);
        assert_eq!(page["has_more"], true);
        let (said, _, end) = read(&page);
        assert!(!said.is_empty(), "there is no way on after {}", forward.len());
        forward.extend(said);
        assert_eq!(page["has_newer"], forward.len() < MESSAGES);
        last = end;
    }
    assert_eq!(forward, everything);
    gate.stop().await;
}
