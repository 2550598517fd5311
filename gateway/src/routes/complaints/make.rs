//! `POST /api/v1/complaints`: a person complains of an answer in an own chat, or of a character.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::IntoResponse,
};
use crdt::records::{
    character::{Character, Definition},
    complaint::{Complaint, EXCERPT_CHARACTERS_MAX, NAME_CHARACTERS_MAX, WORDS_CHARACTERS_MAX},
    session::MessageId,
};
use keys::{ContentId, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ReasonBody, mine::OwnComplaintBody, word};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    guard::too_many,
    idle::Peer,
    limits::{COMPLAINT_BURST, COMPLAINTS_PER_SECOND, COMPLAINTS_UNDECIDED_MAX},
    routes::{
        Json,
        characters::{list::greeting, uniqueness::Standings},
        sessions::message_id,
    },
};

/// What is complained of.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AboutRequest {
    /// An answer in a chat of the person.
    Answer { session_id: String, message_id: String },
    /// A character that is offered.
    Character { character_id: String },
}

/// A complaint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComplaintRequest {
    about: AboutRequest,
    reason: ReasonBody,
    /// What the person wants to say about it.
    #[schema(max_length = 1000, example = "It told me to jump.")]
    words: Option<String>,
}

/// What the person sees.
struct Seen {
    character: ContentId,
    author: Option<ContentId>,
    answer: Option<(ContentId, MessageId)>,
    name: String,
    excerpt: String,
}

#[utoipa::path(post, path = "/api/v1/complaints", request_body = ComplaintRequest, responses(
    (status = 201, body = OwnComplaintBody),
    (status = 200, body = OwnComplaintBody, description = "The person has complained of the same, and it is not decided: that complaint stands"),
    (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    person: Person,
    Json(request): Json<ComplaintRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let words = request.words.unwrap_or_default().trim().to_owned();
    if words.chars().count() > WORDS_CHARACTERS_MAX {
        return Err(ApiError::BodyInvalid(format!(
            "`words` has {WORDS_CHARACTERS_MAX} characters at most"
        )));
    }
    let seen = seen(&app, &person, &request.about).await?;
    let mut undecided = app.store.list_of::<Complaint>(person.id).await?;
    undecided.retain(|(_, earlier)| earlier.decided().is_none());
    let is_same = |earlier: &Complaint| earlier.character == seen.character && earlier.answer == seen.answer;
    if let Some((id, earlier)) = undecided.iter().find(|(_, earlier)| is_same(earlier)) {
        return Ok((StatusCode::OK, Json(OwnComplaintBody::of(*id, earlier))));
    }
    if undecided.len() >= COMPLAINTS_UNDECIDED_MAX {
        return Err(ApiError::ComplaintsFull);
    }
    let taken = app
        .complaints
        .take(&person.id, COMPLAINT_BURST, COMPLAINTS_PER_SECOND, Instant::now());
    taken.map_err(too_many)?;
    let complaint = Complaint {
        account: person.id,
        character: seen.character,
        author: seen.author,
        answer: seen.answer,
        reason: request.reason.into(),
        words: words.into(),
        name: cut(&seen.name, NAME_CHARACTERS_MAX).into(),
        excerpt: cut(&seen.excerpt, EXCERPT_CHARACTERS_MAX).into(),
        created: Timestamp::now(),
        taken: None,
        decisions: Vec::new(),
    };
    let id = app.store.create(complaint.clone()).await?;
    app.audit
        .note_of(&person, peer, "complaint.make", id, &word(&request.reason))
        .await?;
    Ok((StatusCode::CREATED, Json(OwnComplaintBody::of(id, &complaint))))
}

/// What the person sees of it, as it is now.
async fn seen(app: &App, person: &Person, about: &AboutRequest) -> Result<Seen, ApiError> {
    match about {
        AboutRequest::Answer {
            session_id,
            message_id: id,
        } => {
            let chat = app.chats.own(app, person, session_id).await?;
            let answer = chat.message(message_id(id)?)?;
            if answer.is_from_person() {
                return Err(ApiError::NoAnswer);
            }
            let answer = app.chats.open(app, &chat, vec![answer]).await?.remove(0);
            let character: Character = app.store.read(chat.session.character).await?;
            let newest = character.versions.last().map(|version| &version.definition);
            let definition = character.definition().or(newest).unwrap_or(&character.draft);
            Ok(Seen {
                character: chat.session.character,
                author: character.creator,
                answer: Some((chat.document, answer.id)),
                name: shown_name(app, chat.session.character, definition).await?,
                excerpt: answer.text.text().to_owned(),
            })
        }
        AboutRequest::Character { character_id } => {
            let id = ContentId::parse(character_id).ok_or(ApiError::NotFound)?;
            let character: Character = app.store.read(id).await?;
            // Of what is not offered a person sees nothing.
            let definition = character.offered().ok_or(ApiError::NotFound)?;
            let parts = [definition.description.clone(), greeting(definition, person)];
            Ok(Seen {
                character: id,
                author: character.creator,
                answer: None,
                name: shown_name(app, id, definition).await?,
                excerpt: parts.join("\n\n").trim().to_owned(),
            })
        }
    }
}

async fn shown_name(app: &App, id: ContentId, definition: &Definition) -> Result<String, ApiError> {
    Ok(Standings::read(app).await?.shown_name(id, &definition.name))
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
