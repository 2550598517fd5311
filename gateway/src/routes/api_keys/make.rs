//! `POST /api/v1/keys`: a key for a program. Its secret is in this answer and nowhere else.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use crdt::records::{
    EntryId,
    account::{API_KEY_LABEL_CHARACTERS_MAX, AccountApiKey, AccountEdit, ApiScope},
};
use keys::{ApiKey, Timestamp, identity::random_bytes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KeyBody, ScopeBody};
use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    limits::KEY_DAYS_MAX,
    routes::Json,
};

const DAY_MILLISECONDS: u64 = 24 * 3600 * 1000;

/// What the key is for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeKeyRequest {
    /// What the person calls it.
    #[schema(example = "a script", min_length = 1, max_length = 60)]
    label: String,
    #[schema(min_items = 1)]
    scopes: Vec<ScopeBody>,
    /// It ends after so many days; without this it lasts until it is taken back.
    #[schema(minimum = 1, maximum = 3650, example = 90)]
    days: Option<u64>,
}

/// The key, this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeKeyAnswer {
    /// For `Authorization: Bearer`, at any gateway of the mesh. Nobody can show it again.
    #[schema(example = "sk-starling1-AAAA")]
    secret: String,
    key: KeyBody,
}

#[utoipa::path(post, path = "/api/v1/keys", request_body = MakeKeyRequest, responses(
    (status = 201, body = MadeKeyAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<MakeKeyRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let label = request.label.trim();
    let days = request.days.unwrap_or(1);
    let is_label = (1..=API_KEY_LABEL_CHARACTERS_MAX).contains(&label.chars().count());
    if !is_label
        || label.chars().any(char::is_control)
        || request.scopes.is_empty()
        || !(1..=KEY_DAYS_MAX).contains(&days)
    {
        let reason = format!(
            "a key has a label of 1 to {API_KEY_LABEL_CHARACTERS_MAX} characters, a scope, and 1 to {KEY_DAYS_MAX} days"
        );
        return Err(ApiError::BodyInvalid(reason));
    }
    let now = Timestamp::now();
    let id = EntryId::new(now, u128::from_le_bytes(random_bytes()));
    let secret = ApiKey::new(person.id, *id.bytes());
    let key = AccountApiKey {
        id,
        label: label.into(),
        hash: secret.hash(),
        scopes: request.scopes.into_iter().map(ApiScope::from).collect(),
        expires: request.days.map(|days| now.plus(days * DAY_MILLISECONDS)),
    };
    let answer = MadeKeyAnswer {
        secret: secret.to_text().to_string(),
        key: KeyBody::from(&key),
    };
    let scopes: Vec<_> = key.scopes.iter().map(ApiScope::name).collect();
    let detail = scopes.join(" ");
    app.audit
        .note(Act {
            by: Some(&person),
            action: "key.make",
            subject: id.to_string(),
            detail,
            peer,
        })
        .await?;
    app.people.edit(person.id, AccountEdit::AddApiKey(key)).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}
