//! The program behind a request: one that shows a key which a person made for it, and that the person's account still has.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use crdt::records::{
    EntryId,
    account::{Account, AccountApiKey, ApiScope},
};
use keys::{ApiKey, ContentId, Timestamp};

use super::bearer;
use crate::{app::App, error::ApiError};

/// A program that asks in the name of a person.
#[derive(Clone)]
pub(crate) struct Program {
    /// Whose it is.
    pub(crate) person: ContentId,
    /// The key that it shows.
    pub(crate) key: EntryId,
}

impl FromRequestParts<Arc<App>> for Program {
    type Rejection = ApiError;

    /// The guard has found it already.
    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::KeyInvalid)
    }
}

/// The program whose key a request carries. A cookie counts for nothing here: no page can steer a program's requests.
pub(crate) async fn program(app: &App, headers: &HeaderMap, scope: ApiScope) -> Result<Program, ApiError> {
    let shown = bearer(headers).and_then(ApiKey::parse).ok_or(ApiError::KeyInvalid)?;
    let account = match super::account(app, shown.account()).await {
        Err(ApiError::NotSignedIn) => return Err(ApiError::KeyInvalid),
        account => account?,
    };
    let key = check(&account, &shown, scope, Timestamp::now())?;
    Ok(Program {
        person: shown.account(),
        key: key.id,
    })
}

/// What an account says of a key.
fn check<'a>(
    account: &'a Account,
    shown: &ApiKey,
    scope: ApiScope,
    now: Timestamp,
) -> Result<&'a AccountApiKey, ApiError> {
    let id = EntryId::from_bytes(shown.id());
    let found = account.api_keys.iter().find(|key| key.id == id);
    let key = found.filter(|key| shown.is_remembered(&key.hash) && key.is_live(now));
    let key = key.ok_or(ApiError::KeyInvalid)?;
    // Only its owner, or who has stolen it, hears more.
    if account.blocked {
        return Err(ApiError::AccountBlocked);
    }
    if account.roles.highest().is_none() {
        return Err(ApiError::NotConfirmed);
    }
    if !key.scopes.contains(scope) {
        return Err(ApiError::KeyScope(scope));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use crdt::records::account::Role;

    use super::*;

    #[test]
    fn a_key_counts_in_its_time_for_its_scope_and_while_its_person_may_act() {
        let (person, id) = (ContentId([1; 32]), EntryId::new(Timestamp(1), 2));
        let shown = ApiKey::new(person, *id.bytes());
        let mut account = Account::new("Рита", Role::User, Timestamp(0), [0; 16]);
        account.api_keys.push(AccountApiKey {
            id,
            label: "a script".into(),
            hash: shown.hash(),
            scopes: [ApiScope::Chat].into_iter().collect(),
            expires: Some(Timestamp(10)),
        });
        let ask = |account: &Account, shown: &ApiKey, scope, at| {
            check(account, shown, scope, Timestamp(at)).map(|key| key.id)
        };
        assert_eq!(ask(&account, &shown, ApiScope::Chat, 9), Ok(id));
        assert_eq!(ask(&account, &shown, ApiScope::Chat, 10), Err(ApiError::KeyInvalid));
        let scope = ApiScope::Embeddings;
        assert_eq!(ask(&account, &shown, scope, 9), Err(ApiError::KeyScope(scope)));
        let guessed = ApiKey::new(person, *id.bytes());
        assert_eq!(ask(&account, &guessed, ApiScope::Chat, 9), Err(ApiError::KeyInvalid));
        account.blocked = true;
        assert_eq!(ask(&account, &shown, ApiScope::Chat, 9), Err(ApiError::AccountBlocked));
        assert_eq!(ask(&account, &guessed, ApiScope::Chat, 9), Err(ApiError::KeyInvalid));
        account.blocked = false;
        account.roles = std::iter::empty::<Role>().collect();
        assert_eq!(ask(&account, &shown, ApiScope::Chat, 9), Err(ApiError::NotConfirmed));
        account.api_keys.clear();
        assert_eq!(ask(&account, &shown, ApiScope::Chat, 9), Err(ApiError::KeyInvalid));
    }
}
