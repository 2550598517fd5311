//! What comes from outside: envelopes and statements, by gossip or in a reconciliation.

use std::collections::BTreeSet;

use automerge::Change;
use keys::{ContentId, NodeId, Timestamp};

use super::{Event, Kept, Replica, Shelf, quota::Way};
use crate::{
    envelope::{Envelope, EnvelopeError},
    erasure::{Inserted, Statement},
    facts::Effect,
    group::{Group, Lane},
    ingress::{self, Judgement, Rejection, Right},
    limits::QUARANTINED_MAX,
    rebase::Base,
    records::{
        self, Owner, PayloadReference, RecordKind,
        session::{self, MessageId},
    },
    set::Entry,
    view::{View, stored_change},
};

/// How something came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By gossip, from whoever wrote it.
    Gossip,
    /// In a reconciliation with this node.
    Talk(NodeId),
}

/// What became of an envelope or a statement from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Taken in: forward it.
    New,
    /// Something it depends on is missing: forward it when [`Event::Released`] names this envelope, if that is soon.
    Parked(ContentId),
    /// Of a document that others hold: forward it.
    Elsewhere,
    /// Known already, or erased, over a quota, or by an author that is not known yet: do not forward, blame nobody.
    Ignored,
    /// Refused for good.
    Rejected(Rejection),
}

fn entry_of(envelope: &Envelope) -> Entry {
    Entry {
        group: Group::of(&envelope.document),
        id: envelope.id,
    }
}

impl<S: Shelf> Replica<S> {
    /// Judges bytes from outside and takes them in, in memory; they count after the next commit.
    pub fn receive(&mut self, bytes: &[u8], source: Source, now: Timestamp) -> Received {
        if Statement::is_one(bytes) {
            return self.receive_statement(bytes, source, now);
        }
        if Base::is_one(bytes) {
            return self.receive_base(bytes, now);
        }
        let opened = match self.settings.recoveries.signatures {
            true => Envelope::open(bytes),
            false => Envelope::open_own(bytes),
        };
        let envelope = match opened {
            Ok(envelope) => envelope,
            Err(EnvelopeError::TooLarge(_) | EnvelopeError::TooManyPayloads(_)) => {
                return Received::Rejected(Rejection::TooLarge);
            }
            Err(_) => return Received::Rejected(Rejection::Malformed),
        };
        let document = envelope.document;
        let received = self.take_in(envelope, Some(source), now);
        if received == Received::New {
            self.release(&document, now);
        }
        received
    }

    /// What waited for something of a document may go in now, and then what waited for that. Each round takes in at least one or is
    /// the last.
    pub(super) fn release(&mut self, document: &ContentId, now: Timestamp) {
        loop {
            let mut released = false;
            for waiting in self.parked.take(document) {
                let id = waiting.id;
                if self.take_in(waiting, None, now) == Received::New {
                    self.tell(Event::Released(id));
                    released = true;
                }
            }
            if !released {
                break;
            }
        }
    }

    fn charged(&mut self, author: NodeId, bytes: usize, source: Option<Source>, now: Timestamp) -> bool {
        let way = match source {
            _ if !self.settings.recoveries.quotas => return true,
            Some(Source::Gossip) => Way::Push,
            Some(Source::Talk(peer)) if peer == author => Way::Pull,
            // Handed over by another, which has charged it before; or charged when it was parked.
            Some(Source::Talk(_)) | None => return true,
        };
        self.quotas.charge(author, way, bytes, now)
    }

    fn judge(&self, envelope: &Envelope, view: Option<&View>, source: Option<Source>) -> Judgement {
        let right = self.right(&envelope.author, source);
        ingress::judge(envelope, view.map(|view| &view.facts), right, self.settings.recoveries)
    }

    /// What an author may do with something that came in this way: a member passes on what it holds of an author that is out.
    fn right(&self, author: &NodeId, source: Option<Source>) -> Right {
        let handed_over = match source {
            Some(Source::Talk(peer)) => peer != *author,
            Some(Source::Gossip) => false,
            // It was parked, and was judged when it came.
            None => true,
        };
        match (self.settings.right)(author) {
            Right::Former if handed_over => Right::Member,
            right => right,
        }
    }

    fn receive_statement(&mut self, bytes: &[u8], source: Source, now: Timestamp) -> Received {
        let Ok(statement) = Statement::open(bytes) else {
            return Received::Rejected(Rejection::Malformed);
        };
        let entry = Entry {
            group: statement.group(),
            id: statement.id,
        };
        let member = self.right(&statement.author, Some(source)) == Right::Member;
        if self.sets.of(Lane::Statements).contains(&entry)
            || !member
            || !self.charged(statement.author, bytes.len(), Some(source), now)
        {
            return Received::Ignored;
        }
        self.keep_statement(&statement, false)
    }

    /// Takes a verified statement in; an erasure is carried out with the next commit.
    pub(super) fn keep_statement(&mut self, statement: &Statement, ours: bool) -> Received {
        let entry = Entry {
            group: statement.group(),
            id: statement.id,
        };
        match self.erasures.insert(statement) {
            Inserted::TooEarly => return Received::Ignored,
            Inserted::Erasure => {
                self.to_erase.insert(statement.id);
            }
            Inserted::Receipt | Inserted::Known => {}
        }
        self.rebases.insert(statement);
        self.sets.of(Lane::Statements).insert(entry);
        self.pending.push(Kept {
            lane: Lane::Statements,
            entry,
            document: statement.id,
            kind: None,
            begins: None,
            bytes: statement.bytes.clone(),
            ours,
        });
        Received::New
    }

    fn take_in(&mut self, mut envelope: Envelope, source: Option<Source>, now: Timestamp) -> Received {
        let document = envelope.document;
        let entry = entry_of(&envelope);
        if self.sets.of(Lane::of(envelope.kind)).contains(&entry) || self.quarantined.contains(&envelope.id) {
            return Received::Ignored;
        }
        let size = envelope.to_bytes().len();
        if self.is_elsewhere(envelope.kind, &document) {
            return self.pass_on(&envelope, size, source, now);
        }
        let mut view = self.take_view(document);
        let owner = view.as_ref().map_or(envelope.owner, |view| view.facts.owner);
        if self.settings.recoveries.tombstones && self.erasures.covers(&document, owner.as_ref()) {
            return Received::Ignored;
        }
        let judgement = self.judge(&envelope, view.as_ref(), source);
        let wants_it = matches!(judgement, Judgement::Accept(_) | Judgement::Park | Judgement::Twin(_));
        if wants_it && !self.charged(envelope.author, size, source, now) {
            self.put_back(document, view);
            return Received::Ignored;
        }
        let received = match judgement {
            Judgement::Accept(change) => {
                if !self.is_complete(&mut envelope, Some(&change)) {
                    self.put_back(document, view);
                    return Received::Ignored;
                }
                let fresh = view
                    .take()
                    .unwrap_or_else(|| View::empty(envelope.kind, envelope.owner));
                return self.apply(envelope, fresh, *change);
            }
            Judgement::Twin(_) | Judgement::Known | Judgement::Covered if !self.is_complete(&mut envelope, None) => {
                Received::Ignored
            }
            Judgement::Twin(hash) => {
                if let Some(view) = &mut view {
                    view.facts.add_twin(&hash, envelope.id);
                    view.count(&envelope);
                }
                self.keep(envelope, false);
                Received::New
            }
            Judgement::Park if self.settings.recoveries.parking => {
                let id = envelope.id;
                self.parked.keep(envelope, now, self.settings.recoveries.parking_bounds);
                Received::Parked(id)
            }
            Judgement::Park | Judgement::UnknownAuthor => Received::Ignored,
            Judgement::Covered if !view.as_ref().is_some_and(|view| view.keeps(&envelope)) => Received::Ignored,
            // The view has it, but its record could not be read any more: it comes home. Or its base covers it, and not its texts.
            Judgement::Known | Judgement::Covered => {
                if let Some(view) = &mut view {
                    view.count(&envelope);
                }
                self.keep(envelope, false);
                Received::New
            }
            Judgement::Reject(rejection) => {
                tracing::warn!(author = %envelope.author.short(), %rejection, "refused a change");
                Received::Rejected(rejection)
            }
        };
        self.put_back(document, view);
        received
    }

    /// What is not this node's to keep is still passed on, or others would not get it; but only for members, and no more of it than
    /// they may push.
    fn pass_on(&mut self, envelope: &Envelope, size: usize, source: Option<Source>, now: Timestamp) -> Received {
        let is_member = self.right(&envelope.author, source) == Right::Member;
        let is_erased = self.erasures.covers(&envelope.document, envelope.owner.as_ref());
        if is_member && !is_erased && self.charged(envelope.author, size, source, now) {
            Received::Elsewhere
        } else {
            Received::Ignored
        }
    }

    fn put_back(&mut self, document: ContentId, view: Option<View>) {
        if let Some(view) = view {
            self.cache(document, view);
        }
    }

    /// Drops the texts of erased messages from a change; whether every other text is there. One that comes without its texts is not
    /// taken in, or nobody would ever ask for them again: another node has them.
    fn is_complete(&self, envelope: &mut Envelope, change: Option<&Change>) -> bool {
        let erased = self.erasures.messages(&envelope.document);
        let kept = match erased.filter(|_| self.settings.recoveries.tombstones) {
            Some(erased) => texts_kept(envelope, change, erased),
            None => None,
        };
        let Some(kept) = kept else {
            return envelope.is_complete();
        };
        let is_kept = |hash: &ContentId| hash.0.first_chunk().is_some_and(|first| kept.contains(first));
        envelope.strip_but(is_kept);
        let mut payloads = envelope.payloads.iter();
        payloads.all(|(hash, payload)| payload.is_some() || !is_kept(hash))
    }

    /// Whether a change writes words of an erased message, so that this node must not even make it.
    pub(super) fn writes_erased(&self, envelope: &Envelope) -> bool {
        let erased = self.erasures.messages(&envelope.document);
        let erased = erased.filter(|_| self.settings.recoveries.tombstones);
        erased.is_some_and(|erased| texts_kept(envelope, None, erased).is_some())
    }

    /// Applies an accepted change; a change that makes the view fail is quarantined and the view built again without it.
    fn apply(&mut self, envelope: Envelope, mut view: View, change: Change) -> Received {
        let document = envelope.document;
        if envelope.is_genesis && !self.is_valid_genesis(&envelope, &change) {
            return Received::Rejected(Rejection::InvalidRecord);
        }
        if !self.settings.recoveries.forks && view.facts.has_turn(&change) {
            self.cache(document, view);
            return Received::Rejected(Rejection::Malformed);
        }
        match view.apply(&envelope, change) {
            Ok(Effect::Extends | Effect::Beside) => {
                self.cache(document, view);
                self.keep(envelope, false);
                Received::New
            }
            Ok(Effect::Displaces) => {
                tracing::warn!(author = %envelope.author.short(), "an author wrote two changes in one turn: both are kept, one as a fork");
                self.keep(envelope, false);
                if let Some(view) = self.take_view(document) {
                    self.cache(document, view);
                }
                Received::New
            }
            Err(rejection) => {
                tracing::warn!(author = %envelope.author.short(), "a change makes its document fail: it is kept out");
                if self.quarantined.len() < QUARANTINED_MAX {
                    self.quarantined.insert(envelope.id);
                }
                Received::Rejected(rejection)
            }
        }
    }

    /// Only the first state of a document is held to its record's rules: it is the same on every node. Later states depend on what
    /// has come so far, so they are put right where they are read.
    fn is_valid_genesis(&self, envelope: &Envelope, change: &Change) -> bool {
        let mut view = View::empty(envelope.kind, envelope.owner);
        view.apply(envelope, change.clone()).is_ok()
            && self.with_reader(&view, envelope.document, |reader| {
                let owner = match records::owner_of(envelope.kind, reader) {
                    Owner::Account(account) => Some(account),
                    Owner::Nobody | Owner::Itself => None,
                };
                // Version 1 named no owner.
                (owner == envelope.owner || envelope.is_version_1()) && records::is_valid_genesis(envelope.kind, reader)
            })
    }

    /// Takes a set-aside event list entry for tests of what was told.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// Which texts of an envelope stay when these messages of its document are erased; `None` when it has none of theirs. The change is
/// decoded when the caller has not done so.
pub(super) fn texts_kept(
    envelope: &Envelope,
    change: Option<&Change>,
    erased: &BTreeSet<MessageId>,
) -> Option<BTreeSet<PayloadReference>> {
    match (envelope.kind, change) {
        (RecordKind::Session, Some(change)) => session::kept_without(change, erased),
        (RecordKind::Session, None) => session::kept_without(&stored_change(envelope)?, erased),
        // What a complaint copied goes as a whole, whatever is named of it.
        (RecordKind::Complaint, _) => (!envelope.payloads.is_empty()).then(BTreeSet::new),
        _ => None,
    }
}
