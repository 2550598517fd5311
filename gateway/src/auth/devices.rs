//! A device signs in, goes on, and leaves.

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::AppendHeaders,
};
use crdt::records::{
    EntryId,
    account::{AccountEdit, Device, LABEL_CHARACTERS_MAX},
};
use keys::{
    ContentId, Timestamp,
    identity::random_bytes,
    limits::{ACCESS_TOKEN_MILLISECONDS, DEVICE_IDLE_MILLISECONDS},
    token::{self, AccessToken, RefreshToken},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Person, account, check_device, cookies};
use crate::{
    app::App,
    error::ApiError,
    limits::{DEVICE_NOTED_EVERY_MILLISECONDS, REFRESH_OVERLAP_MILLISECONDS},
    routes::PersonBody,
};

/// The headers that carry both cookies.
pub(crate) type Cookies = AppendHeaders<[(header::HeaderName, HeaderValue); 2]>;

/// A person who is signed in, with the token that a program shows. A page needs none: it has the cookies.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedInAnswer {
    person: PersonBody,
    /// For `Authorization: Bearer`, at any gateway of the mesh.
    access_token: String,
    /// Milliseconds since the Unix epoch; then `POST /api/v1/refresh` gives another one.
    expires_at: u64,
}

fn cookie_headers(cookies: [HeaderValue; 2]) -> Cookies {
    AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie)))
}

/// The headers that sign a device out.
pub(crate) fn leaving(app: &App) -> Result<Cookies, ApiError> {
    Ok(cookie_headers(cookies::signed_out(app.is_encrypted())?))
}

/// What a device calls itself.
pub(crate) fn label(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    agent.unwrap_or_default().chars().take(LABEL_CHARACTERS_MAX).collect()
}

/// Notes a new device of a person, and signs it in.
pub(crate) async fn sign_in(
    app: &App,
    person: ContentId,
    label: String,
    second_factor: Option<Timestamp>,
) -> Result<(Cookies, SignedInAnswer), ApiError> {
    // Of those used last the account keeps five by itself; which pages are open is known only here.
    let before = account(app, person).await?;
    if let Some(leaves) = app.open.leaves(person, &before) {
        app.people.edit(person, AccountEdit::SignOut(leaves)).await?;
    }
    let now = Timestamp::now();
    let device = EntryId::new(now, u128::from_le_bytes(random_bytes()));
    let edit = AccountEdit::AddDevice(Device {
        id: device,
        label: label.into(),
        seen: now,
        generation: 0,
        signed_out: false,
    });
    app.people.edit(person, edit).await?;
    let person = Person {
        id: person,
        account: account(app, person).await?,
        device,
        second_factor,
    };
    issue(app, &person, 0, now)
}

/// Both tokens for a device of a person, the refresh token of this generation.
pub(crate) fn issue(
    app: &App,
    person: &Person,
    generation: u64,
    now: Timestamp,
) -> Result<(Cookies, SignedInAnswer), ApiError> {
    let (device, second_factor) = (*person.device.bytes(), person.second_factor);
    let expires = now.plus(ACCESS_TOKEN_MILLISECONDS);
    let access = AccessToken {
        mesh: app.mesh,
        person: person.id,
        device,
        issued: now,
        expires,
        second_factor,
    };
    let refresh = RefreshToken {
        mesh: app.mesh,
        person: person.id,
        device,
        generation,
        expires: now.plus(DEVICE_IDLE_MILLISECONDS),
        second_factor,
    };
    let access = token::issue(&app.key, &access).map_err(|_| ApiError::StorageUnavailable)?;
    let refresh = token::issue(&app.key, &refresh).map_err(|_| ApiError::StorageUnavailable)?;
    let cookies = cookie_headers(cookies::signed_in(&access, &refresh, app.is_encrypted())?);
    let answer = SignedInAnswer {
        person: person.into(),
        access_token: access,
        expires_at: expires.0,
    };
    Ok((cookies, answer))
}

/// Both tokens anew for a device that has just shown a second factor.
pub(crate) fn with_second_factor(
    app: &App,
    person: Person,
    shown: Timestamp,
) -> Result<(Cookies, SignedInAnswer), ApiError> {
    let device = person.account.devices.iter().find(|device| device.id == person.device);
    let generation = device.map_or(0, |device| device.generation);
    let person = Person {
        second_factor: Some(shown),
        ..person
    };
    issue(app, &person, generation, Timestamp::now())
}

/// Whose device the request's refresh token belongs to, if it is a genuine one.
pub(crate) fn of_refresh_token(app: &App, headers: &HeaderMap) -> Option<(ContentId, EntryId)> {
    let text = cookies::find(headers, cookies::REFRESH)?;
    let is_member = |node: &keys::NodeId| app.surroundings.is_member(node);
    let token: RefreshToken = token::verify(text, app.mesh, Timestamp::now(), is_member).ok()?;
    Some((token.person, EntryId::from_bytes(token.device)))
}

/// What a refresh token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// The next generation.
    Next,
    /// The same again: two tabs of one browser asked at once, or the answer to the first was lost.
    Same,
    /// It was used before: whoever shows it now, or whoever did then, has stolen it.
    Stolen,
}

fn worth(shown: u64, device: &Device, now: Timestamp) -> Worth {
    match device.generation.checked_sub(shown) {
        // Word of a use at another node may still be on the way.
        Some(0) | None => Worth::Next,
        Some(1) if now.since(device.seen) <= REFRESH_OVERLAP_MILLISECONDS => Worth::Same,
        Some(_) => Worth::Stolen,
    }
}

/// When an open page counts as used that is open now: a little ago, because right after a use an older refresh token is good, and a page
/// that is merely open must not make one good.
const fn noted_as_open(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(REFRESH_OVERLAP_MILLISECONDS + 1))
}

/// A page of a device is open: that is a use, which the account notes now and then.
pub(crate) async fn note_open(app: &App, person: &Person) {
    let now = Timestamp::now();
    let device = person.account.devices.iter().find(|device| device.id == person.device);
    let Some(device) = device.filter(|device| now.since(device.seen) > DEVICE_NOTED_EVERY_MILLISECONDS) else {
        return;
    };
    let edit = AccountEdit::TouchDevice {
        device: device.id,
        seen: noted_as_open(now),
        generation: device.generation,
    };
    if let Err(error) = app.people.edit(person.id, edit).await {
        tracing::debug!(%error, "the use of a device is noted later");
    }
}

/// Another access token for the device whose refresh token the request carries.
pub(crate) async fn refresh(app: &App, headers: &HeaderMap) -> Result<(Cookies, SignedInAnswer), ApiError> {
    let now = Timestamp::now();
    let text = cookies::find(headers, cookies::REFRESH).ok_or(ApiError::NotSignedIn)?;
    let is_member = |node: &keys::NodeId| app.surroundings.is_member(node);
    let token: RefreshToken = token::verify(text, app.mesh, now, is_member).map_err(|_| ApiError::NotSignedIn)?;
    let account = account(app, token.person).await?;
    let id = EntryId::from_bytes(token.device);
    check_device(&account, id, now)?;
    // A device of which word has not come yet cannot be counted up; its page asks again in a moment.
    let device = account.devices.iter().find(|device| device.id == id);
    let device = device.ok_or(ApiError::TooManyRequests { seconds: 1 })?;
    let person = Person {
        id: token.person,
        account: account.clone(),
        device: id,
        second_factor: token.second_factor,
    };
    match worth(token.generation, device, now) {
        Worth::Same => issue(app, &person, device.generation, now),
        Worth::Next => {
            let generation = token.generation + 1;
            let edit = AccountEdit::TouchDevice {
                device: id,
                seen: now,
                generation,
            };
            app.people.edit(person.id, edit).await?;
            issue(app, &person, generation, now)
        }
        Worth::Stolen => {
            tracing::warn!(device = %id, "a refresh token was used twice; its device is signed out");
            app.people.edit(person.id, AccountEdit::SignOut(id)).await?;
            Err(ApiError::TokenReused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_good_once_but_for_two_tabs_at_the_same_moment() {
        let device = Device {
            id: EntryId::new(Timestamp(0), 1),
            label: "a browser".into(),
            seen: Timestamp(1000),
            generation: 5,
            signed_out: false,
        };
        let soon = Timestamp(1000 + REFRESH_OVERLAP_MILLISECONDS);
        assert_eq!(worth(5, &device, soon), Worth::Next);
        assert_eq!(
            worth(6, &device, soon),
            Worth::Next,
            "used at a node from which word is on the way"
        );
        assert_eq!(worth(4, &device, soon), Worth::Same);
        assert_eq!(worth(4, &device, soon.plus(1)), Worth::Stolen);
        assert_eq!(worth(3, &device, Timestamp(1000)), Worth::Stolen);
    }

    // Red when: a page that is merely open makes a used refresh token good again.
    #[test]
    fn an_open_page_makes_no_old_token_good() {
        let now = Timestamp(1_000_000);
        let seen = |seen| Device {
            id: EntryId::new(Timestamp(0), 1),
            label: "a browser".into(),
            seen,
            generation: 5,
            signed_out: false,
        };
        assert_eq!(worth(4, &seen(noted_as_open(now)), now), Worth::Stolen);
        assert_eq!(worth(4, &seen(now), now), Worth::Same, "as a use does");
    }
}
