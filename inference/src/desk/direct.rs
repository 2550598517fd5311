//! What a caller computes on this node's own model without a chat: test chats.

use std::sync::Arc;

use super::Desk;
use crdt::records::character::Definition;

use crate::{
    engine::{Generation, GenerationError, ModelInfo, Running},
    prompt,
    template::ChatMessage,
};

impl Desk {
    /// The model of this node, when it is loaded.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelInfo>> {
        self.engine.model()
    }

    /// What a model reads of a character and of a talk that is kept nowhere.
    pub async fn prompt(&self, character: &Definition, said: Vec<ChatMessage>) -> Vec<ChatMessage> {
        let card = self.cards.of(character).await;
        prompt::put_together(character, card.as_deref(), Vec::new(), said)
    }

    /// Begins a generation whose outcome nobody writes down. Dropping it cancels it.
    ///
    /// # Errors
    /// When no model is loaded here, it is full, or what is asked for makes no sense.
    pub async fn generate(&self, generation: Generation) -> Result<Running, GenerationError> {
        self.engine.generate(generation).await
    }
}
