//! Looking after people.

pub(crate) mod approve;
pub(crate) mod block;
pub(crate) mod list;
pub(crate) mod remove_second_factor;
pub(crate) mod reset_link;
pub(crate) mod roles;
pub(crate) mod show;

use std::sync::Arc;

use crdt::{
    StoreError,
    records::account::{Account, Role},
};
use keys::{ContentId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, auth, error::ApiError};

/// A person in the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonRow {
    id: String,
    #[schema(example = "Рита")]
    name: String,
    email: Option<String>,
    /// Of `user`, `manager`, `moderator`, `administrator`.
    roles: Vec<&'static str>,
    /// `active`, `waiting` (not confirmed yet) or `blocked`.
    state: &'static str,
    /// Milliseconds since the Unix epoch.
    created_at: u64,
    /// When a device of the person was last used, to ten minutes.
    seen_at: Option<u64>,
    /// How many devices are signed in.
    devices: usize,
}

pub(crate) fn state(account: &Account) -> &'static str {
    if account.blocked {
        "blocked"
    } else if account.roles.highest().is_none() {
        "waiting"
    } else {
        "active"
    }
}

impl PersonRow {
    pub(crate) fn of(id: ContentId, account: &Account) -> Self {
        let now = Timestamp::now();
        let live = account.live_devices().into_iter();
        let live = live.filter(|device| auth::check_device(account, device.id, now).is_ok());
        Self {
            id: id.to_string(),
            name: account.name.text().to_owned(),
            email: account.email.as_ref().map(|email| email.text().to_owned()),
            roles: account.roles.iter().map(Role::name).collect(),
            state: state(account),
            created_at: account.created.0,
            seen_at: account.devices.iter().map(|device| device.seen.0).max(),
            devices: live.count(),
        }
    }
}

/// The account that a path names.
pub(crate) async fn account(app: &App, id: &str) -> Result<(ContentId, Arc<Account>), ApiError> {
    let id = ContentId::parse(id).ok_or(ApiError::NotFound)?;
    match app.people.read_anew(id).await {
        Ok(account) => Ok((id, account)),
        Err(StoreError::NotFound | StoreError::Erased) => Err(ApiError::NotFound),
        Err(error) => Err(error.into()),
    }
}
