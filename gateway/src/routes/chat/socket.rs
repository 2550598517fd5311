//! One socket: frames in, frames out, until the person leaves, the node stops, or the socket dies.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
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
use crdt::{
    Change,
    records::{RecordKind, session::Session},
};
use inference::{AnswerEvent, AnswerNotice, desk::WaitReason};
use keys::ContentId;
use tokio::sync::broadcast::error::RecvError;

use super::{
    frames::{ClientFrame, ServerFrame, VERSION},
    messages::{MessageBody, accept, reason},
};
use crate::{
    app::{App, stopped},
    auth::{self, Person},
    error::ApiError,
    limits::{
        MESSAGE_BURST, MESSAGES_PER_SECOND, PAGE_MESSAGES, PING_EVERY, SEND_TIMEOUT, SOCKET_FRAME_BYTES_MAX,
        SOCKET_SILENCE_MAX,
    },
    rate::Bucket,
    routes::{
        NodeBody,
        sessions::{own_session, visible},
    },
};

/// Chats whose shown messages a socket remembers, so that it sends only what is new.
const SESSIONS_REMEMBERED: usize = 32;
/// Chats of others that a socket remembers, so that their changes cost nothing.
const FOREIGN_REMEMBERED: usize = 4096;

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
        .on_upgrade(move |socket| async move {
            let bucket = Bucket::new(MESSAGE_BURST, MESSAGES_PER_SECOND, Instant::now());
            let session = Socket {
                app,
                person,
                socket,
                bucket,
                shown: HashMap::new(),
                shown_order: VecDeque::new(),
                foreign: HashSet::new(),
            };
            // A socket that breaks is the usual way for a page to leave.
            let _ = session.run().await;
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
    person: Person,
    socket: WebSocket,
    bucket: Bucket,
    shown: HashMap<ContentId, HashMap<String, MessageBody>>,
    shown_order: VecDeque<ContentId>,
    /// Chats that are known to be other people's: whose a chat is never changes.
    foreign: HashSet<ContentId>,
}

impl Socket {
    async fn run(mut self) -> Result<(), Gone> {
        let mut notices = self.app.desk.notices();
        let mut changes = self.app.store.changes();
        let mut erased = self.app.store.erased();
        let mut stopping = self.app.stopping.clone();
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut heard = Instant::now();
        let node = NodeBody::of(&self.app, &self.app.key.id());
        self.send(&ServerFrame::Hello { version: VERSION, node }).await?;
        loop {
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
                notice = notices.recv() => match notice {
                    Ok(notice) if notice.account == self.person.id => self.handle_notice(notice).await?,
                    Ok(_) => {}
                    // Pieces of text are missing: the page would show a gap. It reconnects and reads the chat again.
                    Err(RecvError::Lagged(_)) => return self.close(close_code::AGAIN, "too slow").await,
                    Err(RecvError::Closed) => return self.close(close_code::RESTART, "the node stops").await,
                },
                change = changes.recv() => match change {
                    Ok(Change { document, kind: RecordKind::Session }) => self.handle_change(document).await?,
                    Ok(Change { document, kind: RecordKind::Account }) if document == self.person.id => self.check_person().await?,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return self.close(close_code::AGAIN, "too slow").await,
                    Err(RecvError::Closed) => return self.close(close_code::RESTART, "the node stops").await,
                },
                target = erased.recv() => match target {
                    Ok(target) if target.subject() == self.person.id => self.check_person().await?,
                    // What was missed may have been this person.
                    Err(RecvError::Lagged(_)) => self.check_person().await?,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return self.close(close_code::RESTART, "the node stops").await,
                },
                _ = ping.tick() => {
                    if heard.elapsed() > SOCKET_SILENCE_MAX {
                        return self.close(close_code::POLICY, "silent").await;
                    }
                    self.send_message(SocketMessage::Ping(Vec::new().into())).await?;
                }
                () = stopped(&mut stopping) => return self.close(close_code::RESTART, "the node stops").await,
            }
        }
    }

    async fn handle_text(&mut self, text: &str) -> Result<(), Gone> {
        let frame: ClientFrame = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => return self.refuse(None, &ApiError::BodyInvalid(error.to_string())).await,
        };
        match frame {
            ClientFrame::Send {
                outbox_id,
                session_id,
                text,
            } => {
                if let Err(wait) = self.bucket.take(Instant::now()) {
                    let error = ApiError::TooManyRequests {
                        seconds: wait.as_secs() + 1,
                    };
                    return self.refuse(Some(outbox_id), &error).await;
                }
                match accept(&self.app, &self.person, &outbox_id, &session_id, &text).await {
                    Ok((_, message)) => {
                        self.send(&ServerFrame::Accepted {
                            outbox_id,
                            session_id,
                            message,
                        })
                        .await
                    }
                    Err(error) => self.refuse(Some(outbox_id), &error).await,
                }
            }
            ClientFrame::Stop { session_id } => match own_session(&self.app, &self.person, &session_id).await {
                Ok((session, _)) => {
                    self.app.desk.stop(session).await;
                    Ok(())
                }
                Err(error) => self.refuse(None, &error).await,
            },
        }
    }

    async fn handle_notice(&mut self, notice: AnswerNotice) -> Result<(), Gone> {
        let session_id = notice.session.to_string();
        let frame = match notice.event {
            // Nothing changes for whoever reads: the next piece follows the last one.
            AnswerEvent::Started { goes_on: true, .. } => return Ok(()),
            AnswerEvent::Started {
                question,
                answer,
                node,
                model,
                ..
            } => ServerFrame::AnswerStarted {
                session_id,
                question_id: question.to_string(),
                answer_id: answer.to_string(),
                node: NodeBody::of(&self.app, &node),
                model: model.to_string(),
            },
            AnswerEvent::Text { answer, index, text } => ServerFrame::Token {
                session_id,
                answer_id: answer.to_string(),
                index,
                text: text.to_string(),
            },
            AnswerEvent::Waiting { question, reason } => {
                let code = match reason {
                    WaitReason::NoNode => "no_node_can_answer",
                    WaitReason::AllBusy => "all_nodes_busy",
                };
                ServerFrame::AnswerWaiting {
                    session_id,
                    question_id: question.to_string(),
                    code,
                }
            }
            AnswerEvent::Finished(message) => {
                // The session may not have come back from the generating node yet; the message itself is enough.
                let alone = Session::new(self.person.id, ContentId([0; 32]), message.at);
                let body = MessageBody::of(&self.app, &alone, &message);
                ServerFrame::AnswerFinished {
                    session_id,
                    message: body,
                    reason: reason(&message),
                }
            }
        };
        self.send(&frame).await
    }

    /// The person's account has changed: a device that was signed out, or a person who was blocked or erased, is gone at once.
    async fn check_person(&mut self) -> Result<(), Gone> {
        if auth::is_still(&self.app, &mut self.person).await {
            return Ok(());
        }
        self.close(close_code::POLICY, "signed out").await?;
        Err(Gone)
    }

    /// Sends what is new in a chat, if it is this person's.
    async fn handle_change(&mut self, document: ContentId) -> Result<(), Gone> {
        if self.foreign.contains(&document) {
            return Ok(());
        }
        // A store that has trouble now says nothing about whose chat it is.
        let Ok(session) = self.app.store.read::<Session>(document).await else {
            return Ok(());
        };
        if session.account != self.person.id {
            if self.foreign.len() >= FOREIGN_REMEMBERED {
                self.foreign.clear();
            }
            self.foreign.insert(document);
            return Ok(());
        }
        let messages: Vec<_> = visible(&session).collect();
        let from = messages.len().saturating_sub(PAGE_MESSAGES);
        let mut shown = self.shown.remove(&document).unwrap_or_else(|| {
            self.shown_order.push_back(document);
            HashMap::new()
        });
        for message in &messages[from..] {
            let body = MessageBody::of(&self.app, &session, message);
            if shown.get(&body.id) != Some(&body) {
                shown.insert(body.id.clone(), body.clone());
                self.send(&ServerFrame::Message {
                    session_id: document.to_string(),
                    message: body,
                })
                .await?;
            }
        }
        let current: HashSet<_> = messages[from..].iter().map(|message| message.id.to_string()).collect();
        shown.retain(|id, _| current.contains(id));
        self.shown.insert(document, shown);
        while self.shown_order.len() > SESSIONS_REMEMBERED {
            self.shown_order.pop_front().map(|oldest| self.shown.remove(&oldest));
        }
        Ok(())
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
