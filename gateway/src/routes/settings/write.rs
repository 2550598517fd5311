//! `PUT /api/v1/settings`: sets what is named, and leaves the rest as it is.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::{ConnectInfo, State};
use crdt::records::{
    outbox::{Channel, Outbox},
    settings::Setting,
};
use keys::{Timestamp, identity::random_bytes};
use monitor::mail::{self, Security};
use serde::Deserialize;
use utoipa::ToSchema;

use super::read::{SettingsAnswer, ValueBody};
use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    policy::{KNOWN, Kind, SITE},
    routes::Json,
};

/// What shall hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsRequest {
    /// By name; `null` takes a value back.
    #[serde(default)]
    values: BTreeMap<String, ValueBody>,
    /// Another password for the mail server; an empty one takes it back.
    mail_password: Option<String>,
}

#[utoipa::path(put, path = "/api/v1/settings", request_body = SettingsRequest, responses(
    (status = 200, body = SettingsAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<SettingsRequest>,
) -> Result<Json<SettingsAnswer>, ApiError> {
    // All of it is checked before any of it is written.
    let mut wanted = Vec::new();
    for (name, value) in request.values {
        if !KNOWN.iter().any(|(known, _)| *known == name) {
            return Err(ApiError::BodyInvalid(format!("there is no setting {name:?}")));
        }
        let value = match value {
            ValueBody::Nothing => None,
            value => Some(setting(&name, value)?),
        };
        wanted.push((name, value));
    }
    let mut names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    if request.mail_password.is_some() {
        names.push(mail::PASSWORD);
    }
    app.audit
        .note(Act {
            by: Some(&person),
            action: "settings.write",
            subject: names.join(" "),
            detail: String::new(),
            peer,
        })
        .await?;
    for (name, value) in wanted {
        app.policies.set(&name, value).await?;
    }
    match request.mail_password {
        None => {}
        Some(password) if password.is_empty() => app.policies.set(mail::PASSWORD, None).await?,
        Some(password) => {
            let kept = app.store.create(sealed(&person, password)).await?;
            let kept = Setting::Text(kept.to_string());
            app.policies.set(mail::PASSWORD, Some(kept)).await?;
        }
    }
    Ok(Json(SettingsAnswer::of(&app.policies.current())))
}

/// A text that stands on no disk in plain words: sealed under the administrator's key, in a record that is never sent.
fn sealed(person: &Person, text: String) -> Outbox {
    let now = Timestamp::now();
    Outbox {
        account: Some(person.id),
        channel: Channel::Mail,
        key: random_bytes(),
        recipient: "settings".into(),
        subject: mail::PASSWORD.into(),
        body: text.into(),
        created: now,
        not_before: now,
        expires: now,
        lease: None,
        attempts: Vec::new(),
        done: None,
        abandoned: true,
    }
}

fn setting(name: &str, value: ValueBody) -> Result<Setting, ApiError> {
    let wrong = |what: &str| Err(ApiError::BodyInvalid(format!("`{name}` is {what}")));
    let kind = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    match (kind, value) {
        (None, _) => wrong("no setting"),
        (Some(Kind::Flag), ValueBody::Flag(flag)) => Ok(Setting::Flag(flag)),
        (Some(Kind::Number(least, most)), ValueBody::Number(number)) if (least..=most).contains(&number) => {
            Ok(Setting::Number(number))
        }
        (Some(Kind::Text), ValueBody::Text(text)) => {
            let text = text.trim().to_owned();
            if name == mail::SECURITY && Security::from_name(&text).is_none() {
                return wrong("tls, starttls or none");
            }
            if name == mail::FROM && !text.contains('@') {
                return wrong("an e-mail address");
            }
            let is_address = text.starts_with("https://") || text.starts_with("http://");
            if name == SITE && !is_address {
                return wrong("an address that begins with https://");
            }
            Ok(Setting::Text(text))
        }
        (Some(Kind::Flag), _) => wrong("true or false"),
        (Some(Kind::Number(least, most)), _) => wrong(&format!("a number from {least} to {most}")),
        (Some(Kind::Text), _) => wrong("a text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_what_it_may_be() {
        let text = |text: &str| ValueBody::Text(text.into());
        assert_eq!(setting("mail.port", ValueBody::Number(465)), Ok(Setting::Number(465)));
        assert!(setting("mail.port", ValueBody::Number(65_536)).is_err());
        assert!(setting("mail.port", text("465")).is_err());
        assert!(setting("mail.security", text("ssl")).is_err());
        assert!(
            setting("mail.password", text("secret")).is_err(),
            "it has its own field"
        );
        assert!(setting("site.address", text("javascript:alert(1)")).is_err());
        assert_eq!(
            setting("site.address", text(" https://a.b ")),
            Ok(Setting::Text("https://a.b".into()))
        );
        assert!(setting("ban.192.0.2.1", text("1 a")).is_err());
    }
}
