//! Who is told what: one room per person with a page open here.
//!
//! One task, the hub, hears every change of the store and every notice of the desk and passes each on to the one room that it
//! concerns; so a thousand pages cost no more for a change than one does. A room's queue is bounded: a page that falls behind is closed
//! and comes back with its cursor.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crdt::{Change, records::RecordKind};
use inference::{AnswerEvent, AnswerNotice};
use keys::ContentId;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{app::App, limits::ROOM_QUEUE};

/// What happens to a person's chats.
#[derive(Debug)]
pub(crate) enum RoomEvent {
    /// To an answer.
    Answer(AnswerNotice),
    /// A chat changed, here or elsewhere.
    Changed(ContentId),
    /// The account changed or was erased: its favourites may be others, and the page may be nobody's any more.
    Account,
    /// The queue of complaints changed: for whoever judges them.
    Complaints,
    /// Another page of the person is being typed into, or no longer.
    Typing {
        session: ContentId,
        page: u64,
        is_typing: bool,
    },
}

/// The rooms of this gateway.
#[derive(Default)]
pub(crate) struct Rooms(Mutex<HashMap<ContentId, broadcast::Sender<Arc<RoomEvent>>>>);

impl Rooms {
    /// Enters the room of a person.
    pub(crate) fn enter(&self, account: ContentId) -> broadcast::Receiver<Arc<RoomEvent>> {
        let mut rooms = self.lock();
        let room = rooms.entry(account).or_insert_with(|| broadcast::channel(ROOM_QUEUE).0);
        room.subscribe()
    }

    /// Closes the room of a person when nobody is in it.
    pub(crate) fn leave(&self, account: ContentId) {
        let mut rooms = self.lock();
        if rooms.get(&account).is_some_and(|room| room.receiver_count() == 0) {
            rooms.remove(&account);
        }
    }

    /// Tells whoever is in the room of a person.
    pub(crate) fn tell(&self, account: ContentId, event: RoomEvent) {
        let rooms = self.lock();
        if let Some(room) = rooms.get(&account) {
            // The last one may be leaving.
            let _ = room.send(Arc::new(event));
        }
    }

    /// Tells everybody who has a page open here.
    fn tell_all(&self, event: RoomEvent) {
        let event = Arc::new(event);
        for room in self.lock().values() {
            // The last one may be leaving.
            let _ = room.send(Arc::clone(&event));
        }
    }

    fn is_open(&self, account: ContentId) -> bool {
        self.lock().contains_key(&account)
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Everybody comes back and reads again.
    fn close_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, broadcast::Sender<Arc<RoomEvent>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hub: runs until store or desk are gone.
pub(crate) async fn run(app: Arc<App>) {
    let mut changes = app.store.changes();
    let mut notices = app.desk.notices();
    let mut erased = app.store.erased();
    loop {
        tokio::select! {
            biased;
            change = changes.recv() => match change {
                Ok(change) => handle_change(&app, change).await,
                Err(RecvError::Lagged(_)) => {
                    app.chats.forget_all();
                    app.search.forget_all();
                    app.rooms.close_all();
                }
                Err(RecvError::Closed) => return,
            },
            // What was erased is in no chat and no index any more before anybody asks again.
            target = erased.recv() => {
                app.chats.forget_all();
                app.search.forget_all();
                match target {
                    Ok(target) => app.rooms.tell(target.subject(), RoomEvent::Account),
                    // What was missed may have been anybody.
                    Err(RecvError::Lagged(_)) => app.rooms.close_all(),
                    Err(RecvError::Closed) => return,
                }
            }
            notice = notices.recv() => match notice {
                Ok(notice) => handle_notice(&app, notice).await,
                Err(RecvError::Lagged(_)) => app.rooms.close_all(),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

async fn handle_notice(app: &App, notice: AnswerNotice) {
    match &notice.event {
        AnswerEvent::Finished(message) => app.chats.wish_came_true(message.id),
        AnswerEvent::Refused { answer, .. } => {
            if let Err(error) = app.chats.give_up_wish(app, notice.session, *answer).await {
                tracing::warn!(code = error.code(), "a chat may show another answer than before");
            }
        }
        AnswerEvent::Started(_) | AnswerEvent::Waiting { .. } => {}
    }
    if app.rooms.is_open(notice.account) {
        app.rooms.tell(notice.account, RoomEvent::Answer(notice));
    }
}

async fn handle_change(app: &App, change: Change) {
    match change.kind {
        RecordKind::Account => app.rooms.tell(change.document, RoomEvent::Account),
        RecordKind::Complaint => app.rooms.tell_all(RoomEvent::Complaints),
        RecordKind::Session => {
            app.chats.forget(change.document);
            app.search.changed(change.document);
            if app.rooms.is_empty() {
                return;
            }
            let owner = match app.chats.owner(change.document) {
                Some(owner) => owner,
                // A store that has trouble now says nothing about whose chat it is.
                None => match app.chats.get(app, change.document).await {
                    Ok(chat) => chat.session.account,
                    Err(_) => return,
                },
            };
            app.rooms.tell(owner, RoomEvent::Changed(change.document));
        }
        _ => {}
    }
}
