//! Passwords and second factors: hashed off the async threads, a few at a time, and told from unknown names by nobody.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crdt::{
    StoreError,
    records::{
        Sealed,
        account::{Account, folded_name},
        credential::{Credential, CredentialEdit},
    },
};
use keys::{ContentId, Timestamp, password, totp};

use crate::{app::App, error::ApiError, limits::HASHING_PATIENCE};

/// Hashes a password off the async threads, at most one per core at a time.
pub(crate) async fn hash(app: &App, password: String) -> Result<String, ApiError> {
    Ok(on_a_core(app, move || password::hash(&password)).await??)
}

async fn on_a_core<T: Send + 'static>(app: &App, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let busy = |_| ApiError::TooManyRequests { seconds: 5 };
    let waiting = tokio::time::timeout(HASHING_PATIENCE, app.hashing.clone().acquire_owned());
    // The semaphore is never closed, so the inner error cannot come.
    let permit = waiting.await.map_err(busy)?.map_err(|_| ApiError::StorageUnavailable)?;
    let worked = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    });
    worked.await.map_err(|_| ApiError::StorageUnavailable)
}

/// What an account signs in with; `None` when it has not come to this node.
pub(crate) async fn credential(app: &App, account: ContentId) -> Result<Option<(ContentId, Credential)>, StoreError> {
    let credentials = app.store.list_of::<Credential>(account).await?;
    Ok(credentials.into_iter().next())
}

/// Who signs in, and with what.
pub(crate) struct SigningIn {
    pub(crate) account: ContentId,
    /// When a second factor was shown.
    pub(crate) second_factor: Option<Timestamp>,
}

/// Checks name (or address), password and second factor. An unknown name takes as long and answers the same as a wrong password.
pub(crate) async fn check(
    app: &App,
    name: &str,
    password: String,
    code: Option<&str>,
    address: IpAddr,
) -> Result<SigningIn, ApiError> {
    let (folded, address) = (folded_name(name), address.to_string());
    locked(app.locks.check(&folded, &address, Instant::now()))?;
    let found = find(app, name).await?;
    let credential = match &found {
        Some((id, _)) => credential(app, *id).await?,
        None => None,
    };
    let stored = credential
        .as_ref()
        .map(|(_, credential)| &credential.password_hash)
        .filter(|hash| Sealed::is_readable(hash))
        .map(|hash| hash.text().to_owned());
    let is_right = verify(app, password, stored).await?;
    let (Some((id, account)), Some((document, credential)), true) = (found, credential, is_right) else {
        app.locks.note_wrong(&folded, &address, Instant::now());
        return Err(ApiError::NameOrPasswordWrong);
    };
    // From here on it is the person who asks, or somebody who knows the password.
    if account.blocked {
        return Err(ApiError::AccountBlocked);
    }
    if account.roles.highest().is_none() {
        return Err(ApiError::NotConfirmed);
    }
    let second_factor = match (&credential.totp, code) {
        (None, _) => None,
        (Some(_), None) => return Err(ApiError::SecondFactorRequired),
        (Some(_), Some(code)) => {
            let shown = use_code(app, document, &credential, code).await;
            if shown.is_err() {
                app.locks.note_wrong(&folded, &address, Instant::now());
            }
            Some(shown?)
        }
    };
    app.locks.note_right(&folded, &address);
    Ok(SigningIn {
        account: id,
        second_factor,
    })
}

/// Checks the password of a person who is signed in.
pub(crate) async fn check_again(
    app: &App,
    person: ContentId,
    password: String,
) -> Result<(ContentId, Credential), ApiError> {
    let key = person.to_string();
    locked(app.locks.check(&key, "signed in", Instant::now()))?;
    let (document, credential) = credential(app, person).await?.ok_or(ApiError::NotFound)?;
    let stored = credential.password_hash.text().to_owned();
    if verify(app, password, Some(stored)).await? {
        app.locks.note_right(&key, "signed in");
        return Ok((document, credential));
    }
    app.locks.note_wrong(&key, "signed in", Instant::now());
    Err(ApiError::NameOrPasswordWrong)
}

/// Uses a code of the person's app up; says when.
pub(crate) async fn use_code(
    app: &App,
    document: ContentId,
    credential: &Credential,
    code: &str,
) -> Result<Timestamp, ApiError> {
    let now = Timestamp::now();
    let secret = credential.totp.as_ref().ok_or(ApiError::SecondFactorMissing)?;
    let step = totp::check(secret.text(), code, now, credential.totp_step).ok_or(ApiError::SecondFactorWrong)?;
    app.store.edit(document, CredentialEdit::UseTotpStep(step)).await?;
    Ok(now)
}

async fn verify(app: &App, password: String, stored: Option<String>) -> Result<bool, ApiError> {
    on_a_core(app, move || match stored {
        Some(stored) => password::verify(&password, &stored),
        None => {
            password::verify_nothing(&password);
            false
        }
    })
    .await
}

/// By name, or by address where it is one.
async fn find(app: &App, name: &str) -> Result<Option<(ContentId, Arc<Account>)>, StoreError> {
    if name.contains('@')
        && let Some(found) = app.people.addressed(name).await?
    {
        return Ok(Some(found));
    }
    app.people.named(name).await
}

pub(crate) fn locked(checked: Result<(), Duration>) -> Result<(), ApiError> {
    checked.map_err(|wait| ApiError::TooManyRequests {
        seconds: wait.as_secs() + 1,
    })
}
