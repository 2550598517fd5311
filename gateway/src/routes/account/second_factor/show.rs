//! `POST /api/v1/account/second-factor/show`: a code, before a dangerous act. It counts for a quarter of an hour, on this device.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, response::IntoResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::{
        Person,
        devices::{self, SignedInAnswer},
        passwords,
    },
    error::{ApiError, ErrorBody},
    routes::Json,
};

/// A code of the app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeRequest {
    #[schema(example = "123456")]
    code: String,
}

#[utoipa::path(post, path = "/api/v1/account/second-factor/show", request_body = CodeRequest, responses(
    (status = 200, body = SignedInAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    person: Person,
    Json(request): Json<CodeRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let key = person.id.to_string();
    passwords::locked(app.locks.check(&key, "code", Instant::now()))?;
    let found = passwords::credential(&app, person.id).await?;
    let (document, credential) = found.ok_or(ApiError::SecondFactorMissing)?;
    match passwords::use_code(&app, document, &credential, &request.code).await {
        Ok(shown) => {
            app.locks.note_right(&key, "code");
            let (cookies, answer) = devices::with_second_factor(&app, person, shown)?;
            Ok((cookies, Json(answer)))
        }
        Err(error) => {
            if error == ApiError::SecondFactorWrong {
                app.locks.note_wrong(&key, "code", Instant::now());
            }
            Err(error)
        }
    }
}
