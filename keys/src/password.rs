//! Passwords: argon2id with a random salt, in the PHC string format.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

use crate::limits::{ARGON2_MEMORY_KIB, ARGON2_PASSES, PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN};

/// Why a password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short to resist guessing.
    #[error("a password has at least {PASSWORD_CHARACTERS_MIN} characters")]
    TooShort,
    /// Longer than anyone types.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// argon2 refused (no memory, for example).
    #[error("the password could not be hashed")]
    Hashing,
}

fn argon2id() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, 1, None).map_err(|_| PasswordError::Hashing)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a password. Takes about 50 ms and 46 MiB: call it off the async threads.
///
/// # Errors
/// When the password is too short or too long, or hashing fails.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(PasswordError::TooShort);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    let hash = argon2id()?
        .hash_password(password.as_bytes())
        .map_err(|_| PasswordError::Hashing)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one `stored` was made of. A malformed `stored` is simply no match.
#[must_use]
pub fn verify(password: &str, stored: &str) -> bool {
    if password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let (Ok(argon2), Ok(parsed)) = (argon2id(), PasswordHash::new(stored)) else {
        return false;
    };
    argon2.verify_password(password.as_bytes(), &parsed).is_ok()
}

/// Spends the time of one verification, so that an unknown name answers no sooner than a wrong password.
pub fn verify_nothing(password: &str) {
    if let (Ok(argon2), true) = (argon2id(), password.len() <= PASSWORD_BYTES_MAX) {
        // The result is thrown away on purpose: only the time counts.
        let _ = argon2.hash_password_into(password.as_bytes(), b"starling-no-such-name", &mut [0; 32]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_password_verifies_and_others_do_not() {
        let stored = hash("скворец-летит").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{stored}");
        assert!(verify("скворец-летит", &stored));
        assert!(!verify("скворец-летел", &stored));
        assert!(!verify("anything", "not a hash"));
        assert_ne!(stored, hash("скворец-летит").unwrap(), "each hash has its own salt");
    }

    #[test]
    fn bad_passwords_have_their_own_errors() {
        assert_eq!(hash("семьсем"), Err(PasswordError::TooShort));
        assert_eq!(hash(&"x".repeat(PASSWORD_BYTES_MAX + 1)), Err(PasswordError::TooLong));
    }
}
