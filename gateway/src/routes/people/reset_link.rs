//! `POST /api/v1/people/{id}/reset-link`: where no letters go, an administrator hands out the link for another password.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use keys::token::AccountLinkPurpose;

use super::account;
use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    letters,
    routes::{Json, Path, links::LinkAnswer},
};

#[utoipa::path(post, path = "/api/v1/people/{id}/reset-link", params(("id" = String, Path)), responses(
    (status = 201, body = LinkAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, _) = account(&app, &id).await?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.reset-link",
            subject: id.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    let (path, expires) = letters::link(&app, id, AccountLinkPurpose::ResetPassword).await?;
    Ok((
        StatusCode::CREATED,
        Json(LinkAnswer {
            path,
            expires_at: expires.0,
        }),
    ))
}
