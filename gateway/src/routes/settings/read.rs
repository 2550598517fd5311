//! `GET /api/v1/settings`: every setting with what holds. The mail server's password is never told.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use crdt::records::settings::Setting;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    policy::{KNOWN, Policy},
    routes::Json,
};

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ValueBody {
    Flag(bool),
    Number(u64),
    Text(String),
    /// Nothing is set, and the default holds.
    Nothing,
}

/// Every setting.
#[derive(Serialize, ToSchema)]
pub(crate) struct SettingsAnswer {
    /// By name; `null` where nothing is set and the default holds.
    values: BTreeMap<&'static str, ValueBody>,
    /// Whether a password for the mail server is kept.
    has_mail_password: bool,
}

impl SettingsAnswer {
    pub(crate) fn of(policy: &Policy) -> Self {
        let value = |name: &str| match policy.values.get(name) {
            Some(Setting::Flag(flag)) => ValueBody::Flag(*flag),
            Some(Setting::Number(number)) => ValueBody::Number(*number),
            Some(Setting::Text(text)) => ValueBody::Text(text.clone()),
            Some(Setting::Decimal(_)) | None => ValueBody::Nothing,
        };
        Self {
            values: KNOWN.iter().map(|(name, _)| (*name, value(name))).collect(),
            has_mail_password: policy.values.contains_key(monitor::mail::PASSWORD),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/settings", responses(
    (status = 200, body = SettingsAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, _person: Person) -> Result<Json<SettingsAnswer>, ApiError> {
    Ok(Json(SettingsAnswer::of(&app.policies.current())))
}
