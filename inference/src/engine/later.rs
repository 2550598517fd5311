//! An engine whose file is still on its way: it refuses what it is asked until the file is there, and is an engine like any other then.

use tokio::sync::mpsc;

use super::{Backend, Command, EngineSettings, EngineStatus, ModelSource, llama, model, running::Running};

/// Waits for the model and runs it; ends when nobody needs the engine any more.
pub(super) async fn run(
    mut settings: EngineSettings,
    model: impl Future<Output = ModelSource>,
    running: Running,
    mut queue: mpsc::Receiver<Command>,
) {
    tokio::pin!(model);
    settings.model = loop {
        tokio::select! {
            model = &mut model => break model,
            command = queue.recv() => match command {
                Some(command) => llama::refuse(command),
                None => return,
            },
        }
    };
    match model::prepare(&settings) {
        Ok(prepared) => llama::Llama::new(settings, prepared, running).run(queue).await,
        Err(error) => {
            tracing::error!(%error, "the model cannot be used");
            running.set_status(EngineStatus::Failed {
                reason: error.to_string(),
            });
            while let Some(command) = queue.recv().await {
                llama::refuse(command);
            }
        }
    }
}
