//! What can be changed about a character.

use automerge::ScalarValue;
use keys::ContentId;

use super::{
    Character, CharacterVersion, DefinitionField, PUBLISHED, RETIRED, StoredVersion, VERSION, VERSIONS_MAX,
    definition::Definition,
};
use crate::records::{
    Edit, EntryId, RecordError, RecordKind,
    shape::{Apply, Shape, Writer},
};

/// A change to a character.
#[derive(Clone, Debug, PartialEq)]
pub enum CharacterEdit {
    /// Sets fields of the draft; the others stay as they are.
    SetDraft(Vec<DefinitionField>),
    /// Makes the draft a version, and lets people chat with it.
    Publish {
        /// The version's id, of the time at which it is published.
        id: EntryId,
        /// Who publishes.
        by: Option<ContentId>,
        /// What is noted beside it.
        note: String,
    },
    /// Makes an old version the newest one again, and the draft equal to it.
    RollBack {
        /// The old version.
        to: EntryId,
        /// The new version's id.
        id: EntryId,
        /// Who does it.
        by: Option<ContentId>,
    },
    /// Lets nobody chat with it any more, until it is published again.
    Withdraw,
    /// Offers the character no longer, or again.
    SetRetired(bool),
}

impl Edit for CharacterEdit {
    const KIND: RecordKind = RecordKind::Character;
}

impl Apply for CharacterEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::SetDraft(fields) => {
                let mut draft = Definition::read(&writer.reader())?;
                fields.iter().cloned().for_each(|field| draft.set(field));
                draft.validate()?;
                fields.iter().try_for_each(|field| field.write(writer))
            }
            Self::Publish { id, by, note } => {
                let character = Character::read(&writer.reader())?;
                let version = CharacterVersion {
                    id: *id,
                    definition: character.draft.clone(),
                    by: *by,
                    note: note.clone(),
                };
                publish(writer, &character, &version)
            }
            Self::RollBack { to, id, by } => {
                let character = Character::read(&writer.reader())?;
                let old = character.version(*to).ok_or(RecordError::Absent("version"))?;
                for field in character.draft.difference(&old.definition) {
                    field.write(writer)?;
                }
                let version = CharacterVersion {
                    id: *id,
                    by: *by,
                    ..old.clone()
                };
                publish(writer, &character, &version)
            }
            // Nothing, and not an absent field: so that it wins over what it follows, and loses to what it meets.
            Self::Withdraw => writer.put(PUBLISHED, ScalarValue::Null),
            Self::SetRetired(retired) => writer.put(RETIRED, *retired),
        }
    }
}

fn publish(writer: &mut Writer<'_>, character: &Character, version: &CharacterVersion) -> Result<(), RecordError> {
    if character.versions.len() >= VERSIONS_MAX {
        return Err(RecordError::Full("versions"));
    }
    // The newest version has the greatest id, whatever this node's clock says.
    if character.versions.last().is_some_and(|last| version.id <= last.id) {
        return Err(RecordError::Limit("version"));
    }
    version.validate()?;
    write_version(writer, version)?;
    writer.put(PUBLISHED, version.id.bytes().to_vec())
}

pub(super) fn write_version(writer: &mut Writer<'_>, version: &CharacterVersion) -> Result<(), RecordError> {
    let stored = StoredVersion {
        definition: version.definition.clone(),
        by: version.by,
        note: version.note.clone(),
    };
    writer.put_value("version", &format!("{VERSION}{}", version.id), &stored)
}
