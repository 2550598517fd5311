//! Carrying erasures out: what they cover leaves the shelf, the views, the snapshots and the key files; then a receipt says so.

use std::collections::BTreeSet;

use keys::{ContentId, Timestamp};

use super::{Event, Forget, Kept, Replica, Shelf, intake::texts_kept};
use crate::{
    StoreError,
    envelope::Envelope,
    erasure::{Erase, EraseTarget, Receipt, Statement, StatementContent},
    group::{Group, Lane},
    records::session::MessageId,
    set::Entry,
};

impl<S: Shelf> Replica<S> {
    /// States that something must be forgotten, everywhere. It is carried out here with the next commit. Returns the erasure's id,
    /// under which its receipts are found.
    ///
    /// # Errors
    /// When there is nothing of the kind here.
    pub fn erase(&mut self, target: EraseTarget, now: Timestamp) -> Result<ContentId, StoreError> {
        let known = match target {
            EraseTarget::Account(id) | EraseTarget::Document(id) | EraseTarget::Message { document: id, .. } => {
                self.begun(&id).is_some()
            }
        };
        // What others hold can be erased unseen: the statement reaches them.
        if let (false, StoreError::NotFound) = (known, self.missing(target.subject())) {
            return Err(StoreError::NotFound);
        }
        let content = StatementContent::Erase(Erase { target, at: now });
        let statement = Statement::sign(&self.settings.key, content).map_err(|_| StoreError::NotFound)?;
        self.keep_statement(&statement, true);
        Ok(statement.id)
    }

    /// Every erasure with its receipts.
    pub fn erasures(&self) -> Vec<crate::erasure::Erasure> {
        self.erasures.all().cloned().collect()
    }

    /// Whether an account is erased: its keys must not be taken or given.
    #[must_use]
    pub fn is_erased(&self, account: &ContentId) -> bool {
        self.erasures.covers_account(account)
    }

    /// Carries out what is due. What fails (a full disk) stays due and is tried again with the next commit.
    pub(super) fn carry_out(&mut self, now: Timestamp) {
        let due: Vec<ContentId> = self.to_erase.iter().copied().collect();
        let mut forget = Forget::default();
        let mut done = Vec::new();
        for id in due {
            let Some(target) = self.erasures.get(&id).map(|erasure| erasure.erase.target) else {
                self.to_erase.remove(&id);
                continue;
            };
            let before = forget.len();
            let keys = match target {
                EraseTarget::Account(account) => {
                    for document in self.shelf.documents_owned_by(&account) {
                        self.forget_document(document, &mut forget);
                    }
                    self.forget_document(account, &mut forget);
                    match self.keys.destroy(&account) {
                        Ok(keys) => keys,
                        Err(error) => {
                            tracing::error!(%error, "the keys of an erased account could not be destroyed; it is tried again");
                            continue;
                        }
                    }
                }
                EraseTarget::Document(document) => {
                    self.forget_document(document, &mut forget);
                    0
                }
                EraseTarget::Message { document, message } => {
                    self.strip_message(document, message, &mut forget);
                    0
                }
            };
            done.push((id, target, forget.len() - before, keys));
        }
        if let Err(error) = self.shelf.forget(&forget) {
            tracing::error!(%error, "an erasure could not be carried out; it is tried again");
            return;
        }
        for (lane, entry) in &forget.drop {
            self.sets.of(*lane).remove(entry);
            self.placed.removed(entry);
        }
        for document in &forget.documents {
            self.placed.followed.remove(document);
        }
        for (erase, target, envelopes, keys) in done {
            self.to_erase.remove(&erase);
            self.tell(Event::Erased(target));
            let receipt = Receipt {
                erase,
                subject: target.subject(),
                at: now,
                envelopes: envelopes as u64,
                keys: keys as u64,
            };
            if let Ok(statement) = Statement::sign(&self.settings.key, StatementContent::Receipt(receipt)) {
                self.keep_statement(&statement, true);
            }
        }
    }

    fn forget_document(&mut self, document: ContentId, forget: &mut Forget) {
        let group = Group::of(&document);
        // In both lanes: what a document is may not be known any more.
        let lanes = [Lane::Common, Lane::Envelopes];
        let entries = lanes.map(|lane| (lane, self.shelf.envelopes_of(lane, group)));
        let entries = entries
            .into_iter()
            .flat_map(|(lane, ids)| ids.into_iter().map(move |id| (lane, id)));
        for (lane, id) in entries {
            let entry = Entry { group, id };
            let bytes = self.shelf.read(lane, &entry);
            // What cannot be read goes, too: nothing of it may be left.
            let is_its = bytes
                .and_then(Kept::from_stored)
                .is_none_or(|kept| kept.document == document);
            if is_its {
                forget.drop.push((lane, entry));
            }
        }
        self.views.remove(&document);
        self.parked.take(&document);
        forget.documents.push(document);
    }

    fn strip_message(&mut self, document: ContentId, message: MessageId, forget: &mut Forget) {
        let ids = self.envelopes_of(&document);
        let group = Group::of(&document);
        let erased = BTreeSet::from([message]);
        for mut envelope in self.open_all(&document, &ids) {
            let texts = |envelope: &Envelope| {
                envelope
                    .payloads
                    .iter()
                    .filter(|(_, payload)| payload.is_some())
                    .count()
            };
            let before = texts(&envelope);
            let kept = (before > 0).then(|| texts_kept(&envelope, None, &erased)).flatten();
            let Some(kept) = kept else { continue };
            envelope.strip_but(|hash| hash.0.first_chunk().is_some_and(|first| kept.contains(first)));
            if texts(&envelope) < before {
                let entry = Entry { group, id: envelope.id };
                forget
                    .replace
                    .push((Lane::of(envelope.kind), entry, envelope.to_bytes()));
            }
        }
        self.views.remove(&document);
        forget.snapshots.push(document);
    }
}
