//! Who wrote, erased and read what, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use crdt::{
    erasure::EraseTarget,
    limits::{PARKED_BYTES_PER_AUTHOR_MAX, PARKED_PER_AUTHOR_MAX},
    records::session::MessageId,
};
use keys::{ContentId, NodeId};

use crate::Micros;

/// Something that must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acknowledged write is not everywhere.
    Lost,
    /// A message that was acknowledged is held and not shown.
    Hidden,
    /// Two nodes hold different changes.
    Apart,
    /// Two nodes hold different erasures.
    ErasuresApart,
    /// Two nodes read one document differently.
    ReadApart,
    /// Two nodes name different forks.
    ForksApart,
    /// A fork without both envelopes that prove it.
    NoProof,
    /// A fork of a node that keeps to the rules.
    HonestFork,
    /// An envelope in the name of a node that did not write it.
    Forged,
    /// Something erased is there again.
    Resurrected,
    /// A message that a node had shown is gone.
    WentBack,
    /// An honest person could not write.
    Refused,
    /// More waits at a node than may.
    Overflow,
    /// One author filled a node's disk.
    Flooded,
    /// A message took longer than it may.
    Late,
}

/// A write of an honest node.
#[derive(Clone, Debug)]
pub struct Written {
    /// Who.
    pub node: usize,
    /// Into which document.
    pub document: ContentId,
    /// Whose document it is, or the account itself.
    pub account: ContentId,
    /// The message, if it is one.
    pub message: Option<MessageId>,
    /// Sealed texts.
    pub payloads: Vec<Vec<u8>>,
    /// When.
    pub at: Micros,
    /// Whether the person was told that it is safe.
    pub acknowledged: bool,
    /// When which node had it.
    pub arrivals: BTreeMap<usize, Micros>,
}

impl Written {
    /// When the last of so many nodes had it, after it was written; `None` when one has not.
    #[must_use]
    pub fn everywhere_after(&self, nodes: usize) -> Option<Micros> {
        let last = self.arrivals.values().max()?;
        (self.arrivals.len() >= nodes).then(|| last - self.at)
    }
}

/// See the module.
#[derive(Default)]
pub struct History {
    /// Every write by its envelope.
    pub written: BTreeMap<ContentId, Written>,
    by_document: BTreeMap<ContentId, Vec<ContentId>>,
    /// What was erased.
    pub erased: BTreeSet<EraseTarget>,
    /// What which node has carried out.
    done: BTreeSet<(usize, EraseTarget)>,
    /// What each node has shown of each document.
    shown: BTreeMap<(usize, ContentId), BTreeSet<MessageId>>,
    /// What was seen that must never be.
    pub violations: BTreeMap<Violation, u64>,
    /// The most that ever waited at a node.
    pub most_waiting: usize,
    /// Forks that were found.
    pub forks: usize,
    /// Erasures that were carried out.
    pub erasures_done: usize,
    /// Reads that were compared with earlier ones.
    pub reads: u64,
}

impl History {
    /// Notes something that must never be.
    pub fn violated(&mut self, violation: Violation) {
        *self.violations.entry(violation).or_default() += 1;
    }

    /// Notes a write; its own node has it.
    pub fn wrote(&mut self, envelope: ContentId, mut written: Written) {
        written.arrivals.insert(written.node, written.at);
        self.by_document.entry(written.document).or_default().push(envelope);
        self.written.insert(envelope, written);
    }

    /// The person was told that a write is safe.
    pub fn acknowledge(&mut self, envelope: &ContentId) {
        if let Some(written) = self.written.get_mut(envelope) {
            written.acknowledged = true;
        }
    }

    /// A document has changed at a node: which writes came with it?
    pub fn arrived(
        &mut self,
        node: usize,
        document: &ContentId,
        now: Micros,
        mut holds: impl FnMut(&ContentId) -> bool,
    ) {
        for envelope in self.by_document.get(document).into_iter().flatten() {
            if let Some(written) = self.written.get_mut(envelope)
                && !written.arrivals.contains_key(&node)
                && holds(envelope)
            {
                written.arrivals.insert(node, now);
            }
        }
    }

    /// A node has carried out an erasure.
    pub fn carried_out(&mut self, node: usize, target: EraseTarget) {
        self.erasures_done += 1;
        self.done.insert((node, target));
    }

    /// How much waits at a node for what it depends on.
    pub fn waiting(&mut self, (count, bytes): (usize, usize)) {
        self.most_waiting = self.most_waiting.max(count);
        // One hostile author, and room for what honest ones write out of order.
        if count > 2 * PARKED_PER_AUTHOR_MAX || bytes > 2 * PARKED_BYTES_PER_AUTHOR_MAX {
            self.violated(Violation::Overflow);
        }
    }

    /// Whether something is covered by an erasure that anyone has asked for.
    #[must_use]
    pub fn is_erased(&self, document: &ContentId, account: &ContentId) -> bool {
        self.erased.contains(&EraseTarget::Document(*document)) || self.erased.contains(&EraseTarget::Account(*account))
    }

    /// Whether a node has said that it erased a document, itself or with its account.
    #[must_use]
    pub fn erased_at(&self, node: usize, document: &ContentId, account: &ContentId) -> bool {
        let targets = [EraseTarget::Document(*document), EraseTarget::Account(*account)];
        targets.into_iter().any(|target| self.done.contains(&(node, target)))
    }

    /// Whether a node has said that it erased a message.
    #[must_use]
    pub fn message_erased_at(&self, node: usize, document: ContentId, message: MessageId) -> bool {
        self.done.contains(&(node, EraseTarget::Message { document, message }))
    }

    /// Whether a message's text was to be erased.
    #[must_use]
    pub fn is_message_erased(&self, document: ContentId, message: MessageId) -> bool {
        self.erased.contains(&EraseTarget::Message { document, message })
    }

    /// A node shows a document (all its branches and forks).
    pub fn read(&mut self, node: usize, document: ContentId, messages: BTreeSet<MessageId>) {
        self.reads += 1;
        if let Some(before) = self.shown.get(&(node, document))
            && !before.is_subset(&messages)
        {
            self.violated(Violation::WentBack);
        }
        self.shown.insert((node, document), messages);
    }

    /// A node lost its disk or went back to an old copy of it: what it showed before does not bind it.
    pub fn begins_anew(&mut self, node: usize) {
        self.shown.retain(|(shown, _), _| *shown != node);
        self.done.retain(|(done, _)| *done != node);
    }

    /// Documents that were ever begun, with their accounts.
    #[must_use]
    pub fn documents(&self) -> BTreeMap<ContentId, ContentId> {
        let written = self.written.values();
        written.map(|written| (written.document, written.account)).collect()
    }

    /// Writes of nodes under their ids: for telling forgeries.
    #[must_use]
    pub fn wrote_it(&self, envelope: &ContentId, author: &NodeId, ids: &[NodeId]) -> bool {
        self.written
            .get(envelope)
            .is_some_and(|written| ids[written.node] == *author)
    }
}
