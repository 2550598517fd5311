//! How a stored value of an older version becomes one of today: each version names the one before it and how to get from there.
//!
//! The idea is Garage's (`src/util/migrate.rs`): a type tries its own version byte, and otherwise lets its predecessor try and
//! migrates what that one read, back to the first version. Types of old versions stay in the code as long as their bytes may stand
//! somewhere, which in a mesh is for ever.

use keys::versioned::{self, VersionedError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::limits::CHANGE_BYTES_MAX;

/// A stored value with a version and a predecessor.
pub trait Migrate: Serialize + DeserializeOwned {
    /// The first byte of the stored value.
    const VERSION: u8;
    /// The version before this one.
    type Previous: Migrate;

    /// Makes a value of this version from one of the version before.
    fn migrate(previous: Self::Previous) -> Self;

    /// Reads a value of this version or of any older one; `None` for bytes that are neither.
    #[must_use]
    fn decode(bytes: &[u8]) -> Option<Self> {
        match versioned::decode(Self::VERSION, bytes, CHANGE_BYTES_MAX) {
            Ok(value) => Some(value),
            Err(VersionedError::OtherVersion { .. }) => Self::Previous::decode(bytes).map(Self::migrate),
            Err(VersionedError::TooLarge { .. } | VersionedError::Malformed) => None,
        }
    }

    /// Writes a value behind the byte of this version.
    ///
    /// # Errors
    /// When it is larger than a change may be.
    fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(Self::VERSION, self, CHANGE_BYTES_MAX)
    }
}

/// The first version of a stored value. It has no predecessor.
pub trait InitialFormat: Serialize + DeserializeOwned {
    /// The first byte of the stored value.
    const VERSION: u8;
}

impl<T: InitialFormat> Migrate for T {
    const VERSION: u8 = <T as InitialFormat>::VERSION;
    type Previous = Nothing;

    fn migrate(previous: Nothing) -> Self {
        match previous {}
    }
}

/// What stands before the first version: no value is of this type.
#[derive(Debug, Serialize, Deserialize)]
pub enum Nothing {}

impl Migrate for Nothing {
    const VERSION: u8 = 0;
    type Previous = Self;

    fn migrate(previous: Self) -> Self {
        previous
    }

    fn decode(_: &[u8]) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct First {
        seconds: u32,
    }
    impl InitialFormat for First {
        const VERSION: u8 = 1;
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        milliseconds: u64,
    }
    impl Migrate for Second {
        const VERSION: u8 = 2;
        type Previous = First;
        fn migrate(previous: First) -> Self {
            Self {
                milliseconds: u64::from(previous.seconds) * 1000,
            }
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Third {
        milliseconds: u64,
        zone: i8,
    }
    impl Migrate for Third {
        const VERSION: u8 = 3;
        type Previous = Second;
        fn migrate(previous: Second) -> Self {
            Self {
                milliseconds: previous.milliseconds,
                zone: 0,
            }
        }
    }

    #[test]
    fn every_older_version_is_read_and_no_later_one() {
        let expected = Third {
            milliseconds: 5000,
            zone: 0,
        };
        let first = First { seconds: 5 }.encode().unwrap();
        let second = Second { milliseconds: 5000 }.encode().unwrap();
        assert_eq!((first[0], second[0]), (1, 2));
        assert_eq!(Third::decode(&first).as_ref(), Some(&expected));
        assert_eq!(Third::decode(&second).as_ref(), Some(&expected));
        assert_eq!(Third::decode(&expected.encode().unwrap()).as_ref(), Some(&expected));
        assert_eq!(Second::decode(&expected.encode().unwrap()), None, "a later version");
        assert_eq!(Third::decode(&[]), None);
        assert_eq!(Third::decode(&[1, 5, 0]), None, "something behind it");
        assert_eq!(Third::decode(&[0, 5]), None, "version 0 was never written");
    }
}
