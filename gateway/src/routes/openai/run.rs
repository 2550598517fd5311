//! A program's request under way: its place among the others, its model's answer gathered to the end.

use std::{sync::Arc, time::Duration};

use axum::{extract::FromRequestParts, http::request::Parts};
use inference::{
    desk::Direct,
    engine::{EngineEvent, Finished, Generation, GenerationError, Input, Sampling, TokenProbability},
};
use keys::ContentId;
use tokio::sync::OwnedSemaphorePermit;

use super::error::ProgramError;
use crate::{
    app::App,
    auth::programs::Program,
    idle::{Held, Patience},
    limits::PROGRAM_TIMEOUT,
};

/// A place among the requests that are seen to; while it is held, the connection may be silent.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _held: Option<Held>,
}

impl FromRequestParts<Arc<App>> for Place {
    type Rejection = ProgramError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ProgramError> {
        let permit = Arc::clone(&app.programs).try_acquire_owned();
        Ok(Self {
            _permit: permit.map_err(|_| ProgramError::Busy)?,
            _held: parts.extensions.get::<Patience>().map(Patience::hold),
        })
    }
}

/// Which conversation a request goes on with, so that what is computed of it is used again: the one of this key that began so.
fn conversation(program: &Program, beginning: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("starling 2026-11-29 conversation of a program");
    hasher.update(program.key.bytes());
    hasher.update(beginning);
    *hasher.finalize().as_bytes()
}

/// Begins to generate.
pub(super) async fn begin(
    app: &App,
    (program, model): (&Program, &str),
    beginning: &[u8],
    input: Input,
    sampling: Sampling,
) -> Result<Direct, ProgramError> {
    let ContentId(account) = program.person;
    let generation = Generation {
        account,
        session: conversation(program, beginning),
        input,
        sampling,
        accepted: Vec::new(),
        deadline: PROGRAM_TIMEOUT,
    };
    Ok(app.desk.generate_by(model, generation).await?)
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) text: String,
    pub(super) probabilities: Vec<TokenProbability>,
    pub(super) finished: Finished,
}

/// Waits for the whole answer. Dropping it ends the generation.
pub(super) async fn gather(mut running: Direct) -> Result<Made, ProgramError> {
    let (mut text, mut probabilities) = (String::new(), Vec::new());
    let gathering = async {
        while let Some(event) = running.next().await {
            match event {
                EngineEvent::Text(piece) => text.push_str(&piece),
                EngineEvent::Probability(probability) => probabilities.push(probability),
                EngineEvent::Finished(finished) => return Ok(finished),
                EngineEvent::Failed(error) => return Err(error.into()),
                EngineEvent::Thought(_) | EngineEvent::Token(_) => {}
            }
        }
        Err(GenerationError::Died.into())
    };
    let finished = within(PROGRAM_TIMEOUT, gathering).await?;
    Ok(Made {
        text,
        probabilities,
        finished,
    })
}

/// Nothing waits for ever.
pub(super) async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, ProgramError>>,
) -> Result<T, ProgramError> {
    tokio::time::timeout(time, work)
        .await
        .unwrap_or(Err(ProgramError::Late))
}

/// The seed of an answer that need not come again.
pub(super) fn random_seed() -> u32 {
    u32::from_le_bytes(keys::identity::random_bytes())
}
