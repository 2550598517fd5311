//! Keys for programs: one line that names an account and one of its keys, and holds a secret that nobody keeps but its owner.
//!
//! A mesh remembers only the [`ApiKey::hash`]. The secret has 256 random bits, so a fast hash is enough: there is nothing to guess.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::{ContentId, identity::random_bytes, limits::API_KEY_CHARACTERS_MAX};

/// Before every key, so that a person and a scanner of leaked secrets know one; the digit is the version.
const PREFIX: &str = "sk-starling1-";
/// What is hashed is hashed for nothing else.
const CONTEXT: &str = "starling 2026-11-29 api key";
const ACCOUNT: usize = 32;
const ID: usize = 16;
const SECRET: usize = 32;

/// A key as its owner holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    account: ContentId,
    id: [u8; ID],
    secret: Zeroizing<[u8; SECRET]>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey(of {:?})", self.account)
    }
}

impl ApiKey {
    /// A fresh key of an account, under an id that the account has for it.
    #[must_use]
    pub fn new(account: ContentId, id: [u8; ID]) -> Self {
        Self::from_parts(account, id, random_bytes())
    }

    /// A key of known parts.
    #[must_use]
    pub fn from_parts(account: ContentId, id: [u8; ID], secret: [u8; SECRET]) -> Self {
        Self {
            account,
            id,
            secret: Zeroizing::new(secret),
        }
    }

    /// Whose it is, as it says itself.
    #[must_use]
    pub const fn account(&self) -> ContentId {
        self.account
    }

    /// Which of the account's keys.
    #[must_use]
    pub const fn id(&self) -> [u8; ID] {
        self.id
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.account.0[..], &self.id, &*self.secret].concat())
    }

    /// The line that is shown once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&self.bytes())))
    }

    /// Reads such a line; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > API_KEY_CHARACTERS_MAX {
            return None;
        }
        let encoded = text.strip_prefix(PREFIX)?;
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?);
        let (account, rest) = bytes.split_at_checked(ACCOUNT)?;
        let (id, secret) = rest.split_at_checked(ID)?;
        Some(Self::from_parts(
            ContentId(account.try_into().ok()?),
            id.try_into().ok()?,
            secret.try_into().ok()?,
        ))
    }

    /// What is remembered of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key(CONTEXT, &self.bytes())
    }

    /// Whether it is the key that was remembered, in a time that tells nothing.
    #[must_use]
    pub fn is_remembered(&self, hash: &[u8; 32]) -> bool {
        // This comparison takes the same time wherever the two differ.
        blake3::Hash::from(self.hash()) == *hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_and_nothing_else_is() {
        let key = ApiKey::new(ContentId([1; 32]), [2; 16]);
        let text = key.to_text();
        assert!(text.len() <= API_KEY_CHARACTERS_MAX && text.starts_with("sk-starling1-"));
        let read = ApiKey::parse(&text).unwrap();
        assert_eq!((read.account(), read.id()), (ContentId([1; 32]), [2; 16]));
        assert!(read.is_remembered(&key.hash()));
        assert!(!ApiKey::new(ContentId([1; 32]), [2; 16]).is_remembered(&key.hash()));
        let secret = BASE64URL_NOPAD.encode(&*key.secret);
        assert!(!format!("{key:?}").contains(&secret[..8]));
        for wrong in [
            "",
            "sk-starling1-",
            "sk-starling2-AAAA",
            &text[1..],
            &text[..text.len() - 4],
        ] {
            assert_eq!(ApiKey::parse(wrong), None, "{wrong}");
        }
        assert_eq!(ApiKey::parse(&format!("{}AAAA", *text)), None);
    }
}
