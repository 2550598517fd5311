//! `GET /api/v1/gateways`: where else the mesh can be entered, for a page whose gateway is gone.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Json;
use crate::{
    app::{App, GatewayAddress},
    auth::Person,
    error::{ApiError, ErrorBody},
};

/// The other gateways that are within reach, nearest first, in one page: a node announces one address.
#[derive(Serialize, ToSchema)]
pub(crate) struct GatewaysAnswer {
    gateways: Vec<GatewayBody>,
}

/// A gateway.
#[derive(Serialize, ToSchema)]
pub(crate) struct GatewayBody {
    node_id: String,
    #[schema(example = "vds-berlin")]
    name: String,
    /// Where its page is.
    #[schema(example = "https://chat.example.org")]
    origin: String,
}

impl From<GatewayAddress> for GatewayBody {
    fn from(gateway: GatewayAddress) -> Self {
        Self {
            node_id: gateway.node.to_string(),
            name: gateway.name,
            origin: gateway.origin,
        }
    }
}

#[utoipa::path(get, path = "/api/v1/gateways", responses(
    (status = 200, body = GatewaysAnswer), (status = 401, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    _person: Person,
    headers: HeaderMap,
) -> Result<Json<GatewaysAnswer>, ApiError> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    // A loopback address means the browser's own machine: of use only to a page that came from there.
    let is_local = is_loopback(host);
    let gateways = app.surroundings.gateways().into_iter();
    let useful = gateways.filter(|gateway| is_local || !is_loopback(gateway.host()));
    Ok(Json(GatewaysAnswer {
        gateways: useful.map(Into::into).collect(),
    }))
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_known() {
        for host in ["127.0.0.1:80", "localhost:1", "localhost", "[::1]:8080"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["192.0.2.1:80", "example.org", "[2001:db8::1]:80"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
