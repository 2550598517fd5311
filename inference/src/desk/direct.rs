//! What a caller computes on this node's own model without a chat: test chats.

use std::sync::Arc;

use super::Desk;
use crate::engine::{Generation, GenerationError, ModelInfo, Running};

impl Desk {
    /// The model of this node, when it is loaded.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelInfo>> {
        self.engine.model()
    }

    /// Begins a generation whose outcome nobody writes down. Dropping it cancels it.
    ///
    /// # Errors
    /// When no model is loaded here, it is full, or what is asked for makes no sense.
    pub async fn generate(&self, generation: Generation) -> Result<Running, GenerationError> {
        self.engine.generate(generation).await
    }
}
