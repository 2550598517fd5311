//! A person. Each field merges by itself: the write that causally comes last wins, concurrent ones by automerge's rule.

use automerge::AutoCommit;
use keys::{Timestamp, token::PersonRole};

use super::{Record, RecordError, RecordKind, sealed::Shape, shape};

/// Characters of a person's name.
pub const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 2..=50;

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What others call the person; unique by [`folded_name`].
    pub name: String,
    /// What the person may do.
    pub role: PersonRole,
    /// When the account was made.
    pub created: Timestamp,
    /// The one-time link that made it, so that a link makes only one account.
    pub link: [u8; 16],
}

/// The form in which names are compared: without surrounding blanks and differences of case.
#[must_use]
pub fn folded_name(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Record for Account {
    const KIND: RecordKind = RecordKind::Account;
    fn validate(&self) -> Result<(), RecordError> {
        shape::check_text(
            "name",
            self.name.trim(),
            *NAME_CHARACTERS.start(),
            *NAME_CHARACTERS.end(),
        )?;
        if self.name.chars().any(char::is_control) {
            Err(RecordError::Limit("name"))
        } else {
            Ok(())
        }
    }
}

impl Shape for Account {
    fn write(&self, document: &mut AutoCommit) -> Result<(), RecordError> {
        let role = match self.role {
            PersonRole::User => "user",
            PersonRole::Administrator => "administrator",
        };
        shape::put(document, "name", self.name.as_str())?;
        shape::put(document, "role", role)?;
        shape::put(document, "created", self.created.0)?;
        shape::put(document, "link", self.link.to_vec())
    }

    fn read(document: &AutoCommit) -> Result<Self, RecordError> {
        let role = match shape::text(document, "role")?.as_str() {
            "user" => PersonRole::User,
            "administrator" => PersonRole::Administrator,
            _ => return Err(RecordError::Field("role")),
        };
        let link = shape::bytes(document, "link")?
            .try_into()
            .map_err(|_| RecordError::Field("link"))?;
        let created = Timestamp(shape::number(document, "created")?);
        Ok(Self {
            name: shape::text(document, "name")?,
            role,
            created,
            link,
        })
    }
}
