//! `GET /api/v1/people/{id}`: one person: devices, consents, how much was written and when. Never what.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::session::Session;
use serde::Serialize;
use utoipa::ToSchema;

use super::{PersonRow, account};
use crate::{
    app::App,
    auth::{Person, passwords},
    error::{ApiError, ErrorBody},
    routes::{
        Json, Path,
        account::{consents::ConsentBody, devices::DevicesAnswer},
    },
};

/// One person.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonDetailAnswer {
    person: PersonRow,
    devices: DevicesAnswer,
    consents: Vec<ConsentBody>,
    /// Whether there is a second factor.
    second_factor: bool,
    /// How many chats there are.
    chats: usize,
    /// How many messages the person wrote.
    messages: usize,
    /// When the last of them was written, in milliseconds since the Unix epoch.
    written_at: Option<u64>,
}

#[utoipa::path(get, path = "/api/v1/people/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = PersonDetailAnswer), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    _person: Person,
    Path(id): Path<String>,
) -> Result<Json<PersonDetailAnswer>, ApiError> {
    let (id, account) = account(&app, &id).await?;
    let credential = passwords::credential(&app, id).await?;
    let chats = app.store.list_of::<Session>(id).await?;
    let written = || {
        let messages = chats.iter().flat_map(|(_, chat)| &chat.messages);
        messages.filter(|message| message.is_from_person())
    };
    Ok(Json(PersonDetailAnswer {
        person: PersonRow::of(id, &account),
        devices: DevicesAnswer::of(&account, None),
        consents: account.consents.iter().map(ConsentBody::from).collect(),
        second_factor: credential.is_some_and(|(_, credential)| credential.totp.is_some()),
        chats: chats.len(),
        messages: written().count(),
        written_at: written().map(|message| message.at.0).max(),
    }))
}
