//! A view: one document as automerge sees it, built from the set of its changes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{ActorId, AutoCommit, Change};
use keys::{ContentId, NodeId};

use crate::{
    envelope::Envelope,
    ingress::{DocumentFacts, Rejection},
    records::RecordKind,
};

pub(crate) struct View {
    pub(crate) document: AutoCommit,
    pub(crate) facts: DocumentFacts,
    /// For the cache: when it was last used.
    pub(crate) used: u64,
}

impl View {
    pub(crate) fn empty(kind: RecordKind) -> Self {
        Self {
            document: AutoCommit::new(),
            facts: DocumentFacts::new(kind),
            used: 0,
        }
    }

    /// Builds the view of a document from all its envelopes, in any order.
    pub(crate) fn build(kind: RecordKind, envelopes: Vec<Envelope>) -> Self {
        let mut view = Self::empty(kind);
        let mut changes = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            // Judged when they came in; what no longer decodes is left out of the view, not of the journal.
            if let Ok(change) = Change::from_bytes(envelope.change) {
                view.facts.add(&change);
                changes.push(change);
            }
        }
        if catch_unwind(AssertUnwindSafe(|| view.document.apply_changes(changes.clone()))).is_err() {
            view = Self::one_by_one(kind, changes);
        }
        view
    }

    /// After a panic: the changes that can be applied, in causal order.
    fn one_by_one(kind: RecordKind, mut changes: Vec<Change>) -> Self {
        let mut view = Self::empty(kind);
        // Each pass applies at least one change or ends.
        loop {
            let ready = changes.iter().position(|change| {
                change
                    .deps()
                    .iter()
                    .all(|dependency| view.facts.max_operations.contains_key(&dependency.0))
            });
            let Some(position) = ready else { return view };
            let change = changes.swap_remove(position);
            if let Err(rejection) = view.apply(change) {
                tracing::warn!(%rejection, "a stored change cannot be shown");
            }
        }
    }

    /// Applies a change that ingress accepted. On a panic the document must be thrown away.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Rejection> {
        self.facts.add(&change);
        match catch_unwind(AssertUnwindSafe(|| self.document.apply_changes([change]))) {
            Ok(Ok(())) => Ok(()),
            _ => Err(Rejection::Poison),
        }
    }
}

/// The actor under which this process writes into a document. Fresh per process start: a node restored from a backup must never
/// write a second change under an old (actor, sequence number).
pub(crate) fn actor(node: &NodeId, document: Option<&ContentId>, boot: &[u8; 16]) -> ActorId {
    let mut hasher = blake3::Hasher::new_derive_key("starling automerge actor 1");
    hasher.update(&node.0).update(boot);
    if let Some(document) = document {
        hasher.update(&document.0);
    } else {
        // Each genesis has its own actor, so that two documents begun alike are still two documents.
        hasher.update(&keys::identity::random_bytes::<16>());
    }
    ActorId::from(&hasher.finalize().as_bytes()[..16])
}
