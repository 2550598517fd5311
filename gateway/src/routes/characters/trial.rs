//! `POST /api/v1/characters/{id}/trial`: one answer of the draft in a test chat that nobody keeps.

use std::sync::Arc;

use axum::extract::State;
use inference::{
    engine::{EngineEvent, Generation, GenerationError, Input, Sampling},
    template::ChatMessage,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{error::CharacterError, own_character};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    limits::{TRIAL_CHARACTERS_MAX, TRIAL_MESSAGES_MAX, TRIAL_TIMEOUT},
    routes::{Json, Path},
};

/// The test chat so far.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialRequest {
    /// Oldest first; the last one is the person's.
    messages: Vec<TrialMessage>,
}

/// A message of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialMessage {
    role: TrialRole,
    #[schema(max_length = 1000)]
    text: String,
}

/// Who said it.
#[derive(Clone, Copy, Deserialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TrialRole {
    Person,
    Character,
}

/// The answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct TrialAnswer {
    text: String,
    model: String,
}

#[utoipa::path(post, path = "/api/v1/characters/{id}/trial", params(("id" = String, Path)), request_body = TrialRequest, responses(
    (status = 200, body = TrialAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
    (status = 502, body = ErrorBody), (status = 503, body = ErrorBody), (status = 504, body = ErrorBody),
))]
pub(crate) async fn trial(
    State(app): State<Arc<App>>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<TrialRequest>,
) -> Result<Json<TrialAnswer>, ApiError> {
    let (id, character) = own_character(&app, &person, &id).await?;
    check(&request)?;
    let draft = character.draft;
    let said = request.messages.into_iter().map(|said| match said.role {
        TrialRole::Person => ChatMessage::new("user", said.text),
        TrialRole::Character => ChatMessage::new("assistant", said.text),
    });
    let messages = app.desk.prompt(&draft, said.collect()).await;
    let model = app.desk.model().ok_or(CharacterError::NoModel)?;
    let generation = Generation {
        account: person.id.0,
        // Each trial is a conversation of its own, which ends with the answer.
        session: id.0,
        input: Input::Chat(messages),
        sampling: Sampling {
            temperature: draft.temperature as f32,
            characters_max: u32::try_from(draft.answer_characters_max).unwrap_or(u32::MAX),
            ..Sampling::default()
        },
        accepted: Vec::new(),
        deadline: TRIAL_TIMEOUT,
    };
    let text = answered(&app, generation).await?;
    Ok(Json(TrialAnswer { text, model }))
}

fn check(request: &TrialRequest) -> Result<(), ApiError> {
    let messages = &request.messages;
    let fits = |message: &TrialMessage| message.text.chars().count() <= TRIAL_CHARACTERS_MAX;
    if messages.len() > TRIAL_MESSAGES_MAX || !messages.iter().all(fits) {
        return Err(CharacterError::Field("messages").into());
    }
    match messages.last() {
        Some(last) if last.role == TrialRole::Person && !last.text.trim().is_empty() => Ok(()),
        _ => Err(ApiError::TextEmpty),
    }
}

async fn answered(app: &App, generation: Generation) -> Result<String, ApiError> {
    let failed = |error: GenerationError| match error {
        GenerationError::NotReady | GenerationError::Busy | GenerationError::Full { .. } => CharacterError::NoModel,
        _ => CharacterError::Generation,
    };
    let mut running = app.desk.generate(generation).await.map_err(failed)?;
    let mut text = String::new();
    while let Some(event) = running.next().await {
        match event {
            EngineEvent::Text(piece) => text.push_str(&piece),
            EngineEvent::Finished(_) => return Ok(text),
            EngineEvent::Failed(error) => return Err(failed(error).into()),
            EngineEvent::Thought(_) | EngineEvent::Token(_) | EngineEvent::Probability(_) => {}
        }
    }
    Err(CharacterError::Generation.into())
}
