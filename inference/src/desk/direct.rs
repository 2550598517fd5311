//! What a caller computes on this node's own model without a chat: test chats, and programs that speak OpenAI's protocol.

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

    /// The meaning of a text as numbers, of length 1.
    ///
    /// # Errors
    /// When no model is loaded here or it gives none.
    pub async fn embed(&self, text: &str) -> Result<Vec<f32>, GenerationError> {
        self.engine.embed(text).await
    }
}
