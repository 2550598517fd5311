//! Tokens of signed-in devices and one-time links: small signed objects that any member verifies without a shared secret.
//!
//! An [`AccessToken`] says for ten minutes who is asking; a [`RefreshToken`] gets the next one, and is good for one use: its number
//! must be the one that the account's record has of that device. So what is stolen is found out by being used twice.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ContentId, NodeId, NodeKey, Payload, Signed, SignedError, Timestamp,
    limits::{ACCESS_TOKEN_SKEW_MILLISECONDS, CLOCK_SKEW_MILLISECONDS, TOKEN_CHARACTERS_MAX},
};

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PersonRole {
    /// Chats.
    User,
    /// Looks after the mesh and its people.
    Administrator,
    /// Makes characters.
    Manager,
    /// Looks after people and what they write.
    Moderator,
}

/// Proof that a person is signed in on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The person's account document.
    pub person: ContentId,
    /// The device, as the account's record names it.
    pub device: [u8; 16],
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When the person last showed a second factor on this device.
    pub second_factor: Option<Timestamp>,
}

impl Payload for AccessToken {
    const DOMAIN: &'static str = "starling/access-token/1";
}

/// The right of a device to a further [`AccessToken`], once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshToken {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The person's account document.
    pub person: ContentId,
    /// The device, as the account's record names it.
    pub device: [u8; 16],
    /// How many were issued to the device before this one.
    pub generation: u64,
    /// When it ends, unless it is used before.
    pub expires: Timestamp,
    /// When the person last showed a second factor on this device.
    pub second_factor: Option<Timestamp>,
}

impl Payload for RefreshToken {
    const DOMAIN: &'static str = "starling/refresh-token/1";
}

/// What a link in a letter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountLinkPurpose {
    /// Whoever opens it reads letters to the address of the account.
    ConfirmAddress,
    /// Whoever opens it may choose another password.
    ResetPassword,
}

/// A link about an account that exists. It is used up by what it does: an address is confirmed once, and another password counts the
/// generation up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLink {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The account.
    pub account: ContentId,
    /// What it is for.
    pub purpose: AccountLinkPurpose,
    /// The generation of the account's credential when it was made.
    pub generation: u64,
    /// When it ends.
    pub expires: Timestamp,
}

impl Payload for AccountLink {
    const DOMAIN: &'static str = "starling/account-link/1";
}

/// A link that makes one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimeLink {
    /// The mesh it is for.
    pub mesh: ContentId,
    /// The role of the account it makes.
    pub role: PersonRole,
    /// Whether it makes the mesh's first administrator: worthless as soon as there is one.
    pub first: bool,
    /// Remembered in the account that used it, so that it makes only one.
    pub nonce: [u8; 16],
    /// When it ends.
    pub expires: Timestamp,
}

impl Payload for OneTimeLink {
    const DOMAIN: &'static str = "starling/one-time-link/1";
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token at all, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// The signature does not verify.
    #[error("the token is not genuine: {0}")]
    Signature(#[from] SignedError),
    /// Signed by a node that is not a member.
    #[error("the token was issued by a node that is not a member")]
    UnknownIssuer,
    /// Its time is over, or it is of another mesh.
    #[error("the token has expired or belongs to another mesh")]
    Expired,
}

/// A token with an end and a mesh.
pub trait Expiring: Payload + DeserializeOwned {
    /// The mesh it is for.
    fn mesh(&self) -> ContentId;
    /// When it ends.
    fn expires(&self) -> Timestamp;
    /// How far the clocks of issuer and judge may differ.
    const SKEW_MILLISECONDS: u64 = CLOCK_SKEW_MILLISECONDS;
}

impl Expiring for AccessToken {
    fn mesh(&self) -> ContentId {
        self.mesh
    }
    fn expires(&self) -> Timestamp {
        self.expires
    }
    // Where clocks differ by more, the device asks for another one a little sooner; that costs one request.
    const SKEW_MILLISECONDS: u64 = ACCESS_TOKEN_SKEW_MILLISECONDS;
}

impl Expiring for RefreshToken {
    fn mesh(&self) -> ContentId {
        self.mesh
    }
    fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl Expiring for AccountLink {
    fn mesh(&self) -> ContentId {
        self.mesh
    }
    fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl Expiring for OneTimeLink {
    fn mesh(&self) -> ContentId {
        self.mesh
    }
    fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// Signs a token as `issuer` and writes it as text for a cookie or a link.
///
/// # Errors
/// When signing fails.
pub fn issue<T: Expiring>(issuer: &NodeKey, token: &T) -> Result<String, SignedError> {
    Ok(BASE64URL_NOPAD.encode(&Signed::sign(issuer, token)?.to_bytes()))
}

/// Reads and verifies a token; `is_member` says whether an issuer may be believed.
///
/// # Errors
/// Why it is not accepted.
pub fn verify<T: Expiring>(
    text: &str,
    mesh: ContentId,
    now: Timestamp,
    is_member: impl Fn(&NodeId) -> bool,
) -> Result<T, TokenError> {
    if text.len() > TOKEN_CHARACTERS_MAX {
        return Err(TokenError::Malformed);
    }
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| TokenError::Malformed)?;
    let signed = Signed::<T>::from_bytes(&bytes).map_err(|_| TokenError::Malformed)?;
    let token = signed.open()?;
    if !is_member(&signed.author()) {
        return Err(TokenError::UnknownIssuer);
    }
    if token.mesh() != mesh || now > token.expires().plus(T::SKEW_MILLISECONDS) {
        return Err(TokenError::Expired);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_only_from_a_member_in_time_and_for_its_purpose() {
        let key = NodeKey::from_seed(&[1; 32]);
        let mesh = ContentId::of(b"mesh");
        let token = AccessToken {
            mesh,
            person: ContentId([2; 32]),
            device: [3; 16],
            issued: Timestamp(0),
            expires: Timestamp(1000),
            second_factor: Some(Timestamp(0)),
        };
        let text = issue(&key, &token).unwrap();
        assert!(text.len() <= TOKEN_CHARACTERS_MAX);
        let member = |id: &NodeId| *id == key.id();
        assert_eq!(verify(&text, mesh, Timestamp(1000), member), Ok(token));
        let late = Timestamp(1001 + ACCESS_TOKEN_SKEW_MILLISECONDS);
        assert_eq!(
            verify::<AccessToken>(&text, mesh, late, member),
            Err(TokenError::Expired)
        );
        assert_eq!(
            verify::<AccessToken>(&text, ContentId([9; 32]), Timestamp(0), member),
            Err(TokenError::Expired)
        );
        assert_eq!(
            verify::<AccessToken>(&text, mesh, Timestamp(0), |_| false),
            Err(TokenError::UnknownIssuer)
        );
        assert!(matches!(
            verify::<OneTimeLink>(&text, mesh, Timestamp(0), member),
            Err(TokenError::Signature(_))
        ));
        assert_eq!(
            verify::<AccessToken>("%%%", mesh, Timestamp(0), member),
            Err(TokenError::Malformed)
        );
    }
}
