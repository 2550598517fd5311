//! `GET /api/v1/sign-up`: what a new person must know: whether strangers may ask, who confirms, and the words to agree to.

use std::sync::Arc;

use axum::extract::State;
use keys::ContentId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::confirmed_by;
use crate::{
    app::App,
    error::ErrorBody,
    routes::{Json, Query},
    terms,
};

/// In which language.
#[derive(Deserialize, IntoParams)]
pub(crate) struct LanguageQuery {
    /// `ru` or `en`.
    language: Option<String>,
}

/// What a new person must know.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignUpTermsAnswer {
    /// Whether strangers may ask for an account.
    open: bool,
    /// `mail` or `administrator`.
    confirmed_by: &'static str,
    /// Each is agreed to by itself.
    consents: Vec<TermsBody>,
}

/// Words to agree to.
#[derive(Serialize, ToSchema)]
pub(crate) struct TermsBody {
    /// `terms` or `personal_data`.
    kind: &'static str,
    edition: u32,
    /// Of the exact text; sent back with the consent.
    hash: String,
    /// Markdown.
    text: &'static str,
}

#[utoipa::path(get, path = "/api/v1/sign-up", params(LanguageQuery), responses(
    (status = 200, body = SignUpTermsAnswer), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, Query(query): Query<LanguageQuery>) -> Json<SignUpTermsAnswer> {
    let language = query.language.unwrap_or_default();
    let consents = terms::TERMS.iter().map(|terms| {
        let text = terms.text(&language);
        TermsBody {
            kind: terms.name,
            edition: terms::EDITION,
            hash: ContentId::of(text.as_bytes()).to_string(),
            text,
        }
    });
    Json(SignUpTermsAnswer {
        open: app.policies.current().registration_is_open(),
        confirmed_by: confirmed_by(&app),
        consents: consents.collect(),
    })
}
