//! An engine as the product runs it, for a test.

use std::{path::Path, time::Duration};

use inference::{Engine, EngineSettings, EngineStatus, ModelSource};

/// Generous: nothing here measures speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts one with so many slots and waits until its model is loaded.
pub async fn started(directory: &Path, model: ModelSource, slots: u32) -> Engine {
    let engine = Engine::start(EngineSettings {
        program: env!("CARGO_BIN_EXE_engine-process").into(),
        model,
        models_directory: directory.to_owned(),
        slots,
        context_tokens: 512,
        threads: Some(1),
    });
    let engine = engine.expect("the model is there");
    ready(&engine).await;
    engine
}

/// Waits until an engine has its model loaded, for the first time or again.
pub async fn ready(engine: &Engine) {
    let mut status = engine.status();
    let ready = status.wait_for(|status| matches!(status, EngineStatus::Ready(_)));
    tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("in time")
        .expect("it lives");
}
