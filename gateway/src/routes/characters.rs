//! Characters: whom one can chat with, and the editor of those who make them.

pub(crate) mod avatar;
pub(crate) mod avatar_put;
mod bodies;
pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod difference;
pub(crate) mod error;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod list;
mod original;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod retire;
pub(crate) mod roll_back;
pub(crate) mod trial;
pub(crate) mod uniqueness;
pub(crate) mod versions;
pub(crate) mod withdraw;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post, put},
};
use crdt::{
    limits::CARD_BYTES_MAX,
    records::{EntryId, character::Character},
};
use keys::{ContentId, Timestamp, identity::random_bytes};

use crate::{app::App, auth::Person, error::ApiError, limits::PICTURE_BYTES_MAX, may};

/// The endpoints under `/api/v1/characters`.
pub(crate) fn router() -> Router<Arc<App>> {
    let import = post(import::import).layer(DefaultBodyLimit::max(CARD_BYTES_MAX));
    let avatar = put(avatar_put::put)
        .layer(DefaultBodyLimit::max(PICTURE_BYTES_MAX))
        .get(avatar::get);
    Router::new()
        .route("/characters", get(list::list).post(create::create))
        .route("/characters/import", import)
        .route(
            "/characters/{id}",
            get(read::read).patch(change::change).delete(retire::retire),
        )
        .route("/characters/{id}/avatar", avatar)
        .route("/characters/{id}/card", get(export::export))
        .route("/characters/{id}/publish", post(publish::publish))
        .route("/characters/{id}/withdraw", post(withdraw::withdraw))
        .route("/characters/{id}/versions", get(versions::list))
        .route("/characters/{id}/difference", get(difference::get))
        .route("/characters/{id}/roll-back", post(roll_back::roll_back))
        .route("/characters/{id}/trial", post(trial::trial))
}

/// A character by the id in a path.
async fn character(app: &App, id: &str) -> Result<(ContentId, Character), ApiError> {
    let id = ContentId::parse(id).ok_or(ApiError::NotFound)?;
    Ok((id, app.store.read(id).await?))
}

/// A character that the person may change.
async fn own_character(app: &App, person: &Person, id: &str) -> Result<(ContentId, Character), ApiError> {
    may::make_characters(person)?;
    let (id, character) = character(app, id).await?;
    may::change_character(person, &character)?;
    Ok((id, character))
}

/// The id of a version that is newer than those there are, also when this clock is behind another node's.
fn next_version(character: &Character) -> EntryId {
    let newest = character
        .versions
        .last()
        .map_or(Timestamp(0), |version| version.id.at());
    let now = Timestamp::now().max(newest.plus(1));
    EntryId::new(now, u128::from_le_bytes(random_bytes()))
}
