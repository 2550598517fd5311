//! Full-text search in a person's chats, on this node alone.
//!
//! The index stands in memory and nowhere else: what people write is sealed on the disk, and an index beside it would be their words
//! in plain. So it needs no format, is made anew from the chats when somebody searches after a start, goes with an account's erasure
//! at once, and takes a bounded amount of memory, those who searched longest ago losing theirs first. While it is being made a search
//! answers with what is in it already, and says so.

mod index;
mod words;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crdt::records::session::{MessageId, Session};
use keys::ContentId;
use tokio::sync::Notify;

use self::index::Query;
pub(crate) use self::index::{Hit, Part};
use crate::{
    app::App,
    chats::Chat,
    error::ApiError,
    limits::{SEARCH_BYTES_MAX, SEARCH_HITS, SEARCH_PATIENCE},
};

/// The indexes of this gateway.
#[derive(Default)]
pub(crate) struct Search(Mutex<Table>);

#[derive(Default)]
struct Table {
    people: HashMap<ContentId, Person>,
    /// Oldest search first.
    order: VecDeque<ContentId>,
    bytes: usize,
    /// Whose each indexed chat is.
    owners: HashMap<ContentId, ContentId>,
}

#[derive(Default)]
struct Person {
    parts: HashMap<ContentId, Arc<Part>>,
    /// Chats that are still to be read, or have changed since.
    stale: HashSet<ContentId>,
    /// Whether somebody reads them.
    is_building: bool,
    grown: Arc<Notify>,
    bytes: usize,
}

/// What a search found.
pub(crate) struct Found {
    /// Newest first.
    pub(crate) hits: Vec<Hit>,
    /// Whether every chat was searched; else there may be more in a moment.
    pub(crate) is_complete: bool,
    /// Whether there are older ones.
    pub(crate) has_more: bool,
}

impl Search {
    /// The newest messages with all words of `text`, older than `before`.
    pub(crate) async fn find(
        &self,
        app: &Arc<App>,
        account: ContentId,
        text: &str,
        before: Option<MessageId>,
    ) -> Result<Found, ApiError> {
        let query = Query::new(text);
        if query.is_empty() {
            return Err(ApiError::TextEmpty);
        }
        let grown = self.open(app, account).await?;
        let deadline = tokio::time::Instant::now() + SEARCH_PATIENCE;
        loop {
            let news = grown.notified();
            let (parts, is_complete) = self.parts(account);
            let mut hits: Vec<Hit> = parts
                .iter()
                .flat_map(|part| part.find(&query, before, SEARCH_HITS + 1))
                .collect();
            if is_complete || tokio::time::Instant::now() >= deadline {
                hits.sort_by_key(|hit| std::cmp::Reverse(hit.message));
                let has_more = hits.len() > SEARCH_HITS;
                hits.truncate(SEARCH_HITS);
                return Ok(Found {
                    hits,
                    is_complete,
                    has_more,
                });
            }
            let _ = tokio::time::timeout_at(deadline, news).await;
        }
    }

    /// Makes sure that somebody reads what is not in the index yet.
    async fn open(&self, app: &Arc<App>, account: ContentId) -> Result<Arc<Notify>, ApiError> {
        if !self.lock().people.contains_key(&account) {
            let documents = app.store.documents_owned_by(account).await?;
            let mut table = self.lock();
            let person = table.people.entry(account).or_default();
            person.stale.extend(&documents);
            table
                .owners
                .extend(documents.into_iter().map(|document| (document, account)));
        }
        let mut table = self.lock();
        table.order.retain(|known| *known != account);
        table.order.push_back(account);
        let Some(person) = table.people.get_mut(&account) else {
            return Ok(Arc::default());
        };
        if !person.is_building && !person.stale.is_empty() {
            person.is_building = true;
            let app = Arc::clone(app);
            tokio::spawn(async move { app.search.build(&app, account).await });
        }
        Ok(person.grown.clone())
    }

    /// Reads what is stale until nothing is.
    async fn build(&self, app: &App, account: ContentId) {
        while let Some(document) = self.next_stale(account) {
            // What is no chat, or cannot be read now, is not in the index.
            let part = match app.store.read::<Session>(document).await {
                Ok(session) if session.account == account && !session.archived => {
                    // Stemming takes a core for a moment.
                    tokio::task::spawn_blocking(move || Part::of(&Chat::of(document, session)))
                        .await
                        .ok()
                }
                _ => None,
            };
            self.put(account, document, part.map(Arc::new));
        }
    }

    fn next_stale(&self, account: ContentId) -> Option<ContentId> {
        let mut table = self.lock();
        let person = table.people.get_mut(&account)?;
        let next = person.stale.iter().next().copied();
        match next {
            Some(next) => drop(person.stale.remove(&next)),
            None => {
                person.is_building = false;
                person.grown.notify_waiters();
            }
        }
        next
    }

    fn put(&self, account: ContentId, document: ContentId, part: Option<Arc<Part>>) {
        let mut table = self.lock();
        let Some(person) = table.people.get_mut(&account) else {
            return;
        };
        let before = person.bytes;
        let old = match part {
            Some(part) => {
                person.bytes += part.bytes();
                person.parts.insert(document, part)
            }
            None => person.parts.remove(&document),
        };
        person.bytes -= old.map_or(0, |old| old.bytes());
        person.grown.notify_waiters();
        let after = person.bytes;
        table.bytes = table.bytes + after - before;
        while table.bytes > SEARCH_BYTES_MAX && table.order.len() > 1 {
            if let Some(oldest) = table.order.pop_front() {
                table.forget(oldest);
            }
        }
    }

    fn parts(&self, account: ContentId) -> (Vec<Arc<Part>>, bool) {
        let table = self.lock();
        table.people.get(&account).map_or((Vec::new(), true), |person| {
            let is_complete = person.stale.is_empty() && !person.is_building;
            (person.parts.values().cloned().collect(), is_complete)
        })
    }

    /// A chat has changed.
    pub(crate) fn changed(&self, document: ContentId) {
        let mut table = self.lock();
        if let Some(owner) = table.owners.get(&document).copied()
            && let Some(person) = table.people.get_mut(&owner)
        {
            person.stale.insert(document);
        }
    }

    /// A person began a chat.
    pub(crate) fn begun(&self, document: ContentId, account: ContentId) {
        let mut table = self.lock();
        if let Some(person) = table.people.get_mut(&account) {
            person.stale.insert(document);
            table.owners.insert(document, account);
        }
    }

    /// Something was erased, or changes were missed: nothing that was read before counts.
    pub(crate) fn forget_all(&self) {
        *self.lock() = Table::default();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, account: ContentId) {
        if let Some(person) = self.people.remove(&account) {
            self.bytes -= person.bytes;
            self.owners.retain(|_, owner| *owner != account);
        }
    }
}
