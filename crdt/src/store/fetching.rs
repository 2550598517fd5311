//! Reading through others: what this node does not hold is asked of those who do, and kept here for a while.
//!
//! A node that holds everything, as every storage member of a small mesh does, comes by here without asking anybody anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use keys::{ContentId, NodeId, Timestamp};
use tokio::sync::oneshot;

use super::{Store, StoreError};
use crate::{
    engine::Engine,
    fetch::Ask,
    group::{Group, Lane},
    limits::{FETCH_PATIENCE, FETCHES_PER_CALL_MAX},
    placement::Placement,
    records::{
        Record, Sealed,
        session::{MessageId, Opening, Session},
    },
    replica::{Batch, Cursor, Held},
    set::ShardSet,
};

/// A question to those who hold what this node does not. Whoever sees to it asks holders of the shards, gives what they answer to
/// [`Store::take_fetched`], and replies.
#[derive(Debug)]
pub struct FetchRequest {
    /// What is wanted.
    pub what: Ask,
    /// The shards in which it may be and of which this node does not have everything.
    pub shards: ShardSet,
    /// The shards of those for which nobody has answered.
    pub reply: oneshot::Sender<ShardSet>,
}

impl Store {
    /// Who holds what from now on.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn place(&self, placement: Placement) -> Result<(), StoreError> {
        let is_all_here = placement.is_everywhere() && placement.scope_of(&self.node()) == ShardSet::all();
        self.call(move |engine| {
            engine.place(placement, Timestamp::now());
            Ok(())
        })
        .await?;
        self.reads_through.send_replace(!is_all_here);
        Ok(())
    }

    /// How much of the placed documents this node holds.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn held(&self) -> Result<Held, StoreError> {
        self.call(|engine| Ok(engine.held())).await
    }

    fn reads_through(&self) -> bool {
        *self.reads_through.borrow()
    }

    /// Asks others; the shards for which nobody answered.
    async fn ask_others(&self, what: Ask, shards: ShardSet) -> Result<ShardSet, StoreError> {
        let (reply, answer) = oneshot::channel();
        let request = FetchRequest {
            what: what.clone(),
            shards,
            reply,
        };
        let unanswered = match self.fetches.try_send(request) {
            // A full queue, or nobody there to see to it: others cannot be asked.
            Err(_) => shards,
            Ok(()) => match tokio::time::timeout(FETCH_PATIENCE, answer).await {
                Ok(Ok(unanswered)) => unanswered,
                _ => shards,
            },
        };
        self.call(move |engine| {
            engine.has_asked(what, Timestamp::now());
            Ok(unanswered)
        })
        .await
    }

    /// Asks others for one document; whether somebody who must know has answered.
    async fn ask_for(&self, document: ContentId) -> Result<bool, StoreError> {
        let known = self.call(move |engine| Ok(engine.known_of(&document))).await?;
        let shards = std::iter::once(Group::of(&document).shard()).collect();
        let unanswered = self.ask_others(Ask::Documents(vec![(document, known)]), shards);
        Ok(unanswered.await?.is_empty())
    }

    /// Tries again after the documents that were missing have been asked of others.
    pub(super) async fn through<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let mut asked = BTreeSet::new();
        loop {
            let document = match attempt().await {
                Err(StoreError::Elsewhere(document)) => document,
                done => return done,
            };
            // Whoever holds it has answered, and it is not here: it is nowhere.
            if asked.len() == FETCHES_PER_CALL_MAX || !asked.insert(document) {
                return Err(StoreError::NotFound);
            }
            if !self.ask_for(document).await? {
                return Err(StoreError::Elsewhere(document));
            }
        }
    }

    /// Reads a document as this node knows it, or as those do who hold it.
    ///
    /// # Errors
    /// When there is no such document of this kind, or nobody who holds it can be asked.
    pub async fn read<R: Record>(&self, document: ContentId) -> Result<R, StoreError> {
        self.read_by(document, move |engine| engine.read::<R>(document)).await
    }

    /// Reads a chat as [`Self::read`] does, and opens only some of its texts: most of the work, where a chat is long.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_opening(&self, chat: ContentId, opening: Opening) -> Result<Session, StoreError> {
        self.read_by(chat, move |engine| engine.read_opening(chat, opening))
            .await
    }

    /// Reads what messages of a chat say now; one that is not there is left out.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_texts(
        &self,
        chat: ContentId,
        messages: Vec<MessageId>,
    ) -> Result<BTreeMap<MessageId, Sealed>, StoreError> {
        let messages = Arc::new(messages);
        self.read_by(chat, move |engine| engine.read_texts(chat, &messages))
            .await
    }

    async fn read_by<T: Send + 'static>(
        &self,
        document: ContentId,
        read: impl Fn(&mut Engine) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let attempt = || self.call(read.clone());
        if !self.reads_through() {
            return attempt().await;
        }
        // What was fetched a while ago may have changed where it is held. If nobody can be asked, it is still good enough.
        if self.call(move |engine| Ok(engine.is_stale(&document))).await? {
            self.ask_for(document).await?;
        }
        self.through(attempt).await
    }

    /// Has everything brought here that belongs to a list.
    async fn gather(&self, what: Ask) -> Result<(), StoreError> {
        if !self.reads_through() || matches!(what, Ask::OfKind(kind) if !Lane::of(kind).is_sharded()) {
            return Ok(());
        }
        let asked = what.clone();
        let open = self.call(move |engine| Ok((!engine.was_asked(&asked)).then(|| engine.unanswered())));
        let Some(shards) = open.await?.filter(|shards| !shards.is_empty()) else {
            return Ok(());
        };
        let unanswered = self.ask_others(what, shards).await?;
        match unanswered.len() {
            0 => Ok(()),
            shards => Err(StoreError::Unanswered(shards)),
        }
    }

    /// Every document of a kind, with its content; documents that do not read as their record are left out.
    ///
    /// # Errors
    /// When not all nodes that hold such documents can be asked, or the store has stopped.
    pub async fn list<R: Record>(&self) -> Result<Vec<(ContentId, R)>, StoreError> {
        self.gather(Ask::OfKind(R::KIND)).await?;
        self.list_here().await
    }

    /// As [`Self::list`], as far as this node holds them.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn list_here<R: Record>(&self) -> Result<Vec<(ContentId, R)>, StoreError> {
        self.call(|engine| Ok(engine.list())).await
    }

    /// Every document of a kind that is a person's data, with its content.
    ///
    /// # Errors
    /// When not all nodes that hold such documents can be asked, or the store has stopped.
    pub async fn list_of<R: Record>(&self, account: ContentId) -> Result<Vec<(ContentId, R)>, StoreError> {
        self.gather(Ask::OwnedBy(account)).await?;
        self.call(move |engine| Ok(engine.list_of(&account))).await
    }

    /// Ids of every document that is a person's data.
    ///
    /// # Errors
    /// When not all nodes that hold such documents can be asked, or the store has stopped.
    pub async fn documents_owned_by(&self, account: ContentId) -> Result<Vec<ContentId>, StoreError> {
        self.gather(Ask::OwnedBy(account)).await?;
        self.call(move |engine| Ok(engine.documents_owned_by(&account))).await
    }

    /// A batch of what a member asks for, of what this node holds, and the shards of those asked for of which it has everything.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn give(&self, what: Ask, shards: ShardSet, from: Cursor) -> Result<(Batch, ShardSet), StoreError> {
        self.call(move |engine| Ok((engine.give(&what, &shards, from), engine.answers(&shards))))
            .await
    }

    /// Takes in what a holder gave; how many changes were new.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn take_fetched(&self, peer: NodeId, envelopes: Vec<Vec<u8>>) -> Result<usize, StoreError> {
        self.call(move |engine| Ok(engine.take_fetched(peer, &envelopes, Timestamp::now())))
            .await
    }

    /// Takes in what a member wrote and does not hold; answers which of it is held here now, on disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn take_offered(&self, peer: NodeId, envelopes: Vec<Vec<u8>>) -> Result<Vec<ContentId>, StoreError> {
        self.call(move |engine| Ok(engine.take_offered(peer, &envelopes, Timestamp::now())))
            .await
    }

    /// The holders that must still be offered something that was written here.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn unconfirmed_holders(&self) -> Result<BTreeSet<NodeId>, StoreError> {
        self.call(|engine| Ok(engine.unconfirmed_holders())).await
    }

    /// What was written here, belongs to a holder and is not confirmed by it.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn unconfirmed_for(&self, holder: NodeId) -> Result<Vec<Vec<u8>>, StoreError> {
        let due = self.call(move |engine| Ok(engine.unconfirmed_for(&holder))).await?;
        Ok(due.into_iter().map(|(_, bytes)| bytes).collect())
    }

    /// A holder has said what it holds, durably.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn confirmed(&self, holder: NodeId, held: BTreeSet<ContentId>) -> Result<(), StoreError> {
        self.call(move |engine| {
            engine.confirmed(holder, &held);
            Ok(())
        })
        .await
    }
}
