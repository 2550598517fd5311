//! What a node may do, as a set of bits and as text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a node may do in the mesh, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Roles(u8);

/// Why a text does not name roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolesError {
    /// A word that is no role.
    #[error("\"{0}\" is not a role; the roles are {roles}, separated by commas", roles = Roles::ALL)]
    Unknown(String),
    /// Nothing at all; a member without a role would be of no use.
    #[error("no role is named; the roles are {roles}, separated by commas", roles = Roles::ALL)]
    Empty,
}

impl Roles {
    /// Serves people.
    pub const GATEWAY: Self = Self(1);
    /// Generates answers.
    pub const WORKER: Self = Self(2);
    /// Carries connections of members that cannot reach each other.
    pub const RELAY: Self = Self(4);
    /// Keeps documents.
    pub const STORAGE: Self = Self(8);
    /// Invites and revokes.
    pub const OPERATOR: Self = Self(16);
    /// What a usual node does: everything but being an operator.
    pub const NODE: Self = Self(15);
    /// Every role there is.
    const ALL: Self = Self(31);
    /// Each role with its word, in the order in which they are said.
    const WORDS: [(Self, &'static str); 5] = [
        (Self::GATEWAY, "gateway"),
        (Self::WORKER, "worker"),
        (Self::RELAY, "relay"),
        (Self::STORAGE, "storage"),
        (Self::OPERATOR, "operator"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every role of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether what people say may be in the clear on such a node: gateways show it and storage nodes keep it; a worker sees one
    /// prompt at a time, and a relay nothing. Only these are given data keys.
    #[must_use]
    pub const fn holds_data_keys(self) -> bool {
        self.contains(Self::GATEWAY) || self.contains(Self::STORAGE)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (role, word) in Self::WORDS {
            if self.contains(role) {
                write!(formatter, "{between}{word}")?;
                between = ",";
            }
        }
        // A newer release may know roles that this one has no word for.
        if between.is_empty() {
            formatter.write_str("none")
        } else {
            Ok(())
        }
    }
}

impl FromStr for Roles {
    type Err = RolesError;

    /// Words in any order and case, with or without blanks around them; one said twice counts once.
    fn from_str(text: &str) -> Result<Self, RolesError> {
        if text.trim().is_empty() {
            return Err(RolesError::Empty);
        }
        let mut roles = Self(0);
        for said in text.split(',').map(str::trim) {
            let known = Self::WORDS.iter().find(|(_, word)| said.eq_ignore_ascii_case(word));
            let (role, _) = known.ok_or_else(|| RolesError::Unknown(said.to_owned()))?;
            roles = roles.with(*role);
        }
        Ok(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_read_back_from_its_text() {
        for bits in 1..=Roles::ALL.0 {
            assert_eq!(Roles(bits).to_string().parse(), Ok(Roles(bits)));
        }
        assert_eq!(Roles::NODE.to_string(), "gateway,worker,relay,storage");
        assert_eq!(
            " Worker, gateway,worker ".parse(),
            Ok(Roles::GATEWAY.with(Roles::WORKER))
        );
        assert_eq!(Roles(64).to_string(), "none");
    }

    #[test]
    fn what_is_no_role_is_named_together_with_what_is_one() {
        assert_eq!(" ".parse::<Roles>(), Err(RolesError::Empty));
        for (text, wrong) in [("gateway,chef", "chef"), ("gateway,,worker", ""), ("none", "none")] {
            let error = text.parse::<Roles>().unwrap_err();
            assert_eq!(error, RolesError::Unknown(wrong.into()));
            assert!(
                error.to_string().contains("gateway,worker,relay,storage,operator"),
                "{error}"
            );
        }
    }

    #[test]
    fn only_gateways_and_storage_nodes_hold_data_keys() {
        assert!(Roles::GATEWAY.holds_data_keys() && Roles::STORAGE.holds_data_keys() && Roles::NODE.holds_data_keys());
        assert!(!Roles::WORKER.with(Roles::RELAY).with(Roles::OPERATOR).holds_data_keys());
    }
}
