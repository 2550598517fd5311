//! `GET /api/v1/account/consents`: what the person has agreed to, when, and to which words.

use axum::response::IntoResponse;
use crdt::records::account::Consent;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{auth::Person, error::ErrorBody, routes::Json, terms};

/// Every consent, oldest first. There are at most 200.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConsentsAnswer {
    consents: Vec<ConsentBody>,
}

/// A consent, or its withdrawal.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConsentBody {
    /// `terms` or `personal_data`.
    kind: &'static str,
    given: bool,
    /// Hash of the words that were shown.
    text_hash: String,
    edition: u32,
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// From which network address.
    address: String,
}

impl From<&Consent> for ConsentBody {
    fn from(consent: &Consent) -> Self {
        Self {
            kind: terms::name_of(consent.kind),
            given: consent.given,
            text_hash: consent.text.to_string(),
            edition: consent.edition,
            at: consent.at().0,
            address: consent.address.text().to_owned(),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/account/consents", responses(
    (status = 200, body = ConsentsAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(person: Person) -> impl IntoResponse {
    Json(ConsentsAnswer {
        consents: person.account.consents.iter().map(ConsentBody::from).collect(),
    })
}
