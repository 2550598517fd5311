//! What makes a character: its fields with their limits, what differs between two, and how each stands in the draft.

use std::ops::RangeInclusive;

use keys::ContentId;
use serde::{Deserialize, Serialize};

use crate::records::{
    RecordError,
    migrate::InitialFormat,
    shape::{self, Reader, Writer, cut},
};

/// Layout of the draft: 2 since there are versions.
pub(super) const DRAFT_VERSION: u8 = 2;
/// Characters of a name.
pub const NAME_CHARACTERS: RangeInclusive<usize> = 2..=50;
/// Characters of a description.
pub const DESCRIPTION_CHARACTERS_MAX: usize = 500;
/// Characters of a greeting.
pub const GREETING_CHARACTERS_MAX: usize = 1000;
/// Characters of a system prompt.
pub const PROMPT_CHARACTERS_MAX: usize = 2000;
/// Sampling temperatures.
pub const TEMPERATURE: RangeInclusive<f64> = 0.0..=2.0;
/// The temperature of a character whose own makes no sense.
const TEMPERATURE_DEFAULT: f64 = 0.7;
/// Limits of an answer's length, in characters.
pub const ANSWER_CHARACTERS: RangeInclusive<u64> = 100..=2000;
/// Other greetings of one character.
pub const ALTERNATIVES_MAX: usize = 10;
/// Example dialogues of one character.
pub const EXAMPLES_MAX: usize = 5;
/// Characters of one example dialogue.
pub const EXAMPLE_CHARACTERS_MAX: usize = 1000;
/// Topics that a character keeps out of.
pub const FILTERS_MAX: usize = 20;
/// Characters of a topic.
pub const FILTER_CHARACTERS_MAX: usize = 50;
/// Bytes of everything together, so that a version with the draft fits one change.
const BYTES_MAX: usize = 24 * 1024;

/// What makes a character. Stored inside a version, so a change to this struct needs a new version of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// What people call it.
    pub name: String,
    /// One or two sentences for the list.
    pub description: String,
    /// The first thing it says in a new dialogue.
    pub greeting: String,
    /// Other first things; a person can swipe to them.
    pub alternatives: Vec<String>,
    /// The system prompt.
    pub prompt: String,
    /// Dialogues that show how it speaks.
    pub examples: Vec<String>,
    /// Topics that it keeps out of.
    pub filters: Vec<String>,
    /// Sampling temperature.
    pub temperature: f64,
    /// Longest answer in characters.
    pub answer_characters_max: u64,
    /// Its picture, as a blob.
    pub avatar: Option<ContentId>,
    /// The card it was imported from, as a blob: byte for byte, with everything that has no field here.
    pub card: Option<ContentId>,
}

/// One field of a definition: what an edit sets, and what differs between two versions.
#[derive(Clone, Debug, PartialEq)]
pub enum DefinitionField {
    /// [`Definition::name`]
    Name(String),
    /// [`Definition::description`]
    Description(String),
    /// [`Definition::greeting`]
    Greeting(String),
    /// [`Definition::alternatives`]
    Alternatives(Vec<String>),
    /// [`Definition::prompt`]
    Prompt(String),
    /// [`Definition::examples`]
    Examples(Vec<String>),
    /// [`Definition::filters`]
    Filters(Vec<String>),
    /// [`Definition::temperature`]
    Temperature(f64),
    /// [`Definition::answer_characters_max`]
    AnswerCharactersMax(u64),
    /// [`Definition::avatar`]
    Avatar(Option<ContentId>),
    /// [`Definition::card`]
    Card(Option<ContentId>),
}

/// A list of texts as one field.
#[derive(Serialize, Deserialize)]
struct StoredTexts(Vec<String>);

impl InitialFormat for StoredTexts {
    const VERSION: u8 = 1;
}

impl Definition {
    /// A character with a name, a description, a greeting and a prompt, and otherwise as usual.
    #[must_use]
    pub fn new(name: &str, description: &str, greeting: &str, prompt: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            greeting: greeting.to_owned(),
            alternatives: Vec::new(),
            prompt: prompt.to_owned(),
            examples: Vec::new(),
            filters: Vec::new(),
            temperature: TEMPERATURE_DEFAULT,
            answer_characters_max: *ANSWER_CHARACTERS.end(),
            avatar: None,
            card: None,
        }
    }

    /// Every field.
    pub(super) fn fields(&self) -> [DefinitionField; 11] {
        [
            DefinitionField::Name(self.name.clone()),
            DefinitionField::Description(self.description.clone()),
            DefinitionField::Greeting(self.greeting.clone()),
            DefinitionField::Alternatives(self.alternatives.clone()),
            DefinitionField::Prompt(self.prompt.clone()),
            DefinitionField::Examples(self.examples.clone()),
            DefinitionField::Filters(self.filters.clone()),
            DefinitionField::Temperature(self.temperature),
            DefinitionField::AnswerCharactersMax(self.answer_characters_max),
            DefinitionField::Avatar(self.avatar),
            DefinitionField::Card(self.card),
        ]
    }

    /// The fields of `later` that are not as here. Setting them makes this one equal to `later`.
    #[must_use]
    pub fn difference(&self, later: &Self) -> Vec<DefinitionField> {
        let fields = self.fields().into_iter().zip(later.fields());
        fields
            .filter(|(own, other)| own != other)
            .map(|(_, other)| other)
            .collect()
    }

    /// Sets one field.
    pub fn set(&mut self, field: DefinitionField) {
        match field {
            DefinitionField::Name(name) => self.name = name,
            DefinitionField::Description(description) => self.description = description,
            DefinitionField::Greeting(greeting) => self.greeting = greeting,
            DefinitionField::Alternatives(alternatives) => self.alternatives = alternatives,
            DefinitionField::Prompt(prompt) => self.prompt = prompt,
            DefinitionField::Examples(examples) => self.examples = examples,
            DefinitionField::Filters(filters) => self.filters = filters,
            DefinitionField::Temperature(temperature) => self.temperature = temperature,
            DefinitionField::AnswerCharactersMax(characters) => self.answer_characters_max = characters,
            DefinitionField::Avatar(avatar) => self.avatar = avatar,
            DefinitionField::Card(card) => self.card = card,
        }
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// Which limit is broken.
    pub fn validate(&self) -> Result<(), RecordError> {
        for field in self.fields() {
            field.validate()?;
        }
        let lists = [&self.alternatives, &self.examples, &self.filters];
        let listed: usize = lists.into_iter().flatten().map(String::len).sum();
        let texts = [&self.name, &self.description, &self.greeting, &self.prompt];
        let bytes = texts.into_iter().map(String::len).sum::<usize>() + listed;
        if bytes > BYTES_MAX {
            return Err(RecordError::Limit("definition"));
        }
        Ok(())
    }

    /// Makes of what somebody wrote what keeps the limits; `None` when it has no name, which has no default.
    pub(super) fn sanitised(self) -> Option<Self> {
        if self.name.is_empty() {
            return None;
        }
        let temperature = if self.temperature.is_nan() {
            TEMPERATURE_DEFAULT
        } else {
            self.temperature.clamp(*TEMPERATURE.start(), *TEMPERATURE.end())
        };
        Some(Self {
            name: cut(self.name, *NAME_CHARACTERS.end()),
            description: cut(self.description, DESCRIPTION_CHARACTERS_MAX),
            greeting: cut(self.greeting, GREETING_CHARACTERS_MAX),
            alternatives: cut_list(self.alternatives, ALTERNATIVES_MAX, GREETING_CHARACTERS_MAX),
            prompt: cut(self.prompt, PROMPT_CHARACTERS_MAX),
            examples: cut_list(self.examples, EXAMPLES_MAX, EXAMPLE_CHARACTERS_MAX),
            filters: cut_list(self.filters, FILTERS_MAX, FILTER_CHARACTERS_MAX),
            temperature,
            answer_characters_max: self
                .answer_characters_max
                .clamp(*ANSWER_CHARACTERS.start(), *ANSWER_CHARACTERS.end()),
            ..self
        })
    }

    /// Reads the draft.
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let list = |key| reader.value::<StoredTexts>(key).map_or_else(Vec::new, |texts| texts.0);
        let text = |key| reader.text(key).unwrap_or_default();
        let draft = Self {
            name: reader.text("name")?,
            description: text("description"),
            greeting: text("greeting"),
            alternatives: list("alternatives"),
            prompt: text("prompt"),
            examples: list("examples"),
            filters: list("filters"),
            temperature: reader.decimal("temperature").unwrap_or(TEMPERATURE_DEFAULT),
            answer_characters_max: reader
                .number("answer_characters_max")
                .unwrap_or(*ANSWER_CHARACTERS.end()),
            avatar: reader.content_id("avatar").ok(),
            card: reader.content_id("card").ok(),
        };
        draft.sanitised().ok_or(RecordError::Field("name"))
    }
}

impl DefinitionField {
    /// The name under which the field stands in the draft and in error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Description(_) => "description",
            Self::Greeting(_) => "greeting",
            Self::Alternatives(_) => "alternatives",
            Self::Prompt(_) => "prompt",
            Self::Examples(_) => "examples",
            Self::Filters(_) => "filters",
            Self::Temperature(_) => "temperature",
            Self::AnswerCharactersMax(_) => "answer_characters_max",
            Self::Avatar(_) => "avatar",
            Self::Card(_) => "card",
        }
    }

    /// Checks the field's limit.
    ///
    /// # Errors
    /// When it is broken.
    pub fn validate(&self) -> Result<(), RecordError> {
        let name = self.name();
        let in_range = match self {
            Self::Name(text) => {
                return shape::check_text(name, text.trim(), *NAME_CHARACTERS.start(), *NAME_CHARACTERS.end());
            }
            Self::Description(text) => return shape::check_text(name, text, 0, DESCRIPTION_CHARACTERS_MAX),
            Self::Greeting(text) => return shape::check_text(name, text, 0, GREETING_CHARACTERS_MAX),
            Self::Prompt(text) => return shape::check_text(name, text, 1, PROMPT_CHARACTERS_MAX),
            Self::Alternatives(texts) => {
                return check_list(name, texts, ALTERNATIVES_MAX, GREETING_CHARACTERS_MAX);
            }
            Self::Examples(texts) => return check_list(name, texts, EXAMPLES_MAX, EXAMPLE_CHARACTERS_MAX),
            Self::Filters(texts) => return check_list(name, texts, FILTERS_MAX, FILTER_CHARACTERS_MAX),
            // The range is false for what is no number, too.
            Self::Temperature(temperature) => TEMPERATURE.contains(temperature),
            Self::AnswerCharactersMax(characters) => ANSWER_CHARACTERS.contains(characters),
            Self::Avatar(_) | Self::Card(_) => true,
        };
        if in_range {
            Ok(())
        } else {
            Err(RecordError::Limit(name))
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        let name = self.name();
        match self {
            Self::Name(text) | Self::Description(text) | Self::Greeting(text) | Self::Prompt(text) => {
                writer.put(name, text.as_str())
            }
            Self::Alternatives(texts) | Self::Examples(texts) | Self::Filters(texts) => {
                // A list that was always empty needs no entry.
                if texts.is_empty() && writer.reader().scalar(name).is_none() {
                    return Ok(());
                }
                writer.put_value(name, name, &StoredTexts(texts.clone()))
            }
            Self::Temperature(temperature) => writer.put(name, *temperature),
            Self::AnswerCharactersMax(characters) => writer.put(name, *characters),
            Self::Avatar(Some(blob)) | Self::Card(Some(blob)) => writer.put(name, blob.0.to_vec()),
            Self::Avatar(None) | Self::Card(None) => writer.remove(name),
        }
    }
}

fn check_list(name: &'static str, texts: &[String], most: usize, characters: usize) -> Result<(), RecordError> {
    shape::check_count(name, texts.len(), most)?;
    texts
        .iter()
        .try_for_each(|text| shape::check_text(name, text, 1, characters))
}

fn cut_list(mut texts: Vec<String>, most: usize, characters: usize) -> Vec<String> {
    texts.truncate(most);
    texts.into_iter().map(|text| cut(text, characters)).collect()
}
