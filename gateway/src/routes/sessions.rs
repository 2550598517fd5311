//! Chats: listing, beginning, reading and changing them.

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod messages;
pub(crate) mod read;
pub(crate) mod summaries;

use crdt::records::session::MessageId;
use keys::ContentId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{chats::Chat, error::ApiError, limits::TITLE_CHARACTERS};

/// A chat in the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionBody {
    pub(crate) id: String,
    character_id: String,
    /// What the person calls it, or the beginning of the first message; empty in a new chat.
    #[schema(example = "Привет! Как тебя зовут?")]
    title: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) updated_at: u64,
    /// Answers that the person has not read yet.
    unread: usize,
    /// Whether it is kept out of the list.
    archived: bool,
}

impl SessionBody {
    pub(crate) fn of(chat: &Chat) -> Self {
        let session = &chat.session;
        let newest = session.messages.iter().map(|message| message.at.0).max();
        let unread = chat.shown().rev().take_while(|message| {
            let is_read = session.read.is_some_and(|read| message.id <= read);
            !is_read && !message.is_from_person()
        });
        Self {
            id: chat.document.to_string(),
            character_id: session.character.to_string(),
            title: title(chat),
            updated_at: newest.unwrap_or(session.created.0),
            unread: unread.count(),
            archived: session.archived,
        }
    }
}

/// What a chat is called.
pub(crate) fn title(chat: &Chat) -> String {
    if let Some(title) = chat
        .session
        .title
        .as_ref()
        .filter(|title| title.is_readable() && !title.text().is_empty())
    {
        return title.text().to_owned();
    }
    let text = chat.first_words().split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= TITLE_CHARACTERS {
        return text;
    }
    text.chars().take(TITLE_CHARACTERS - 1).chain(['…']).collect()
}

/// A message's id in a path or a query.
pub(crate) fn message_id(text: &str) -> Result<MessageId, ApiError> {
    MessageId::parse(text).ok_or_else(|| ApiError::BodyInvalid("this is no message id".into()))
}

/// A document's id in a path.
pub(crate) fn document_id(text: &str) -> Result<ContentId, ApiError> {
    ContentId::parse(text).ok_or(ApiError::NotFound)
}
