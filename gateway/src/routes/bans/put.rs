//! `POST /api/v1/bans`: requests from an address are refused for a while, at every gateway.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use crdt::records::settings::Setting;
use keys::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    limits::{BAN_MINUTES_MAX, BAN_REASON_CHARACTERS_MAX, BANS_MAX},
    policy::{ban_name, range},
    routes::Json,
};

/// Whom, why, and for how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BanRequest {
    #[schema(example = "203.0.113.7")]
    address: String,
    #[schema(example = "a flood of requests")]
    reason: String,
    #[schema(example = 1440)]
    minutes: u64,
}

#[utoipa::path(post, path = "/api/v1/bans", request_body = BanRequest, responses(
    (status = 204, description = "Requests from there are refused; of IPv6, those of the whole /64"), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<BanRequest>,
) -> Result<StatusCode, ApiError> {
    let address: IpAddr = request
        .address
        .trim()
        .parse()
        .map_err(|_| ApiError::BodyInvalid("`address` is no network address".into()))?;
    let is_wrong =
        !(1..=BAN_MINUTES_MAX).contains(&request.minutes) || request.reason.chars().count() > BAN_REASON_CHARACTERS_MAX;
    if is_wrong {
        return Err(ApiError::BodyInvalid(
            "1 to 525600 minutes, a reason of 200 characters at most".into(),
        ));
    }
    // Whoever shuts out the own address could not take it back.
    if range(address) == range(peer.0.ip()) {
        return Err(ApiError::Conflict);
    }
    let now = Timestamp::now();
    let policy = app.policies.current();
    for (old, _) in policy.bans.iter().filter(|(_, ban)| ban.until <= now) {
        app.policies.set(&ban_name(*old), None).await?;
    }
    if app.policies.current().bans.len() >= BANS_MAX {
        return Err(ApiError::Conflict);
    }
    app.audit
        .note(Act {
            by: Some(&person),
            action: "ban.add",
            subject: range(address).to_string(),
            detail: request.reason.clone(),
            peer,
        })
        .await?;
    let until = now.plus(request.minutes * 60_000);
    let text = Setting::Text(format!("{} {}", until.0, request.reason));
    app.policies.set(&ban_name(address), Some(text)).await?;
    Ok(StatusCode::NO_CONTENT)
}
