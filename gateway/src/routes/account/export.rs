//! `GET /api/v1/account/export`: everything of the person, as an archive that needs no program but a browser.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{ConnectInfo, State},
    http::header,
    response::IntoResponse,
};
use crdt::{
    StoreError,
    records::{character::Character, complaint::Complaint, session::Session},
};
use keys::ContentId;

use crate::{
    app::App,
    archive,
    audit::Act,
    auth::Person,
    error::{ApiError, ErrorBody},
    idle::Peer,
};

#[utoipa::path(get, path = "/api/v1/account/export", responses(
    (status = 200, body = Vec<u8>, content_type = "application/zip",
        description = "`account.json` (with consents and favourites), `complaints.json`, `chats/*.json` and `chats/*.html`"),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
) -> Result<impl IntoResponse, ApiError> {
    // Each holds all chats of a person in memory.
    let place = app.exports.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::TooManyRequests { seconds: 10 })?;
    app.audit
        .note(Act {
            by: Some(&person),
            action: "account.export",
            subject: person.id.to_string(),
            detail: String::new(),
            peer,
        })
        .await?;
    let chats = app.store.list_of::<Session>(person.id).await?;
    let mut names: BTreeMap<ContentId, String> = BTreeMap::new();
    for (_, chat) in &chats {
        if let std::collections::btree_map::Entry::Vacant(entry) = names.entry(chat.character) {
            let name = match app.store.read::<Character>(chat.character).await {
                Ok(character) => character.definition().map(|definition| definition.name.clone()),
                Err(StoreError::NotFound | StoreError::Erased) => None,
                Err(error) => return Err(error.into()),
            };
            entry.insert(name.unwrap_or_default());
        }
    }
    let id = person.id;
    let complaints = app.store.list_of::<Complaint>(id).await?;
    let packing = tokio::task::spawn_blocking(move || {
        let packed = archive::pack(id, &person.account, &chats, &names, &complaints);
        drop(place);
        packed
    });
    let bytes = packing
        .await
        .map_err(|_| ApiError::StorageUnavailable)?
        .map_err(|_| ApiError::StorageUnavailable)?;
    let headers = [
        (header::CONTENT_TYPE, "application/zip"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"starling.zip\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, bytes))
}
