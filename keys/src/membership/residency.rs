//! Where a node stands, in the operator's own word, so that personal data can be kept on nodes of one country.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits::RESIDENCY_BYTES_MAX;

/// A short label such as `ru`: lower-case letters, digits and hyphens. Labels are compared as they are; what each means is the
/// operator's agreement with themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Residency(String);

/// Why a text is not a residency label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResidencyError {
    /// Empty or too long.
    #[error("a residency label has 1 to {RESIDENCY_BYTES_MAX} characters, not {0}")]
    Length(usize),
    /// Something else than the characters a label is made of.
    #[error("a residency label is made of a-z, 0-9 and \"-\", for example \"ru\"; {0:?} does not belong in one")]
    Character(char),
}

impl Residency {
    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Residency {
    type Error = ResidencyError;

    fn try_from(label: String) -> Result<Self, ResidencyError> {
        let belongs = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '-');
        if let Some(foreign) = label.chars().find(|&character| !belongs(character)) {
            return Err(ResidencyError::Character(foreign));
        }
        if label.is_empty() || label.len() > RESIDENCY_BYTES_MAX {
            return Err(ResidencyError::Length(label.len()));
        }
        Ok(Self(label))
    }
}

impl FromStr for Residency {
    type Err = ResidencyError;

    fn from_str(label: &str) -> Result<Self, ResidencyError> {
        Self::try_from(label.to_owned())
    }
}

impl From<Residency> for String {
    fn from(residency: Residency) -> Self {
        residency.0
    }
}

impl fmt::Display for Residency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_lower_case_and_plain_wherever_it_comes_from() {
        for label in ["ru", "eu-west-1", "x", &"a".repeat(RESIDENCY_BYTES_MAX)] {
            let residency: Residency = label.parse().unwrap();
            assert_eq!((residency.as_str(), residency.to_string().as_str()), (label, label));
            let bytes = postcard::to_stdvec(&residency).unwrap();
            assert_eq!(postcard::from_bytes(&bytes), Ok(residency));
        }
        let long = "a".repeat(RESIDENCY_BYTES_MAX + 1);
        for (label, error) in [
            ("", ResidencyError::Length(0)),
            (long.as_str(), ResidencyError::Length(RESIDENCY_BYTES_MAX + 1)),
            ("RU", ResidencyError::Character('R')),
            ("r u", ResidencyError::Character(' ')),
            ("рф", ResidencyError::Character('р')),
        ] {
            assert_eq!(label.parse::<Residency>(), Err(error));
            // Signed bytes are no way around the rule.
            let bytes = postcard::to_stdvec(label).unwrap();
            assert!(postcard::from_bytes::<Residency>(&bytes).is_err());
        }
    }
}
