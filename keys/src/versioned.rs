//! One way to write down what lasts: a version byte, then postcard, and nothing behind it.
//!
//! Reading is bounded before it is parsed, and refuses what is cut, what has something behind it, and what is of another version,
//! each with its own error, so that a caller can try an older version.

use serde::{Deserialize, Serialize};

/// Why bytes are not the value that was asked for, or a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionedError {
    /// More bytes than the caller allows.
    #[error("{bytes} bytes are over the limit of {limit}")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The first byte says another version.
    #[error("the version is {found}, not {expected}")]
    OtherVersion {
        /// What the first byte says.
        found: u8,
        /// What was asked for.
        expected: u8,
    },
    /// Empty, cut, not of this shape, or with something behind it.
    #[error("the bytes are cut or malformed")]
    Malformed,
}

/// Writes `value` behind its version byte.
///
/// # Errors
/// [`VersionedError::TooLarge`] when more than `limit` bytes come out; [`VersionedError::Malformed`] when the type cannot be written
/// with postcard at all (a map of unknown length, for example).
pub fn encode<T: Serialize>(version: u8, value: &T, limit: usize) -> Result<Vec<u8>, VersionedError> {
    let bytes = postcard::to_extend(value, vec![version]).map_err(|_| VersionedError::Malformed)?;
    check_size(bytes.len(), limit)?;
    Ok(bytes)
}

/// Reads what [`encode`] wrote under the same version.
///
/// # Errors
/// Why the bytes are refused.
pub fn decode<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8], limit: usize) -> Result<T, VersionedError> {
    check_size(bytes.len(), limit)?;
    let Some((&found, body)) = bytes.split_first() else {
        return Err(VersionedError::Malformed);
    };
    if found != version {
        return Err(VersionedError::OtherVersion {
            found,
            expected: version,
        });
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(VersionedError::Malformed),
    }
}

const fn check_size(bytes: usize, limit: usize) -> Result<(), VersionedError> {
    if bytes > limit {
        Err(VersionedError::TooLarge { bytes, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_everything_else_has_its_own_error() {
        let value = (7u64, "звезда".to_owned());
        let bytes = encode(3, &value, 100).unwrap();
        assert_eq!(bytes[0], 3);
        assert_eq!(decode::<(u64, String)>(3, &bytes, 100), Ok(value.clone()));
        let other = VersionedError::OtherVersion { found: 3, expected: 4 };
        assert_eq!(decode::<(u64, String)>(4, &bytes, 100), Err(other));
        let length = bytes.len();
        let large = VersionedError::TooLarge {
            bytes: length,
            limit: length - 1,
        };
        assert_eq!(decode::<(u64, String)>(3, &bytes, length - 1), Err(large));
        assert_eq!(encode(3, &value, length - 1), Err(large));
        assert!(encode(3, &value, length).is_ok() && decode::<(u64, String)>(3, &bytes, length).is_ok());
    }

    #[test]
    fn cut_lengthened_and_empty_bytes_are_malformed() {
        let bytes = encode(1, &(7u64, "abc".to_owned()), 100).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(
                decode::<(u64, String)>(1, &bytes[..length], 100),
                Err(VersionedError::Malformed),
                "cut at {length}"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode::<(u64, String)>(1, &longer, 100), Err(VersionedError::Malformed));
    }

    /// A length that promises more than there is must not reserve it.
    #[test]
    fn a_promised_length_costs_nothing() {
        let promise = [1, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(decode::<Vec<u64>>(1, &promise, 100), Err(VersionedError::Malformed));
    }
}
