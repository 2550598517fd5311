//! `POST /api/v1/settings/test-mail`: a letter through the configured server, now and from this node, with what the server said.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, State},
    response::IntoResponse,
};
use crdt::records::outbox::{Channel, Outbox};
use keys::{Timestamp, identity::random_bytes};
use monitor::mail::{self, MailServer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
    routes::Json,
};

/// To whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestMailRequest {
    #[schema(example = "rita@example.org")]
    to: String,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct TestMailAnswer {
    sent: bool,
    /// What the server said, when it did not take the letter.
    error: Option<String>,
}

#[utoipa::path(post, path = "/api/v1/settings/test-mail", request_body = TestMailRequest, responses(
    (status = 200, body = TestMailAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<TestMailRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let server = MailServer::configured(&app.store).await?;
    let server = server.ok_or(ApiError::MailNotConfigured)?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "settings.test-mail",
            subject: String::new(),
            detail: String::new(),
            peer,
        })
        .await?;
    let now = Timestamp::now();
    let letter = Outbox {
        account: Some(person.id),
        channel: Channel::Mail,
        key: random_bytes(),
        recipient: request.to.into(),
        subject: "Starling: a test".into(),
        body: "Letters from your mesh arrive.\n\nПисьма из вашей сети доходят.\n".into(),
        created: now,
        not_before: now,
        expires: now,
        lease: None,
        attempts: Vec::new(),
        done: None,
        abandoned: false,
    };
    let result = mail::send(&server, &letter).await;
    Ok(Json(TestMailAnswer {
        sent: result.is_ok(),
        error: result.err().map(|error| error.to_string()),
    }))
}
