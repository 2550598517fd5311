//! What leaves, what stays, what is told of it, and that nothing hidden is.

use crdt::records::session::{Ending, Message, PERSON_CHARACTERS_MAX};
use keys::{ContentId, Timestamp};

use super::*;

const CHAT: ContentId = ContentId([2; 32]);

/// A chat of so many turns, each question answered but the last.
fn chat(turns: usize, text: impl Fn(usize) -> String) -> Session {
    let mut session = Session::new(ContentId([1; 32]), ContentId([3; 32]), Timestamp(0));
    for number in 0..turns {
        let parent = session.messages.last().map(|message| message.id);
        let at = Timestamp(number as u64 * 10);
        let question = Message::from_person(&text(number), &format!("o{number}"), &CHAT, parent, at);
        let answer = Message::answer(question.id, &format!("Ответ {number}."), at, "m", Ending::Complete);
        session.messages.push(question);
        if number + 1 < turns {
            session.messages.push(answer);
        }
    }
    session
}

fn last(session: &Session) -> MessageId {
    session.messages.last().unwrap().id
}

fn plain(number: usize) -> String {
    format!("Вопрос номер {number} о погоде.")
}

/// Sums up as the desk does, before the last question is answered.
fn fold(session: &mut Session) -> bool {
    let question = last(session);
    let Some(summary) = folding(session, question).and_then(|folding| folding.extract()) else {
        return false;
    };
    session.summaries.push(summary);
    true
}

#[test]
fn up_to_twenty_messages_are_seen_as_they_are() {
    let mut session = chat(10, plain);
    assert!(!fold(&mut session));
    let context = context(&session, last(&session));
    assert_eq!((context.active.len(), context.summary), (19, None));
}

#[test]
fn beyond_twenty_whole_turns_leave_and_are_summed_up_at_once() {
    let mut session = chat(11, |number| match number {
        2 => "Запомни: меня зовут Рита, и я боюсь грозы!".into(),
        _ => plain(number),
    });
    let question = last(&session);
    assert!(folding(&session, question).is_some());
    assert!(fold(&mut session));
    let context = context(&session, question);
    let active: BTreeSet<MessageId> = context.active.iter().map(|message| message.id).collect();
    assert!(active.len() <= ACTIVE_AFTER_FOLDING, "{}", active.len());
    let seen = |number: usize| active.contains(&session.messages[2 * number].id);
    assert!(seen(0), "the first turn stays");
    assert!(seen(2), "what moves and is to be remembered stays");
    assert!((7..11).all(|number| number < 8 || seen(number)), "the last turns stay");
    assert_eq!(context.active.last().unwrap().id, question);
    // Never half a turn.
    for pair in session.messages.chunks(2).filter(|pair| pair.len() == 2) {
        assert_eq!(active.contains(&pair[0].id), active.contains(&pair[1].id));
    }
    // Everything that is not seen is in the summary, and nothing else.
    let summary = context.summary.unwrap();
    for message in &session.messages {
        assert_eq!(summary.covers.includes(&message.id), !active.contains(&message.id));
    }
    crdt::records::Record::validate(&session).unwrap();
    assert!(!fold(&mut session), "there is room again");
}

#[test]
fn a_fact_survives_two_hundred_messages_and_so_does_a_pin() {
    let mut session = chat(1, plain);
    let (mut folds, mut pinned) = (0, None);
    for number in 1..110 {
        let text = match number {
            4 => "Запомни: мою собаку зовут Бармалей.".to_owned(),
            _ => plain(number),
        };
        let previous = last(&session);
        let at = Timestamp(number as u64 * 10);
        let answer = Message::answer(previous, &format!("Ответ {number}."), at, "m", Ending::Complete);
        let question = Message::from_person(&text, &format!("o{number}"), &CHAT, Some(answer.id), at);
        if number == 6 {
            session.pinned.insert(question.id);
            pinned = Some(question.id);
        }
        session.messages.extend([answer, question]);
        folds += usize::from(fold(&mut session));
        let context = context(&session, last(&session));
        assert!(context.active.len() <= ACTIVE_MESSAGES_MAX);
    }
    let context = context(&session, last(&session));
    assert!(context.active.iter().any(|message| Some(message.id) == pinned));
    let told = context.active.iter().map(|message| message.text.text());
    let told: Vec<&str> = told.chain(context.summary.map(|summary| summary.text.text())).collect();
    assert!(told.iter().any(|text| text.contains("Бармалей")), "{told:?}");
    assert!(context.summary.unwrap().text.text().chars().count() <= crate::limits::EXTRACT_CHARACTERS_MAX);
    // Not at each message: what a model has computed is good for several turns.
    assert!((15..=30).contains(&folds), "{folds}");
    crdt::records::Record::validate(&session).unwrap();
}

#[test]
fn what_is_deleted_or_excluded_is_not_told_by_a_summary() {
    let mut session = chat(12, |number| match number {
        3 => "Секрет: ключ под ковриком.".into(),
        _ => plain(number),
    });
    let secret = session.messages[6].id;
    fold(&mut session);
    let question = last(&session);
    let tells = |session: &Session| {
        let context = context(session, question);
        let own = context.active.iter().map(|message| message.text.text());
        own.chain(context.summary.map(|summary| summary.text.text()))
            .any(|text| text.contains("коврик"))
    };
    assert!(tells(&session), "it is told, else this tests nothing");
    for is_deleted in [false, true] {
        let mut hidden = session.clone();
        let flagged = if is_deleted {
            &mut hidden.deleted
        } else {
            &mut hidden.excluded
        };
        flagged.insert(secret);
        assert!(!tells(&hidden));
        fold(&mut hidden);
        assert!(!tells(&hidden));
    }
}

#[test]
fn the_same_is_said_on_every_node_and_in_no_time() {
    let text = |number: usize| {
        format!("{} {}", plain(number), "Слова и слова о лесе, реке. ".repeat(30))
            .chars()
            .take(PERSON_CHARACTERS_MAX)
            .collect::<String>()
    };
    let session = chat(200, text);
    let began = std::time::Instant::now();
    let make = || {
        folding(&session, last(&session))
            .and_then(|folding| folding.extract())
            .unwrap()
    };
    let first = make();
    assert!(
        began.elapsed() < std::time::Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(first, make());
}
