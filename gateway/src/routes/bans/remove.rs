//! `DELETE /api/v1/bans/{address}`: requests from an address are seen to again.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};

use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    policy::{ban_name, range},
    routes::Path,
};

#[utoipa::path(delete, path = "/api/v1/bans/{address}", params(("address" = String, Path)), responses(
    (status = 204, description = "Requests from there are seen to"), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Path(address): Path<String>,
) -> Result<StatusCode, ApiError> {
    let address: IpAddr = address.parse().map_err(|_| ApiError::NotFound)?;
    if !app.policies.current().bans.contains_key(&range(address)) {
        return Err(ApiError::NotFound);
    }
    app.audit
        .note(Act {
            by: Some(&person),
            action: "ban.remove",
            subject: range(address).to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    app.policies.set(&ban_name(address), None).await?;
    Ok(StatusCode::NO_CONTENT)
}
