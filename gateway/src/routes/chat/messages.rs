//! Messages: how the API shows them, and how a new one is accepted.

use crdt::records::session::{Ending, Message, Session, SessionEdit, Speaker};
use keys::{ContentId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Person,
    error::ApiError,
    limits::OUTBOX_CHARACTERS,
    routes::sessions::{own_session, visible},
};

/// A message as the API tells of one.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MessageBody {
    pub(crate) id: String,
    /// `person` or `character`.
    role: &'static str,
    text: String,
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// Whether the text was cut at its limit.
    truncated: bool,
    /// `waiting`, `answered` or `done`.
    state: &'static str,
    /// How an answer ended: `end`, `length` or `stopped`.
    ending: Option<&'static str>,
    /// The message that an answer answers.
    question_id: Option<String>,
    answered_by: Option<AnsweredBy>,
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
    pub(crate) fn of(app: &App, session: &Session, message: &Message) -> Self {
        let (role, state, question, answered_by) = match &message.speaker {
            Speaker::Person { .. } if session.is_unanswered(message) => ("person", "waiting", None, None),
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
            ending: matches!(message.speaker, Speaker::Character { .. }).then(|| reason(message)),
            question_id: question,
            answered_by,
        }
    }
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

/// Writes a person's message into its chat; it is on disk when this returns. The same outbox id stores nothing twice.
pub(super) async fn accept(
    app: &App,
    person: &Person,
    outbox: &str,
    session_id: &str,
    text: &str,
) -> Result<(ContentId, MessageBody), ApiError> {
    if !OUTBOX_CHARACTERS.contains(&outbox.chars().count()) {
        return Err(ApiError::BodyInvalid("`outbox_id` has 8 to 64 characters".into()));
    }
    if !text
        .chars()
        .any(|character| !character.is_whitespace() && !character.is_control())
    {
        return Err(ApiError::TextEmpty);
    }
    let (document, mut session) = own_session(app, person, session_id).await?;
    let known = session
        .messages
        .iter()
        .find(|message| message.is_from_outbox(outbox, &document))
        .cloned();
    let message = match known {
        Some(known) => known,
        None => {
            // Later than everything before it, even when this clock is behind another node's.
            let newest = session.messages.last().map_or(Timestamp(0), |message| message.id.at());
            let now = Timestamp::now().max(newest.plus(2));
            let parent = visible(&session).next_back().map(|message| message.id);
            let message = Message::from_person(text.trim_end(), outbox, &document, parent, now);
            let edit = SessionEdit::PutMessage(message.clone());
            app.store.edit(document, edit).await?;
            session.messages.push(message.clone());
            message
        }
    };
    let body = MessageBody::of(app, &session, &message);
    if session.is_unanswered(&message) {
        app.desk.ask(document, message.id).await;
    }
    Ok((document, body))
}
