//! The door of an engine: whoever wants it to compute asks for a place, waits for it in a fair queue, and hears meanwhile where they stand.
//!
//! What goes first is decided in [`queue`], purely; here are the clock and those who wait. Dropping a [`Place`], or whatever waits for one,
//! gives it up at once.

pub mod queue;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};

pub use self::queue::{Asked, Class, Fairness, Standing};
use self::queue::{Effect, Moment, Queue, Ticket};
use crate::limits::{WAITING_TOLD_EVERY, WAITING_TOLD_LEAST};

/// The door of one engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    // A plain lock: held while the queue computes, never across an await.
    state: Mutex<State>,
    began: Instant,
    /// Counts what changes in the queue.
    changes: watch::Sender<u64>,
    /// Questions that wait.
    questions: watch::Sender<u32>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    words: HashMap<Ticket, watch::Sender<Word>>,
}

/// What the queue has to say to one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Wait,
    Come,
    Refused(Standing),
    Yield,
}

/// Given up when it is dropped.
#[derive(Debug)]
struct Held {
    admission: Admission,
    ticket: Ticket,
}

/// Waits for a place.
#[derive(Debug)]
pub struct Waiter {
    held: Held,
    word: watch::Receiver<Word>,
}

/// A place in the engine. Dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    _held: Held,
    word: watch::Receiver<Word>,
}

impl Admission {
    /// Of an engine that is not ready yet.
    #[must_use]
    pub fn new(fairness: Fairness) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(fairness),
                words: HashMap::new(),
            }),
            began: Instant::now(),
            changes: watch::Sender::new(0),
            questions: watch::Sender::new(0),
        }))
    }

    /// Asks for one of so many places.
    #[must_use]
    pub fn enter(&self, places: usize, asked: Asked) -> Waiter {
        let now = self.now();
        let mut state = self.lock();
        let effects = state.queue.set_places(now, places);
        state.apply(&effects);
        let (sender, word) = watch::channel(Word::Wait);
        let (ticket, effects) = state.queue.enter(now, asked);
        state.words.insert(ticket, sender);
        state.apply(&effects);
        self.publish(state);
        Waiter {
            held: Held {
                admission: self.clone(),
                ticket,
            },
            word,
        }
    }

    /// Questions that wait, always current.
    #[must_use]
    pub fn questions(&self) -> watch::Receiver<u32> {
        self.0.questions.subscribe()
    }

    fn leave(&self, ticket: Ticket) {
        let now = self.now();
        let mut state = self.lock();
        state.words.remove(&ticket);
        let effects = state.queue.leave(now, ticket);
        state.apply(&effects);
        self.publish(state);
    }

    fn standing(&self, ticket: Ticket) -> Option<Standing> {
        let now = self.now();
        self.lock().queue.standing(now, ticket)
    }

    fn publish(&self, state: MutexGuard<'_, State>) {
        let questions = u32::try_from(state.queue.questions()).unwrap_or(u32::MAX);
        drop(state);
        self.0.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
        self.0
            .questions
            .send_if_modified(|known| std::mem::replace(known, questions) != questions);
    }

    fn now(&self) -> Moment {
        self.0.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&self, effects: &[Effect]) {
        for effect in effects {
            let (ticket, word) = match effect {
                Effect::Admitted(ticket) => (ticket, Word::Come),
                Effect::Refused(ticket, standing) => (ticket, Word::Refused(*standing)),
                Effect::Yield(ticket) => (ticket, Word::Yield),
            };
            if let Some(waiter) = self.words.get(ticket) {
                waiter.send_replace(word);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.admission.leave(self.ticket);
    }
}

impl Waiter {
    /// Waits for the place, and tells where it stands: when it begins to wait, whenever that changes, and at least every second.
    ///
    /// # Errors
    /// When there is no room to wait; with where it would have stood.
    pub async fn place(mut self, tell: impl Fn(Standing)) -> Result<Place, Standing> {
        let mut changes = self.held.admission.0.changes.subscribe();
        let mut told: Option<(Instant, Standing)> = None;
        loop {
            match *self.word.borrow_and_update() {
                Word::Wait => {}
                Word::Refused(standing) => return Err(standing),
                // Asked to give back what it has just got: whoever computes with it hears that.
                Word::Come | Word::Yield => break,
            }
            if let Some(standing) = self.held.admission.standing(self.held.ticket) {
                let is_news =
                    told.is_none_or(|(at, known)| known.ahead != standing.ahead || at.elapsed() >= WAITING_TOLD_EVERY);
                if is_news {
                    told = Some((Instant::now(), standing));
                    tell(standing);
                }
            }
            let at = told.map_or_else(Instant::now, |(at, _)| at);
            tokio::select! {
                biased;
                // The other end is kept until this one is dropped.
                _ = self.word.changed() => {}
                () = async {
                    tokio::time::sleep_until(at + WAITING_TOLD_LEAST).await;
                    let _ = changes.changed().await;
                } => {}
                () = tokio::time::sleep_until(at + WAITING_TOLD_EVERY) => {}
            }
        }
        Ok(Place {
            _held: self.held,
            word: self.word,
        })
    }
}

impl Place {
    /// Waits until a person wants it, where it was given to background work.
    pub async fn wanted(&self) {
        let mut word = self.word.clone();
        // The other end is kept until this one is dropped.
        let _ = word.wait_for(|word| *word == Word::Yield).await;
    }
}

#[cfg(test)]
mod tests;
