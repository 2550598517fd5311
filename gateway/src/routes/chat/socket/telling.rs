//! What a page is told.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use axum::extract::ws::Message as SocketMessage;
use crdt::records::session::{Message, MessageId};
use inference::{AnswerEvent, AnswerNotice, Live, desk::WaitReason};
use keys::ContentId;

use super::{Gone, Socket};
use crate::{
    app::App,
    chats::Chat,
    limits::{JUST_BEFORE, PAGE_MESSAGES, SESSIONS_REMEMBERED_MAX, STREAMS_PER_SOCKET_MAX},
    may,
    rooms::RoomEvent,
    routes::{
        NodeBody,
        chat::{
            frames::{self, ServerFrame},
            messages::{MessageBody, reason},
            streams::Due,
        },
    },
};

impl Socket {
    pub(super) async fn handle_event(&mut self, event: &RoomEvent) -> Result<(), Gone> {
        match event {
            RoomEvent::Answer(notice) => self.handle_notice(notice).await,
            RoomEvent::Changed(document) => self.handle_change(*document).await,
            RoomEvent::Account => {
                let before = Arc::clone(&self.person.account);
                self.check_person().await?;
                if before.favourites == self.person.account.favourites {
                    // A device came or went: that is no news for a page.
                    return Ok(());
                }
                self.send(&ServerFrame::Account).await
            }
            RoomEvent::Complaints if may::judge_complaints(&self.person) => self.send(&ServerFrame::Complaints).await,
            RoomEvent::Complaints => Ok(()),
            RoomEvent::Typing { page, .. } if *page == self.page => Ok(()),
            RoomEvent::Typing { session, is_typing, .. } => {
                self.send(&ServerFrame::Typing {
                    session_id: session.to_string(),
                    is_typing: *is_typing,
                })
                .await
            }
        }
    }

    async fn handle_notice(&mut self, notice: &AnswerNotice) -> Result<(), Gone> {
        match &notice.event {
            AnswerEvent::Started(live) => {
                self.begin_stream(live);
                self.tell_streams().await
            }
            AnswerEvent::Finished(message) => {
                self.app.chats.forget(notice.session);
                // A stream tells its own end, behind its last word.
                self.tell_streams().await?;
                if self.finished.contains(&(message.id, message.at)) {
                    return Ok(());
                }
                self.tell_finished(notice.session, None, message, None).await
            }
            AnswerEvent::Waiting {
                question,
                reason,
                ahead,
                wait,
            } => {
                self.send(&ServerFrame::AnswerWaiting {
                    session_id: notice.session.to_string(),
                    question_id: question.to_string(),
                    code: why(*reason),
                    ahead: *ahead,
                    expected_seconds: wait.as_secs_f64().ceil() as u64,
                })
                .await
            }
            AnswerEvent::Refused {
                question,
                answer,
                reason,
            } => {
                self.streams.forget(*answer);
                self.send(&ServerFrame::AnswerRefused {
                    session_id: notice.session.to_string(),
                    question_id: question.to_string(),
                    answer_id: answer.to_string(),
                    code: why(*reason),
                })
                .await
            }
        }
    }

    pub(super) fn begin_stream(&mut self, live: &Live) {
        let answer = live.lease().answer;
        let have = self.cursors.iter().find(|(known, ..)| *known == answer);
        let have = have.map(|(_, run, at)| (*run, *at));
        self.streams.begin(live, have);
    }

    /// Tells whatever is due of the answers that are being said.
    pub(super) async fn tell_streams(&mut self) -> Result<(), Gone> {
        for due in self.streams.take_due(tokio::time::Instant::now()) {
            match due {
                Due::Started { number, live, from } => self.tell_started(number, &live, from).await?,
                Due::Text { number, at, text } => {
                    let frame = frames::token(number, at, &text).ok_or(Gone)?;
                    self.send_message(SocketMessage::Text(frame.into())).await?;
                }
                Due::Finished { number, live, message } => {
                    let session = live.lease().session;
                    self.app.chats.forget(session);
                    let text = live.text();
                    self.tell_finished(session, Some(number), &message, Some(&text)).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell_started(&mut self, stream: u32, live: &Live, from: usize) -> Result<(), Gone> {
        let (lease, sayer) = (*live.lease(), live.sayer());
        let node = sayer.as_ref().and_then(|sayer| sayer.node);
        self.send(&ServerFrame::AnswerStarted {
            session_id: lease.session.to_string(),
            question_id: lease.question.to_string(),
            answer_id: lease.answer.to_string(),
            stream,
            run: format!("{:x}", sayer.as_ref().map_or(0, |sayer| sayer.run)),
            from,
            node: node.map(|node| NodeBody::of(&self.app, &node)),
            model: sayer.as_ref().map_or_else(String::new, |sayer| sayer.model.to_string()),
            why: sayer.and_then(|sayer| sayer.choice).map(|choice| (&*choice).into()),
        })
        .await
    }

    /// An answer is whole. Its text goes along only where the page does not have it already.
    async fn tell_finished(
        &mut self,
        session: ContentId,
        stream: Option<u32>,
        message: &Message,
        streamed: Option<&str>,
    ) -> Result<(), Gone> {
        self.finished.push_back((message.id, message.at));
        if self.finished.len() > STREAMS_PER_SOCKET_MAX {
            self.finished.pop_front();
        }
        let body = match stored(&self.app, session, message).await {
            Some((body, question)) => {
                self.note_shown(session, &body);
                if let Some(question) = question {
                    self.note_shown(session, &question);
                }
                body
            }
            // It may not have come back from the generating node yet; the message itself is enough.
            None => MessageBody::alone(&self.app, message),
        };
        let as_streamed = streamed.is_some_and(|text| text.trim() == body.text);
        self.send(&ServerFrame::AnswerFinished {
            session_id: session.to_string(),
            stream,
            message: if as_streamed { body.without_text() } else { body },
            reason: reason(message),
            as_streamed,
        })
        .await
    }

    /// Tells what is new in a chat of this person.
    async fn handle_change(&mut self, document: ContentId) -> Result<(), Gone> {
        // A store that has trouble now says nothing; the next change tells it all.
        let Ok(chat) = self.app.chats.get(&self.app, document).await else {
            return Ok(());
        };
        let session_id = document.to_string();
        let from = chat.shown().len().saturating_sub(PAGE_MESSAGES);
        let is_new_here = !self.shown.contains_key(&document);
        let mut current: HashMap<MessageId, u64> = HashMap::new();
        // What runs here is told by its stream.
        let newest = chat.shown().skip(from).filter(|message| !self.streams.has(message.id));
        let newest: Vec<&Message> = newest.collect();
        let Ok(bodies) = MessageBody::of_all(&self.app, &chat, newest.clone()).await else {
            return Ok(());
        };
        for (message, body) in newest.into_iter().zip(bodies) {
            let hash = hash_of(&body);
            current.insert(message.id, hash);
            let is_told = self.shown.get(&document).and_then(|shown| shown.get(&message.id)) == Some(&hash);
            let is_old = is_new_here && message.id.at().plus(JUST_BEFORE) < self.opened;
            if !is_told && !is_old {
                self.send(&ServerFrame::Message {
                    session_id: session_id.clone(),
                    message: body,
                })
                .await?;
            }
        }
        self.tell_gone(&chat, &current).await?;
        if let Some(read) = chat.session.read {
            self.tell_read(&chat, read).await?;
        }
        self.remember(document, current);
        Ok(())
    }

    /// Messages that were shown and are not any more: deleted, or on another branch.
    async fn tell_gone(&mut self, chat: &Chat, current: &HashMap<MessageId, u64>) -> Result<(), Gone> {
        let Some(shown) = self.shown.get(&chat.document) else {
            return Ok(());
        };
        let oldest = current.keys().min().copied();
        let gone = shown
            .keys()
            .filter(|id| !current.contains_key(id) && oldest.is_none_or(|oldest| **id > oldest));
        let gone: Vec<String> = gone
            .filter(|id| !self.streams.has(**id))
            .map(ToString::to_string)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.send(&ServerFrame::Gone {
            session_id: chat.document.to_string(),
            message_ids: gone,
        })
        .await
    }

    async fn tell_read(&mut self, chat: &Chat, read: MessageId) -> Result<(), Gone> {
        if self.read.insert(chat.document, read) == Some(read) {
            return Ok(());
        }
        if self.read.len() > SESSIONS_REMEMBERED_MAX {
            self.read.clear();
        }
        self.send(&ServerFrame::Read {
            session_id: chat.document.to_string(),
            message_id: read.to_string(),
        })
        .await
    }

    /// The page knows a message as it is now.
    pub(super) fn note_shown(&mut self, document: ContentId, body: &MessageBody) {
        if let Some(id) = MessageId::parse(&body.id) {
            let mut shown = self.shown.remove(&document).unwrap_or_default();
            shown.insert(id, hash_of(body));
            self.remember(document, shown);
        }
    }

    fn remember(&mut self, document: ContentId, shown: HashMap<MessageId, u64>) {
        self.shown.insert(document, shown);
        self.shown_order.retain(|known| *known != document);
        self.shown_order.push_back(document);
        while self.shown_order.len() > SESSIONS_REMEMBERED_MAX {
            self.shown_order.pop_front().map(|oldest| self.shown.remove(&oldest));
        }
    }
}

/// An answer and its question as their chat has them.
async fn stored(app: &App, session: ContentId, answer: &Message) -> Option<(MessageBody, Option<MessageBody>)> {
    let chat = app.chats.get(app, session).await.ok()?;
    let mut both = vec![chat.message(answer.id).ok()?];
    both.extend(answer.parent.and_then(|question| chat.message(question).ok()));
    let mut both = MessageBody::of_all(app, &chat, both).await.ok()?.into_iter();
    Some((both.next()?, both.next()))
}

const fn why(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::NoNode => "no_node_can_answer",
        WaitReason::AllBusy => "all_nodes_busy",
        WaitReason::Loading => "model_loading",
    }
}

fn hash_of(body: &MessageBody) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(body).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
