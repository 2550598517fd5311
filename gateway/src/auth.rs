//! Who is asking: session cookies, one-time links, and the person behind a request.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use crdt::{
    Store, StoreError,
    records::{
        Sealed,
        account::{Account, Role, folded_name},
        credential::Credential,
    },
};
use keys::{
    ContentId, NodeKey, Timestamp,
    identity::random_bytes,
    limits::{ONE_TIME_LINK_MILLISECONDS, SESSION_TOKEN_MILLISECONDS},
    password,
    token::{self, OneTimeLink, PersonRole, SessionToken},
};

use crate::{app::App, error::ApiError};

const COOKIE: &str = "starling_session";

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
pub(crate) struct Person {
    pub(crate) id: ContentId,
    pub(crate) account: Account,
}

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        person(app, &parts.headers).await
    }
}

/// The person whose session cookie a request carries.
pub(crate) async fn person(app: &App, headers: &HeaderMap) -> Result<Person, ApiError> {
    let cookie = cookie(headers).ok_or(ApiError::NotSignedIn)?;
    let is_member = |node: &keys::NodeId| app.surroundings.is_member(node);
    let token: SessionToken =
        token::verify(cookie, app.mesh, Timestamp::now(), is_member).map_err(|_| ApiError::NotSignedIn)?;
    match app.store.read::<Account>(token.person).await {
        Ok(account) => Ok(Person {
            id: token.person,
            account,
        }),
        // The account has not reached this node yet, or is gone.
        Err(StoreError::NotFound) => Err(ApiError::NotSignedIn),
        Err(error) => Err(error.into()),
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The header that signs a person in.
pub(crate) fn session_cookie(app: &App, person: ContentId) -> Result<HeaderValue, ApiError> {
    let issued = Timestamp::now();
    let expires = issued.plus(SESSION_TOKEN_MILLISECONDS);
    let token = token::issue(
        &app.key,
        &SessionToken {
            mesh: app.mesh,
            person,
            issued,
            expires,
        },
    );
    let token = token.map_err(|_| ApiError::StorageUnavailable)?;
    let seconds = SESSION_TOKEN_MILLISECONDS / 1000;
    HeaderValue::from_str(&format!(
        "{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}"
    ))
    .map_err(|_| ApiError::StorageUnavailable)
}

/// The header that signs a person out.
pub(crate) const fn no_cookie() -> HeaderValue {
    HeaderValue::from_static("starling_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

/// Hashes a password off the async threads, at most one per core at a time.
pub(crate) async fn hash_password(app: &App, password: String) -> Result<String, ApiError> {
    Ok(on_a_core(app, move || password::hash(&password)).await??)
}

async fn on_a_core<T: Send + 'static>(app: &App, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let busy = |_| ApiError::TooManyRequests { seconds: 5 };
    let waiting = tokio::time::timeout(Duration::from_secs(10), app.hashing.clone().acquire_owned());
    // The semaphore is never closed, so the inner error cannot come.
    let permit = waiting.await.map_err(busy)?.map_err(|_| ApiError::StorageUnavailable)?;
    let worked = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    });
    worked.await.map_err(|_| ApiError::StorageUnavailable)
}

/// The account of this name, if there is one.
pub(crate) async fn find_account(store: &Store, name: &str) -> Result<Option<(ContentId, Account)>, StoreError> {
    let wanted = folded_name(name);
    let mut accounts: Vec<_> = store
        .list::<Account>()
        .await?
        .into_iter()
        .filter(|(_, account)| account.name.is_readable() && folded_name(account.name.text()) == wanted)
        .collect();
    // Two accounts of one name, made on both sides of a split: the older one keeps the name (ties by id).
    accounts.sort_by_key(|(id, account)| (account.created, *id));
    Ok(accounts.into_iter().next())
}

/// Checks name and password; an unknown name takes as long and answers the same as a wrong password.
pub(crate) async fn check_password(app: &App, name: &str, password: String) -> Result<(ContentId, Account), ApiError> {
    let account = find_account(&app.store, name).await?;
    let stored = match &account {
        Some((id, _)) => {
            let credentials = app.store.list_of::<Credential>(*id).await?;
            let hash = credentials.into_iter().next().map(|(_, found)| found.password_hash);
            hash.filter(Sealed::is_readable).map(|hash| hash.text().to_owned())
        }
        None => None,
    };
    let right = on_a_core(app, move || match stored {
        Some(stored) => password::verify(&password, &stored),
        None => {
            password::verify_nothing(&password);
            false
        }
    });
    if right.await? {
        account.ok_or(ApiError::NameOrPasswordWrong)
    } else {
        Err(ApiError::NameOrPasswordWrong)
    }
}

/// What a person may do, as the API says it: the most powerful role.
pub(crate) fn role_name(account: &Account) -> &'static str {
    account.roles.highest().unwrap_or(Role::User).name()
}
