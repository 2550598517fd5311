//! What a card says in the fields of a character, and how a character that was edited goes back into its card.
//!
//! | field | in the card |
//! |---|---|
//! | name, greeting, alternatives | `name`, `first_mes`, `alternate_greetings` |
//! | prompt | `description`, which is what the other programs give the model |
//! | description | `creator_notes`, which they show to people |
//! | examples | `mes_example`, at each `<START>` a new one |
//! | filters, temperature, longest answer | `extensions.starling` |
//!
//! A field of a card that is longer than ours may be is never cut. It is reported with its whole text, a mark stands for it in the
//! draft, and as long as the mark stands there the card keeps what it says.

use keys::ContentId;
use serde_json::{Value, json};

use super::{Card, Edit, Spec};
use crate::records::character::{
    ALTERNATIVES_MAX, DESCRIPTION_CHARACTERS_MAX, Definition, DefinitionField, EXAMPLE_CHARACTERS_MAX, EXAMPLES_MAX,
    FILTER_CHARACTERS_MAX, FILTERS_MAX, GREETING_CHARACTERS_MAX, NAME_CHARACTERS, PROMPT_CHARACTERS_MAX,
};

/// Stands in a draft for a prompt that is too long.
pub const KEPT_IN_CARD: &str = "…";
/// Our part of a card's `extensions`.
const EXTENSION: &str = "starling";
/// What begins each example dialogue.
const START: &str = "<START>";

/// A field of a card that is longer than the character's may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Which field of the character.
    pub field: &'static str,
    /// How long it is: characters of a text, or how many of a list when these are too many.
    pub length: usize,
    /// How long it may be.
    pub limit: usize,
    /// What the card says, whole.
    pub text: String,
}

/// A card in the fields of a character.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// A draft that keeps every limit.
    pub definition: Definition,
    /// What did not fit.
    pub too_long: Vec<TooLong>,
}

/// What a card says. `card` is the name of its bytes, which the draft keeps.
#[must_use]
pub fn content(card: &Card, id: ContentId) -> Content {
    let mut reading = Reading {
        card,
        too_long: Vec::new(),
    };
    let name = reading.name(id);
    let mut definition = Definition::new(
        &name,
        &reading.text("description", &["creator_notes"], DESCRIPTION_CHARACTERS_MAX, ""),
        &reading.text("greeting", &["first_mes"], GREETING_CHARACTERS_MAX, ""),
        &reading.text("prompt", &["description"], PROMPT_CHARACTERS_MAX, KEPT_IN_CARD),
    );
    if definition.prompt.is_empty() {
        // A prompt has at least one character; many cards say everything elsewhere.
        definition.prompt = KEPT_IN_CARD.to_owned();
    }
    let alternatives = texts(&reading.card.data()["alternate_greetings"]);
    definition.alternatives = reading.list(
        "alternatives",
        alternatives,
        (ALTERNATIVES_MAX, GREETING_CHARACTERS_MAX),
    );
    let examples = reading.card.data()["mes_example"]
        .as_str()
        .map(split_examples)
        .unwrap_or_default();
    definition.examples = reading.list("examples", examples, (EXAMPLES_MAX, EXAMPLE_CHARACTERS_MAX));
    let filters = texts(&reading.extension()["filters"]);
    definition.filters = reading.list("filters", filters, (FILTERS_MAX, FILTER_CHARACTERS_MAX));
    let own = reading.extension();
    // What somebody else wrote there keeps our limits or says nothing.
    let numbers = [
        own["temperature"].as_f64().map(DefinitionField::Temperature),
        own["answer_characters_max"]
            .as_u64()
            .map(DefinitionField::AnswerCharactersMax),
    ];
    for field in numbers.into_iter().flatten().filter(|field| field.validate().is_ok()) {
        definition.set(field);
    }
    definition.card = Some(id);
    for list in ["alternatives", "examples"] {
        if definition.validate().is_err() {
            reading.give_up(list, &mut definition);
        }
    }
    Content {
        definition,
        too_long: reading.too_long,
    }
}

/// The edits that make a card say what the character says now. What was not edited since it was imported is not among them; `at` is
/// when, in seconds.
#[must_use]
pub fn edits(card: &Card, id: ContentId, now: &Definition, at: u64) -> Vec<Edit> {
    let before = content(card, id).definition;
    let mut edits: Vec<Edit> = before
        .difference(now)
        .into_iter()
        .filter_map(|field| edit(card, field))
        .collect();
    if !edits.is_empty() {
        edits.push(Edit {
            path: vec!["modification_date"],
            value: at.into(),
            since: Spec::V3,
        });
    }
    edits
}

/// A card of version 3 for a character that was never one. `at` is when, in seconds.
#[must_use]
pub fn new_card(definition: &Definition, at: u64) -> Value {
    json!({
        "spec": "chara_card_v3",
        "spec_version": "3.0",
        "data": {
            "name": definition.name,
            "description": definition.prompt,
            "personality": "",
            "scenario": "",
            "first_mes": definition.greeting,
            "mes_example": joined_examples(&definition.examples),
            "creator_notes": definition.description,
            "system_prompt": "",
            "post_history_instructions": "",
            "alternate_greetings": definition.alternatives,
            "group_only_greetings": [],
            "tags": [],
            "creator": "",
            "character_version": "",
            "creation_date": at,
            "modification_date": at,
            "extensions": { EXTENSION: {
                "filters": definition.filters,
                "temperature": definition.temperature,
                "answer_characters_max": definition.answer_characters_max,
            } },
        }
    })
}

fn edit(card: &Card, field: DefinitionField) -> Option<Edit> {
    // Version 1 has six fields, and everything else is one that its programs do not know and keep or drop.
    let own = |name| match card.spec {
        Spec::V1 => vec![EXTENSION, name],
        Spec::V2 | Spec::V3 => vec!["extensions", EXTENSION, name],
    };
    let (path, value) = match field {
        DefinitionField::Name(text) => (vec!["name"], text.into()),
        DefinitionField::Description(text) => (vec!["creator_notes"], text.into()),
        DefinitionField::Greeting(text) => (vec!["first_mes"], text.into()),
        DefinitionField::Alternatives(texts) => (vec!["alternate_greetings"], texts.into()),
        DefinitionField::Prompt(text) => (vec!["description"], text.into()),
        DefinitionField::Examples(texts) => (vec!["mes_example"], joined_examples(&texts).into()),
        DefinitionField::Filters(texts) => (own("filters"), texts.into()),
        DefinitionField::Temperature(temperature) => (own("temperature"), temperature.into()),
        DefinitionField::AnswerCharactersMax(characters) => (own("answer_characters_max"), characters.into()),
        DefinitionField::Avatar(_) | DefinitionField::Card(_) => return None,
    };
    Some(Edit {
        path,
        value,
        since: Spec::V1,
    })
}

struct Reading<'a> {
    card: &'a Card,
    too_long: Vec<TooLong>,
}

impl Reading<'_> {
    fn extension(&self) -> &Value {
        match self.card.spec {
            Spec::V1 => &self.card.json[EXTENSION],
            Spec::V2 | Spec::V3 => &self.card.data()["extensions"][EXTENSION],
        }
    }

    fn name(&mut self, id: ContentId) -> String {
        let name = self.card.data()["name"].as_str().unwrap_or_default();
        if NAME_CHARACTERS.contains(&name.trim().chars().count()) && name.trim() == name {
            return name.to_owned();
        }
        self.too_long.push(TooLong {
            field: "name",
            length: name.chars().count(),
            limit: *NAME_CHARACTERS.end(),
            text: name.to_owned(),
        });
        format!("card {}", &id.to_string()[..8])
    }

    fn text(&mut self, field: &'static str, path: &[&str], limit: usize, mark: &str) -> String {
        let value = path.iter().fold(self.card.data(), |value, name| &value[name]);
        let text = value.as_str().unwrap_or_default();
        let length = text.chars().count();
        if length <= limit {
            return text.to_owned();
        }
        self.too_long.push(TooLong {
            field,
            length,
            limit,
            text: text.to_owned(),
        });
        mark.to_owned()
    }

    fn list(&mut self, field: &'static str, list: Vec<String>, (most, characters): (usize, usize)) -> Vec<String> {
        let longest = list.iter().map(|text| text.chars().count()).max().unwrap_or_default();
        let (length, limit) = match (list.len() > most, longest > characters) {
            (true, _) => (list.len(), most),
            (_, true) => (longest, characters),
            (false, false) => return list,
        };
        self.too_long.push(TooLong {
            field,
            length,
            limit,
            text: list.join("\n\n"),
        });
        Vec::new()
    }

    /// Leaves a list in the card because everything together is too much.
    fn give_up(&mut self, field: &'static str, definition: &mut Definition) {
        let list = match field {
            "examples" => std::mem::take(&mut definition.examples),
            _ => std::mem::take(&mut definition.alternatives),
        };
        self.too_long.push(TooLong {
            field,
            length: list.iter().map(|text| text.chars().count()).sum(),
            limit: 0,
            text: list.join("\n\n"),
        });
    }
}

/// The texts of a list, without what is none or is empty.
fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn split_examples(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = find_start(rest) {
        parts.push(&rest[..at]);
        rest = &rest[at + START.len()..];
    }
    parts.push(rest);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn find_start(text: &str) -> Option<usize> {
    text.match_indices('<').map(|(at, _)| at).find(|at| {
        text.as_bytes()
            .get(*at..at + START.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(START.as_bytes()))
    })
}

fn joined_examples(examples: &[String]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("{START}\n{example}")).collect();
    examples.join("\n")
}
