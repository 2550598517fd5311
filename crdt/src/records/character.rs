//! A character to chat with, in drafts and published versions.
//!
//! ## Merge law
//! - Each field of the *draft* is a register: two people who change different fields both keep their change; of two concurrent
//!   changes of one field the same one counts everywhere, by automerge's rule.
//! - *Versions* are only added, and never change: each is a whole copy, so that it stays what it was however the draft goes on.
//!   Rolling back adds a version that is equal to an old one.
//! - *Published* names the version that people chat with: of two published at the same time the later one, and publishing wins over
//!   withdrawing.
//! - *Retired* gives way to its opposite.
//!
//! A character is nobody's personal data: its text stands in plain words.

mod definition;
mod edits;
mod likeness;

use automerge::ScalarValue;
use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use self::definition::DRAFT_VERSION;
pub use self::{
    definition::{
        ALTERNATIVES_MAX, ANSWER_CHARACTERS, DESCRIPTION_CHARACTERS_MAX, Definition, DefinitionField,
        EXAMPLE_CHARACTERS_MAX, EXAMPLES_MAX, FILTER_CHARACTERS_MAX, FILTERS_MAX, GREETING_CHARACTERS_MAX,
        NAME_CHARACTERS, PROMPT_CHARACTERS_MAX, TEMPERATURE,
    },
    edits::CharacterEdit,
    likeness::{LIKENESS_WARNED, Pieces},
};
use super::{
    EntryId, Record, RecordError, RecordKind,
    migrate::InitialFormat,
    shape::{self, Reader, Shape, Writer, cut, decode},
};

/// Versions of one character, of which the newest are read.
pub const VERSIONS_MAX: usize = 200;
/// Characters of what is noted beside a version.
pub const NOTE_CHARACTERS_MAX: usize = 200;

const CREATOR: &str = "creator";
const CREATED: &str = "created";
const PUBLISHED: &str = "published";
const RETIRED: &str = "retired";
const VERSION: &str = "v";

/// A character.
#[derive(Clone, Debug, PartialEq)]
pub struct Character {
    /// What is being worked on.
    pub draft: Definition,
    /// What was published so far, oldest first.
    pub versions: Vec<CharacterVersion>,
    /// The version that people chat with.
    pub published: Option<EntryId>,
    /// Who made it; nobody for the characters that a mesh begins with.
    pub creator: Option<ContentId>,
    /// When it was made; zero when that was not noted.
    pub created: Timestamp,
    /// No longer offered; chats with it go on.
    pub retired: bool,
}

/// A published version of a character.
#[derive(Clone, Debug, PartialEq)]
pub struct CharacterVersion {
    /// When it was published.
    pub id: EntryId,
    /// What was published.
    pub definition: Definition,
    /// Who published it.
    pub by: Option<ContentId>,
    /// What was noted beside it.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
struct StoredVersion {
    definition: Definition,
    by: Option<ContentId>,
    note: String,
}

impl InitialFormat for StoredVersion {
    const VERSION: u8 = 1;
}

impl Character {
    /// A draft that nobody else sees yet.
    #[must_use]
    pub const fn new(draft: Definition, creator: Option<ContentId>, created: Timestamp) -> Self {
        Self {
            draft,
            versions: Vec::new(),
            published: None,
            creator,
            created,
            retired: false,
        }
    }

    /// A character that people can chat with at once.
    #[must_use]
    pub fn published(definition: Definition, creator: Option<ContentId>, created: Timestamp) -> Self {
        let id = EntryId::new(created, 0);
        let first = CharacterVersion {
            id,
            definition: definition.clone(),
            by: creator,
            note: String::new(),
        };
        Self {
            versions: vec![first],
            published: Some(id),
            ..Self::new(definition, creator, created)
        }
    }

    /// What people chat with; `None` while nothing is published.
    #[must_use]
    pub fn definition(&self) -> Option<&Definition> {
        let version = self.version(self.published?)?;
        Some(&version.definition)
    }

    /// What whoever begins a chat chats with; `None` while nothing is published, and when it was deleted.
    #[must_use]
    pub fn offered(&self) -> Option<&Definition> {
        self.definition().filter(|_| !self.retired)
    }

    /// A version by its id.
    #[must_use]
    pub fn version(&self, id: EntryId) -> Option<&CharacterVersion> {
        self.versions.iter().find(|version| version.id == id)
    }
}

impl Record for Character {
    const KIND: RecordKind = RecordKind::Character;
    const PERSONAL: bool = false;

    fn validate(&self) -> Result<(), RecordError> {
        self.draft.validate()?;
        shape::check_count("versions", self.versions.len(), VERSIONS_MAX)?;
        self.versions.iter().try_for_each(CharacterVersion::validate)?;
        match self.published {
            Some(published) if self.version(published).is_none() => Err(RecordError::Absent("version")),
            _ => Ok(()),
        }
    }
}

impl CharacterVersion {
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("note", &self.note, 0, NOTE_CHARACTERS_MAX)?;
        self.definition.validate()
    }
}

impl Shape for Character {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(DRAFT_VERSION)?;
        writer.put(CREATED, self.created.0)?;
        if let Some(creator) = self.creator {
            writer.put(CREATOR, creator.0.to_vec())?;
        }
        for field in self.draft.fields() {
            field.write(writer)?;
        }
        for version in &self.versions {
            edits::write_version(writer, version)?;
        }
        if let Some(published) = self.published {
            writer.put(PUBLISHED, published.bytes().to_vec())?;
        }
        if self.retired {
            writer.put(RETIRED, true)?;
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let draft = Definition::read(reader)?;
        let created = reader.time(CREATED).unwrap_or_default();
        let mut character = Self {
            versions: versions(reader),
            published: published(reader),
            retired: reader.flag(RETIRED, false).unwrap_or(false),
            ..Self::new(draft, reader.content_id(CREATOR).ok(), created)
        };
        let is_first_layout = reader.version() == 1 && reader.scalar(PUBLISHED).is_none();
        if is_first_layout && character.versions.is_empty() {
            // Version 1 knew no drafts: what it says is what people chat with, until a version is published.
            let Self { draft, created, .. } = &character;
            let first = Self::published(draft.clone(), None, *created);
            (character.versions, character.published) = (first.versions, first.published);
        }
        Ok(character)
    }
}

fn versions(reader: &Reader<'_>) -> Vec<CharacterVersion> {
    let versions = reader.entries(VERSION).filter_map(|entry| {
        let stored: StoredVersion = decode(&entry.value)?;
        Some(CharacterVersion {
            id: entry.key,
            definition: stored.definition.sanitised()?,
            by: stored.by,
            note: cut(stored.note, NOTE_CHARACTERS_MAX),
        })
    });
    let mut versions: Vec<CharacterVersion> = versions.collect();
    versions.split_off(versions.len().saturating_sub(VERSIONS_MAX))
}

/// The latest of the versions that were published concurrently.
fn published(reader: &Reader<'_>) -> Option<EntryId> {
    let ids = reader.all(PUBLISHED).into_iter().filter_map(|value| match value {
        ScalarValue::Bytes(bytes) => Some(EntryId::from_bytes(bytes.try_into().ok()?)),
        _ => None,
    });
    ids.max()
}

#[cfg(test)]
mod tests;
