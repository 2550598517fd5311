//! Rebase: a document whose history was made long by overwriting stands on a *base* instead of on the changes that nobody can read
//! any more.
//!
//! ## What a base is
//! A [`Base`] says what a set of changes amounts to, closed under dependencies and named by its heads: every value that still counts,
//! with the *operation id* under which it was written, and of each covered change a trace of some ten bytes (the beginning of its hash,
//! its highest operation). It is a function of those changes alone, whoever makes it, from the whole history or on top of an older
//! base; its id is the hash of its bytes.
//!
//! ## Why nothing is lost
//! *Values keep their operation ids*, and what an operation does in automerge depends on the ids it overwrites and on nothing else.
//! So a change that was made without knowledge of the rebase, on any old heads, has the same effect on the base as on the history:
//! what it overwrote and what stands beside it as a conflict, which of them counts, and who wrote it. The property test in
//! `rebase/tests.rs` holds the two against each other. *Changes never learn of it either*: what is signed, stored and sent names old
//! hashes as if the history were there; only the view translates (`rebase/names.rs`), so nodes with a base and nodes with the whole
//! history understand each other, and a change of a node that was away for a year, or was restored from a backup, is judged by the
//! traces and takes its place. No node must be asked, waited for or known to be there.
//!
//! ## Who may say that history goes
//! The node that began the document, which its id certifies: it signs a [`Rebase`] with heads and id of the base, in the lane of
//! erasures, which is reconciled before the changes. A node that holds the history makes the base itself and refuses a statement whose
//! id is another one, for good. A node that has no history takes the base from a peer, on the word of that signer: it could have begun
//! the document with the same values. Then the covered envelopes go: from the set, the journal, the index and the snapshots, on every
//! node the same. What stays of them: the first one, which certifies the document, and each that holds a sealed text which
//! is still named, because its signature proves the text.
//!
//! ## Where it is refused
//! - Chats and audits only grow: nothing in them is overwritten. Outboxes and credentials live by counters and leases.
//! - What is not a plain value in the document's flat map (objects, counters) cannot be kept under its operation id.
//! - While a fork is known: both sides stay readable. An author that equivocates *afterwards*, against a change whose envelope has
//!   gone, gets its change beside the main view on every node, readable as a fork, but the other half of the proof is gone.
//! - More traces than fit into a record (eleven thousand changes in the life of a document): then it grows as before.
//! - When the node that began the document does not come back: nobody else may.
//!
//! Should that node state two bases of which neither builds on the other (only after it was restored from a backup), both are kept, and
//! the document stands on what they cover together (`rebase/join.rs`).
//!
//! ## Whom it trusts
//! A node that began a document could state a base that says something else than the history did. Nodes that hold the history refuse
//! it. One that does not would read what that signer says, as long as nobody gives it the history before it hears of the base.

mod base;
mod join;
mod making;
pub(crate) mod names;
mod showing;

use keys::{ContentId, Payload};
use serde::{Deserialize, Serialize};

pub use self::base::{Base, BaseError};
use crate::records::RecordKind;

/// The statement that a document stands on a base from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebase {
    /// The document.
    pub document: ContentId,
    /// The heads of what the base covers, in order.
    pub heads: Vec<ContentId>,
    /// Hash of the base.
    pub base: ContentId,
}

impl Payload for Rebase {
    const DOMAIN: &'static str = "starling/rebase/1";
}

/// Why a document is not rebased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RebaseRefusal {
    /// Documents of this kind only grow, or live by counters.
    #[error("documents of this kind are not rebased")]
    Kind,
    /// Only the node that began the document may say so.
    #[error("only the node that began the document rebases it")]
    NotTheBeginner,
    /// Not every change below the heads is here.
    #[error("not everything below the heads is here")]
    Incomplete,
    /// An author wrote two changes in one turn.
    #[error("the document has forks")]
    Forked,
    /// It holds something else than plain values.
    #[error("the document holds more than plain values")]
    Shape,
    /// Too many heads or values, or no room for the traces of more changes.
    #[error("the base would be too large")]
    TooLarge,
    /// There is nothing to cover that a base does not cover already.
    #[error("there is nothing new to cover")]
    NothingNew,
}

/// Whether documents of a kind are rebased at all.
#[must_use]
pub const fn is_rebased(kind: RecordKind) -> bool {
    match kind {
        RecordKind::Member
        | RecordKind::Account
        | RecordKind::Character
        | RecordKind::Claim
        | RecordKind::Service
        | RecordKind::Alert
        | RecordKind::Report
        | RecordKind::Settings
        | RecordKind::Model => true,
        RecordKind::Credential
        | RecordKind::Session
        | RecordKind::Outbox
        | RecordKind::Audit
        | RecordKind::Complaint => false,
    }
}

#[cfg(test)]
mod tests;
