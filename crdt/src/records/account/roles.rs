//! What a person may do: a set of roles, each granted or withdrawn by itself.

use std::collections::BTreeSet;

use keys::token::PersonRole;

use crate::records::{
    RecordError,
    shape::{Reader, Writer},
};

/// Every role is a flag under this prefix.
const ROLE: &str = "role/";
/// Version 1 of the document had one role, as a word.
const ROLE_1: &str = "role";

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Chats.
    User,
    /// Makes characters.
    Manager,
    /// Looks after people and what they write.
    Moderator,
    /// Looks after the mesh and everything in it.
    Administrator,
}

impl Role {
    /// Every role, the least powerful first.
    pub const ALL: [Self; 4] = [Self::User, Self::Manager, Self::Moderator, Self::Administrator];

    /// The role as a word; it stands in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Manager => "manager",
            Self::Moderator => "moderator",
            Self::Administrator => "administrator",
        }
    }

    /// Reads what [`Role::name`] says.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl From<PersonRole> for Role {
    fn from(role: PersonRole) -> Self {
        match role {
            PersonRole::User => Self::User,
            PersonRole::Manager => Self::Manager,
            PersonRole::Moderator => Self::Moderator,
            PersonRole::Administrator => Self::Administrator,
        }
    }
}

/// The roles of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// One role.
    #[must_use]
    pub fn of(role: Role) -> Self {
        Self(BTreeSet::from([role]))
    }

    /// Whether a role is among them.
    #[must_use]
    pub fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// All of them, the least powerful first.
    pub fn iter(&self) -> impl Iterator<Item = Role> {
        self.0.iter().copied()
    }

    /// The most powerful one.
    #[must_use]
    pub fn highest(&self) -> Option<Role> {
        self.0.last().copied()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

fn key(role: Role) -> String {
    format!("{ROLE}{}", role.name())
}

pub(super) fn read(reader: &Reader<'_>) -> Roles {
    let first = reader.text(ROLE_1).ok().and_then(|name| Role::from_name(&name));
    // A role of a later version is left out: what a node does not know it must not grant.
    let granted = Role::ALL.into_iter().filter(|role| {
        // Withdrawn wins over granted.
        let flag = reader.flag(&key(*role), false);
        flag.unwrap_or(first == Some(*role))
    });
    granted.collect()
}

pub(super) fn write(writer: &mut Writer<'_>, role: Role, granted: bool) -> Result<(), RecordError> {
    writer.put(&key(role), granted)
}
