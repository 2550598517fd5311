//! Messages: how the API shows them, and how a new one is accepted.

use crdt::{
    StoreError,
    records::session::{Ending, Message, MessageId, Place, SessionEdit, Speaker},
};
use inference::desk::Order;
use keys::{ContentId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, auth::Person, chats::Chat, error::ApiError, limits::OUTBOX_CHARACTERS};

/// A message as the API tells of one.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MessageBody {
    pub(crate) id: String,
    /// `person` or `character`.
    role: &'static str,
    pub(crate) text: String,
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// Whether the text was cut at its limit.
    truncated: bool,
    /// `waiting`, `answered` or `done`.
    state: &'static str,
    /// How far a person's message has come: `accepted` (on disk), `delivered` (a node has taken it up) or `read` (it is being
    /// answered, or was).
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'static str>,
    /// How an answer ended: `end`, `length` or `stopped`.
    ending: Option<&'static str>,
    /// The message that an answer answers.
    question_id: Option<String>,
    answered_by: Option<AnsweredBy>,
    /// Where it stands among its alternatives; none when it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternatives: Option<AlternativesBody>,
    /// Whether the person keeps it in the model's context.
    #[serde(skip_serializing_if = "is_false")]
    pinned: bool,
    /// Whether the person keeps it out of the model's context.
    #[serde(skip_serializing_if = "is_false")]
    excluded: bool,
    /// Whether it was changed since it was first written.
    #[serde(skip_serializing_if = "is_false")]
    edited: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Where a message stands among its alternatives, counted from 1.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct AlternativesBody {
    number: usize,
    count: usize,
    previous_id: Option<String>,
    next_id: Option<String>,
}

/// Who generated an answer.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct AnsweredBy {
    node_id: String,
    #[schema(example = "pc-home")]
    node_name: String,
    #[schema(example = "built-in")]
    model: String,
}

impl MessageBody {
    /// Messages as their chat shows them.
    pub(crate) async fn of_all(app: &App, chat: &Chat, messages: Vec<&Message>) -> Result<Vec<Self>, StoreError> {
        let messages = app.chats.open(app, chat, messages).await?;
        Ok(messages
            .iter()
            .map(|message| Self::of_opened(app, chat, message))
            .collect())
    }

    /// A message as its chat shows it.
    pub(crate) async fn of(app: &App, chat: &Chat, message: &Message) -> Result<Self, StoreError> {
        let message = app.chats.open(app, chat, vec![message]).await?.remove(0);
        Ok(Self::of_opened(app, chat, &message))
    }

    fn of_opened(app: &App, chat: &Chat, message: &Message) -> Self {
        let session = &chat.session;
        let mut body = Self::alone(app, message);
        if message.is_from_person() {
            let is_waiting = session.is_unanswered(message);
            body.state = if is_waiting { "waiting" } else { "answered" };
            body.mark = Some(if is_waiting {
                mark(app, chat.document, message.id)
            } else {
                "read"
            });
        }
        body.alternatives = alternatives(chat, message.id);
        body.pinned = session.pinned.contains(&message.id);
        body.excluded = session.excluded.contains(&message.id);
        body
    }

    /// A message of which nothing is known but itself.
    pub(super) fn alone(app: &App, message: &Message) -> Self {
        let (role, state, question, answered_by) = match &message.speaker {
            Speaker::Person { .. } => ("person", "answered", None, None),
            Speaker::Character { node, model, .. } => {
                let by = node.map(|node| AnsweredBy {
                    node_id: node.to_string(),
                    node_name: app.surroundings.name_of(&node),
                    model: model.clone(),
                });
                let question = message.parent.map(|question| question.to_string());
                ("character", "done", question, by)
            }
        };
        Self {
            id: message.id.to_string(),
            role,
            text: message.text.text().to_owned(),
            at: message.at.0,
            truncated: message.truncated,
            state,
            mark: None,
            ending: matches!(message.speaker, Speaker::Character { .. }).then(|| reason(message)),
            question_id: question,
            answered_by,
            alternatives: None,
            pinned: false,
            excluded: false,
            edited: message.versions.len() > 1 || matches!(message.place, Place::Replaces(_)),
        }
    }

    /// Without the text, which the page has.
    pub(super) fn without_text(mut self) -> Self {
        self.text = String::new();
        self
    }
}

fn mark(app: &App, session: ContentId, question: MessageId) -> &'static str {
    let lives = app.desk.live(session);
    let live = lives.iter().find(|live| live.lease().question == question);
    match live {
        Some(live) if live.waiting(inference::live::Cursor::default()).0 > 0 => "read",
        Some(live) if live.sayer().is_some() => "delivered",
        _ => "accepted",
    }
}

fn alternatives(chat: &Chat, id: MessageId) -> Option<AlternativesBody> {
    let all = chat.tree.alternatives(id).iter();
    let all: Vec<MessageId> = all
        .filter(|other| !chat.session.deleted.contains(other))
        .copied()
        .collect();
    let place = all.iter().position(|other| *other == id)?;
    (all.len() > 1).then(|| AlternativesBody {
        number: place + 1,
        count: all.len(),
        previous_id: place
            .checked_sub(1)
            .and_then(|before| all.get(before))
            .map(ToString::to_string),
        next_id: all.get(place + 1).map(ToString::to_string),
    })
}

/// How an answer ended, as the API says it.
pub(super) const fn reason(message: &Message) -> &'static str {
    match &message.speaker {
        Speaker::Character {
            ending: Ending::Length, ..
        } => "length",
        Speaker::Character {
            ending: Ending::Stopped,
            ..
        } => "stopped",
        _ => "end",
    }
}

/// Checks what a client made to recognise a message by.
pub(crate) fn check_outbox(outbox: &str) -> Result<(), ApiError> {
    if OUTBOX_CHARACTERS.contains(&outbox.chars().count()) {
        Ok(())
    } else {
        Err(ApiError::BodyInvalid("`outbox_id` has 8 to 64 characters".into()))
    }
}

/// Checks that there is something to read.
pub(crate) fn check_visible(text: &str) -> Result<(), ApiError> {
    let is_visible = |character: char| !character.is_whitespace() && !character.is_control();
    if text.chars().any(is_visible) {
        Ok(())
    } else {
        Err(ApiError::TextEmpty)
    }
}

/// Writes a person's message into its chat; it is on disk when this returns. The same outbox id stores nothing twice.
pub(super) async fn accept(
    app: &App,
    person: &Person,
    outbox: &str,
    session_id: &str,
    text: &str,
) -> Result<(ContentId, MessageBody), ApiError> {
    check_outbox(outbox)?;
    check_visible(text)?;
    let chat = app.chats.own(app, person, session_id).await?;
    let parent = chat.shown().next_back().map(|message| message.id);
    store(app, &chat, outbox, |at| {
        Message::from_person(text.trim_end(), outbox, &chat.document, parent, at)
    })
    .await
}

/// Stores a person's message, made for a time, unless it is there, and has it answered.
pub(crate) async fn store(
    app: &App,
    chat: &Chat,
    outbox: &str,
    make: impl FnOnce(Timestamp) -> Message,
) -> Result<(ContentId, MessageBody), ApiError> {
    let document = chat.document;
    let known = chat.session.messages.iter();
    let known = known.rev().find(|message| message.is_from_outbox(outbox, &document));
    let id = match known {
        Some(known) => known.id,
        None => {
            let message = make(now_in(chat));
            let id = message.id;
            app.chats.edit(app, document, SessionEdit::PutMessage(message)).await?;
            id
        }
    };
    let chat = app.chats.get(app, document).await?;
    let message = chat.message(id)?;
    let body = MessageBody::of(app, &chat, message).await?;
    if chat.session.is_unanswered(message) {
        app.desk.ask(Order::first(document, id)).await;
    }
    Ok((document, body))
}

/// Later than everything in a chat, even when this clock is behind another node's.
pub(crate) fn now_in(chat: &Chat) -> Timestamp {
    let newest = chat
        .session
        .messages
        .last()
        .map_or(Timestamp(0), |message| message.id.at());
    Timestamp::now().max(newest.plus(2))
}
