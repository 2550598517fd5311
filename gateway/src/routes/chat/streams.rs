//! The answers that one socket is told of while they are said: which text is due, and when.
//!
//! The first piece goes at once. After that a frame waits until it carries enough to be worth its own bytes, or until waiting would
//! be seen: so what goes over the wire stays within three times the text, whatever the pace of the model.

use std::sync::Arc;

use crdt::records::session::{Message, MessageId};
use inference::{
    Live,
    live::{Cursor, End},
};
use tokio::{sync::Notify, time::Instant};

use crate::limits::{STREAMS_PER_SOCKET_MAX, TOKEN_FRAME_BYTES_MIN, TOKEN_FRAME_EVERY, TOKEN_FRAME_LATEST};

/// See the module.
pub(super) struct Streams {
    running: Vec<Stream>,
    next: u32,
    /// Woken by news of any of them.
    pub(super) news: Arc<Notify>,
    /// When the next text is due that waits for more.
    pub(super) due: Option<Instant>,
}

struct Stream {
    number: u32,
    live: Live,
    cursor: Cursor,
    /// Characters before the cursor.
    at: usize,
    /// What the page has already, of which run; until this node knows as much itself.
    have: Option<(u64, usize)>,
    /// When its last frame was made.
    told: Option<Instant>,
}

/// What a socket is to say.
pub(super) enum Due {
    /// A node began to say an answer, from so many characters on.
    Started { number: u32, live: Live, from: usize },
    /// The next piece.
    Text { number: u32, at: usize, text: String },
    /// It is whole; the text that was told of it.
    Finished {
        number: u32,
        live: Live,
        message: Arc<Message>,
    },
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            running: Vec::new(),
            next: 1,
            news: Arc::new(Notify::new()),
            due: None,
        }
    }
}

impl Streams {
    /// Begins to tell of an answer, of which the page has so much.
    pub(super) fn begin(&mut self, live: &Live, have: Option<(u64, usize)>) {
        let answer = live.lease().answer;
        let is_known = |stream: &Stream| stream.live.lease().answer == answer;
        if self
            .running
            .iter()
            .any(|stream| is_known(stream) && Live::is_same(&stream.live, live))
        {
            return;
        }
        // The answer goes on at another place of this node: the page has what it was told so far.
        let told = self
            .running
            .iter()
            .find(|stream| is_known(stream) && stream.number != 0);
        let have = told.map(|stream| (stream.cursor.run, stream.at)).or(have);
        self.running.retain(|stream| !is_known(stream));
        if self.running.len() >= STREAMS_PER_SOCKET_MAX {
            // The oldest goes on without being watched: its message comes when it is whole.
            self.running.remove(0);
        }
        live.listen(&self.news);
        self.running.push(Stream {
            number: 0,
            live: live.clone(),
            cursor: Cursor::default(),
            at: 0,
            have,
            told: None,
        });
    }

    /// Whether an answer is being told of.
    pub(super) fn has(&self, answer: MessageId) -> bool {
        self.running.iter().any(|stream| stream.live.lease().answer == answer)
    }

    /// An answer will not become whole: nothing more is told of it.
    pub(super) fn forget(&mut self, answer: MessageId) {
        self.running.retain(|stream| stream.live.lease().answer != answer);
    }

    /// Everything that is due now. What waits for more makes [`Self::due`].
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        self.due = None;
        for stream in &mut self.running {
            if let Some(later) = stream.due_at(now) {
                self.due = Some(self.due.map_or(later, |known| known.min(later)));
                continue;
            }
            stream.take(now, &mut self.next, &mut due);
        }
        let is_over = |stream: &Stream| {
            due.iter()
                .any(|due| matches!(due, Due::Finished { number, .. } if *number == stream.number))
        };
        self.running.retain(|stream| !is_over(stream));
        due
    }
}

impl Stream {
    /// When its text is due; `None` for now.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let (bytes, is_urgent) = self.live.waiting(self.cursor);
        let told = self.told?;
        if is_urgent || bytes == 0 {
            return None;
        }
        let least = if bytes >= TOKEN_FRAME_BYTES_MIN {
            TOKEN_FRAME_EVERY
        } else {
            TOKEN_FRAME_LATEST
        };
        Some(told + least).filter(|due| *due > now)
    }

    /// Goes to where the page is. `false` while this node has heard less of the answer than the page.
    fn is_caught_up(&mut self) -> bool {
        let Some((run, at)) = self.have else {
            return true;
        };
        let Some(sayer) = self.live.sayer() else {
            return false;
        };
        if sayer.run == run {
            match self.live.cursor(run, at) {
                Some(cursor) => (self.cursor, self.at) = (cursor, at),
                None if self.live.is_finished() => {}
                None => return false,
            }
        }
        self.have = None;
        true
    }

    fn take(&mut self, now: Instant, next: &mut u32, due: &mut Vec<Due>) {
        if !self.is_caught_up() {
            return;
        }
        let news = self.live.since(self.cursor);
        if news.from.run == 0 {
            return;
        }
        if self.number == 0 || news.from.run != self.cursor.run {
            if news.from.run != self.cursor.run {
                self.at = 0;
            }
            self.number = *next;
            *next += 1;
            due.push(Due::Started {
                number: self.number,
                live: self.live.clone(),
                from: self.at,
            });
        }
        self.cursor = Cursor {
            run: news.from.run,
            bytes: news.from.bytes + news.text.len(),
        };
        if !news.text.is_empty() {
            let characters = news.text.chars().count();
            due.push(Due::Text {
                number: self.number,
                at: self.at,
                text: news.text,
            });
            self.at += characters;
            self.told = Some(now);
        }
        if let Some(End::Finished { message, .. }) = news.end {
            due.push(Due::Finished {
                number: self.number,
                live: self.live.clone(),
                message,
            });
        }
    }
}
