//! What a caller computes on this node's own model without a chat: test chats, and what programs ask for.

use std::sync::Arc;

use super::Desk;
use crate::engine::{Embedding, EngineLoad, Generation, GenerationError, ModelInfo, Running};

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

    /// The meaning of a text as numbers, by this node's model.
    ///
    /// # Errors
    /// When no model is loaded here, it gives none, or the text is too long for it.
    pub async fn embed(&self, text: &str) -> Result<Embedding, GenerationError> {
        self.engine.embed(text).await
    }

    /// How busy this node's engine is.
    #[must_use]
    pub fn engine_load(&self) -> EngineLoad {
        *self.engine.load().borrow()
    }

    /// Whether this node takes new work: not while it drains or is kept from working.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.mesh.view().borrow().takes_work(&self.mesh.node())
    }
}
