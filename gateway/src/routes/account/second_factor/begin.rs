//! `POST /api/v1/account/second-factor/begin`: a secret for the authenticator app. Nothing is kept until a code of it is shown.

use axum::response::IntoResponse;
use keys::totp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{auth::Person, error::ErrorBody, routes::Json};

/// A secret that nobody else knows.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretAnswer {
    /// To be typed into the app.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: String,
    /// To be shown as a QR code.
    #[schema(example = "otpauth://totp/Starling:rita?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Starling")]
    address: String,
}

#[utoipa::path(post, path = "/api/v1/account/second-factor/begin", responses(
    (status = 200, body = SecretAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(person: Person) -> impl IntoResponse {
    let secret = totp::new_secret();
    Json(SecretAnswer {
        address: totp::address(&secret, person.account.name.text()),
        secret: secret.to_string(),
    })
}
