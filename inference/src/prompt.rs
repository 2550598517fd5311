//! From a character and a chat to the messages that a model sees: pure.

use crdt::records::{
    character::Definition,
    session::{Message, MessageId, Session},
};

use crate::{limits::PROMPT_MESSAGES_MAX, template::ChatMessage};

/// The messages for a question: the character's prompt, then the last [`PROMPT_MESSAGES_MAX`] messages up to the question.
#[must_use]
pub fn messages(character: &Definition, session: &Session, question: MessageId) -> Vec<ChatMessage> {
    let mut prompt = vec![ChatMessage {
        role: "system".into(),
        content: character.prompt.clone(),
    }];
    let until: Vec<&Message> = session
        .messages
        .iter()
        .take_while(|message| message.id <= question)
        // What was erased or has no key here says nothing to the model.
        .filter(|message| message.text.is_readable() && !session.deleted.contains(&message.id))
        .collect();
    let from = until.len().saturating_sub(PROMPT_MESSAGES_MAX);
    prompt.extend(until[from..].iter().map(|message| {
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

/// A shorter prompt for a context that is too small: without the oldest message after the system prompt; when only the question is
/// left, with the middle of the question taken out. `None` when nothing more can go.
#[must_use]
pub fn shorter(mut messages: Vec<ChatMessage>) -> Option<Vec<ChatMessage>> {
    if messages.len() > 2 {
        messages.remove(1);
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
    use crdt::records::session::Ending;
    use keys::{ContentId, Timestamp};

    use super::*;

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
        assert_eq!(prompt.len(), 1 + PROMPT_MESSAGES_MAX);
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
