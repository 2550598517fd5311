//! What the card that a character came from says beyond the character's own fields, and where it goes in a prompt: pure.
//!
//! What holds for every talk (instruction, personality, scenario) stands in the character's prompt, which is computed once for everybody.
//! What a lorebook says depends on what was said, so none of it may stand there, wherever the book would have it: it comes right behind,
//! in system messages of its own, or among the messages at the depth that the book names.

use crdt::cards::{
    Card, CardError,
    lorebook::{Line, Lorebook, Placed, Position, Role, Scene},
    macros::Words,
};

use crate::{
    limits::{CARD_TEXT_CHARACTERS_MAX, LORE_CHARACTERS_MAX},
    template::ChatMessage,
};

/// See the module.
#[derive(Debug, Default)]
pub struct CardText {
    /// `system_prompt`: goes before everything.
    pub(super) instruction: String,
    /// How the character is.
    pub(super) personality: String,
    /// What is going on.
    pub(super) scenario: String,
    /// `post_history_instructions`: goes behind the newest message.
    reminder: String,
    book: Option<Lorebook>,
}

impl CardText {
    /// Reads the bytes of a card.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub fn read(bytes: &[u8]) -> Result<Self, CardError> {
        let card = Card::read(bytes)?;
        let data = card.data();
        let text = |field: &str| {
            let text = data[field].as_str().unwrap_or_default().trim();
            text.chars().take(CARD_TEXT_CHARACTERS_MAX).collect()
        };
        Ok(Self {
            instruction: text("system_prompt"),
            personality: text("personality"),
            scenario: text("scenario"),
            reminder: text("post_history_instructions"),
            book: Lorebook::read(&data["character_book"]),
        })
    }

    /// Puts what the book says now, and the reminder, among the messages; `head` of them stand for the character and for what was said
    /// before.
    pub(super) fn put_in(&self, messages: &mut Vec<ChatMessage>, head: usize, words: &Words<'_>) {
        let lines: Vec<Line<'_>> = messages[head..]
            .iter()
            .map(|message| Line {
                is_character: message.role == "assistant",
                text: &message.content,
            })
            .collect();
        let scene = Scene {
            lines: &lines,
            greeting: 0,
            words,
            tokens: about_tokens,
            is_full: false,
        };
        let lore = self.book.as_ref().map(|book| book.lore(&scene)).unwrap_or_default();
        let said = lines.len();
        let mut room = LORE_CHARACTERS_MAX;
        let (mut behind, mut among) = (Vec::new(), Vec::new());
        for placed in lore.placed {
            let Some(left) = room.checked_sub(placed.text.chars().count()) else {
                continue;
            };
            room = left;
            match placed.position {
                Position::Depth(depth) => among.push((said.saturating_sub(depth), message(placed))),
                _ => behind.push(placed.text),
            }
        }
        if !self.reminder.is_empty() && !lore.disabled.contains("post_history_instructions") {
            let reminder = super::filled(&self.reminder, words);
            // Before the newest: behind it stands what the model answers, and templates want that to be the person's message.
            among.push((said.saturating_sub(1), ChatMessage::new("system", reminder)));
        }
        // From the end on, so that earlier places stay what they are; of one place the last first.
        among.sort_by_key(|(place, _)| *place);
        for (place, message) in among.into_iter().rev() {
            messages.insert(head + place.min(said.saturating_sub(1)), message);
        }
        if !behind.is_empty() {
            messages.insert(1, ChatMessage::new("system", behind.join("\n\n")));
        }
    }
}

fn message(placed: Placed) -> ChatMessage {
    let role = match placed.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    ChatMessage::new(role, placed.text)
}

/// Three characters to a token: measured between the two languages, for a book's own budget.
fn about_tokens(text: &str) -> usize {
    text.chars().count().div_ceil(3)
}

#[cfg(test)]
mod tests {
    use crdt::records::character::Definition;
    use serde_json::json;

    use super::*;
    use crate::prompt::{self, put_together};

    fn said(role: &str, content: &str) -> ChatMessage {
        ChatMessage::new(role, content)
    }

    fn card() -> CardText {
        let entry = |keys: &[&str], content: &str| json!({"keys": keys, "content": content, "enabled": true, "insertion_order": 1, "use_regex": false, "extensions": {}});
        let data = json!({
            "name": "Fox", "personality": "sly", "scenario": "{{user}} meets {{char}} in a wood.",
            "system_prompt": "You play a part.", "post_history_instructions": "Stay {{char}}.",
            "character_book": {"entries": [
                entry(&["castle"], "The castle has burnt down."),
                entry(&["owl"], "@@depth 1\nThe owl is {{char}}'s aunt."),
                entry(&["river"], &"water ".repeat(LORE_CHARACTERS_MAX)),
            ]},
        });
        let card = json!({"spec": "chara_card_v3", "spec_version": "3.0", "data": data});
        CardText::read(card.to_string().as_bytes()).unwrap()
    }

    fn fox() -> Definition {
        Definition {
            examples: vec!["{{user}}: Hi!\n{{char}}: Hello, hello.".into()],
            filters: vec!["hunters".into(), "traps".into()],
            ..Definition::new("Fox", "", "", "You are a fox.")
        }
    }

    fn contents(messages: &[ChatMessage]) -> Vec<&str> {
        messages.iter().map(|message| message.content.as_str()).collect()
    }

    #[test]
    fn what_holds_for_every_talk_stands_in_the_characters_prompt() {
        let expected = "You play a part.\n\nYou are a fox.\n\nPersonality: sly\n\nScenario: the user meets Fox in a wood.\n\n\
                        Examples of how you speak:\n\nthe user: Hi!\nFox: Hello, hello.\n\n\
                        Keep out of these topics; asked about one, gently change the subject: hunters, traps";
        assert_eq!(prompt::system(&fox(), Some(&card())), expected);
        let plain = Definition::new("Fox", "", "", "You are a fox.");
        assert_eq!(prompt::system(&plain, None), "You are a fox.");
    }

    #[test]
    fn a_lorebook_speaks_when_the_talk_comes_to_it_and_never_in_the_prompt_that_all_share() {
        let talk = |question: &str| {
            let said = vec![said("user", "Hello"), said("assistant", "Hi!"), said("user", question)];
            put_together(&fox(), Some(&card()), vec![said_before()], said)
        };
        let quiet = talk("How are you?");
        assert_eq!(
            contents(&quiet[1..]),
            ["Earlier: they met.", "Hello", "Hi!", "Stay Fox.", "How are you?"]
        );
        let loud = talk("Does the owl live in the castle?");
        assert_eq!(loud[0], quiet[0], "computed once for everybody");
        let expected = [
            "The castle has burnt down.",
            "Earlier: they met.",
            "Hello",
            "Hi!",
            "The owl is Fox's aunt.",
            "Stay Fox.",
            "Does the owl live in the castle?",
        ];
        assert_eq!(contents(&loud[1..]), expected);
        assert_eq!(loud.last().unwrap().role, "user", "a question is the last");
        assert_eq!(
            contents(&talk("The river!")[1..]).len(),
            5,
            "what is too much is left out"
        );
    }

    fn said_before() -> ChatMessage {
        said("system", "Earlier: they met.")
    }

    #[test]
    fn what_is_no_card_is_refused() {
        assert!(CardText::read(b"").is_err());
        assert!(CardText::read(b"{\"spec\": 3").is_err());
    }
}
