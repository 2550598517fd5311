//! The keys with which a person's programs ask in the person's name.
//!
//! What stands here is a hash; the key itself its owner saw once. A key is made and taken back, and nothing of it changes in between, so
//! taken back is for good. Made in both halves of a split there may be too many: those made first count, as if the later ones had been
//! refused at once, and whoever makes the next one removes the rest.

use keys::Timestamp;
use serde::{Deserialize, Serialize};

use crate::records::{
    EntryId, RecordError, Sealed,
    migrate::InitialFormat,
    shape::{self, Reader, StoredText, Writer, context, decode},
};

/// Keys of one person.
pub const API_KEYS_MAX: usize = 20;
/// Characters of what a person calls a key.
pub const API_KEY_LABEL_CHARACTERS_MAX: usize = 60;
const KEY: &str = "k";

/// What a key may be used for. The numbers are on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ApiScope {
    /// To see which models there are.
    Models = 1,
    /// To let a model say something.
    Chat = 2,
    /// To turn texts into numbers.
    Embeddings = 4,
    /// To read a node's figures; of administrators alone.
    Metrics = 8,
}

impl ApiScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Models, Self::Chat, Self::Embeddings, Self::Metrics];

    /// As the API calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Metrics => "metrics",
        }
    }
}

/// A set of scopes. One that this node does not know is kept and allows nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiScopes(u8);

impl ApiScopes {
    /// Whether it allows this.
    #[must_use]
    pub const fn contains(self, scope: ApiScope) -> bool {
        self.0 & scope as u8 != 0
    }

    /// What it allows, as far as this node knows.
    pub fn iter(self) -> impl Iterator<Item = ApiScope> {
        ApiScope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<ApiScope> for ApiScopes {
    fn from_iter<I: IntoIterator<Item = ApiScope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | scope as u8))
    }
}

/// A key of a person's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountApiKey {
    /// When it was made, and which one it is.
    pub id: EntryId,
    /// What the person calls it.
    pub label: Sealed,
    /// [`keys::ApiKey::hash`].
    pub hash: [u8; 32],
    /// What it may be used for.
    pub scopes: ApiScopes,
    /// When it ends; `None` when it lasts until it is taken back.
    pub expires: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    label: StoredText,
    hash: [u8; 32],
    scopes: ApiScopes,
    expires: Option<Timestamp>,
}

impl InitialFormat for StoredKey {
    const VERSION: u8 = 1;
}

impl AccountApiKey {
    pub(super) fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("label", &self.label, 1, API_KEY_LABEL_CHARACTERS_MAX)
    }

    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

fn key(id: EntryId) -> String {
    format!("{KEY}{id}")
}

pub(super) fn read(reader: &Reader<'_>) -> Vec<AccountApiKey> {
    let mut keys = read_all(reader);
    keys.truncate(API_KEYS_MAX);
    keys
}

/// In the order in which they were made, those that are too many at the end.
fn read_all(reader: &Reader<'_>) -> Vec<AccountApiKey> {
    let keys = reader.entries(KEY).filter_map(|entry| {
        let id = entry.key;
        let stored: StoredKey = decode(&entry.value)?;
        Some(AccountApiKey {
            id,
            label: reader.open_text(&stored.label, &context("key", Some(&id)), API_KEY_LABEL_CHARACTERS_MAX),
            hash: stored.hash,
            scopes: stored.scopes,
            expires: stored.expires,
        })
    });
    let mut keys: Vec<AccountApiKey> = keys.collect();
    keys.sort_by_key(|key| key.id);
    keys
}

/// Adds a key.
pub(super) fn write(writer: &mut Writer<'_>, added: &AccountApiKey) -> Result<(), RecordError> {
    added.validate()?;
    let mut known = read_all(&writer.reader());
    for surplus in known.split_off(known.len().min(API_KEYS_MAX)) {
        writer.remove(&key(surplus.id))?;
    }
    if known.len() >= API_KEYS_MAX {
        return Err(RecordError::Full("keys"));
    }
    let stored = StoredKey {
        label: writer.seal_text("label", &context("key", Some(&added.id)), &added.label)?,
        hash: added.hash,
        scopes: added.scopes,
        expires: added.expires,
    };
    writer.put_value("key", &key(added.id), &stored)
}

/// Takes a key back.
pub(super) fn remove(writer: &mut Writer<'_>, id: EntryId) -> Result<(), RecordError> {
    if writer.reader().scalar(&key(id)).is_none() {
        return Err(RecordError::Absent("key"));
    }
    writer.remove(&key(id))
}
