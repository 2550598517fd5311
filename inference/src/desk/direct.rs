//! What is computed without a chat: test chats on this node's own model, and what programs ask for on whichever node has their model.

use std::collections::BTreeSet;

use crdt::records::character::Definition;
use keys::NodeId;

use super::Desk;
use crate::{
    admission::Place,
    compute,
    engine::{Embedding, EngineEvent, EngineLoad, Generation, GenerationError, Input, Running},
    keeper::{MainModel, ModelGuard, plan::Condition},
    limits::ATTEMPTS_MAX,
    prompt,
    template::ChatMessage,
};

/// A generation under way, in a place of its own where it runs here. Dropping it cancels it.
#[derive(Debug)]
pub struct Direct {
    running: Running,
    _here: Option<(Place, ModelGuard)>,
}

impl Direct {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<EngineEvent> {
        self.running.next().await
    }
}

impl Desk {
    /// What the model is called with which this node answers chats, when it can be asked: at once, or after it was loaded.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        match self.engines.main() {
            MainModel::Here(view) if view.condition.can_be_asked() => Some(view.name.to_string()),
            _ => None,
        }
    }

    /// Whether it is in memory.
    #[must_use]
    pub fn is_model_loaded(&self) -> bool {
        matches!(self.engines.main(), MainModel::Here(view) if view.condition == Condition::Loaded)
    }

    /// What a model reads of a character and of a talk that is kept nowhere.
    pub async fn prompt(&self, character: &Definition, said: Vec<ChatMessage>) -> Vec<ChatMessage> {
        let card = self.cards.of(character).await;
        prompt::put_together(character, card.as_deref(), Vec::new(), said)
    }

    /// Begins a generation whose outcome nobody writes down, by the model with which this node answers chats, when its person's turn has
    /// come. Dropping it cancels it.
    ///
    /// # Errors
    /// When there is no model here, its turn does not come in time, or what is asked for makes no sense.
    pub async fn generate(&self, generation: Generation) -> Result<Direct, GenerationError> {
        self.generate_here(None, generation).await
    }

    async fn generate_here(&self, model: Option<&str>, generation: Generation) -> Result<Direct, GenerationError> {
        let (running, here) = compute::generate(&self.engines, model, generation).await?;
        Ok(Direct {
            running,
            _here: Some(here),
        })
    }

    /// The models that take work now, here or on a node within reach, those among them that are loaded first.
    #[must_use]
    pub fn models(&self) -> BTreeSet<String> {
        let offers = self.offers().into_values().flatten();
        offers.map(|offer| offer.model).collect()
    }

    /// Begins a generation by this model, wherever it is expected to be over first; nobody writes its outcome down. Dropping it cancels
    /// it. A node that does not begin is passed over; one that fails later has failed.
    ///
    /// # Errors
    /// When no node has the model, all are full, or what is asked for makes no sense.
    pub async fn generate_by(&self, model: &str, generation: Generation) -> Result<Direct, GenerationError> {
        let characters = characters(&generation.input);
        let mut last = GenerationError::NotReady;
        for node in self.nodes_for(model, characters) {
            let begun = if node == self.mesh.node() {
                self.generate_here(Some(model), generation.clone()).await
            } else {
                let asked = compute::ask(&self.mesh, node, model, generation.clone()).await;
                asked.map(|running| Direct { running, _here: None })
            };
            match begun {
                Err(error) if error.says_nothing_of_the_question() => last = error,
                begun => return begun,
            }
        }
        Err(last)
    }

    /// The meaning of a text as numbers, by this model, wherever it is.
    ///
    /// # Errors
    /// When no node has the model, it gives none, or the text is too long for it.
    pub async fn embed_by(&self, model: &str, text: &str) -> Result<Embedding, GenerationError> {
        let mut last = GenerationError::NotReady;
        for node in self.nodes_for(model, text.chars().count()) {
            let made = if node == self.mesh.node() {
                compute::embed_here(&self.engines, model, text).await
            } else {
                compute::embed(&self.mesh, node, model, text).await
            };
            match made {
                Err(error) if error.says_nothing_of_the_question() => last = error,
                made => return made,
            }
        }
        Err(last)
    }

    /// The nodes that have this model, best first.
    fn nodes_for(&self, model: &str, characters: usize) -> Vec<NodeId> {
        let order = self.routing.order(&self.engines, &self.mesh, model, characters);
        order.into_iter().take(ATTEMPTS_MAX).collect()
    }

    /// How busy this node's engines are.
    #[must_use]
    pub fn engine_load(&self) -> EngineLoad {
        self.engines.load()
    }

    /// Whether this node takes new work: not while it drains or is kept from working.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.mesh.view().borrow().takes_work(&self.mesh.node())
    }
}

fn characters(input: &Input) -> usize {
    match input {
        Input::Chat(messages) => messages.iter().map(|message| message.content.chars().count()).sum(),
        Input::Exchange(exchange) => exchange.turns.iter().map(|turn| turn.content.chars().count()).sum(),
        Input::Text { prompt, .. } => prompt.chars().count(),
    }
}
