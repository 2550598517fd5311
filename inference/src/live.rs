//! Answers while they are said: one [`Live`] per answer on every node that generates it, sees to it or follows it, all of them in
//! one table.
//!
//! The text stands here once, however many sockets and nodes read it, each at its own pace from its own [`Cursor`]; so a slow
//! reader costs nobody anything, and whoever comes later or comes back gets what it lacks. A *run* is one attempt to say the
//! answer: as long as it is the same, what was read stays true; another run begins over.
//!
//! What is generated here is announced as *leases*, so that another gateway finds it: when the one that asked has died, or when the
//! person is there, too, with another device.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crdt::records::session::{Message, MessageId};
use keys::{ContentId, NodeId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

pub(crate) use self::table::{Lives, announce, leases};
use crate::{
    engine::GenerationError,
    swarm::{FromGenerator, route::Cost},
};

/// Which answer, of whom, to what, and who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose chat it is.
    pub account: ContentId,
    /// The chat.
    pub session: ContentId,
    /// The question.
    pub question: MessageId,
    /// The answer.
    pub answer: MessageId,
    /// The gateway that sees to it.
    pub gateway: NodeId,
}

/// How much of an answer somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Of which run; 0 is none.
    pub run: u64,
    /// Bytes of its text.
    pub bytes: usize,
}

/// Why a node was chosen, in milliseconds, and of how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The terms of its cost.
    pub cost: Cost,
    /// Nodes that could have answered.
    pub candidates: usize,
}

/// Who says an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sayer {
    /// The run.
    pub run: u64,
    /// The generating node; `None` until it is known.
    pub node: Option<NodeId>,
    /// Its model.
    pub model: Arc<str>,
    /// Why it; known where it was chosen.
    pub choice: Option<Choice>,
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It is whole.
    Finished {
        /// The answer.
        message: Arc<Message>,
        /// Whether it is written into its chat.
        recorded: bool,
    },
    /// It came to nothing, or this node heard no more of it. Somebody begins again.
    Failed(GenerationError),
}

/// What is new behind a cursor.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Where the text begins; elsewhere than at the cursor when another run began over.
    pub from: Cursor,
    /// What was said since.
    pub text: String,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// An answer while it is said. Cheap to clone; every clone is the same answer.
#[derive(Clone, Debug)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lease: Lease,
    said: Mutex<Said>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Said {
    sayer: Option<Sayer>,
    text: String,
    end: Option<End>,
    /// Who wants to know of news. Gone ones are forgotten with the next news.
    listeners: Vec<Weak<Notify>>,
}

impl Live {
    pub(crate) fn new(lease: Lease) -> Self {
        Self(Arc::new(Shared {
            lease,
            said: Mutex::default(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Which answer it is.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Whether two are the same answer in the same table.
    #[must_use]
    pub fn is_same(one: &Self, other: &Self) -> bool {
        Arc::ptr_eq(&one.0, &other.0)
    }

    /// What is said of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// Who says it; `None` until somebody does.
    #[must_use]
    pub fn sayer(&self) -> Option<Sayer> {
        self.lock().sayer.clone()
    }

    /// What is new behind a cursor.
    #[must_use]
    pub fn since(&self, cursor: Cursor) -> News {
        let said = self.lock();
        let run = said.sayer.as_ref().map_or(0, |sayer| sayer.run);
        let bytes = if cursor.run == run { cursor.bytes } else { 0 };
        let bytes = said.text.floor_char_boundary(bytes);
        News {
            from: Cursor { run, bytes },
            text: said.text[bytes..].to_owned(),
            end: said.end.clone(),
        }
    }

    /// How many bytes are new behind a cursor, and whether it has ended or another run began.
    #[must_use]
    pub fn waiting(&self, cursor: Cursor) -> (usize, bool) {
        let said = self.lock();
        let run = said.sayer.as_ref().map_or(0, |sayer| sayer.run);
        let is_urgent = said.end.is_some() || run != cursor.run;
        (said.text.len().saturating_sub(cursor.bytes), is_urgent)
    }

    /// The cursor behind so many characters of a run, for whoever counts in characters; `None` while fewer are known here.
    #[must_use]
    pub fn cursor(&self, run: u64, characters: usize) -> Option<Cursor> {
        let said = self.lock();
        let mut ends = said.text.char_indices().map(|(at, _)| at).chain([said.text.len()]);
        let bytes = ends.nth(characters)?;
        Some(Cursor { run, bytes })
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Whether it is whole.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.lock().end, Some(End::Finished { .. }))
    }

    /// Whether it is whole and written into its chat.
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(self.lock().end, Some(End::Finished { recorded: true, .. }))
    }

    /// `listener` is woken at once and whenever there is news, until it is dropped.
    pub fn listen(&self, listener: &Arc<Notify>) {
        let mut said = self.lock();
        said.listeners.retain(|known| known.strong_count() > 0);
        said.listeners.push(Arc::downgrade(listener));
        listener.notify_one();
    }

    /// A node begins to say it. The same run goes on where it is.
    pub(crate) fn begin(&self, sayer: Sayer) {
        let mut said = self.lock();
        if said.sayer.as_ref().is_none_or(|known| known.run != sayer.run) {
            said.text.clear();
        }
        said.end = None;
        said.sayer = Some(sayer);
        said.wake();
    }

    /// The next piece, which begins at so many bytes. What is known already is passed over; a gap is no piece of this text.
    pub(crate) fn push(&self, at: usize, piece: &str) -> bool {
        let mut said = self.lock();
        let Some(known) = said.text.len().checked_sub(at) else {
            return false;
        };
        if let Some(new) = piece.get(known.min(piece.len())..) {
            said.text.push_str(new);
            said.wake();
        }
        true
    }

    /// Forgets how an earlier attempt ended, because another one begins.
    pub(crate) fn try_again(&self) {
        self.lock().end = None;
    }

    /// Takes in what a generating node reports.
    pub(crate) fn take(&self, report: &FromGenerator, sayer: impl FnOnce(u64, &str) -> Sayer) {
        match report {
            FromGenerator::Accepted { model, run } => self.begin(sayer(*run, model)),
            FromGenerator::Text { at, text } => {
                // A gap would be a fault of the other side; the finished answer then tells the truth.
                self.push(*at as usize, text);
            }
            FromGenerator::Finished { message, recorded } => self.end(End::Finished {
                message: Arc::new(message.clone()),
                recorded: *recorded,
            }),
            FromGenerator::Failed(error) => self.end(End::Failed(error.clone())),
            FromGenerator::Progress | FromGenerator::Unknown => {}
        }
    }

    /// It is over.
    pub(crate) fn end(&self, end: End) {
        let mut said = self.lock();
        said.end = Some(end);
        said.wake();
    }

    /// Asks whoever generates it to stop; what was said stays.
    pub(crate) fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Waits until it shall stop.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.0.stop.subscribe();
        // The sender lives in `self`.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn wake(&mut self) {
        self.listeners.retain(|listener| match listener.upgrade() {
            Some(listener) => {
                listener.notify_one();
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests;
