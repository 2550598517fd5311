//! `GET /api/v1/favourites`: all of them in one page, because there are at most fifty; newest first.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::{account::Favourite, session::MessageId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    chats::Chat,
    error::{ApiError, ErrorBody},
    routes::{Json, chat::messages::MessageBody},
};

/// The favourites.
#[derive(Serialize, ToSchema)]
pub(crate) struct FavouritesAnswer {
    favourites: Vec<FavouriteBody>,
}

/// A message that the person wants to find again.
#[derive(Serialize, ToSchema)]
pub(crate) struct FavouriteBody {
    message_id: String,
    session_id: String,
    character_id: String,
    /// Milliseconds since the Unix epoch.
    added_at: u64,
    note: Option<String>,
    /// The message; none when it was erased.
    message: Option<MessageBody>,
}

#[utoipa::path(get, path = "/api/v1/favourites", responses(
    (status = 200, body = FavouritesAnswer), (status = 401, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Arc<App>>, person: Person) -> Result<Json<FavouritesAnswer>, ApiError> {
    let mut favourites = Vec::new();
    for favourite in person.account.favourites.iter().rev() {
        favourites.push(body(&app, &person, favourite).await);
    }
    Ok(Json(FavouritesAnswer { favourites }))
}

/// A message as long as it can be read.
async fn message_body(app: &App, chat: &Chat, id: MessageId) -> Option<MessageBody> {
    let message = chat.message(id).ok()?;
    let opened = app.chats.open(app, chat, vec![message]).await.ok()?.remove(0);
    if !opened.text.is_readable() {
        return None;
    }
    MessageBody::of(app, chat, &opened).await.ok()
}

async fn body(app: &App, person: &Person, favourite: &Favourite) -> FavouriteBody {
    // A chat that is gone leaves its favourites without their words.
    let chat = app.chats.get(app, favourite.session).await.ok();
    let chat = chat.filter(|chat| chat.session.account == person.id);
    let message = match &chat {
        Some(chat) => message_body(app, chat, favourite.message).await,
        None => None,
    };
    let note = favourite.note.as_ref().filter(|note| note.is_readable());
    FavouriteBody {
        message_id: favourite.message.to_string(),
        session_id: favourite.session.to_string(),
        character_id: favourite.character.to_string(),
        added_at: favourite.added.0,
        note: note.map(|note| note.text().to_owned()),
        message,
    }
}
