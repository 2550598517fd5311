//! `POST /api/v1/sign-up`: a stranger asks for an account.
//!
//! The account is there at once, without any role: it can do nothing until its address is confirmed or an administrator approves.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use crdt::records::{
    EntryId, Record,
    account::{Account, Consent, Role, Roles},
    credential::Credential,
};
use keys::{Timestamp, identity::random_bytes};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{NextAnswer, confirmed_by};
use crate::{
    app::App,
    auth::passwords,
    error::{ApiError, ErrorBody},
    idle::Peer,
    letters::{self, Letter},
    routes::{Json, sign_in::rate_limit},
    terms,
};

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUpRequest {
    #[schema(example = "Рита", min_length = 2, max_length = 50)]
    name: String,
    #[schema(example = "rita@example.org")]
    email: String,
    #[schema(min_length = 8)]
    password: String,
    /// The language of letters.
    #[schema(example = "ru")]
    language: String,
    consents: ConsentsRequest,
}

/// The hashes of the words that were agreed to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentsRequest {
    terms: Option<String>,
    personal_data: Option<String>,
}

impl ConsentsRequest {
    /// Both, or none of it counts.
    fn given(&self, peer: Peer, now: Timestamp) -> Result<Vec<Consent>, ApiError> {
        let shown = [&self.terms, &self.personal_data];
        let consents = terms::TERMS.iter().zip(shown).map(|(terms, hash)| {
            let text = terms.shown_as(hash.as_deref()?)?;
            Some(Consent {
                id: EntryId::new(now, u128::from_le_bytes(random_bytes())),
                kind: terms.kind,
                given: true,
                text,
                edition: terms::EDITION,
                address: peer.0.ip().to_string().into(),
            })
        });
        consents.collect::<Option<Vec<_>>>().ok_or(ApiError::ConsentMissing)
    }
}

#[utoipa::path(post, path = "/api/v1/sign-up", request_body = SignUpRequest, responses(
    (status = 202, body = NextAnswer, description = "The same for an address that is known already"),
    (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<SignUpRequest>,
) -> Result<impl IntoResponse, ApiError> {
    rate_limit(&app, peer, Instant::now())?;
    if !app.policies.current().registration_is_open() {
        return Err(ApiError::NotAllowed);
    }
    let account = account(&request, peer)?;
    if app.people.named(account.name.text()).await?.is_some() {
        return Err(ApiError::NameTaken);
    }
    // Hashed in any case: an address that is known is answered no sooner.
    let hash = passwords::hash(&app, request.password).await?;
    let by_mail = confirmed_by(&app) == "mail";
    let known = app.people.addressed(request.email.trim()).await?;
    let (id, account, letter) = match known {
        Some((id, known)) if known.roles.highest().is_none() => (id, known, Letter::Confirm),
        Some((id, known)) => (id, known, Letter::Known),
        None => {
            let id = app.people.create(account.clone()).await?;
            app.store.create(Credential::new(id, hash)).await?;
            (id, Arc::new(account), Letter::Confirm)
        }
    };
    if by_mail {
        letters::write(&app, id, &account, letter).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(NextAnswer::of(&app))))
}

fn account(request: &SignUpRequest, peer: Peer) -> Result<Account, ApiError> {
    let name = request.name.trim();
    // Whoever signs in with an address must not meet a name that looks like one.
    if name.contains('@') {
        return Err(ApiError::NameInvalid);
    }
    let now = Timestamp::now();
    let mut account = Account::new(name, Role::User, now, random_bytes());
    account.roles = Roles::default();
    account.email = Some(request.email.trim().into());
    account.locale = if request.language.starts_with("ru") { "ru" } else { "en" }.into();
    account.consents = request.consents.given(peer, now)?;
    account.validate().map_err(|error| match error {
        crdt::records::RecordError::Limit("email") => ApiError::EmailInvalid,
        _ => ApiError::NameInvalid,
    })?;
    Ok(account)
}
