//! `GET /api/v1/bans`: every address that is refused now. There are at most 300.

use std::sync::Arc;

use axum::extract::State;
use keys::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::Json,
};

/// Every ban.
#[derive(Serialize, ToSchema)]
pub(crate) struct BansAnswer {
    bans: Vec<BanBody>,
}

/// A ban.
#[derive(Serialize, ToSchema)]
pub(crate) struct BanBody {
    #[schema(example = "203.0.113.7")]
    address: String,
    reason: String,
    /// Milliseconds since the Unix epoch.
    until: u64,
}

#[utoipa::path(get, path = "/api/v1/bans", responses(
    (status = 200, body = BansAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, _person: Person) -> Result<Json<BansAnswer>, ApiError> {
    let (policy, now) = (app.policies.current(), Timestamp::now());
    let bans = policy.bans.iter().filter(|(_, ban)| now < ban.until);
    let bans = bans.map(|(address, ban)| BanBody {
        address: address.to_string(),
        reason: ban.reason.clone(),
        until: ban.until.0,
    });
    Ok(Json(BansAnswer { bans: bans.collect() }))
}
