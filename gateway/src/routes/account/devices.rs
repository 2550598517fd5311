//! `GET /api/v1/account/devices`: where the person is signed in.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::{self, Person},
    error::{ApiError, ErrorBody},
    routes::Json,
};
use keys::Timestamp;

/// Every device that is signed in, the one used last first. There are at most five.
#[derive(Serialize, ToSchema)]
pub(crate) struct DevicesAnswer {
    devices: Vec<DeviceBody>,
}

/// A device that is signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeviceBody {
    id: String,
    /// What it calls itself.
    #[schema(example = "Mozilla/5.0 (Android 15; Mobile; rv:140.0)")]
    label: String,
    /// Milliseconds since the Unix epoch.
    signed_in_at: u64,
    /// When it was last used, to ten minutes.
    seen_at: u64,
    /// Whether it is the one that asks.
    is_this: bool,
}

impl DevicesAnswer {
    pub(crate) fn of(account: &crdt::records::account::Account, this: Option<crdt::records::EntryId>) -> Self {
        let now = Timestamp::now();
        let live = account.live_devices().into_iter().rev();
        let live = live.filter(|device| auth::check_device(account, device.id, now).is_ok());
        Self {
            devices: live
                .map(|device| DeviceBody {
                    id: device.id.to_string(),
                    label: device.label.text().to_owned(),
                    signed_in_at: device.id.at().0,
                    seen_at: device.seen.0,
                    is_this: Some(device.id) == this,
                })
                .collect(),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/account/devices", responses(
    (status = 200, body = DevicesAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(_app): State<Arc<App>>, person: Person) -> Result<Json<DevicesAnswer>, ApiError> {
    Ok(Json(DevicesAnswer::of(&person.account, Some(person.device))))
}
