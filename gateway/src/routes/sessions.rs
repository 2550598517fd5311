//! Chats: listing, beginning and reading them.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod read;

use crdt::records::session::{Message, Session};
use keys::ContentId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, auth::Person, error::ApiError, limits::TITLE_CHARACTERS};

/// A chat in the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionBody {
    id: String,
    character_id: String,
    /// The beginning of the first message; empty in a new chat.
    #[schema(example = "Привет! Как тебя зовут?")]
    title: String,
    /// Milliseconds since the Unix epoch.
    updated_at: u64,
}

impl SessionBody {
    pub(crate) fn of(id: ContentId, session: &Session) -> Self {
        let updated_at = session
            .messages
            .iter()
            .map(|message| message.at.0)
            .max()
            .unwrap_or(session.created.0);
        Self {
            id: id.to_string(),
            character_id: session.character.to_string(),
            title: title(session),
            updated_at,
        }
    }
}

fn title(session: &Session) -> String {
    let first = session.messages.iter().find(|message| message.is_from_person());
    let text = first
        .map(|message| message.text.text().split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_default();
    if text.chars().count() <= TITLE_CHARACTERS {
        return text;
    }
    text.chars().take(TITLE_CHARACTERS - 1).chain(['…']).collect()
}

/// The messages that people see, oldest first.
pub(crate) fn visible(session: &Session) -> impl DoubleEndedIterator<Item = &Message> {
    let messages = session.messages.iter();
    messages.filter(|message| !session.deleted.contains(&message.id))
}

/// A chat, if it is the person's; others' chats do not exist for them.
pub(crate) async fn own_session(app: &App, person: &Person, id: &str) -> Result<(ContentId, Session), ApiError> {
    let document = ContentId::parse(id).ok_or(ApiError::NotFound)?;
    let session: Session = app.store.read(document).await?;
    if session.account == person.id {
        Ok((document, session))
    } else {
        Err(ApiError::NotFound)
    }
}
