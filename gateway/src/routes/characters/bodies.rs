//! How characters look in JSON.

use crdt::{
    cards::content::TooLong,
    records::character::{Definition, DefinitionField},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{error::CharacterError, uniqueness};
use crate::error::ApiError;

/// What makes a character.
#[derive(Serialize, ToSchema)]
pub(crate) struct DefinitionBody {
    #[schema(example = "Лис", min_length = 2, max_length = 50)]
    name: String,
    #[schema(max_length = 500)]
    description: String,
    #[schema(max_length = 1000)]
    greeting: String,
    /// Other greetings.
    alternatives: Vec<String>,
    #[schema(example = "Ты Лис, хитрый лис из зимнего леса.", max_length = 2000)]
    prompt: String,
    examples: Vec<String>,
    /// Topics that the character keeps out of.
    filters: Vec<String>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: f64,
    #[schema(minimum = 100, maximum = 2000)]
    answer_characters_max: u64,
}

impl From<&Definition> for DefinitionBody {
    fn from(definition: &Definition) -> Self {
        Self {
            name: definition.name.clone(),
            description: definition.description.clone(),
            greeting: definition.greeting.clone(),
            alternatives: definition.alternatives.clone(),
            prompt: definition.prompt.clone(),
            examples: definition.examples.clone(),
            filters: definition.filters.clone(),
            temperature: definition.temperature,
            answer_characters_max: definition.answer_characters_max,
        }
    }
}

/// Fields of a draft; those that are left out stay as they are.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DraftRequest {
    #[schema(example = "Лис", min_length = 2, max_length = 50)]
    name: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
    #[schema(max_length = 1000)]
    greeting: Option<String>,
    /// At most 10, of 1 to 1000 characters each.
    alternatives: Option<Vec<String>>,
    #[schema(example = "Ты Лис, хитрый лис из зимнего леса.", min_length = 1, max_length = 2000)]
    prompt: Option<String>,
    /// At most 5, of 1 to 1000 characters each.
    examples: Option<Vec<String>>,
    /// At most 20, of 1 to 50 characters each.
    filters: Option<Vec<String>>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 100, maximum = 2000)]
    answer_characters_max: Option<u64>,
}

impl DraftRequest {
    /// The fields that are to be set, each within its limit.
    pub(super) fn fields(self) -> Result<Vec<DefinitionField>, ApiError> {
        let fields = [
            self.name.map(|name| DefinitionField::Name(name.trim().to_owned())),
            self.description.map(DefinitionField::Description),
            self.greeting.map(DefinitionField::Greeting),
            self.alternatives.map(DefinitionField::Alternatives),
            self.prompt.map(DefinitionField::Prompt),
            self.examples.map(DefinitionField::Examples),
            self.filters.map(DefinitionField::Filters),
            self.temperature.map(DefinitionField::Temperature),
            self.answer_characters_max.map(DefinitionField::AnswerCharactersMax),
        ];
        let fields: Vec<DefinitionField> = fields.into_iter().flatten().collect();
        for field in &fields {
            field.validate().map_err(|_| CharacterError::Field(field.name()))?;
        }
        Ok(fields)
    }
}

/// Sets fields and holds the whole against its limits.
pub(super) fn with_fields(mut definition: Definition, fields: &[DefinitionField]) -> Result<Definition, ApiError> {
    fields.iter().cloned().for_each(|field| definition.set(field));
    checked(definition)
}

/// Holds a definition against its limits.
pub(super) fn checked(definition: Definition) -> Result<Definition, ApiError> {
    use crdt::records::RecordError;
    match definition.validate() {
        Ok(()) => Ok(definition),
        Err(RecordError::Limit(field) | RecordError::Full(field) | RecordError::Field(field)) => {
            Err(CharacterError::Field(field).into())
        }
        Err(_) => Err(CharacterError::Field("definition").into()),
    }
}

/// A field of the card that is longer than the character's may be; it stays in the card until it is shortened.
#[derive(Serialize, ToSchema)]
pub(crate) struct TooLongBody {
    #[schema(example = "prompt")]
    field: &'static str,
    length: usize,
    limit: usize,
    /// What the card says, whole.
    text: String,
}

impl From<TooLong> for TooLongBody {
    fn from(field: TooLong) -> Self {
        Self {
            field: field.field,
            length: field.length,
            limit: field.limit,
            text: field.text,
        }
    }
}

/// Another character with much the same prompt.
#[derive(Serialize, ToSchema)]
pub(crate) struct TwinBody {
    id: String,
    name: String,
    /// From 0.85 (much the same) to 1 (the same words).
    #[schema(example = 0.91)]
    score: f64,
}

impl From<uniqueness::Twin> for TwinBody {
    fn from(twin: uniqueness::Twin) -> Self {
        Self {
            id: twin.id.to_string(),
            name: twin.name,
            score: (twin.score * 1000.0).round() / 1000.0,
        }
    }
}

/// A name or prompt that another character has: both were made while the network was split, and the other one goes before.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct ConflictBody {
    /// `name` or `prompt`.
    pub(crate) kind: &'static str,
    pub(crate) holder_id: String,
    pub(crate) holder_name: String,
}

/// A character as its maker sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct EditorBody {
    pub(crate) id: String,
    /// How people see the name: with a suffix when another character has it.
    pub(crate) shown_name: String,
    pub(crate) draft: DefinitionBody,
    /// The version that people chat with; `null` while nothing is published.
    pub(crate) published: Option<String>,
    /// Whether the draft differs from it.
    pub(crate) is_changed: bool,
    pub(crate) versions: usize,
    pub(crate) retired: bool,
    /// Milliseconds since the Unix epoch.
    pub(crate) created_at: u64,
    pub(crate) has_avatar: bool,
    pub(crate) has_card: bool,
    pub(crate) too_long: Vec<TooLongBody>,
    pub(crate) conflicts: Vec<ConflictBody>,
    /// Another character with much the same prompt: a warning.
    pub(crate) twin: Option<TwinBody>,
}

/// The value of a field, for showing what differs.
pub(super) fn value(field: &DefinitionField) -> Value {
    match field {
        DefinitionField::Name(text)
        | DefinitionField::Description(text)
        | DefinitionField::Greeting(text)
        | DefinitionField::Prompt(text) => text.as_str().into(),
        DefinitionField::Alternatives(texts) | DefinitionField::Examples(texts) | DefinitionField::Filters(texts) => {
            texts.clone().into()
        }
        DefinitionField::Temperature(temperature) => (*temperature).into(),
        DefinitionField::AnswerCharactersMax(characters) => (*characters).into(),
        DefinitionField::Avatar(file) | DefinitionField::Card(file) => file.map(|file| file.to_string()).into(),
    }
}
