//! From a character and a chat to the messages that a model sees: pure.

use crdt::records::{
    character::Definition,
    session::{MessageId, Session},
};

use crate::{context, template::ChatMessage};

/// What stands before a summary, in the language of it.
const BEFORE_SUMMARY: (&str, &str) = ("Раньше в этом разговоре:", "Earlier in this conversation:");

/// The messages for a question: the character's prompt, what stands for older messages, and the active ones up to the question (see
/// [`context`]). The summary is a system message of its own, so that the character's prompt stays the same for everyone and is
/// computed once.
#[must_use]
pub fn messages(character: &Definition, session: &Session, question: MessageId) -> Vec<ChatMessage> {
    let mut prompt = vec![ChatMessage {
        role: "system".into(),
        content: character.prompt.clone(),
    }];
    let context = context::context(session, question);
    if let Some(summary) = context.summary {
        let text = summary.text.text();
        let is_russian = text.chars().any(|c| ('а'..='я').contains(&c));
        let before = if is_russian { BEFORE_SUMMARY.0 } else { BEFORE_SUMMARY.1 };
        prompt.push(ChatMessage {
            role: "system".into(),
            content: format!("{before}\n{text}"),
        });
    }
    prompt.extend(context.active.iter().map(|message| {
        let role = if message.is_from_person() { "user" } else { "assistant" };
        ChatMessage {
            role: role.into(),
            content: message.text.text().to_owned(),
        }
    }));
    prompt
}

/// Characters of a question below which it is not cut any further.
const QUESTION_CHARACTERS_MIN: usize = 64;

/// A shorter prompt for a context that is too small: without the oldest message after the system messages, then without the summary;
/// when only the question is left, with the middle of the question taken out. `None` when nothing more can go.
#[must_use]
pub fn shorter(mut messages: Vec<ChatMessage>) -> Option<Vec<ChatMessage>> {
    if messages.len() > 2 {
        let last = messages.len() - 1;
        let oldest = messages.iter().take(last).position(|message| message.role != "system");
        messages.remove(oldest.unwrap_or(1));
        return Some(messages);
    }
    let question = messages.last_mut()?;
    let characters: Vec<char> = question.content.chars().collect();
    if characters.len() < QUESTION_CHARACTERS_MIN {
        return None;
    }
    let quarter = characters.len() / 4;
    question.content = characters[..quarter]
        .iter()
        .chain(&['…'])
        .chain(&characters[characters.len() - quarter..])
        .collect();
    Some(messages)
}

#[cfg(test)]
mod tests {
    use crdt::records::session::{Ending, Message};
    use keys::{ContentId, Timestamp};

    use super::*;
    use crate::limits::ACTIVE_MESSAGES_MAX;

    #[test]
    fn the_newest_messages_up_to_the_question_are_taken() {
        let id = ContentId([2; 32]);
        let mut session = Session::new(id, id, Timestamp(0));
        for number in 0..30u64 {
            let question = Message::from_person(
                &format!("q{number}"),
                &number.to_string(),
                &id,
                None,
                Timestamp(number * 10),
            );
            let answer = Message::answer(question.id, &format!("a{number}"), Timestamp(0), "m", Ending::Complete);
            session.messages.extend([question, answer]);
        }
        let character = Definition::new("Лис", "", "", "Ты Лис.");
        let question = session.messages[40].id;
        let prompt = messages(&character, &session, question);
        assert!(
            (10..=1 + ACTIVE_MESSAGES_MAX).contains(&prompt.len()),
            "{}",
            prompt.len()
        );
        assert_eq!(prompt[1].content, "q0", "the first turn stays");
        assert_eq!(
            (prompt[0].role.as_str(), prompt[0].content.as_str()),
            ("system", "Ты Лис.")
        );
        assert_eq!(prompt.last().unwrap().content, "q20");
        let shorter = super::shorter(prompt.clone()).unwrap();
        assert_eq!((&shorter[0], &shorter[1]), (&prompt[0], &prompt[2]));
        assert!(
            super::shorter(prompt[..2].to_vec()).is_none(),
            "a short question is not cut"
        );
        let long = ChatMessage {
            role: "user".into(),
            content: format!("begin{}end", "x".repeat(1000)),
        };
        let cut = super::shorter(vec![prompt[0].clone(), long]).unwrap();
        assert!(cut[1].content.starts_with("begin") && cut[1].content.ends_with("end") && cut[1].content.len() < 600);
    }
}
