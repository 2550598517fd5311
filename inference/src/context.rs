//! Which messages of a chat a model sees, and what stands for the rest: pure and deterministic.
//!
//! At most [`ACTIVE_MESSAGES_MAX`] messages are active. When one more comes, whole turns leave until [`ACTIVE_AFTER_FOLDING`] are left,
//! so that what a model has computed of a chat is good for several turns: a window that moves by one message each time would have to
//! be computed anew each time. Which turns leave is said by [`score`]; what is pinned stays, and so do the first turn and the last ones.
//! What leaves is summed up at once by sentences out of it ([`extract`]); a model may write something better later. The whole history
//! stays in the session: a summary only stands for it in the prompt.

pub mod extract;
pub mod needs;
pub mod score;

use std::collections::BTreeSet;

use crdt::records::session::{Coverage, Message, MessageId, Session, Summary, SummaryOrigin, Tree};

use crate::limits::{ACTIVE_AFTER_FOLDING, ACTIVE_MESSAGES_MAX, LAST_MESSAGES_KEPT};

/// What a model sees of a chat.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// What stands for messages that are not active.
    pub summary: Option<&'a Summary>,
    /// The active messages, the question last.
    pub active: Vec<&'a Message>,
}

/// A summary that has to be made before the next answer.
#[derive(Clone, Debug)]
pub struct Folding<'a> {
    /// The summary that stands so far; what it says goes into the new one.
    pub before: Option<&'a Summary>,
    /// What leaves, in order of time.
    pub leaving: Vec<&'a Message>,
}

/// The messages that lead to a question, without what is deleted, excluded, or unreadable here.
fn path(session: &Session, question: MessageId) -> Vec<&Message> {
    let on_path: BTreeSet<MessageId> = Tree::of(session).path_to(question).into_iter().collect();
    let is_seen = |message: &&Message| {
        on_path.contains(&message.id)
            && message.text.is_readable()
            && (message.id == question || !session.excluded.contains(&message.id))
    };
    session.messages.iter().filter(is_seen).collect()
}

/// The newest summary that tells of nothing but messages on this path: of another branch, or of a message that was deleted or excluded
/// since, it must say nothing.
fn summary_of<'a>(session: &'a Session, path: &[&Message]) -> Option<&'a Summary> {
    let ids: BTreeSet<MessageId> = path.iter().map(|message| message.id).collect();
    let holds = |summary: &&Summary| {
        let covered = ids.iter().filter(|id| summary.covers.includes(id)).count();
        let is_whole = match &summary.covers {
            Coverage::Messages(messages) => covered == messages.len(),
            Coverage::Everything => true,
        };
        is_whole && summary.text.is_readable() && ids.contains(&summary.first) && ids.contains(&summary.last)
    };
    session.summaries.iter().rev().find(holds)
}

fn is_covered(summary: Option<&Summary>, message: &Message) -> bool {
    summary.is_some_and(|summary| match summary.covers {
        Coverage::Messages(_) => summary.covers.includes(&message.id),
        // It does not say which: what lies between its ends.
        Coverage::Everything => (summary.first..=summary.last).contains(&message.id),
    })
}

/// What a model sees for a question; never more than [`ACTIVE_MESSAGES_MAX`] messages, even when nothing was summed up yet.
#[must_use]
pub fn context(session: &Session, question: MessageId) -> Context<'_> {
    let path = path(session, question);
    let summary = summary_of(session, &path);
    let mut active: Vec<&Message> = path
        .into_iter()
        .filter(|message| session.pinned.contains(&message.id) || !is_covered(summary, message))
        .collect();
    if active.len() > ACTIVE_MESSAGES_MAX {
        let leaving = leaving(session, &active, ACTIVE_MESSAGES_MAX);
        active.retain(|message| !leaving.contains(&message.id));
    }
    Context { summary, active }
}

/// What has to be summed up before a question is answered; `None` while there is room.
#[must_use]
pub fn folding(session: &Session, question: MessageId) -> Option<Folding<'_>> {
    let path = path(session, question);
    let before = summary_of(session, &path);
    let is_pinned = |message: &&Message| session.pinned.contains(&message.id);
    let active: Vec<&Message> = path
        .iter()
        .copied()
        .filter(|message| is_pinned(message) || !is_covered(before, message))
        .collect();
    if active.len() <= ACTIVE_MESSAGES_MAX {
        return None;
    }
    let leaving = leaving(session, &active, ACTIVE_AFTER_FOLDING);
    let leaving: Vec<&Message> = active
        .into_iter()
        .filter(|message| leaving.contains(&message.id))
        .collect();
    (!leaving.is_empty()).then_some(Folding { before, leaving })
}

/// Which of the active messages leave so that `most` are left: whole turns, the least important first. The first turn of the dialogue
/// and the last messages stay, and so does what is pinned, as long as there is room for it.
fn leaving(session: &Session, active: &[&Message], most: usize) -> BTreeSet<MessageId> {
    let turns = turns(active);
    let last_kept = active.len().saturating_sub(LAST_MESSAGES_KEPT);
    let mut begins = 0;
    let mut order: Vec<(bool, bool, f64, usize)> = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        let is_pinned = turn.iter().any(|message| session.pinned.contains(&message.id));
        let is_fixed = number == 0 || begins + turn.len() > last_kept;
        let place = begins as f64 / active.len().max(1) as f64;
        let score = turn
            .iter()
            .map(|message| score::score(message, place))
            .fold(0.0, f64::max);
        order.push((is_fixed, is_pinned, score, number));
        begins += turn.len();
    }
    order.sort_by(|left, right| {
        (left.0, left.1)
            .cmp(&(right.0, right.1))
            .then(left.2.total_cmp(&right.2))
            .then(left.3.cmp(&right.3))
    });
    let mut left = active.len();
    let mut leaving = BTreeSet::new();
    for (_, _, _, number) in order {
        if left <= most {
            break;
        }
        // The question is what all of this is for.
        if number + 1 == turns.len() {
            continue;
        }
        left -= turns[number].len();
        leaving.extend(turns[number].iter().map(|message| message.id));
    }
    leaving
}

/// A person's message with what follows it until the next one. Half a turn would be an answer to nothing, and some templates refuse two
/// questions in a row.
fn turns<'a, 'b>(active: &'b [&'a Message]) -> Vec<&'b [&'a Message]> {
    active.chunk_by(|_, next| !next.is_from_person()).collect()
}

impl Folding<'_> {
    /// The summary that stands at once: sentences out of what leaves, and out of the summary before.
    #[must_use]
    pub fn extract(&self) -> Option<Summary> {
        let text = extract::extract(self.before.map(|summary| summary.text.text()), &self.leaving);
        self.summary(SummaryOrigin::Extract, &text)
    }

    /// A summary of what leaves together with the one before.
    #[must_use]
    pub fn summary(&self, origin: SummaryOrigin, text: &str) -> Option<Summary> {
        let mut ids: Vec<MessageId> = self.leaving.iter().map(|message| message.id).collect();
        let covers = Coverage::of(ids.iter().copied());
        let covers = match self.before {
            Some(before) => {
                ids.extend([before.first, before.last]);
                covers.and(&before.covers)
            }
            None => covers,
        };
        let (first, last) = (ids.iter().min()?, ids.iter().max()?);
        Some(Summary {
            first: *first,
            last: *last,
            covers,
            origin,
            text: text.to_owned().into(),
        })
    }
}

/// Which of the two languages a text is in.
pub(crate) fn is_russian(text: &str) -> bool {
    text.chars().any(|c| ('а'..='я').contains(&c))
}

#[cfg(test)]
mod tests;
