// The frames of the WebSocket, word for word as gateway/API.md has them.

export interface NodeName {
  id: string;
  name: string;
}

export interface AnsweredBy {
  node_id: string;
  node_name: string;
  model: string;
}

export interface Message {
  id: string;
  role: "person" | "character";
  text: string;
  at: number;
  truncated: boolean;
  state: "waiting" | "answered" | "done";
  /** How far a person's message has come. */
  mark?: Mark;
  answered_by: AnsweredBy | null;
  question_id?: string | null;
  /** Why an answer ended; a question has none. */
  ending?: Ending | null;
  /** Where it stands among other answers, or other forms of the question. */
  alternatives?: Alternatives;
  pinned?: boolean;
  excluded?: boolean;
  edited?: boolean;
}

export type Mark = "accepted" | "delivered" | "read";

export interface Alternatives {
  number: number;
  count: number;
  previous_id: string | null;
  next_id: string | null;
}

/** Why a node was chosen: the terms of its cost in milliseconds. */
export interface Why {
  candidates: number;
  total_ms: number;
  round_trip_ms: number;
  queue_ms: number;
  prefill_ms: number;
  decode_ms: number;
  /** Loading the model, what others lose by it, and what was seen of the node. */
  other_ms: number;
}

/** What the page has of an answer that is being said. */
export interface Cursor {
  answer_id: string;
  run: string;
  at: number;
}

export type Ending = "end" | "length" | "stopped";
export type WaitingCode = "no_node_can_answer" | "all_nodes_busy" | "model_loading";

export type ClientFrame =
  | { type: "send"; outbox_id: string; session_id: string; text: string }
  | { type: "stop"; session_id: string }
  | { type: "open"; session_id: string; known?: string; cursor?: Cursor }
  | { type: "read"; session_id: string; message_id: string }
  | { type: "typing"; session_id: string; is_typing: boolean };

export interface AcceptedFrame {
  type: "accepted";
  outbox_id: string;
  session_id: string;
  message: Message;
}

export interface RefusedFrame {
  type: "error";
  outbox_id: string | null;
  code: string;
  message: string;
}

/** Frames about one session; the chat feature applies them to its conversation. */
export type SessionFrame =
  | AcceptedFrame
  | { type: "message"; session_id: string; message: Message }
  | { type: "gone"; session_id: string; message_ids: string[] }
  | AnswerStartedFrame
  | TokenFrame
  | { type: "answer_finished"; session_id: string; stream?: number | null; message: Message; reason: Ending; as_streamed?: boolean }
  | {
      type: "answer_waiting";
      session_id: string;
      question_id: string;
      code: WaitingCode;
      ahead?: number;
      expected_seconds?: number;
    }
  | { type: "answer_refused"; session_id: string; question_id: string; answer_id: string; code: WaitingCode }
  | { type: "opened"; session_id: string }
  | { type: "read"; session_id: string; message_id: string }
  | { type: "typing"; session_id: string; is_typing: boolean };

export interface AnswerStartedFrame {
  type: "answer_started";
  session_id: string;
  question_id: string;
  answer_id: string;
  /** Under this number its text comes on this connection. */
  stream: number;
  run: string;
  /** Characters that the page has already. */
  from: number;
  node: NodeName | null;
  model: string;
  why?: Why | null;
}

/** On the wire `[stream, at, text]`; the socket says whose stream it is. */
export interface TokenFrame {
  type: "token";
  session_id: string;
  answer_id: string;
  /** Characters before the piece. */
  at: number;
  text: string;
}

export type ServerFrame =
  | SessionFrame
  | RefusedFrame
  | { type: "account" }
  | { type: "complaints" }
  | { type: "hello"; version: number; node: NodeName };

/** The version of the contract that this page was written for. */
export const CONTRACT_VERSION = 2;
