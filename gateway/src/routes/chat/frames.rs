//! Every frame of the WebSocket, as `API.md` documents them.

use inference::swarm::route::Choice;
use serde::{Deserialize, Serialize};

use super::messages::MessageBody;
use crate::routes::NodeBody;

/// Version of this protocol, said in `hello`.
pub(super) const VERSION: u32 = 2;

/// From the browser.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ClientFrame {
    Send {
        outbox_id: String,
        session_id: String,
        text: String,
    },
    Stop {
        session_id: String,
    },
    Open {
        session_id: String,
        /// The newest message that the page has.
        #[serde(default)]
        known: Option<String>,
        /// What the page has of an answer that was running.
        #[serde(default)]
        cursor: Option<CursorBody>,
    },
    Read {
        session_id: String,
        message_id: String,
    },
    Typing {
        session_id: String,
        is_typing: bool,
    },
}

/// How much of an answer a page has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CursorBody {
    pub(super) answer_id: String,
    pub(super) run: String,
    /// Characters.
    pub(super) at: usize,
}

/// To the browser. Text that is said comes as [`token`] instead.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame {
    Hello {
        version: u32,
        node: NodeBody,
    },
    Opened {
        session_id: String,
    },
    Accepted {
        outbox_id: String,
        session_id: String,
        message: MessageBody,
    },
    Message {
        session_id: String,
        message: MessageBody,
    },
    Gone {
        session_id: String,
        message_ids: Vec<String>,
    },
    AnswerStarted {
        session_id: String,
        question_id: String,
        answer_id: String,
        stream: u32,
        run: String,
        from: usize,
        node: Option<NodeBody>,
        model: String,
        why: Option<WhyBody>,
    },
    AnswerFinished {
        session_id: String,
        stream: Option<u32>,
        message: MessageBody,
        reason: &'static str,
        /// The text is what was streamed, without blanks at its ends; `message.text` is empty then.
        as_streamed: bool,
    },
    AnswerWaiting {
        session_id: String,
        question_id: String,
        code: &'static str,
        ahead: usize,
        expected_seconds: u64,
    },
    AnswerRefused {
        session_id: String,
        question_id: String,
        answer_id: String,
        code: &'static str,
    },
    Read {
        session_id: String,
        message_id: String,
    },
    Typing {
        session_id: String,
        is_typing: bool,
    },
    Account,
    Complaints,
    Error {
        outbox_id: Option<String>,
        code: &'static str,
        message: String,
    },
}

/// Why a node was chosen: the terms of its cost in milliseconds, which add up to the total.
#[derive(Clone, Serialize)]
pub(super) struct WhyBody {
    candidates: usize,
    total_ms: f64,
    round_trip_ms: f64,
    queue_ms: f64,
    prefill_ms: f64,
    decode_ms: f64,
    /// Loading the model, what others lose by it, and what was seen of the node.
    other_ms: f64,
}

impl From<&Choice> for WhyBody {
    fn from(choice: &Choice) -> Self {
        let (terms, total) = (&choice.winner.terms, choice.winner.total);
        let tenths = |milliseconds: f64| (milliseconds * 10.0).round() / 10.0;
        Self {
            candidates: choice.candidates,
            total_ms: tenths(total),
            round_trip_ms: tenths(terms.round_trip),
            queue_ms: tenths(terms.queue),
            prefill_ms: tenths(terms.prefill),
            decode_ms: tenths(terms.decode),
            other_ms: tenths(total - terms.round_trip - terms.queue - terms.prefill - terms.decode),
        }
    }
}

/// The next piece of an answer: number of the stream, characters before it, and the text. An array without names, because a piece is
/// often shorter than the names would be.
pub(super) fn token(stream: u32, at: usize, text: &str) -> Option<String> {
    serde_json::to_string(&(stream, at, text)).ok()
}
