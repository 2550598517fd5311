//! What can be wrong with a character, its card or its picture.

use axum::http::StatusCode;
use crdt::cards::CardError;

use crate::{
    error::{ApiError, NamedBody},
    files::FileError,
};

/// Why a request about a character was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CharacterError {
    /// A field breaks its limit.
    Field(&'static str),
    /// Another character has the name.
    NameTaken(NamedBody),
    /// Another character has the prompt, word for word.
    PromptTaken(NamedBody),
    /// Fields of the card are too long still, and nobody has shortened them.
    FieldsTooLong,
    /// The file is not taken as a card.
    Card(CardError),
    /// The file is not taken as a picture.
    Picture,
    /// The picture has too many bytes.
    PictureTooLarge,
    /// No node within reach has the card or the picture.
    FileUnreachable,
    /// No model here can answer.
    NoModel,
    /// The model failed.
    Generation,
}

impl CharacterError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Field(_) => "field_invalid",
            Self::NameTaken(_) => "character_name_taken",
            Self::PromptTaken(_) => "prompt_taken",
            Self::FieldsTooLong => "fields_too_long",
            Self::Card(CardError::TooLarge | CardError::TextTooLarge) => "card_too_large",
            Self::Card(_) => "card_invalid",
            Self::Picture => "picture_invalid",
            Self::PictureTooLarge => "picture_too_large",
            Self::FileUnreachable => "file_unreachable",
            Self::NoModel => "no_model",
            Self::Generation => "generation_failed",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Field(field) => format!("The field {field} is empty, too long or out of range."),
            Self::NameTaken(twin) => format!("Another character has this name: {} ({}).", twin.name, twin.id),
            Self::PromptTaken(twin) => format!("Another character has this prompt: {} ({}).", twin.name, twin.id),
            Self::FieldsTooLong => {
                "Fields of the card are longer than a character's may be; shorten them first.".into()
            }
            Self::Card(error) => format!("The file is not taken as a card: {error}."),
            Self::Picture => "The file is no PNG, JPEG, WebP or GIF, or has too many pixels.".into(),
            Self::PictureTooLarge => "A picture may have 2 MB.".into(),
            Self::FileUnreachable => "No node within reach has this file now.".into(),
            Self::NoModel => "No model of this node can answer now.".into(),
            Self::Generation => "The model failed.".into(),
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Card(CardError::TooLarge | CardError::TextTooLarge) | Self::PictureTooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Field(_) | Self::Card(_) | Self::Picture => StatusCode::BAD_REQUEST,
            Self::NameTaken(_) | Self::PromptTaken(_) | Self::FieldsTooLong => StatusCode::CONFLICT,
            Self::FileUnreachable | Self::NoModel => StatusCode::SERVICE_UNAVAILABLE,
            Self::Generation => StatusCode::BAD_GATEWAY,
        }
    }

    /// The character that has the name or the prompt.
    pub(crate) const fn twin(&self) -> Option<&NamedBody> {
        match self {
            Self::NameTaken(twin) | Self::PromptTaken(twin) => Some(twin),
            _ => None,
        }
    }

    /// One of each, for what must be said of all of them.
    #[cfg(test)]
    pub(crate) fn examples() -> impl Iterator<Item = Self> {
        let twin = || NamedBody {
            id: "b3".to_owned(),
            name: "Лис".to_owned(),
        };
        [
            Self::Field("name"),
            Self::NameTaken(twin()),
            Self::PromptTaken(twin()),
            Self::FieldsTooLong,
            Self::Card(CardError::TooLarge),
            Self::Card(CardError::NoCard),
            Self::Picture,
            Self::PictureTooLarge,
            Self::FileUnreachable,
            Self::NoModel,
            Self::Generation,
        ]
        .into_iter()
    }
}

impl From<CharacterError> for ApiError {
    fn from(error: CharacterError) -> Self {
        Self::Character(error)
    }
}

impl From<CardError> for ApiError {
    fn from(error: CardError) -> Self {
        CharacterError::Card(error).into()
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unreachable => CharacterError::FileUnreachable.into(),
            FileError::Disk => Self::StorageUnavailable,
        }
    }
}
