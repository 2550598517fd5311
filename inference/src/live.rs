//! Answers while they are said: one [`Live`] per answer on every node that generates it, sees to it or follows it, all of them in
//! one table.
//!
//! The text stands here once, however many sockets and nodes read it, each at its own pace from its own [`Cursor`]; so a slow
//! reader costs nobody anything, and whoever comes later or comes back gets what it lacks. As long as the *run* is the same, what was
//! read stays true, also when another node goes on with the answer; another run begins over. The tokens stand beside the text, so
//! that whoever has heard an answer can have it gone on with (see [`crate::swarm::journal`]).
//!
//! What is generated here is announced as *leases*, so that another gateway finds it: when the one that asked has died, or when the
//! person is there, too, with another device.

mod relay;
pub(crate) mod standing;
mod table;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use crdt::records::session::{Message, MessageId};
use keys::{ContentId, NodeId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

pub(crate) use self::{
    relay::{Heard, relay},
    table::{Lives, announce, leases},
};
use crate::{
    admission::Standing,
    engine::{GenerationError, cache::TokenId},
    limits::{ANSWER_BYTES_MAX, ANSWER_TOKENS_MAX},
    swarm::{
        FromAsker, FromGenerator,
        journal::{Begun, Journal},
        route::Choice,
    },
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

/// Who says an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sayer {
    /// The run.
    pub run: u64,
    /// The generating node; `None` until it is known.
    pub node: Option<NodeId>,
    /// Its model.
    pub model: Arc<str>,
    /// Why it, in terms that add up; known where it was chosen.
    pub choice: Option<Arc<Choice>>,
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
    /// Whether the asker has said that it may be written.
    permit: watch::Sender<bool>,
    given_up: watch::Sender<bool>,
    /// Counts the signs of life of what generates it.
    beats: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Said {
    sayer: Option<Sayer>,
    /// Where it waits for its turn, and how often that was said; nothing once it has a place.
    queued: Option<(u32, Standing)>,
    /// The number of the attempt.
    epoch: u32,
    /// How often who says it gives a sign of life.
    beat: Duration,
    /// How often the prompt was made shorter.
    shortened: u32,
    tokens: Vec<TokenId>,
    text: String,
    /// The answer when all of it is said, and whether its node can write it.
    whole: Option<(Arc<Message>, bool)>,
    end: Option<End>,
    /// Those who asked for it and still listen.
    askers: Vec<NodeId>,
    /// Who wants to know of news. Gone ones are forgotten with the next news.
    listeners: Vec<Weak<Notify>>,
}

impl Live {
    pub(crate) fn new(lease: Lease) -> Self {
        Self(Arc::new(Shared {
            lease,
            said: Mutex::default(),
            stop: watch::Sender::new(false),
            permit: watch::Sender::new(false),
            given_up: watch::Sender::new(false),
            beats: watch::Sender::new(0),
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
        // Whoever has more of a run than is known here has nothing to hear yet.
        let known = said.text.floor_char_boundary(bytes);
        News {
            from: Cursor {
                run,
                bytes: known.max(if bytes > said.text.len() { bytes } else { 0 }),
            },
            text: said.text[known..].to_owned(),
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

    /// The number of the attempt.
    pub(crate) fn epoch(&self) -> u32 {
        self.lock().epoch
    }

    /// What there is of it for another node to go on with; a new journal where that is nothing.
    pub(crate) fn journal(&self) -> Journal {
        let said = self.lock();
        let Some(sayer) = said.sayer.as_ref() else {
            return Journal::default();
        };
        let begun = Begun {
            model: sayer.model.to_string(),
            shortened: said.shortened,
            tokens: said.tokens.clone(),
            text: said.text.clone(),
        };
        Journal::taken_up(said.epoch, sayer.run, begun)
    }

    /// Another attempt begins here: how an earlier one ended is forgotten.
    pub(crate) fn try_again(&self, epoch: u32) {
        let mut said = self.lock();
        said.epoch = epoch;
        (said.whole, said.end, said.queued) = (None, None, None);
    }

    /// It waits for its turn.
    pub(crate) fn queued(&self, standing: Standing) {
        let mut said = self.lock();
        let told = said.queued.map_or(0, |(told, _)| told);
        said.queued = Some((told.wrapping_add(1), standing));
        said.wake();
    }

    /// A node begins to say it, with these tokens and this text. The same run goes on where it is; whoever has heard more of it than the
    /// node begins with, hears what comes behind that.
    pub(crate) fn begin(&self, sayer: Sayer, start: (&[TokenId], &str)) {
        let mut said = self.lock();
        if said.sayer.as_ref().is_none_or(|known| known.run != sayer.run) {
            said.shortened = 0;
        }
        said.tokens = start.0.to_vec();
        said.text = start.1.to_owned();
        (said.whole, said.end, said.queued) = (None, None, None);
        said.sayer = Some(sayer);
        said.wake();
    }

    /// Somebody is heard saying it. The same run goes on where it is.
    fn hear(&self, sayer: Sayer) {
        let mut said = self.lock();
        if said.sayer.as_ref().is_none_or(|known| known.run != sayer.run) {
            said.text.clear();
            said.tokens.clear();
            said.shortened = 0;
        }
        (said.whole, said.end, said.queued) = (None, None, None);
        said.sayer = Some(sayer);
        said.wake();
    }

    /// The next tokens and what they say. What is known already is passed over; behind a gap is no piece of this answer, and what is longer
    /// than any answer neither.
    pub(crate) fn say(&self, from: usize, tokens: &[TokenId], at: usize, text: &str) -> bool {
        let mut said = self.lock();
        let (Some(tokens_known), Some(text_known)) =
            (said.tokens.len().checked_sub(from), said.text.len().checked_sub(at))
        else {
            return false;
        };
        if from + tokens.len() > ANSWER_TOKENS_MAX as usize || at + text.len() > ANSWER_BYTES_MAX {
            return false;
        }
        if let Some(new) = tokens.get(tokens_known..) {
            said.tokens.extend_from_slice(new);
        }
        if let Some(new) = text.get(text_known..) {
            said.text.push_str(new);
            said.wake();
        }
        true
    }

    /// Takes in what a node reports of it; `start` is what it begins with, where that is known.
    pub(crate) fn take(
        &self,
        report: &FromGenerator,
        start: Option<(&[TokenId], &str)>,
        sayer: impl FnOnce(u64, &str) -> Sayer,
    ) {
        match report {
            FromGenerator::Accepted {
                model,
                beat_ms,
                run,
                epoch,
            } => {
                match start {
                    Some(start) => self.begin(sayer(*run, model), start),
                    None => self.hear(sayer(*run, model)),
                }
                let mut said = self.lock();
                said.epoch = *epoch;
                said.beat = Duration::from_millis((*beat_ms).into());
            }
            FromGenerator::Shortened => {
                let mut said = self.lock();
                said.shortened = said.shortened.saturating_add(1);
            }
            FromGenerator::Said {
                from, tokens, at, text, ..
            } => {
                // A gap would be a fault of the other side; the finished answer then tells the truth.
                self.say(*from as usize, tokens, *at as usize, text);
            }
            FromGenerator::Finished {
                message, can_record, ..
            } => self.finish(Arc::new(message.clone()), *can_record),
            FromGenerator::Recorded(recorded) => {
                let whole = self.lock().whole.clone();
                if let Some((message, _)) = whole {
                    self.end(End::Finished {
                        message,
                        recorded: *recorded,
                    });
                }
            }
            FromGenerator::Failed(error) => self.end(End::Failed(error.clone())),
            FromGenerator::Queued { ahead, wait_ms } => self.queued(Standing {
                ahead: *ahead,
                wait: Duration::from_millis((*wait_ms).into()),
            }),
            FromGenerator::Progress => self.beat(),
            FromGenerator::Unknown => {}
        }
    }

    /// All of it is said. Where its node cannot write it, nothing more comes of it there.
    pub(crate) fn finish(&self, message: Arc<Message>, can_record: bool) {
        let mut said = self.lock();
        said.whole = Some((Arc::clone(&message), can_record));
        if !can_record {
            said.end = Some(End::Finished {
                message,
                recorded: false,
            });
        }
        said.wake();
    }

    /// Why the node that says it was chosen.
    pub(crate) fn chosen(&self, choice: Option<Arc<Choice>>) {
        if let Some(sayer) = &mut self.lock().sayer {
            sayer.choice = choice;
        }
    }

    /// What generates it gives a sign of life.
    pub(crate) fn beat(&self) {
        self.0.beats.send_modify(|beats| *beats += 1);
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
        until(&self.0.stop).await;
    }

    /// Waits until it may be written.
    pub(crate) async fn permitted(&self) {
        until(&self.0.permit).await;
    }

    /// Somebody goes on with it under a later attempt.
    fn give_up(&self) {
        self.0.given_up.send_replace(true);
    }

    /// Waits until somebody else goes on with it.
    pub(crate) async fn given_up(&self) {
        until(&self.0.given_up).await;
    }

    /// What an asker orders.
    pub(crate) fn obey(&self, order: &FromAsker) {
        match order {
            FromAsker::Stop => self.stop(),
            FromAsker::Record => drop(self.0.permit.send_replace(true)),
            FromAsker::Generate(_) | FromAsker::GenerateFrom(..) | FromAsker::Follow { .. } => {}
        }
    }

    /// Somebody has asked for it, and listens as long as this is held.
    pub(crate) fn asked_by(&self, node: NodeId) -> Asking {
        self.lock().askers.push(node);
        Asking {
            live: self.clone(),
            node,
        }
    }

    /// Those who have asked for it and listen.
    pub(crate) fn askers(&self) -> Vec<NodeId> {
        self.lock().askers.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(said: &watch::Sender<bool>) {
    let mut said = said.subscribe();
    // The sender outlives whoever waits.
    let _ = said.wait_for(|said| *said).await;
}

/// Somebody listens who has asked for an answer.
#[derive(Debug)]
pub(crate) struct Asking {
    live: Live,
    node: NodeId,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut said = self.live.lock();
        if let Some(place) = said.askers.iter().position(|asker| *asker == self.node) {
            said.askers.swap_remove(place);
        }
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
