//! The cards at hand: what the cards of characters say for the model, read once and kept for the next question.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use crdt::records::character::Definition;
use keys::ContentId;

use crate::{
    limits::{CARD_WAIT, CARDS_AT_HAND_MAX},
    prompt::CardText,
};

/// Where cards are: `node` keeps files by their content and brings those of others.
pub trait CardFiles: Send + Sync {
    /// The bytes of a card; `None` when no node within reach has it.
    fn find(&self, card: ContentId) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + '_>>;
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cards {
    files: Arc<dyn CardFiles>,
    at_hand: Arc<Mutex<AtHand>>,
}

#[derive(Default)]
struct AtHand {
    /// With when each was last used, in questions.
    cards: HashMap<ContentId, (Arc<CardText>, u64)>,
    questions: u64,
}

impl Cards {
    pub(crate) fn new(files: Arc<dyn CardFiles>) -> Self {
        Self {
            files,
            at_hand: Arc::default(),
        }
    }

    /// What the card of a character says. `None` when it never was one, or when the card cannot be had now: people are answered
    /// without it rather than not at all, and the next question looks again.
    pub(crate) async fn of(&self, character: &Definition) -> Option<Arc<CardText>> {
        let id = character.card?;
        if let Some(card) = self.at_hand().take(id) {
            return Some(card);
        }
        let found = tokio::time::timeout(CARD_WAIT, self.files.find(id)).await;
        let Some(bytes) = found.ok().flatten() else {
            tracing::warn!(
                character = character.name,
                "its card is not within reach: it is asked without"
            );
            return None;
        };
        let read = tokio::task::spawn_blocking(move || CardText::read(&bytes)).await;
        let card = match read {
            Ok(Ok(card)) => Arc::new(card),
            Ok(Err(error)) => {
                tracing::warn!(%error, character = character.name, "its card cannot be read: it is asked without");
                return None;
            }
            Err(error) => {
                tracing::error!(%error, "reading a card ended abnormally");
                return None;
            }
        };
        self.at_hand().put(id, Arc::clone(&card));
        Some(card)
    }

    fn at_hand(&self) -> std::sync::MutexGuard<'_, AtHand> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtHand {
    fn take(&mut self, id: ContentId) -> Option<Arc<CardText>> {
        self.questions += 1;
        let (card, used) = self.cards.get_mut(&id)?;
        *used = self.questions;
        Some(Arc::clone(card))
    }

    fn put(&mut self, id: ContentId, card: Arc<CardText>) {
        self.cards.insert(id, (card, self.questions));
        if self.cards.len() > CARDS_AT_HAND_MAX {
            let oldest = self.cards.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            oldest.map(|oldest| self.cards.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how often it is asked; from the second time on it has the card.
    struct SecondTime(AtomicUsize);

    impl CardFiles for SecondTime {
        fn find(&self, _: ContentId) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + '_>> {
            let asked = self.0.fetch_add(1, Ordering::Relaxed);
            let card = br#"{"spec":"chara_card_v2","spec_version":"2.0","data":{"name":"Fox","personality":"sly"}}"#;
            Box::pin(async move { (asked > 0).then(|| card.to_vec()) })
        }
    }

    #[tokio::test]
    async fn a_card_is_read_once_and_looked_for_again_where_it_was_missing() {
        let files = Arc::new(SecondTime(AtomicUsize::new(0)));
        let cards = Cards::new(Arc::clone(&files) as Arc<dyn CardFiles>);
        let mut fox = Definition::new("Fox", "", "", "You are a fox.");
        assert!(cards.of(&fox).await.is_none());
        assert_eq!(files.0.load(Ordering::Relaxed), 0, "it never was a card");
        fox.card = Some(ContentId([1; 32]));
        assert!(cards.of(&fox).await.is_none());
        for _ in 0..3 {
            assert!(cards.of(&fox).await.is_some());
        }
        assert_eq!(files.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_one_longest_unused_leaves() {
        let mut at_hand = AtHand::default();
        let id = |number: usize| ContentId::of(&number.to_le_bytes());
        for number in 0..=CARDS_AT_HAND_MAX {
            assert!(at_hand.take(id(0)).is_some() || number == 0);
            at_hand.put(id(number), Arc::default());
        }
        assert_eq!(at_hand.cards.len(), CARDS_AT_HAND_MAX);
        assert!(at_hand.take(id(0)).is_some() && at_hand.take(id(1)).is_none());
    }
}
