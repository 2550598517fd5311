//! Messages that a person wants to find again.
//!
//! They stand with the person and not with the chat, because the limit is the person's: here one document shows all of them. It is a
//! bounded set: each message is added or removed by itself (added wins over removed at the same time), and of too many, added in both
//! halves of a split, those added first stay, as if the later ones had been refused at once. Whoever changes the set next also removes
//! what is too many: otherwise it would come back as soon as another is removed.

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::records::{
    RecordError, Sealed,
    migrate::InitialFormat,
    session::MessageId,
    shape::{self, Reader, StoredText, Writer, context, decode},
};

/// Favourites of one person.
pub const FAVOURITES_MAX: usize = 50;
/// Characters of what a person notes beside one.
pub const NOTE_CHARACTERS_MAX: usize = 500;
const FAVOURITE: &str = "f";

/// A message that a person wants to find again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Favourite {
    /// Which message.
    pub message: MessageId,
    /// In which chat.
    pub session: ContentId,
    /// With whom; favourites are shown by character.
    pub character: ContentId,
    /// When it was added.
    pub added: Timestamp,
    /// What the person noted beside it.
    pub note: Option<Sealed>,
}

#[derive(Serialize, Deserialize)]
struct StoredFavourite {
    session: ContentId,
    character: ContentId,
    added: Timestamp,
    note: Option<StoredText>,
}

impl InitialFormat for StoredFavourite {
    const VERSION: u8 = 1;
}

impl Favourite {
    pub(super) fn validate(&self) -> Result<(), RecordError> {
        match &self.note {
            Some(note) => shape::check_sealed("note", note, 0, NOTE_CHARACTERS_MAX),
            None => Ok(()),
        }
    }
}

pub(super) fn read(reader: &Reader<'_>) -> Vec<Favourite> {
    let mut favourites = read_all(reader);
    favourites.truncate(FAVOURITES_MAX);
    favourites
}

/// In the order in which they were added, those that are too many at the end.
fn read_all(reader: &Reader<'_>) -> Vec<Favourite> {
    let favourites = reader.entries(FAVOURITE).filter_map(|entry| {
        let message = entry.key;
        let stored: StoredFavourite = decode(&entry.value)?;
        let note = stored
            .note
            .map(|note| reader.open_text(&note, &context("favourite", Some(&message)), NOTE_CHARACTERS_MAX));
        Some(Favourite {
            message,
            session: stored.session,
            character: stored.character,
            added: stored.added,
            note,
        })
    });
    let mut favourites: Vec<Favourite> = favourites.collect();
    favourites.sort_by_key(|favourite| (favourite.added, favourite.message));
    favourites
}

fn key(message: MessageId) -> String {
    format!("{FAVOURITE}{message}")
}

/// Adds a favourite or changes its note. When it was first added stays.
pub(super) fn write(writer: &mut Writer<'_>, favourite: &Favourite) -> Result<(), RecordError> {
    favourite.validate()?;
    let known = remove_surplus(writer)?;
    let same = known.iter().find(|other| other.message == favourite.message);
    if same.is_none() && known.len() >= FAVOURITES_MAX {
        return Err(RecordError::Full("favourites"));
    }
    let added = same.map_or(favourite.added, |same| same.added);
    let note = match &favourite.note {
        Some(note) => Some(writer.seal_text("note", &context("favourite", Some(&favourite.message)), note)?),
        None => None,
    };
    let stored = StoredFavourite {
        session: favourite.session,
        character: favourite.character,
        added,
        note,
    };
    writer.put_value("favourite", &key(favourite.message), &stored)
}

pub(super) fn remove(writer: &mut Writer<'_>, message: MessageId) -> Result<(), RecordError> {
    remove_surplus(writer)?;
    writer.remove(&key(message))
}

/// Removes what is too many, and returns what stays.
fn remove_surplus(writer: &mut Writer<'_>) -> Result<Vec<Favourite>, RecordError> {
    let mut kept = read_all(&writer.reader());
    let surplus = kept.split_off(kept.len().min(FAVOURITES_MAX));
    for favourite in surplus {
        writer.remove(&key(favourite.message))?;
    }
    Ok(kept)
}
