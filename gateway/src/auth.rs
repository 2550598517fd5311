//! Who is asking: the tokens of signed-in devices, one-time links, and the person behind a request.
//!
//! ## Journey: a device signs in and stays signed in
//! [`passwords`] checks name, password and second factor -> [`devices::sign_in`] notes the device in the account (the sixth one makes
//! the longest unused leave, and an open page is a use) -> an access token for ten minutes and a refresh token, both in cookies that no script can read, the
//! access token also in the answer for programs -> each request: signature by a member, then whether the account as it is now still
//! knows the device ([`Person`]) -> [`devices::refresh`] counts the device's generation up. An older refresh token is a stolen one,
//! and signs the device out.

pub(crate) mod cookies;
pub(crate) mod devices;
pub(crate) mod lock;
pub(crate) mod open;
pub(crate) mod passwords;
pub(crate) mod programs;

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use crdt::{
    Store, StoreError,
    records::{
        EntryId,
        account::{Account, Role},
    },
};
use keys::{
    ContentId, NodeKey, Timestamp,
    identity::random_bytes,
    limits::{DEVICE_IDLE_MILLISECONDS, ONE_TIME_LINK_MILLISECONDS},
    token::{self, AccessToken, OneTimeLink, PersonRole},
};

use crate::{app::App, error::ApiError, limits::DEVICE_NEWS_MILLISECONDS};

/// Whether the mesh has an administrator already, as far as this node knows.
///
/// # Errors
/// When the store has stopped.
pub async fn has_administrator(store: &Store) -> Result<bool, StoreError> {
    let accounts = store.list::<Account>().await?;
    Ok(accounts
        .iter()
        .any(|(_, account)| account.roles.contains(Role::Administrator)))
}

/// The path of a link that makes the first administrator, worthless as soon as there is one.
#[must_use]
pub fn first_administrator_path(key: &NodeKey, mesh: ContentId) -> Option<String> {
    link_path(key, mesh, PersonRole::Administrator, true).map(|(path, _)| path)
}

/// A one-time link's path and its end. The token stands behind `#`, so that it never reaches a server's log.
pub(crate) fn link_path(key: &NodeKey, mesh: ContentId, role: PersonRole, first: bool) -> Option<(String, Timestamp)> {
    let expires = Timestamp::now().plus(ONE_TIME_LINK_MILLISECONDS);
    let link = OneTimeLink {
        mesh,
        role,
        first,
        nonce: random_bytes(),
        expires,
    };
    token::issue(key, &link)
        .ok()
        .map(|token| (format!("/welcome#{token}"), expires))
}

/// The person behind a request.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: ContentId,
    pub(crate) account: Arc<Account>,
    /// The device that asks.
    pub(crate) device: EntryId,
    /// When a second factor was last shown on it.
    pub(crate) second_factor: Option<Timestamp>,
}

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = ApiError;

    /// The guard has found the person already; an endpoint that is open to anyone has none.
    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::NotSignedIn)
    }
}

/// The person whose access token a request carries, in a header or in a cookie.
pub(crate) async fn person(app: &App, headers: &HeaderMap) -> Result<Person, ApiError> {
    let text = bearer(headers)
        .or_else(|| cookies::find(headers, cookies::ACCESS))
        .ok_or(ApiError::NotSignedIn)?;
    let now = Timestamp::now();
    let is_member = |node: &keys::NodeId| app.surroundings.is_member(node);
    let token: AccessToken = token::verify(text, app.mesh, now, is_member).map_err(|_| ApiError::NotSignedIn)?;
    let person = Person {
        id: token.person,
        account: account(app, token.person).await?,
        device: EntryId::from_bytes(token.device),
        second_factor: token.second_factor,
    };
    check_device(&person.account, person.device, now)?;
    Ok(person)
}

/// The account of a token. One that has not reached this node yet, or is gone, is nobody's.
pub(crate) async fn account(app: &App, id: ContentId) -> Result<Arc<Account>, ApiError> {
    match app.people.read(id).await {
        Ok(account) => Ok(account),
        Err(StoreError::NotFound | StoreError::Erased) => Err(ApiError::NotSignedIn),
        Err(error) => Err(error.into()),
    }
}

/// Whether a device may still act for a person.
pub(crate) fn check_device(account: &Account, device: EntryId, now: Timestamp) -> Result<(), ApiError> {
    if account.blocked {
        return Err(ApiError::AccountBlocked);
    }
    let live = account.live_devices();
    if let Some(found) = live.iter().find(|found| found.id == device) {
        return if now.since(found.seen) <= DEVICE_IDLE_MILLISECONDS {
            Ok(())
        } else {
            Err(ApiError::NotSignedIn)
        };
    }
    // It signed in at another node a moment ago, and word of it is on the way. One that was signed out is known here.
    let is_known = account.devices.iter().any(|known| known.id == device);
    let is_new = now.since(device.at()) <= DEVICE_NEWS_MILLISECONDS && device.at() >= account.signed_out;
    if !is_known && is_new {
        Ok(())
    } else {
        Err(ApiError::NotSignedIn)
    }
}

/// Looks again whether a person who came a while ago may still act, and at what the account says now.
pub(crate) async fn is_still(app: &App, person: &mut Person) -> bool {
    match app.people.read_anew(person.id).await {
        Ok(account) if check_device(&account, person.device, Timestamp::now()).is_ok() => {
            person.account = account;
            true
        }
        Ok(_) | Err(StoreError::NotFound | StoreError::Erased) => false,
        // A store that has trouble now says nothing about anybody.
        Err(_) => true,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What a person may do, as the API says it: the most powerful role.
pub(crate) fn role_name(account: &Account) -> &'static str {
    account.roles.highest().map_or("none", Role::name)
}

#[cfg(test)]
mod tests {
    use crdt::records::account::Device;

    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;

    fn device(number: u64) -> Device {
        Device {
            id: EntryId::new(Timestamp(number), 7),
            label: "a browser".into(),
            seen: Timestamp(number),
            generation: 0,
            signed_out: false,
        }
    }

    #[test]
    fn a_device_acts_until_it_is_signed_out_idle_or_blocked() {
        let mut account = Account::new("Рита", Role::User, Timestamp(0), [0; 16]);
        let (first, unknown) = (device(1000), device(2000));
        account.devices.push(first.clone());
        let now = Timestamp(3000);
        assert_eq!(check_device(&account, first.id, now), Ok(()));
        let late = Timestamp(1000 + 14 * DAY + 1);
        assert_eq!(
            check_device(&account, first.id, late),
            Err(ApiError::NotSignedIn),
            "idle"
        );
        // News of a sign-in elsewhere is on the way for a while.
        assert_eq!(check_device(&account, unknown.id, now), Ok(()));
        let late = unknown.id.at().plus(DEVICE_NEWS_MILLISECONDS + 1);
        assert_eq!(check_device(&account, unknown.id, late), Err(ApiError::NotSignedIn));
        account.signed_out = Timestamp(2001);
        assert_eq!(check_device(&account, unknown.id, now), Err(ApiError::NotSignedIn));
        assert_eq!(check_device(&account, first.id, now), Err(ApiError::NotSignedIn));
        account.signed_out = Timestamp(0);
        account.devices[0].signed_out = true;
        assert_eq!(check_device(&account, first.id, now), Err(ApiError::NotSignedIn));
        account.blocked = true;
        assert_eq!(check_device(&account, unknown.id, now), Err(ApiError::AccountBlocked));
    }
}
