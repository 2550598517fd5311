//! From a character and a chat to the messages that a model sees: pure.

mod card;

use crdt::{
    cards::macros::{self, Purpose, Words},
    records::{
        character::Definition,
        session::{MessageId, Session},
    },
};

pub use self::card::CardText;
use crate::{
    context::{self, is_russian},
    template::ChatMessage,
};

/// What stands before a summary, in the language of it.
const BEFORE_SUMMARY: (&str, &str) = ("Раньше в этом разговоре:", "Earlier in this conversation:");

/// What `{{user}}` stands for in a character's prompt, by its language. Not the person's own name: the prompt is computed once for
/// everybody who talks with the character.
const PERSON: (&str, &str) = ("собеседник", "the user");

/// What stands before the parts of a character's prompt, in the language of it.
struct Headings {
    personality: &'static str,
    scenario: &'static str,
    examples: &'static str,
    filters: &'static str,
}

const RUSSIAN: Headings = Headings {
    personality: "Характер: ",
    scenario: "Что происходит: ",
    examples: "Примеры того, как ты говоришь:",
    filters: "Не говори на эти темы; если о них спрашивают, мягко переведи разговор: ",
};
const ENGLISH: Headings = Headings {
    personality: "Personality: ",
    scenario: "Scenario: ",
    examples: "Examples of how you speak:",
    filters: "Keep out of these topics; asked about one, gently change the subject: ",
};

/// A character's prompt as a model reads it, the same for everyone: what it is, how it speaks, what it keeps out of, with the words in
/// braces of a card replaced.
#[must_use]
pub fn system(character: &Definition, card: Option<&CardText>) -> String {
    let words = words(character);
    let headings = if is_russian(&character.prompt) {
        RUSSIAN
    } else {
        ENGLISH
    };
    let none = CardText::default();
    let card = card.unwrap_or(&none);
    let headed = |heading: &str, text: &str| match text.is_empty() {
        true => String::new(),
        false => format!("{heading}{text}"),
    };
    let examples = character.examples.iter().map(|example| format!("\n\n{example}"));
    let parts = [
        card.instruction.clone(),
        character.prompt.clone(),
        headed(headings.personality, &card.personality),
        headed(headings.scenario, &card.scenario),
        headed(headings.examples, &examples.collect::<String>()),
        headed(headings.filters, &character.filters.join(", ")),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    filled(&parts.join("\n\n"), &words)
}

fn words(character: &Definition) -> Words<'_> {
    let person = if is_russian(&character.prompt) {
        PERSON.0
    } else {
        PERSON.1
    };
    Words {
        character: &character.name,
        person,
        original: "",
        seed: 0,
    }
}

fn filled(text: &str, words: &Words<'_>) -> String {
    macros::replaced(text, words, Purpose::Prompt)
}

/// The messages for a question: the character's prompt, what stands for older messages, and the active ones up to the question (see
/// [`context`]). The summary and what a lorebook says now are system messages of their own, so that the character's prompt stays the same
/// for everyone and is computed once.
#[must_use]
pub fn messages(
    character: &Definition,
    card: Option<&CardText>,
    session: &Session,
    question: MessageId,
) -> Vec<ChatMessage> {
    let context = context::context(session, question);
    let mut before = Vec::new();
    if let Some(summary) = context.summary {
        let text = summary.text.text();
        let heading = if is_russian(text) {
            BEFORE_SUMMARY.0
        } else {
            BEFORE_SUMMARY.1
        };
        before.push(ChatMessage::new("system", format!("{heading}\n{text}")));
    }
    let said = context.active.iter().map(|message| {
        let role = if message.is_from_person() { "user" } else { "assistant" };
        ChatMessage::new(role, message.text.text())
    });
    put_together(character, card, before, said.collect())
}

/// The character's prompt, what stands for older messages, and what was said, with what the card adds to it.
#[must_use]
pub fn put_together(
    character: &Definition,
    card: Option<&CardText>,
    before: Vec<ChatMessage>,
    said: Vec<ChatMessage>,
) -> Vec<ChatMessage> {
    let mut prompt = vec![ChatMessage::new("system", system(character, card))];
    prompt.extend(before);
    let head = prompt.len();
    prompt.extend(said);
    if let Some(card) = card {
        card.put_in(&mut prompt, head, &words(character));
    }
    prompt
}

/// Characters of a question below which it is not cut any further.
const QUESTION_CHARACTERS_MIN: usize = 64;

/// A shorter prompt for a context that is too small: without the oldest message after the system messages, then without the summary;
/// when only the question is left, with the middle of the question taken out. An answer behind it that is to be said further stays as
/// it is. `None` when nothing more can go.
#[must_use]
pub fn shorter(mut messages: Vec<ChatMessage>) -> Option<Vec<ChatMessage>> {
    let is_begun = messages.last().is_some_and(|last| last.role == "assistant");
    let question = messages.len().checked_sub(1 + usize::from(is_begun))?;
    if question > 1 {
        let mut before = messages.iter().take(question);
        let oldest = before.position(|message| message.role != "system");
        messages.remove(oldest.unwrap_or(1));
        return Some(messages);
    }
    let question = messages.get_mut(question)?;
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
    fn the_words_of_a_card_are_replaced_and_everyone_gets_the_same_prompt() {
        let card = Definition::new(
            "Лис",
            "",
            "",
            "{{char}} хитёр. <USER> спрашивает, {{CHAR}} шутит.{{// note}}",
        );
        assert_eq!(system(&card, None), "Лис хитёр. собеседник спрашивает, Лис шутит.");
        let card = Definition::new("Fox", "", "", "{{char}} never lies to {{user}}.");
        assert_eq!(system(&card, None), "Fox never lies to the user.");
    }

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
        let prompt = messages(&character, None, &session, question);
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
