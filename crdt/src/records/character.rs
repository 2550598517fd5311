//! A character. Each field merges by itself, so that two people who change different fields both keep their change.

use automerge::AutoCommit;

use super::{Record, RecordError, RecordKind, sealed::Shape, shape};

/// A character to chat with; limits as in the seed (name 2-50, description 500, prompt 2000, temperature 0-2, length 100-2000).
#[derive(Clone, Debug, PartialEq)]
pub struct Character {
    /// What people call it.
    pub name: String,
    /// One or two sentences for the list.
    pub description: String,
    /// The first thing it says in a new dialogue.
    pub greeting: String,
    /// The system prompt.
    pub prompt: String,
    /// Sampling temperature.
    pub temperature: f64,
    /// Longest answer in characters.
    pub answer_characters_max: u64,
}

impl Record for Character {
    const KIND: RecordKind = RecordKind::Character;
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("name", &self.name, 2, 50)?;
        shape::check_text("description", &self.description, 0, 500)?;
        shape::check_text("greeting", &self.greeting, 0, 1000)?;
        shape::check_text("prompt", &self.prompt, 1, 2000)?;
        // The range is false for NaN, too.
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(RecordError::Limit("temperature"));
        }
        if !(100..=2000).contains(&self.answer_characters_max) {
            return Err(RecordError::Limit("answer_characters_max"));
        }
        Ok(())
    }
}

impl Shape for Character {
    fn write(&self, document: &mut AutoCommit) -> Result<(), RecordError> {
        shape::put(document, "name", self.name.as_str())?;
        shape::put(document, "description", self.description.as_str())?;
        shape::put(document, "greeting", self.greeting.as_str())?;
        shape::put(document, "prompt", self.prompt.as_str())?;
        shape::put(document, "temperature", self.temperature)?;
        shape::put(document, "answer_characters_max", self.answer_characters_max)
    }

    fn read(document: &AutoCommit) -> Result<Self, RecordError> {
        Ok(Self {
            name: shape::text(document, "name")?,
            description: shape::text(document, "description")?,
            greeting: shape::text(document, "greeting")?,
            prompt: shape::text(document, "prompt")?,
            temperature: shape::decimal(document, "temperature")?,
            answer_characters_max: shape::number(document, "answer_characters_max")?,
        })
    }
}
