//! `POST /api/v1/invites`: the node makes an invite with which more machines become members.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use keys::membership::{Residency, Roles};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    invites::InviteWish,
    limits::{INVITE_MINUTES_MAX, INVITE_USES_MAX},
    routes::Json,
};

/// What the invite shall allow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteRequest {
    /// How many machines may join with it.
    #[schema(example = 1)]
    uses: u32,
    /// For how long.
    #[schema(example = 60)]
    minutes: u64,
    /// What they may do: `gateway`, `worker`, `relay` and `storage`.
    #[schema(example = json!(["gateway", "worker", "relay", "storage"]))]
    roles: Vec<String>,
    /// Where they stand.
    #[schema(example = "ru")]
    residency: Option<String>,
}

/// The invite.
#[derive(Serialize, ToSchema)]
pub(crate) struct InviteAnswer {
    /// Names it, to take it back; nobody can join with this.
    id: String,
    /// What is said on the new machine after `join`. It is a key: it is shown once and kept nowhere.
    #[schema(example = "starling1...")]
    invite: String,
    /// Milliseconds since the Unix epoch.
    expires_at: u64,
}

fn wish(request: &InviteRequest) -> Result<InviteWish, ApiError> {
    let invalid = |why: &str| ApiError::BodyInvalid(why.to_owned());
    let roles: Roles = request
        .roles
        .join(",")
        .parse()
        .map_err(|_| invalid("`roles` are some of `gateway`, `worker`, `relay` and `storage`"))?;
    if roles.contains(Roles::OPERATOR) {
        return Err(invalid("only the root key makes operators"));
    }
    let label = request.residency.as_deref().filter(|label| !label.is_empty());
    let residency: Option<Residency> = label
        .map(str::parse)
        .transpose()
        .map_err(|_| invalid("`residency` is a short label"))?;
    if !(1..=INVITE_USES_MAX).contains(&request.uses) || !(1..=INVITE_MINUTES_MAX).contains(&request.minutes) {
        return Err(invalid("1 to 1000 uses, 1 to 43200 minutes"));
    }
    Ok(InviteWish {
        uses: request.uses,
        minutes: request.minutes,
        roles,
        residency,
    })
}

#[utoipa::path(post, path = "/api/v1/invites", request_body = InviteRequest, responses(
    (status = 201, body = InviteAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<InviteRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let wish = wish(&request)?;
    let detail = wish.to_detail();
    let made = app.surroundings.invite(wish).await?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "invite.make",
            subject: made.ticket.to_string(),
            detail,
            peer,
        })
        .await?;
    let answer = InviteAnswer {
        id: made.ticket.to_string(),
        invite: made.text,
        expires_at: made.expires.0,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_allows_what_it_may_and_no_more() {
        let request = |roles: &[&str], uses, minutes| InviteRequest {
            uses,
            minutes,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            residency: Some(String::new()),
        };
        let usual = wish(&request(&["gateway", "worker", "relay", "storage"], 1, 60)).unwrap();
        assert_eq!((usual.roles, usual.residency), (Roles::NODE, None));
        for wrong in [
            request(&["worker", "operator"], 1, 60),
            request(&[], 1, 60),
            request(&["king"], 1, 60),
            request(&["worker"], 0, 60),
            request(&["worker"], INVITE_USES_MAX + 1, 60),
            request(&["worker"], 1, 0),
            request(&["worker"], 1, INVITE_MINUTES_MAX + 1),
        ] {
            assert!(
                matches!(wish(&wrong), Err(ApiError::BodyInvalid(_))),
                "{:?}",
                wrong.roles
            );
        }
    }
}
