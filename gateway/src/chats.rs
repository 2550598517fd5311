//! Chats as people see them, read once for everybody who looks: what is shown of the tree of messages, and whose it is.
//!
//! Of a long chat only the texts that a page shows first are opened with it; [`Chats::open`] opens what else somebody wants to read.
//!
//! A chat is read from the store when somebody needs it and kept until it changes. Whoever changes one here forgets it at once; what
//! changes elsewhere is forgotten by the hub (`rooms`) before anybody is told of it. So nobody is shown what was before.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crdt::{
    StoreError,
    records::{
        Sealed,
        session::{Message, MessageId, Opening, Session, SessionEdit, Tree},
    },
};
use keys::ContentId;

use crate::{
    app::App,
    auth::Person,
    error::ApiError,
    limits::{CHATS_KEPT_MESSAGES_MAX, OPENED_NEWEST, OPENED_OLDEST, OWNERS_REMEMBERED_MAX, WISHES_REMEMBERED_MAX},
};

/// A chat and what is shown of it.
pub(crate) struct Chat {
    pub(crate) document: ContentId,
    pub(crate) session: Session,
    pub(crate) tree: Tree,
    /// Places of the shown messages among all, oldest first.
    path: Vec<usize>,
}

impl Chat {
    pub(crate) fn of(document: ContentId, session: Session) -> Self {
        let tree = Tree::of(&session);
        let places: HashMap<MessageId, usize> = session
            .messages
            .iter()
            .enumerate()
            .map(|(place, message)| (message.id, place))
            .collect();
        let ids = match session.current {
            Some(current) if places.contains_key(&current) => tree.path_through(current),
            _ => tree.main_path(None),
        };
        let path = ids.iter().filter_map(|id| places.get(id).copied()).collect();
        Self {
            document,
            session,
            tree,
            path,
        }
    }

    /// The messages that are shown, oldest first.
    pub(crate) fn shown(&self) -> impl DoubleEndedIterator<Item = &Message> + ExactSizeIterator {
        self.path.iter().map(|place| &self.session.messages[*place])
    }

    /// The place of the message after which a chat without a title is called.
    fn naming(&self) -> Option<usize> {
        let mut places = self.path.iter().copied();
        places.find(|place| self.session.messages[*place].is_from_person())
    }

    /// What the person said first of what is shown.
    pub(crate) fn first_words(&self) -> &str {
        self.naming()
            .map_or("", |place| self.session.messages[place].text.text())
    }

    /// A message of any branch. Its text may not have been opened, see [`Chats::open`].
    pub(crate) fn message(&self, id: MessageId) -> Result<&Message, ApiError> {
        let messages = &self.session.messages;
        let place = messages.binary_search_by_key(&id, |message| message.id);
        place.map(|place| &messages[place]).map_err(|_| ApiError::NotFound)
    }
}

/// Reads a chat with the texts that are wanted most: those of its newest messages, and what it is called after.
async fn read(app: &App, document: ContentId) -> Result<Chat, StoreError> {
    let opening = Opening {
        oldest: OPENED_OLDEST,
        newest: OPENED_NEWEST,
    };
    let session = app.store.read_opening(document, opening).await?;
    let mut chat = Chat::of(document, session);
    let naming = chat.naming().map(|place| &mut chat.session.messages[place]);
    if let Some(message) = naming.filter(|message| message.text.is_unopened()) {
        let mut texts = app.store.read_texts(document, vec![message.id]).await?;
        message.text = texts.remove(&message.id).unwrap_or(Sealed::Missing);
    }
    Ok(chat)
}

/// The chats that are kept. Cheap locks, never held across an await.
#[derive(Default)]
pub(crate) struct Chats(Mutex<Table>);

#[derive(Default)]
struct Table {
    kept: HashMap<ContentId, Arc<Chat>>,
    /// Oldest use first.
    order: VecDeque<ContentId>,
    messages: usize,
    /// Chats that are being read, with how often each changed since.
    reading: HashMap<ContentId, (usize, u64)>,
    owners: HashMap<ContentId, ContentId>,
    /// By an answer that somebody wishes beside others: the one that was shown then.
    wished: HashMap<MessageId, MessageId>,
}

impl Chats {
    /// A chat as it is now.
    pub(crate) async fn get(&self, app: &App, document: ContentId) -> Result<Arc<Chat>, StoreError> {
        let version = {
            let mut table = self.lock();
            if let Some(chat) = table.kept.get(&document).cloned() {
                return Ok(chat);
            }
            let reading = table.reading.entry(document).or_default();
            reading.0 += 1;
            reading.1
        };
        let chat = read(app, document).await.map(Arc::new);
        let mut table = self.lock();
        let is_current = table.stop_reading(document, version);
        let chat = chat?;
        table.remember_owner(document, chat.session.account);
        if is_current {
            table.keep(&chat);
        }
        Ok(chat)
    }

    /// Messages of a chat with their texts.
    pub(crate) async fn open<'a>(
        &self,
        app: &App,
        chat: &Chat,
        messages: Vec<&'a Message>,
    ) -> Result<Vec<Cow<'a, Message>>, StoreError> {
        let unopened = messages.iter().filter(|message| message.text.is_unopened());
        let unopened: Vec<MessageId> = unopened.map(|message| message.id).collect();
        if unopened.is_empty() {
            return Ok(messages.into_iter().map(Cow::Borrowed).collect());
        }
        let mut texts = app.store.read_texts(chat.document, unopened).await?;
        let opened = messages.into_iter().map(|message| {
            if !message.text.is_unopened() {
                return Cow::Borrowed(message);
            }
            // What went between the two readings is told as a change at once.
            let text = texts.remove(&message.id).unwrap_or(Sealed::Missing);
            Cow::Owned(Message {
                text,
                ..message.clone()
            })
        });
        Ok(opened.collect())
    }

    /// A chat, if it is the person's; others' chats do not exist for them.
    pub(crate) async fn own(&self, app: &App, person: &Person, id: &str) -> Result<Arc<Chat>, ApiError> {
        let document = ContentId::parse(id).ok_or(ApiError::NotFound)?;
        let chat = self.get(app, document).await?;
        if chat.session.account == person.id {
            Ok(chat)
        } else {
            Err(ApiError::NotFound)
        }
    }

    /// Changes a chat; it is on disk, and no longer kept as it was, when this returns.
    pub(crate) async fn edit(&self, app: &App, document: ContentId, edit: SessionEdit) -> Result<(), ApiError> {
        let edited = app.store.edit(document, edit).await;
        self.forget(document);
        Ok(edited?)
    }

    /// A chat has changed.
    pub(crate) fn forget(&self, document: ContentId) {
        let mut table = self.lock();
        if let Some((_, changes)) = table.reading.get_mut(&document) {
            *changes += 1;
        }
        table.drop_chat(document);
    }

    /// Any chat may have changed.
    pub(crate) fn forget_all(&self) {
        let mut table = self.lock();
        let kept: Vec<ContentId> = table.kept.keys().copied().collect();
        for document in kept {
            table.drop_chat(document);
        }
        for (_, changes) in table.reading.values_mut() {
            *changes += 1;
        }
    }

    /// Whose a chat is, as far as that is known; it never changes.
    pub(crate) fn owner(&self, document: ContentId) -> Option<ContentId> {
        self.lock().owners.get(&document).copied()
    }

    /// Whose a new chat is.
    pub(crate) fn remember_owner(&self, document: ContentId, account: ContentId) {
        self.lock().remember_owner(document, account);
    }

    /// Shows a chat through an answer that is yet to come; `shown` is the one that is there.
    pub(crate) async fn wish(
        &self,
        app: &App,
        document: ContentId,
        answer: MessageId,
        shown: MessageId,
    ) -> Result<(), ApiError> {
        {
            let mut table = self.lock();
            if table.wished.len() >= WISHES_REMEMBERED_MAX {
                table.wished.clear();
            }
            table.wished.insert(answer, shown);
        }
        self.edit(app, document, SessionEdit::SetCurrent(answer)).await
    }

    /// An answer that was wished has come.
    pub(crate) fn wish_came_true(&self, answer: MessageId) {
        self.lock().wished.remove(&answer);
    }

    /// An answer that was wished does not come: the chat shows what it showed, unless the person looks elsewhere by now.
    pub(crate) async fn give_up_wish(&self, app: &App, document: ContentId, answer: MessageId) -> Result<(), ApiError> {
        let shown = self.lock().wished.remove(&answer);
        let Some(shown) = shown else { return Ok(()) };
        if self.get(app, document).await?.session.current == Some(answer) {
            self.edit(app, document, SessionEdit::SetCurrent(shown)).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether nothing changed since the reading began.
    fn stop_reading(&mut self, document: ContentId, version: u64) -> bool {
        let Some(reading) = self.reading.get_mut(&document) else {
            return false;
        };
        reading.0 -= 1;
        let is_current = reading.1 == version;
        if reading.0 == 0 {
            self.reading.remove(&document);
        }
        is_current
    }

    fn keep(&mut self, chat: &Arc<Chat>) {
        self.drop_chat(chat.document);
        self.messages += chat.session.messages.len();
        self.kept.insert(chat.document, Arc::clone(chat));
        self.order.push_back(chat.document);
        while self.messages > CHATS_KEPT_MESSAGES_MAX && self.order.len() > 1 {
            if let Some(oldest) = self.order.front().copied() {
                self.drop_chat(oldest);
            }
        }
    }

    fn drop_chat(&mut self, document: ContentId) {
        if let Some(chat) = self.kept.remove(&document) {
            self.messages -= chat.session.messages.len();
            self.order.retain(|kept| *kept != document);
        }
    }

    fn remember_owner(&mut self, document: ContentId, account: ContentId) {
        if self.owners.len() >= OWNERS_REMEMBERED_MAX {
            self.owners.clear();
        }
        self.owners.insert(document, account);
    }
}
