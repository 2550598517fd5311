//! What a page says.

use std::time::Instant;

use crdt::{
    StoreError,
    records::session::{Message, MessageId, SessionEdit, Speaker},
};
use inference::desk::Order;

use super::{Gone, Socket};
use crate::{
    app::App,
    chats::Chat,
    error::ApiError,
    limits::{CURSORS_MAX, PAGE_MESSAGES},
    rooms::RoomEvent,
    routes::chat::{
        frames::{ClientFrame, CursorBody, ServerFrame},
        messages::{MessageBody, accept},
    },
};

impl Socket {
    pub(super) async fn handle_text(&mut self, text: &str) -> Result<(), Gone> {
        let frame: ClientFrame = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => return self.refuse(None, &ApiError::BodyInvalid(error.to_string())).await,
        };
        let handled = match frame {
            ClientFrame::Send {
                outbox_id,
                session_id,
                text,
            } => return self.handle_send(outbox_id, session_id, &text).await,
            ClientFrame::Stop { session_id } => self.handle_stop(&session_id).await,
            ClientFrame::Open {
                session_id,
                known,
                cursor,
            } => return self.handle_open(session_id, known, cursor).await,
            ClientFrame::Read { session_id, message_id } => self.handle_read(&session_id, &message_id).await,
            ClientFrame::Typing { session_id, is_typing } => self.handle_typing(&session_id, is_typing),
        };
        match handled {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(None, &error).await,
        }
    }

    async fn handle_send(&mut self, outbox_id: String, session_id: String, text: &str) -> Result<(), Gone> {
        if let Err(wait) = self.messages.take(Instant::now()) {
            let error = ApiError::TooManyRequests {
                seconds: wait.as_secs() + 1,
            };
            return self.refuse(Some(outbox_id), &error).await;
        }
        match accept(&self.app, &self.person, &outbox_id, &session_id, text).await {
            Ok((session, message)) => {
                self.note_shown(session, &message);
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

    async fn handle_stop(&mut self, session_id: &str) -> Result<(), ApiError> {
        let chat = self.app.chats.own(&self.app, &self.person, session_id).await?;
        self.app.desk.stop(chat.document).await;
        Ok(())
    }

    /// The page looks at a chat: it is told what it lacks, and the answers that are being said go on where it lost them.
    async fn handle_open(
        &mut self,
        session_id: String,
        known: Option<String>,
        cursor: Option<CursorBody>,
    ) -> Result<(), Gone> {
        let chat = match self.app.chats.own(&self.app, &self.person, &session_id).await {
            Ok(chat) => chat,
            Err(error) => return self.refuse(None, &error).await,
        };
        if let Some(cursor) = cursor
            && let (Some(answer), Ok(run)) = (
                MessageId::parse(&cursor.answer_id),
                u64::from_str_radix(&cursor.run, 16),
            )
        {
            self.cursors.retain(|(known, ..)| *known != answer);
            self.cursors.truncate(CURSORS_MAX - 1);
            self.cursors.push((answer, run, cursor.at));
        }
        let known = known.as_deref().and_then(MessageId::parse);
        let lacking = match newest_after(&self.app, &chat, known).await {
            Ok(lacking) => lacking,
            Err(error) => return self.refuse(None, &error.into()).await,
        };
        for message in lacking {
            self.note_shown(chat.document, &message);
            self.send(&ServerFrame::Message {
                session_id: session_id.clone(),
                message,
            })
            .await?;
        }
        self.send(&ServerFrame::Opened { session_id }).await?;
        for live in self.app.desk.live(chat.document) {
            if !live.is_finished() {
                self.begin_stream(&live);
            }
        }
        self.see_to_questions(&chat).await;
        self.tell_streams().await
    }

    /// Questions without an answer: should their gateway be gone, this one sees to them.
    async fn see_to_questions(&mut self, chat: &Chat) {
        for question in chat.session.unanswered() {
            let Speaker::Person { gateway: Some(gateway) } = question.speaker else {
                continue;
            };
            let order = Order::first(chat.document, question.id);
            if gateway != self.app.key.id() {
                self.app.desk.adopt(order, gateway).await;
            }
        }
    }

    async fn handle_read(&mut self, session_id: &str, message_id: &str) -> Result<(), ApiError> {
        self.take_mark()?;
        let chat = self.app.chats.own(&self.app, &self.person, session_id).await?;
        let message = MessageId::parse(message_id).ok_or(ApiError::NotFound)?;
        chat.message(message)?;
        if chat.session.read.is_some_and(|read| read >= message) {
            return Ok(());
        }
        self.app
            .chats
            .edit(&self.app, chat.document, SessionEdit::SetRead(message))
            .await
    }

    /// The other pages of the person at this gateway show it.
    fn handle_typing(&mut self, session_id: &str, is_typing: bool) -> Result<(), ApiError> {
        self.take_mark()?;
        let session = keys::ContentId::parse(session_id).ok_or(ApiError::NotFound)?;
        let event = RoomEvent::Typing {
            session,
            page: self.page,
            is_typing,
        };
        self.app.rooms.tell(self.person.id, event);
        Ok(())
    }

    fn take_mark(&mut self) -> Result<(), ApiError> {
        self.marks
            .take(Instant::now())
            .map_err(|wait| ApiError::TooManyRequests {
                seconds: wait.as_secs() + 1,
            })
    }
}

/// What a page lacks that has everything up to a message: of the newest page of the chat. Nothing when it reads the chat itself.
async fn newest_after(app: &App, chat: &Chat, known: Option<MessageId>) -> Result<Vec<MessageBody>, StoreError> {
    let Some(known) = known else { return Ok(Vec::new()) };
    let newest = chat.shown().rev().take(PAGE_MESSAGES);
    let lacking = newest.take_while(|message| message.id > known);
    let mut lacking: Vec<&Message> = lacking.collect();
    lacking.reverse();
    MessageBody::of_all(app, chat, lacking).await
}
