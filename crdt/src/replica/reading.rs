//! Reading documents and their forks.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use automerge::AutoCommit;
use keys::{ContentId, DataKey, NodeId, Opener};

use super::{Event, Replica, Shelf, data_account};
use crate::{
    StoreError,
    group::Group,
    records::{
        Payload, Reader, Record, RecordError, RecordKind, Sealed,
        session::{self, MessageId, Opening, Session},
    },
    view::View,
};

/// A branch of a document that lost its turn: one author wrote two different changes where there could be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The envelope that lost; it names the fork.
    pub id: ContentId,
    /// The envelope that won. The two together prove what their author did. Of a document on a base it may be the base, which covers
    /// the change that won.
    pub winner: ContentId,
    /// Who wrote both.
    pub author: NodeId,
}

impl<S: Shelf> Replica<S> {
    /// Reads a document as this node knows it.
    ///
    /// # Errors
    /// When there is no such document of this kind.
    pub fn read<R: Record>(&mut self, document: ContentId) -> Result<R, StoreError> {
        self.read_by(document, R::KIND, R::read)
    }

    /// Reads a chat of which only some texts are opened.
    ///
    /// # Errors
    /// When there is no such chat.
    pub fn read_opening(&mut self, chat: ContentId, opening: Opening) -> Result<Session, StoreError> {
        self.read_by(chat, Session::KIND, |reader| Session::read_opening(reader, opening))
    }

    /// Reads what messages of a chat say now; one that is not there is left out.
    ///
    /// # Errors
    /// When there is no such chat.
    pub fn read_texts(
        &mut self,
        chat: ContentId,
        messages: &[MessageId],
    ) -> Result<BTreeMap<MessageId, Sealed>, StoreError> {
        self.read_by(chat, Session::KIND, |reader| Ok(session::read_texts(reader, messages)))
    }

    fn read_by<T>(
        &mut self,
        document: ContentId,
        kind: RecordKind,
        read: impl FnOnce(&Reader<'_>) -> Result<T, RecordError>,
    ) -> Result<T, StoreError> {
        let view = self.view_of(document, kind)?;
        let result = self.read_view(&view, &view.document, document, read);
        self.cache(document, view);
        result
    }

    fn read_view<T>(
        &mut self,
        view: &View,
        content: &AutoCommit,
        document: ContentId,
        read: impl FnOnce(&Reader<'_>) -> Result<T, RecordError>,
    ) -> Result<T, StoreError> {
        let locked = Cell::new(false);
        let result = self.with_reader_of(view, content, document, &locked, read);
        if locked.get()
            && let Some(account) = data_account(view.facts.kind, view.facts.owner, document)
            && self.wanted_keys.insert(account)
        {
            self.tell(Event::KeyWanted(account));
        }
        Ok(result?)
    }

    pub(super) fn with_reader<T>(&self, view: &View, document: ContentId, read: impl FnOnce(&Reader<'_>) -> T) -> T {
        self.with_reader_of(view, &view.document, document, &Cell::new(false), read)
    }

    fn with_reader_of<T>(
        &self,
        view: &View,
        content: &AutoCommit,
        document: ContentId,
        locked: &Cell<bool>,
        read: impl FnOnce(&Reader<'_>) -> T,
    ) -> T {
        let account = data_account(view.facts.kind, view.facts.owner, document);
        let payload = |reference: &[u8; 8]| match view.payload(reference) {
            Some(Some(bytes)) => Payload::Here(bytes),
            Some(None) => Payload::Erased,
            None => Payload::Missing,
        };
        // The texts of a document are almost always sealed under one key.
        let opener: RefCell<Option<Opener>> = RefCell::new(None);
        let open = |context: &[u8], sealed: &[u8]| {
            let opened = DataKey::id_of(sealed).and_then(|id| {
                let mut opener = opener.borrow_mut();
                if opener.as_ref().is_none_or(|ready| ready.id() != id) {
                    *opener = Some(self.keys.get(&account?, id)?.opener());
                }
                opener.as_mut()?.open(context, sealed).ok()
            });
            locked.set(locked.get() || opened.is_none());
            opened
        };
        let author = |actor: &automerge::ActorId| view.facts.author_of(actor.to_bytes());
        read(&Reader {
            document: content,
            payload: &payload,
            open: &open,
            author: &author,
        })
    }

    /// Every document of a kind, with its content; documents that do not read as their record are left out.
    pub fn list<R: Record>(&mut self) -> Vec<(ContentId, R)> {
        self.documents_of(R::KIND)
            .into_iter()
            .filter_map(|document| Some((document, self.read(document).ok()?)))
            .collect()
    }

    /// Every document of a kind that is a person's data, with its content.
    pub fn list_of<R: Record>(&mut self, account: &ContentId) -> Vec<(ContentId, R)> {
        self.documents_owned_by(account)
            .into_iter()
            .filter_map(|document| Some((document, self.read(document).ok()?)))
            .collect()
    }

    /// Ids of every document of a kind.
    pub fn documents_of(&self, kind: RecordKind) -> Vec<ContentId> {
        let pending = self.pending.iter();
        let pending = pending.filter(|kept| kept.begins.is_some_and(|(begun, _)| begun == kind));
        let mut documents: BTreeSet<ContentId> = pending.map(|kept| kept.document).collect();
        documents.extend(self.shelf.documents_of(kind));
        documents.into_iter().collect()
    }

    /// Ids of every document that is a person's data.
    pub fn documents_owned_by(&self, account: &ContentId) -> Vec<ContentId> {
        let pending = self.pending.iter();
        let pending = pending.filter(|kept| kept.begins.is_some_and(|(_, owner)| owner == Some(*account)));
        let mut documents: BTreeSet<ContentId> = pending.map(|kept| kept.document).collect();
        documents.extend(self.shelf.documents_owned_by(account));
        documents.into_iter().collect()
    }

    /// The forks of a document.
    ///
    /// # Errors
    /// When there is no such document.
    pub fn forks(&mut self, document: ContentId) -> Result<Vec<Fork>, StoreError> {
        let view = self.take_view(document).ok_or_else(|| self.missing(document))?;
        let forks = view.facts.forks();
        let forks = forks.into_iter().filter_map(|(loser, winner)| {
            let loser = view.facts.changes.get(&loser)?;
            Some(Fork {
                id: loser.envelope,
                winner: match winner {
                    Some(winner) => view.facts.changes.get(&winner)?.envelope,
                    None => *view.facts.bases.first()?,
                },
                author: loser.author,
            })
        });
        let forks = forks.collect();
        self.cache(document, view);
        Ok(forks)
    }

    /// Reads one fork of a document: what its author would have had everyone see.
    ///
    /// # Errors
    /// When there is no such document or fork.
    pub fn read_fork<R: Record>(&mut self, document: ContentId, fork: ContentId) -> Result<R, StoreError> {
        let view = self.view_of(document, R::KIND)?;
        let loser = view.facts.forks().into_iter().map(|(loser, _)| loser).find(|loser| {
            view.facts
                .changes
                .get(loser)
                .is_some_and(|facts| facts.envelope == fork)
        });
        let record = match loser {
            Some(loser) => {
                let ids = self.envelopes_of(&document);
                let envelopes = self.open_all(&document, &ids);
                let content = view.fork(loser, &envelopes);
                self.read_view(&view, &content, document, R::read)
            }
            None => Err(StoreError::NotFound),
        };
        self.cache(document, view);
        record
    }

    /// The bytes of an envelope, as a proof to show.
    pub fn proof(&mut self, document: &ContentId, envelope: &ContentId) -> Option<Vec<u8>> {
        let entry = crate::set::Entry {
            group: Group::of(document),
            id: *envelope,
        };
        let lane = self.lane_of(document);
        self.read_entry(lane, &entry)
    }
}
