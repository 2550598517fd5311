//! What a caller computes on this node's own model without a chat: test chats.

use std::sync::Arc;

use crdt::records::character::Definition;
use keys::{ContentId, Timestamp};

use super::Desk;
use crate::{
    admission::{Asked, Class, Place},
    engine::{EngineEvent, Generation, GenerationError, ModelInfo, Running},
    prompt,
    template::ChatMessage,
};

/// A generation under way, in a place of its own. Dropping it cancels it.
#[derive(Debug)]
pub struct Direct {
    running: Running,
    _place: Place,
}

impl Direct {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<EngineEvent> {
        self.running.next().await
    }
}

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

    /// Begins a generation whose outcome nobody writes down, when its person's turn has come. Dropping it cancels it.
    ///
    /// # Errors
    /// When no model is loaded here, its turn does not come in time, or what is asked for makes no sense.
    pub async fn generate(&self, generation: Generation) -> Result<Direct, GenerationError> {
        let asked = Asked {
            account: ContentId(generation.account),
            class: Class::Person,
            at: Timestamp::now(),
        };
        let place = tokio::time::timeout(generation.deadline, self.engine.place(asked, |_| {})).await;
        let place = place.unwrap_or(Err(GenerationError::Deadline))?;
        let running = self.engine.generate(generation).await?;
        Ok(Direct { running, _place: place })
    }
}
