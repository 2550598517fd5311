//! A key with which a program acts for a person: what it may do, until when, and the hash of its secret.
//!
//! The secret itself is never kept: whoever has a document or a backup cannot act with it.
//!
//! ## Merge law
//! Everything is written once, but *revoked*, a flag that stays set, and *used*, which only advances.

use keys::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Edit, Record, RecordError, RecordKind, Sealed,
    migrate::InitialFormat,
    shape::{self, Apply, Reader, Shape, StoredText, Writer, context},
};

/// Layout of the document.
const VERSION: u8 = 1;
/// Characters of what a person calls a key.
pub const LABEL_CHARACTERS: std::ops::RangeInclusive<usize> = 1..=60;
/// Between two times at which it is noted that a key was used: each is a change.
pub const USED_EVERY_MILLISECONDS: u64 = 24 * 3600 * 1000;

const ACCOUNT: &str = "account";
const KEY: &str = "key";
const REVOKED: &str = "revoked";
const USED: &str = "used";

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Listing models.
    Models,
    /// Completing chats and texts.
    Chat,
    /// Turning texts into numbers.
    Embeddings,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Models, Self::Chat, Self::Embeddings];

    /// The scope as a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }

    /// Reads what [`Scope::name`] says.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// For whom it acts.
    pub account: ContentId,
    /// What its owner calls it.
    pub label: Sealed,
    /// blake3 of the secret, which is random and long, so that a fast hash is enough.
    pub hash: [u8; 32],
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was used last, to the day.
    pub used: Option<Timestamp>,
    /// Whether it was taken back.
    pub revoked: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    label: StoredText,
    hash: [u8; 32],
    scopes: Vec<Scope>,
    created: Timestamp,
    expires: Timestamp,
}

impl InitialFormat for StoredKey {
    const VERSION: u8 = 1;
}

impl ApiKey {
    /// Whether it allows something now.
    #[must_use]
    pub fn allows(&self, scope: Scope, now: Timestamp) -> bool {
        !self.revoked && now < self.expires && self.scopes.contains(&scope)
    }
}

/// Whose a key is.
pub(super) fn owner(reader: &Reader<'_>) -> Option<ContentId> {
    reader.content_id(ACCOUNT).ok()
}

impl Record for ApiKey {
    const KIND: RecordKind = RecordKind::ApiKey;
    const PERSONAL: bool = true;

    fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("label", &self.label, *LABEL_CHARACTERS.start(), *LABEL_CHARACTERS.end())?;
        shape::check_count("scopes", self.scopes.len(), Scope::ALL.len())?;
        if self.scopes.is_empty() || self.expires <= self.created {
            return Err(RecordError::Limit("key"));
        }
        Ok(())
    }

    fn owner(&self) -> Option<ContentId> {
        Some(self.account)
    }
}

impl Shape for ApiKey {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        writer.begin(VERSION)?;
        writer.put(ACCOUNT, self.account.0.to_vec())?;
        let stored = StoredKey {
            label: writer.seal_text("label", &context("label", None), &self.label)?,
            hash: self.hash,
            scopes: self.scopes.clone(),
            created: self.created,
            expires: self.expires,
        };
        writer.put_value(KEY, KEY, &stored)?;
        if let Some(used) = self.used {
            writer.put(USED, used.0)?;
        }
        if self.revoked {
            writer.put(REVOKED, true)?;
        }
        Ok(())
    }

    fn read(reader: &Reader<'_>) -> Result<Self, RecordError> {
        let stored: StoredKey = reader.value(KEY).ok_or(RecordError::Field(KEY))?;
        let mut scopes = stored.scopes;
        scopes.sort_unstable();
        scopes.dedup();
        Ok(Self {
            account: reader.content_id(ACCOUNT)?,
            label: reader.open_text(&stored.label, &context("label", None), *LABEL_CHARACTERS.end()),
            hash: stored.hash,
            scopes,
            created: stored.created,
            expires: stored.expires,
            used: reader.greatest(USED).map(Timestamp),
            revoked: reader.flag(REVOKED, true).unwrap_or(false),
        })
    }
}

/// A change to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyEdit {
    /// It is taken back.
    Revoke,
    /// It was used.
    Use(Timestamp),
}

impl Edit for ApiKeyEdit {
    const KIND: RecordKind = RecordKind::ApiKey;
}

impl Apply for ApiKeyEdit {
    fn apply(&self, writer: &mut Writer<'_>) -> Result<(), RecordError> {
        match self {
            Self::Revoke => writer.put(REVOKED, true),
            Self::Use(at) => writer.raise(USED, at.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::records::testing::{Replicas, Step, config, steps};

    fn key() -> ApiKey {
        ApiKey {
            account: ContentId([1; 32]),
            label: "my script".into(),
            hash: [7; 32],
            scopes: vec![Scope::Models, Scope::Chat],
            created: Timestamp(10),
            expires: Timestamp(20),
            used: None,
            revoked: false,
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn replicas_agree_and_a_key_that_was_taken_back_stays_so(
            steps in steps(prop_oneof![
                Just(ApiKeyEdit::Revoke),
                (1u64..50).prop_map(|at| ApiKeyEdit::Use(Timestamp(at))),
            ])
        ) {
            let mut replicas = Replicas::of(&key());
            let edits = || steps.iter().filter_map(|step| match step {
                Step::Edit(_, edit) => Some(*edit),
                _ => None,
            });
            let revoked = edits().any(|edit| edit == ApiKeyEdit::Revoke);
            let used = edits().filter_map(|edit| match edit {
                ApiKeyEdit::Use(at) => Some(at),
                ApiKeyEdit::Revoke => None,
            }).max();
            replicas.take(&steps);
            prop_assert_eq!(replicas.agreed::<ApiKey>(), ApiKey { revoked, used, ..key() });
        }
    }

    #[test]
    fn a_key_allows_what_it_says_until_its_end() {
        let key = key();
        assert!(key.allows(Scope::Chat, Timestamp(19)) && !key.allows(Scope::Chat, Timestamp(20)));
        assert!(!key.allows(Scope::Embeddings, Timestamp(11)));
        assert!(
            !ApiKey {
                revoked: true,
                ..key.clone()
            }
            .allows(Scope::Chat, Timestamp(11))
        );
        for broken in [
            ApiKey {
                scopes: Vec::new(),
                ..key.clone()
            },
            ApiKey {
                expires: Timestamp(10),
                ..key.clone()
            },
            ApiKey {
                label: "".into(),
                ..key
            },
        ] {
            assert!(broken.validate().is_err());
        }
    }
}
