//! `DELETE /api/v1/people/{id}/second-factor`: somebody has lost the telephone; an administrator takes the second factor off.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::credential::CredentialEdit;

use super::account;
use crate::{
    app::App,
    audit::Act,
    auth::{Person, passwords},
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Path,
};

#[utoipa::path(delete, path = "/api/v1/people/{id}/second-factor", params(("id" = String, Path)), responses(
    (status = 204, description = "There is no second factor any more"), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, _) = account(&app, &id).await?;
    let (document, _) = passwords::credential(&app, id).await?.ok_or(ApiError::NotFound)?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.second-factor-remove",
            subject: id.to_string(),
            detail: "by an administrator".into(),
            peer,
        })
        .await?;
    app.store.edit(document, CredentialEdit::SetTotp(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
