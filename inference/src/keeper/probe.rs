//! The known prompt: whether a loaded model still makes tokens.

use std::time::Duration;

use crate::{
    engine::{Engine, EngineEvent, Generation, GenerationError, Input, Sampling},
    limits::PROBE_TIMEOUT,
};

/// What every model can go on with.
const PROMPT: &str = "One two three four";
/// Tokens that it is to make.
const TOKENS: u32 = 2;

/// Asks it; with whether the engine counts it as finished, and why it does not pass.
pub(super) async fn ask(engine: &Engine) -> (bool, Result<(), String>) {
    let asked = tokio::time::timeout(PROBE_TIMEOUT, generate(engine)).await;
    match asked {
        Ok(Ok(())) => (true, Ok(())),
        // It does other work: then it lives.
        Ok(Err(GenerationError::Busy)) => (false, Ok(())),
        Ok(Err(error)) => (false, Err(format!("it does not answer the known prompt: {error}"))),
        Err(_) => (
            false,
            Err(format!("it did not answer the known prompt within {PROBE_TIMEOUT:?}")),
        ),
    }
}

async fn generate(engine: &Engine) -> Result<(), GenerationError> {
    let generation = Generation {
        // Nobody's conversation.
        account: [0; 32],
        session: [0; 32],
        input: Input::Text {
            prompt: PROMPT.into(),
            card_bytes: 0,
        },
        sampling: Sampling {
            temperature: 0.0,
            tokens_max: TOKENS,
            logprobs: Some(0),
            ignores_end: true,
            ..Sampling::default()
        },
        accepted: Vec::new(),
        deadline: PROBE_TIMEOUT + Duration::from_secs(1),
    };
    let mut running = engine.generate(generation).await?;
    loop {
        match running.next().await {
            // What is computed from damaged weights is no number.
            Some(EngineEvent::Probability(token)) if !token.logprob.is_finite() => {
                return Err(GenerationError::Engine("what it computes is no number".into()));
            }
            Some(EngineEvent::Finished(_)) => return Ok(()),
            Some(EngineEvent::Failed(error)) => return Err(error),
            Some(_) => {}
            None => return Err(GenerationError::Died),
        }
    }
}
