//! What is known of a document's set of changes: enough to judge the next one, and to say which of them make the main view.
//!
//! The main view is a function of the set alone. Two changes with one (actor, sequence number) are an equivocation: automerge
//! cannot hold both, so the one with the smaller hash stays in the main view and the other, with everything that depends on it,
//! is *beside* it: a fork that can be read on its own. Both envelopes are kept, as the proof. All nodes decide alike, in
//! whatever order the changes came.

use std::collections::{BTreeMap, BTreeSet};

use automerge::Change;
use keys::{ContentId, NodeId};
use serde::{Deserialize, Serialize};

use crate::{envelope::Envelope, records::RecordKind};

/// automerge's hash of a change.
pub(crate) type ChangeHash = [u8; 32];
/// Actor and sequence number: what automerge requires to be unique.
pub(crate) type Turn = (Vec<u8>, u64);

/// One change of a document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChangeFacts {
    /// The envelope that brought it first.
    pub(crate) envelope: ContentId,
    /// Further envelopes with the same change (its author signed it more than once): kept, so that all nodes hold one set.
    pub(crate) twins: Vec<ContentId>,
    pub(crate) author: NodeId,
    pub(crate) turn: Turn,
    pub(crate) highest_operation: u64,
    pub(crate) dependencies: Vec<ChangeHash>,
    /// Not in the main view: it lost its turn to another change, or depends on one that did.
    pub(crate) beside: bool,
}

/// Everything known of a document's changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) kind: RecordKind,
    pub(crate) owner: Option<ContentId>,
    pub(crate) changes: BTreeMap<ChangeHash, ChangeFacts>,
    pub(crate) turns: BTreeMap<Turn, BTreeSet<ChangeHash>>,
    /// Which node writes under the actors that begin so; ingress has checked that an actor begins with its author's id.
    authors: BTreeMap<[u8; ACTOR_AUTHOR_BYTES], NodeId>,
}

/// Bytes of its author's id with which an actor begins.
pub(crate) const ACTOR_AUTHOR_BYTES: usize = 8;

/// What a new change does to the main view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It goes on top.
    Extends,
    /// It is beside the main view.
    Beside,
    /// It takes the turn of a change in the main view: that must be built again.
    Displaces,
}

impl Facts {
    pub(crate) fn new(kind: RecordKind, owner: Option<ContentId>) -> Self {
        Self {
            kind,
            owner,
            changes: BTreeMap::new(),
            turns: BTreeMap::new(),
            authors: BTreeMap::new(),
        }
    }

    /// Adds a change whose dependencies are in, and says what it does to the main view.
    pub(crate) fn add(&mut self, envelope: &Envelope, change: &Change) -> Effect {
        if self.insert(envelope, change) {
            // Which of the rivals' descendants are beside may have changed with it.
            self.settle();
            return Effect::Displaces;
        }
        let depends_beside = change.deps().iter().any(|dependency| self.is_beside(&dependency.0));
        if let Some(facts) = self.changes.get_mut(&change.hash().0) {
            facts.beside = depends_beside;
        }
        if depends_beside {
            Effect::Beside
        } else {
            Effect::Extends
        }
    }

    /// Adds a change without deciding what is beside; whether its turn was taken already.
    pub(crate) fn insert(&mut self, envelope: &Envelope, change: &Change) -> bool {
        let hash = change.hash().0;
        let turn = (change.actor_id().to_bytes().to_vec(), change.seq());
        let rivals = self.turns.entry(turn.clone()).or_default();
        let has_rivals = !rivals.is_empty();
        rivals.insert(hash);
        self.changes.insert(
            hash,
            ChangeFacts {
                envelope: envelope.id,
                twins: Vec::new(),
                author: envelope.author,
                turn,
                highest_operation: change.max_op(),
                dependencies: change.deps().iter().map(|dependency| dependency.0).collect(),
                beside: false,
            },
        );
        if let Some(prefix) = envelope.author.0.first_chunk() {
            // Two nodes whose ids begin alike would be a feat of 2^64 work; all nodes then name the same one of them.
            let author = self.authors.entry(*prefix).or_insert(envelope.author);
            *author = (*author).min(envelope.author);
        }
        has_rivals
    }

    /// Remembers a further envelope of a change that is in.
    pub(crate) fn add_twin(&mut self, hash: &ChangeHash, envelope: ContentId) {
        if let Some(facts) = self.changes.get_mut(hash)
            && facts.envelope != envelope
            && !facts.twins.contains(&envelope)
        {
            facts.twins.push(envelope);
        }
    }

    /// Whether another change has the turn of this one.
    pub(crate) fn has_turn(&self, change: &Change) -> bool {
        let turn = (change.actor_id().to_bytes().to_vec(), change.seq());
        self.turns.contains_key(&turn)
    }

    /// Whether the newest change under this actor is beside the main view. The next one under it would take a turn for the second
    /// time, because the main view does not know that turn. Once beside, a change stays so, and what follows it, too.
    pub(crate) fn is_spent(&self, actor: &[u8]) -> bool {
        let turns = (actor.to_vec(), 0)..=(actor.to_vec(), u64::MAX);
        let newest = self.turns.range(turns).next_back();
        newest.is_some_and(|(_, rivals)| rivals.iter().any(|hash| self.is_beside(hash)))
    }

    /// Whether a change is known and not in the main view.
    pub(crate) fn is_beside(&self, hash: &ChangeHash) -> bool {
        self.changes.get(hash).is_some_and(|facts| facts.beside)
    }

    /// Decides anew, from the set alone, which changes are beside the main view.
    pub(crate) fn settle(&mut self) {
        let losers: BTreeSet<ChangeHash> = self
            .turns
            .values()
            .flat_map(|rivals| rivals.iter().skip(1).copied())
            .collect();
        let beside = self.with_descendants(losers);
        for (hash, facts) in &mut self.changes {
            facts.beside = beside.contains(hash);
        }
    }

    /// `roots` and everything that depends on one of them.
    pub(crate) fn with_descendants(&self, roots: BTreeSet<ChangeHash>) -> BTreeSet<ChangeHash> {
        let mut children: BTreeMap<&ChangeHash, Vec<&ChangeHash>> = BTreeMap::new();
        for (hash, facts) in &self.changes {
            for dependency in &facts.dependencies {
                children.entry(dependency).or_default().push(hash);
            }
        }
        let mut reached = roots.clone();
        let mut open: Vec<ChangeHash> = roots.into_iter().collect();
        while let Some(hash) = open.pop() {
            for child in children.get(&hash).into_iter().flatten() {
                if reached.insert(**child) {
                    open.push(**child);
                }
            }
        }
        reached
    }

    /// `tips` and everything they depend on.
    pub(crate) fn with_ancestors(&self, tips: BTreeSet<ChangeHash>) -> BTreeSet<ChangeHash> {
        let mut reached = tips.clone();
        let mut open: Vec<ChangeHash> = tips.into_iter().collect();
        while let Some(hash) = open.pop() {
            for dependency in self
                .changes
                .get(&hash)
                .map(|facts| &facts.dependencies)
                .into_iter()
                .flatten()
            {
                if reached.insert(*dependency) {
                    open.push(*dependency);
                }
            }
        }
        reached
    }

    /// Each change that lost its turn without depending on another that did, with the change that won: the forks of the document.
    pub(crate) fn forks(&self) -> Vec<(ChangeHash, ChangeHash)> {
        let mut forks = Vec::new();
        for rivals in self.turns.values() {
            let Some(winner) = rivals.first() else { continue };
            for loser in rivals.iter().skip(1) {
                let depends_beside = self
                    .changes
                    .get(loser)
                    .is_some_and(|facts| facts.dependencies.iter().any(|dependency| self.is_beside(dependency)));
                if !depends_beside {
                    forks.push((*loser, *winner));
                }
            }
        }
        forks
    }

    /// The node that writes under an actor.
    pub(crate) fn author_of(&self, actor: &[u8]) -> Option<NodeId> {
        self.authors.get(actor.first_chunk::<ACTOR_AUTHOR_BYTES>()?).copied()
    }

    /// Ids of every envelope of the document that is in.
    pub(crate) fn envelopes(&self) -> impl Iterator<Item = &ContentId> {
        self.changes
            .values()
            .flat_map(|facts| std::iter::once(&facts.envelope).chain(&facts.twins))
    }
}
