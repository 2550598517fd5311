//! One socket: frames in, frames out, until the person leaves, the node stops, or the socket dies.

mod incoming;
mod telling;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message as SocketMessage, WebSocket, close_code},
    },
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use crdt::records::session::MessageId;
use keys::{ContentId, Timestamp};
use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    frames::{ServerFrame, VERSION},
    streams::Streams,
};
use crate::{
    app::{App, stopped},
    auth::{self, Person, devices},
    error::ApiError,
    limits::{
        MARK_BURST, MARKS_PER_SECOND, MESSAGE_BURST, MESSAGES_PER_SECOND, PING_EVERY, SEND_TIMEOUT,
        SOCKET_FRAME_BYTES_MAX, SOCKET_SILENCE_MAX,
    },
    rate::Bucket,
    rooms::RoomEvent,
    routes::NodeBody,
};

/// Tells pages of one person apart; unique in this process.
static NEXT_PAGE: AtomicU64 = AtomicU64::new(1);

/// `GET /api/v1/ws`
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    person: Person,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // A page of another origin could open a socket with this person's cookie.
    if !same_origin(&headers) {
        return ApiError::NotAllowed.into_response();
    }
    let Ok(place) = app.sockets.clone().try_acquire_owned() else {
        return ApiError::TooManyRequests { seconds: 30 }.into_response();
    };
    upgrade
        .max_message_size(SOCKET_FRAME_BYTES_MAX)
        .max_frame_size(SOCKET_FRAME_BYTES_MAX)
        // Ten thousand idle pages must not hold a large buffer each.
        .write_buffer_size(0)
        .read_buffer_size(4 * 1024)
        .on_upgrade(move |socket| async move {
            let account = person.id;
            let _open = app.open.open(account, person.device);
            app.desk.watch(account, true).await;
            let room = app.rooms.enter(account);
            let session = Socket::new(app.clone(), person, socket, room);
            // A socket that breaks is the usual way for a page to leave.
            let _ = session.run().await;
            app.rooms.leave(account);
            app.desk.watch(account, false).await;
            drop(place);
        })
}

fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &axum::http::HeaderValue| value.to_str().ok())
    };
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, origin_host)| origin_host == host),
        // Programs that are no browsers send no origin.
        (None, _) => true,
        _ => false,
    }
}

/// The socket is gone.
struct Gone;

struct Socket {
    app: Arc<App>,
    /// As the account was when it last changed.
    person: Person,
    page: u64,
    socket: WebSocket,
    room: broadcast::Receiver<Arc<RoomEvent>>,
    /// When the page came: what is older than that it reads by itself.
    opened: Timestamp,
    messages: Bucket,
    marks: Bucket,
    streams: Streams,
    /// What the page has of answers that ran when its last socket died.
    cursors: Vec<(MessageId, u64, usize)>,
    /// Per chat, what each message looked like when it was last told, as a hash.
    shown: HashMap<ContentId, HashMap<MessageId, u64>>,
    shown_order: VecDeque<ContentId>,
    /// Answers whose end was told, with when they were finished: the desk and the stream both tell it.
    finished: VecDeque<(MessageId, Timestamp)>,
    /// The read mark of each chat that was last told.
    read: HashMap<ContentId, MessageId>,
}

impl Socket {
    fn new(app: Arc<App>, person: Person, socket: WebSocket, room: broadcast::Receiver<Arc<RoomEvent>>) -> Self {
        let now = Instant::now();
        Self {
            app,
            person,
            page: NEXT_PAGE.fetch_add(1, Ordering::Relaxed),
            socket,
            room,
            opened: Timestamp::now(),
            messages: Bucket::new(MESSAGE_BURST, MESSAGES_PER_SECOND, now),
            marks: Bucket::new(MARK_BURST, MARKS_PER_SECOND, now),
            streams: Streams::default(),
            cursors: Vec::new(),
            shown: HashMap::new(),
            shown_order: VecDeque::new(),
            finished: VecDeque::new(),
            read: HashMap::new(),
        }
    }

    async fn run(mut self) -> Result<(), Gone> {
        let mut stopping = self.app.stopping.clone();
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut heard = Instant::now();
        let node = NodeBody::of(&self.app, &self.app.key.id());
        self.send(&ServerFrame::Hello { version: VERSION, node }).await?;
        let news = self.streams.news.clone();
        loop {
            let due = self.streams.due;
            tokio::select! {
                frame = self.socket.recv() => {
                    heard = Instant::now();
                    match frame {
                        Some(Ok(SocketMessage::Text(text))) => self.handle_text(&text).await?,
                        Some(Ok(SocketMessage::Binary(_))) => self.refuse(None, &ApiError::BodyInvalid("frames are text".into())).await?,
                        Some(Ok(SocketMessage::Ping(_) | SocketMessage::Pong(_))) => {}
                        Some(Ok(SocketMessage::Close(_)) | Err(_)) | None => return Ok(()),
                    }
                }
                event = self.room.recv() => match event {
                    Ok(event) => self.handle_event(&event).await?,
                    // Something was missed: the page reconnects and says what it has.
                    Err(RecvError::Lagged(_)) => return self.close(close_code::AGAIN, "too slow").await,
                    Err(RecvError::Closed) => return self.close(close_code::AGAIN, "come back").await,
                },
                // While text waits for more, nobody needs to wake for each further word.
                () = news.notified(), if due.is_none() => self.tell_streams().await?,
                () = until(due), if due.is_some() => self.tell_streams().await?,
                _ = ping.tick() => {
                    if heard.elapsed() > SOCKET_SILENCE_MAX {
                        return self.close(close_code::POLICY, "silent").await;
                    }
                    self.send_message(SocketMessage::Ping(Vec::new().into())).await?;
                    devices::note_open(&self.app, &self.person).await;
                }
                () = stopped(&mut stopping) => return self.close(close_code::RESTART, "the node stops").await,
            }
        }
    }

    /// The person's account has changed: a device that was signed out, or a person who was blocked or erased, is gone at once.
    async fn check_person(&mut self) -> Result<(), Gone> {
        if auth::is_still(&self.app, &mut self.person).await {
            return Ok(());
        }
        self.close(close_code::POLICY, "signed out").await?;
        Err(Gone)
    }

    async fn refuse(&mut self, outbox_id: Option<String>, error: &ApiError) -> Result<(), Gone> {
        self.send(&ServerFrame::Error {
            outbox_id,
            code: error.code(),
            message: error.message(),
        })
        .await
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), Gone> {
        let text = serde_json::to_string(frame).map_err(|_| Gone)?;
        self.send_message(SocketMessage::Text(text.into())).await
    }

    /// A browser that does not take frames is gone; waiting for it would hold memory for ever.
    async fn send_message(&mut self, message: SocketMessage) -> Result<(), Gone> {
        match tokio::time::timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Gone> {
        self.send_message(SocketMessage::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        })))
        .await
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
