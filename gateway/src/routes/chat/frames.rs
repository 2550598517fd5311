//! Every frame of the WebSocket, as `API.md` documents them.

use serde::{Deserialize, Serialize};

use super::messages::MessageBody;
use crate::routes::NodeBody;

/// Version of this protocol, said in `hello`.
pub(super) const VERSION: u32 = 1;

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
}

/// To the browser.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame {
    Hello {
        version: u32,
        node: NodeBody,
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
    AnswerStarted {
        session_id: String,
        question_id: String,
        answer_id: String,
        node: NodeBody,
        model: String,
    },
    Token {
        session_id: String,
        answer_id: String,
        index: u32,
        text: String,
    },
    AnswerFinished {
        session_id: String,
        message: MessageBody,
        reason: &'static str,
    },
    AnswerWaiting {
        session_id: String,
        question_id: String,
        code: &'static str,
    },
    Error {
        outbox_id: Option<String>,
        code: &'static str,
        message: String,
    },
}
