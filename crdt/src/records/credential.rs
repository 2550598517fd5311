//! What a person signs in with, apart from the profile so that it can go to fewer nodes. Merges like a single register.

use automerge::AutoCommit;
use keys::ContentId;

use super::{Record, RecordError, RecordKind, sealed::Shape, shape};

/// A person's password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The person's account document.
    pub account: ContentId,
    /// argon2id in the PHC string format.
    pub password_hash: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A hash in a log could be attacked offline.
        write!(formatter, "Credential(of {:?})", self.account)
    }
}

impl Record for Credential {
    const KIND: RecordKind = RecordKind::Credential;
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text("password_hash", &self.password_hash, 20, 512)
    }
}

impl Shape for Credential {
    fn write(&self, document: &mut AutoCommit) -> Result<(), RecordError> {
        shape::put(document, "account", self.account.0.to_vec())?;
        shape::put(document, "password_hash", self.password_hash.as_str())
    }

    fn read(document: &AutoCommit) -> Result<Self, RecordError> {
        let account = shape::bytes(document, "account")?
            .try_into()
            .map_err(|_| RecordError::Field("account"))?;
        Ok(Self {
            account: ContentId(account),
            password_hash: shape::text(document, "password_hash")?,
        })
    }
}
