//! What to do with a change from outside: a pure function from bytes and facts to a judgement.
//!
//! Everything cheap is checked before anything is decoded, and everything that could harm automerge is refused here: a change
//! whose first operation does not follow its dependencies (the max-op poison makes a document unwritable for ever), counters near
//! the limit at which automerge panics, and two changes of one actor with one sequence number.

use std::collections::HashMap;

use automerge::Change;
use keys::NodeId;

use crate::{
    envelope::Envelope,
    limits::{CHANGE_BYTES_MAX, OPERATION_COUNTER_MAX, OPERATIONS_PER_CHANGE_MAX},
    records::RecordKind,
};

/// What is known of a document before a change is judged.
#[derive(Clone, Debug)]
pub struct DocumentFacts {
    /// What the document is.
    pub kind: RecordKind,
    /// Highest operation counter after each change that is in.
    pub max_operations: HashMap<[u8; 32], u64>,
    /// The change of each (actor, sequence number).
    pub sequences: HashMap<(Vec<u8>, u64), [u8; 32]>,
}

impl DocumentFacts {
    /// Facts of a document without changes.
    #[must_use]
    pub fn new(kind: RecordKind) -> Self {
        Self {
            kind,
            max_operations: HashMap::new(),
            sequences: HashMap::new(),
        }
    }

    /// Remembers a change that is in.
    pub(crate) fn add(&mut self, change: &Change) {
        self.max_operations.insert(change.hash().0, change.max_op());
        self.sequences
            .insert((change.actor_id().to_bytes().to_vec(), change.seq()), change.hash().0);
    }
}

/// Why a change is refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Over [`CHANGE_BYTES_MAX`].
    #[error("the change is too large")]
    TooLarge,
    /// Not decodable as a change.
    #[error("the change is malformed")]
    Malformed,
    /// Its first operation does not follow its dependencies.
    #[error("the change's first operation does not follow its dependencies")]
    WrongStart,
    /// Too many operations, or counters above [`OPERATION_COUNTER_MAX`].
    #[error("the change has too many operations or too high counters")]
    TooManyOperations,
    /// It claims to be of another kind than its document.
    #[error("the change is not of its document's kind")]
    WrongKind,
    /// A second change with one actor and sequence number.
    #[error("the author wrote two changes with one sequence number")]
    Equivocation,
    /// A genesis that depends on something, or a later change that depends on nothing.
    #[error("only the first change of a document has no dependencies")]
    WrongGenesis,
    /// It made the view fail.
    #[error("the change cannot be applied")]
    Poison,
    /// The record's own rules refuse it.
    #[error("the change breaks a rule of its record")]
    InvalidRecord,
}

/// What to do with a change.
#[derive(Debug)]
pub enum Judgement {
    /// Take it in.
    Accept(Box<Change>),
    /// It is in already.
    Known,
    /// Something it depends on is missing: keep it aside for a while.
    Park,
    /// The author is not a member that this node knows: leave it; it comes again.
    UnknownAuthor,
    /// Never take it in, never forward it.
    Reject(Rejection),
}

/// Judges a verified envelope. `facts` are those of its document, if the document is known.
#[must_use]
pub fn judge(envelope: &Envelope, facts: Option<&DocumentFacts>, is_member: impl Fn(&NodeId) -> bool) -> Judgement {
    if !is_member(&envelope.author) {
        return Judgement::UnknownAuthor;
    }
    if envelope.change.len() > CHANGE_BYTES_MAX {
        return Judgement::Reject(Rejection::TooLarge);
    }
    // automerge's decoder is foreign code on foreign bytes: a panic in it must cost one change, not the thread.
    let bytes = envelope.change.clone();
    let decoded = std::panic::catch_unwind(move || Change::from_bytes(bytes));
    let Ok(Ok(change)) = decoded else {
        return Judgement::Reject(Rejection::Malformed);
    };
    if change.len() > OPERATIONS_PER_CHANGE_MAX || change.max_op() > OPERATION_COUNTER_MAX {
        return Judgement::Reject(Rejection::TooManyOperations);
    }
    if change.deps().is_empty() != envelope.is_genesis {
        return Judgement::Reject(Rejection::WrongGenesis);
    }
    match facts {
        None if envelope.is_genesis => judge_start(change, 0),
        None => Judgement::Park,
        Some(facts) => judge_in(envelope, facts, change),
    }
}

fn judge_in(envelope: &Envelope, facts: &DocumentFacts, change: Change) -> Judgement {
    if facts.kind != envelope.kind {
        return Judgement::Reject(Rejection::WrongKind);
    }
    let hash = change.hash().0;
    if facts.max_operations.contains_key(&hash) {
        return Judgement::Known;
    }
    let mut highest = 0;
    for dependency in change.deps() {
        match facts.max_operations.get(&dependency.0) {
            Some(max_operation) => highest = highest.max(*max_operation),
            None => return Judgement::Park,
        }
    }
    if facts
        .sequences
        .contains_key(&(change.actor_id().to_bytes().to_vec(), change.seq()))
    {
        return Judgement::Reject(Rejection::Equivocation);
    }
    judge_start(change, highest)
}

fn judge_start(change: Change, highest: u64) -> Judgement {
    if change.start_op().get() == highest + 1 {
        Judgement::Accept(Box::new(change))
    } else {
        Judgement::Reject(Rejection::WrongStart)
    }
}
